"""README and docs/ are true: links, commands, examples, tests that they name; README's own job runs as written."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import contract, records
from stages.harness.environments import definition, interpreter
from stages.harness.params import jobs, schema
from tests.project import IMAGES, PARAMS, ROOT, copy_shipped, link_venv

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docker/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)
README_BYTES = 7000
OLD_STAMPS = "--old-file=.venv/harness.stamp --old-file=.venv/host.stamp"
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
MAKE = re.compile(r"(?:`|^)make ([a-z]+)\b(?!:)", re.MULTILINE)
MODULE = re.compile(r"python -m ((?:stages|benchmarks)\.\w+)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """What stands in the text's blocks of code in that language, in their order."""
    return [content for name, content in BLOCK.findall(text) if name == language]


def section(page: str, title: str) -> str:
    found = read(page).partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"{page} has no section {title!r}"
    return found


def test_readme_fits_on_a_page():
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def test_readme_links_to_every_page_of_docs():
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} <= set(
        LINK.findall(read("README.md"))
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    dead = [link for link in LINK.findall(read(page)) if not ((ROOT / page).parent / link).exists()]
    assert not dead


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_is_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert set(MAKE.findall(read(page))) <= targets
    for module in MODULE.findall(read(page)):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for preset in re.findall(r"PRESET=(\w+)", read(page)):
        assert (ROOT / f"presets/{preset}.yaml").is_file(), preset


def test_commands_are_found_at_all():
    assert {"repro", "until", "test"} <= set(MAKE.findall(read("README.md")))
    assert {"stages.inside", "stages.compare"} <= set(MODULE.findall(read("README.md")))


# ------------------------------------------------------------------------------------------------------- the contract


def test_every_key_of_job_yaml_is_on_the_contracts_page_and_the_example_is_taken(tmp_path: Path) -> None:
    example = blocks(read("docs/job.md"), "yaml")[0]
    folder = tmp_path / "jobs/mine"
    (folder / "configs").mkdir(parents=True)
    for script in re.findall(r"\w+\.py", example):
        (folder / script).touch()
    (folder / "job.yaml").write_text(example, encoding="utf-8")
    definition = jobs.load("mine", tmp_path)
    assert set(yaml.safe_load(example)) == set(jobs.Definition.__dataclass_fields__)
    variants = {"small": records.Variant({"batch_size": 16}, {})}
    jobs.check_variants("mine", definition, variants)
    assert set(jobs.PLACEHOLDERS) <= set(re.findall(r"`\{(\w+)\}`", read("docs/job.md")))


def test_every_kind_of_line_is_on_the_contracts_page_and_the_examples_are_taken(tmp_path: Path) -> None:
    lines = blocks(read("docs/job.md"), "json")[0].splitlines()
    kinds = {next(iter(json.loads(line))) for line in lines}
    assert kinds == set(contract._KINDS)
    lines.insert(0, lines.pop(next(i for i, line in enumerate(lines) if "resumed_after_spans" in line)))
    for line in lines:
        events = tmp_path / "events.jsonl"
        events.write_text(line + "\n", encoding="utf-8")
        assert contract.read_events(events) != contract.Events(), line


def test_every_variable_is_on_the_contracts_page():
    named = set(re.findall(r"`(FACEOFF_[A-Z]+)`", read("docs/job.md")))
    known = {contract.EVENTS, contract.OUTPUT, contract.STATE, contract.CELL, contract.STEPS, contract.DATA}
    assert named == known


def test_the_image_of_readme_is_taken(tmp_path: Path) -> None:
    example = blocks(section("README.md", "Your own image"), "yaml")[0]
    path = tmp_path / example.splitlines()[0].removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(example, encoding="utf-8")
    assert definition.load("mine", tmp_path).pull is not None


def test_what_readme_says_of_two_versions_of_torch_is_what_their_preset_runs() -> None:
    [line] = [line for line in read("README.md").splitlines() if line.startswith("make repro PRESET=venvs")]
    images = [definition.load(name, ROOT) for name in yaml.safe_load(read("presets/venvs.yaml"))["images"]]
    assert re.findall(r"\b2\.\d+(?= against|,)", line) == [each.expects["torch"].rpartition(".")[0] for each in images]
    assert all(each.venv is not None for each in images)
    size = sum(float(str(each.size).removesuffix(" GB")) for each in images)
    assert f"{round(size)} GB on disk" in line


@pytest.mark.parametrize("example", blocks(read("docs/images.md"), "yaml"))
def test_each_image_of_its_page_can_be_copied(tmp_path: Path, example: str) -> None:
    path = tmp_path / "docker/mine/image.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(example, encoding="utf-8")
    found = definition.load("mine", tmp_path)
    files = [each for made in (found.build, found.venv) if made for each in (made.packages, made.torch) if each]
    assert all((ROOT / each).is_file() for each in files)


def test_what_the_harness_takes_is_said_alike_by_its_page_and_by_make() -> None:
    [said] = re.findall(r"`stages/requirements.lock` \((.+? on disk)\)", read("docs/images.md"))
    assert f"setting up .venv; {said}" in read("Makefile")


def test_each_kind_and_each_image_that_is_shipped_is_on_their_page() -> None:
    page = read("docs/images.md")
    assert {next(iter(yaml.safe_load(each))) for each in blocks(page, "yaml")} == set(definition.WAYS)
    rows = re.findall(r"^\| (`[^|]+`) \| `(\w+)`", page.partition("| there are |")[2], re.MULTILINE)
    said = {name: kind for names, kind in rows for name in re.findall(r"`([^`]+)`", names)}
    images = {name: yaml.safe_load(read(f"docker/{name}/image.yaml")) for name in IMAGES}
    assert said == {name: next(way for way in definition.WAYS if way in each) for name, each in images.items()}


def test_what_an_interpreters_job_gets_of_the_shell_is_on_the_images_page() -> None:
    text = section("docs/images.md", "What a job gets of your shell")
    kept = re.search(r"of the shell (.+?) and a PATH", " ".join(text.split()))
    assert kept and {*re.findall(r"`([^`]+)`", kept[1])} == {*interpreter.KEPT, f"{interpreter.KEPT_PREFIX}*"}


# ------------------------------------------------------------------------------------------------------- your own job


def checkout(path: Path) -> Path:
    """A git checkout of this project, as one that was just cloned and set up; git knows no user here."""
    copy_shipped(path, "stages", "jobs", "docker", "presets", ".dvc/plots")
    for file in ("Makefile", "dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / file, path / file)
    link_venv(path)
    return path


@pytest.mark.slow
def test_your_own_job_is_run_as_written(tmp_path: Path) -> None:
    text = section("README.md", "Your own job")
    (bring, run), (params,) = blocks(text, "sh"), blocks(text, "yaml")
    project, home = checkout(tmp_path / "project"), tmp_path / "home"
    home.mkdir()
    script = shutil.copy(ROOT / "jobs/unchanged_script/train.py", home)
    assert "faceoff" not in Path(script).read_text().lower()

    shell(bring, project, home)
    wanted: dict[str, Any] = {**PARAMS, "image": "host", "images": ["host"], "repeats": [1], **yaml.safe_load(params)}
    (project / "params.yaml").write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
    shell("git init -q . && git add --all && git -c user.name=t -c user.email=t@localhost commit -qm t", project, home)
    printed = shell(run, project, home)

    found = json.loads((project / records.COMPARISON_PATH).read_text(encoding="utf-8"))
    settings = {each["setting"]: each for each in found["settings"]}
    assert list(settings) == ["host/small-batch", "host/large-batch", "host/one-thread"]
    assert {each["status"] for each in settings.values()} == {"ok"}
    for name, setting in settings.items():
        assert f"{name} " in printed
        assert setting["metrics"]["total_seconds"]["mean"] > 0
        assert setting["metrics"]["peak_process_memory_bytes"]["mean"] > 0
    # Of its epochs and their steps, as seen from outside; it has no loader, so not of samples.
    small = settings["host/small-batch"]
    by_itself = {"undisturbed_seconds", "beyond_seconds", "peak_process_memory_bytes"}
    assert {*small["metrics"]} - {"cpu_joules"} == {"total_seconds", "train_seconds", *by_itself}  # joules: for root
    assert (small["verdict"], found["total"]) == ("baseline", ["wall"])
    assert "values of its spans" in " ".join(small["not_given"])
    assert "epoch 2 loss " in printed  # what it prints is shown
    assert (project / records.Cell("host", "small-batch", 1).output_dir / "model.pt").stat().st_size > 1000
    assert (project / records.PAGE_PATH).is_file()


def shell(script: str, folder: Path, home: Path) -> str:
    """What the lines print, run one after the other as a reader would. A `make` takes .venv for set up."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environment |= {"HOME": str(home), "MAKEFLAGS": OLD_STAMPS}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


# -------------------------------------------------------------------------------------------------------- reliability

HEAD = "| fault | what happens | test |"
ROWS = [line for line in read("docs/reliability.md").splitlines() if line.startswith("| ") and line != HEAD]
NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:(?:\.\.\.)?::(?P<test>[\w*]+)(?:\[(?P<case>[^\]]+)\])?)?`")
NO_FAULTS = {  # of tests/faults and tests/engine: what they are about instead
    "tests/engine/test_image.py": "what is built and what it holds",
    "tests/engine/test_inside.py": "how a command runs in an image",
    "tests/engine/test_limits.py": "what a container may use",
    "tests/engine/test_preflight_inside.py": "what preflight finds",
    "tests/engine/test_profile.py": "what a container is seen to have",
    "tests/faults/test_preflight.py": "what preflight finds",
}


def named(row: str) -> list[tuple[str, str | None, str | None]]:
    """File, test and case of each test that the row names; without a file it is that of the name before."""
    found, file = [], ""
    for match in NAMED.finditer(row.rstrip(" |").rpartition(" | ")[2]):
        file = match["file"] or file
        found.append((file, match["test"], match["case"]))
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0].strip("| ")[:60])
def test_every_row_names_tests_that_are_there(row: str) -> None:
    found = named(row)
    assert found, "no test"
    for file, test, case in found:
        assert (ROOT / file).is_file(), file
        text = read(file)
        pattern = (test or "test_*").replace("*", r"\w*")
        assert re.search(rf"^ *def {pattern}\(", text, re.MULTILINE), f"{file}::{test}"
        assert case is None or f'"{case}"' in text, f"{file}::{test}[{case}]"


def test_every_file_of_faults_is_named() -> None:
    there = {
        str(path.relative_to(ROOT)) for part in ("faults", "engine") for path in (ROOT / "tests" / part).glob("test_*")
    }
    assert len(ROWS) > 40
    assert there - {file for row in ROWS for file, _, _ in named(row)} == set(NO_FAULTS)


def test_what_the_legacy_images_carry_is_named_with_its_version() -> None:
    paragraph = read("docs/limitations.md").partition("The legacy images knowingly carry")[2].partition("\n\n")[0]
    stated = set(re.findall(r"([A-Za-z]\w+)\s(\d+\.\d+(?:\.\d+)?)", paragraph)) - {
        ("Python", "3.7"),
        ("torch", "1.2.0"),
    }
    assert len(stated) == 7
    locked = set(re.findall(r"^(\S+?)==(\S+)", read("docker/legacy.in"), re.MULTILINE))
    assert stated <= locked


def test_the_price_of_the_page_on_sites_is_taken() -> None:
    example = blocks(read("docs/sites.md"), "yaml")[0]
    provider = {**PARAMS["provider"], **yaml.safe_load(example)["provider"]}
    compare = {**PARAMS["compare"], "baseline": "host/plain"}
    own: dict[str, Any] = {"image": "host", "images": ["host"], "job": "plain_python", "compare": compare}
    params = {**PARAMS, **own, "provider": provider}
    found = schema.parse(yaml.safe_dump(params), "params.yaml", ROOT)
    assert found.provider.price == schema.PriceParams(0.35, "USD", "hour", "https://cloud.example/prices", "2026-11-27")
