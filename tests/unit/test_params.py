"""params.yaml through the real command: presets, and one line for whatever is wrong, before anything is done."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from stages.harness.params import schema
from tests.project import ROOT, run_stage


@pytest.fixture
def folder(tmp_path):
    """A project with this checkout's own params.yaml, presets and images."""
    for part in ("stages", "docker", "presets"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for image in ("cuda-9.2", "cuda-10.0"):
        (tmp_path / "docker" / image).mkdir(exist_ok=True)
        (tmp_path / "docker" / image / "image.yaml").touch()
    default = "\n".join(("image: host", "images: [host]"))
    text = re.sub(r"^image: .*\nimages: .*$", default, (ROOT / "params.yaml").read_text(), flags=re.MULTILINE)
    text = re.sub(r"baseline: \S+", "baseline: host/fp32-bs16", text)
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def refusal(folder, *arguments):
    """The one line that the command ends with."""
    done = run_stage(folder, "params", *arguments)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("faceoff: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("faceoff: ").rstrip()


def edit(folder, old, new):
    path = folder / "params.yaml"
    text = path.read_text()
    assert re.search(old, text, re.MULTILINE), f"{old} is not in params.yaml"
    path.write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE))


def test_a_good_file_is_left_as_it_is(folder):
    before = (folder / "params.yaml").read_bytes()
    done = run_stage(folder, "params")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  size:", "  sizee:", "params.yaml: recipe: unknown key 'sizee' (did you mean 'size'?); expected arch, "),
        ("^batch_sizes:", "batch_size:", "params.yaml: unknown key 'batch_size' (did you mean 'batch_sizes'?)"),
        ("  seed: 42 .*$", "", "params.yaml: dataset: key 'seed' is missing"),
        (r"^batch_sizes: \[16\]", "batch_sizes: [0]", "params.yaml: batch_sizes: expected 1 or more, found 0"),
        (r"^batch_sizes: \[16\]", "batch_sizes: 16", "params.yaml: batch_sizes: expected a list, found 16"),
        (
            r"^repeats: \[1, 2, 3\]",
            "repeats: [1, 1]",
            "params.yaml: repeats: expected at least one value, each once, found [1, 1]",
        ),
        (
            r"^repeats: \[1, 2, 3\]",
            "repeats: []",
            "params.yaml: repeats: expected at least one value, each once, found []",
        ),
        (r"^precisions: .*$", "precisions: [fp16]", "params.yaml: precisions: expected of fp32, mixed, found 'fp16'"),
        ("  size: 96", "  size: large", "params.yaml: recipe.size: expected a whole number, found 'large'"),
        ("  pct_start: 0.05", "  pct_start: 5e-2", "as in 1.0e-5, found '5e-2'"),
        ("  pretrained: true", "  pretrained: maybe", "params.yaml: recipe.pretrained: expected true or false"),
        ("  arch: \\S+", "  arch: resnet30", "params.yaml: recipe.arch: expected one of resnet18, resnet34, "),
        (r"^images: \[host\]", "images: [host, nowhere]", "params.yaml: images: expected a folder of docker/ ("),
        (r"^images: \[host\]", "images: [Host]", "params.yaml: images: expected lower-case letters"),
        (r"^images: \[host\]", "images: [../host]", "params.yaml: images: expected lower-case letters"),
        (r"^images: \[host\]", "images: ['`touch x`']", "params.yaml: images: expected lower-case letters"),
        (r"^images: \[host\]", "images: ['x; touch x']", "params.yaml: images: expected lower-case letters"),
        (r"^images: \[host\]", "images: [\"x' touch x '\"]", "params.yaml: images: expected lower-case letters"),
        ("^image: host", "image: cuda-10.0", "params.yaml: image: expected one of `images`: host, found 'cuda-10.0'"),
        (
            "baseline: host",
            "baseline: hosst",
            "compare.baseline: expected one of the settings: host/fp32-bs16, host/mixed",
        ),
        (
            r"  looks: \[\]",
            "  looks: [6, 3]",
            "compare.looks: expected rising numbers of repeats, e.g. [3, 6], found [6, 3]",
        ),
        ("  shm_size: 1g", "  shm_size: lots", "params.yaml: container.shm_size: expected a size as Docker writes it"),
        ("  source: synthetic", "  source: folder", "params.yaml: dataset.folder: expected a path, with source folder"),
        ("^precisions", "precisions: [fp32]\nprecisions", "found duplicate key"),
        ("^precisions", "  precisions", "params.yaml: not readable as YAML: "),
        ("^dataset:", "dataset: 3\nother:", "params.yaml: unknown key 'other'"),
    ],
)
def test_a_typo_is_one_line_that_names_the_key_and_what_was_expected(folder, old, new, expected):
    edit(folder, old, new)
    assert expected in refusal(folder)


@pytest.mark.parametrize("text", ["", "3\n", "- a\n", "\t\n", "a: !!python/object:os.system {}\n"])
def test_a_file_that_holds_no_params_is_one_line(folder, text):
    (folder / "params.yaml").write_text(text)
    assert refusal(folder).startswith("params.yaml: ")


def test_no_file_at_all(folder):
    (folder / "params.yaml").unlink()
    assert refusal(folder) == "params.yaml: missing; run from the top of the checkout"


@pytest.mark.parametrize("name", ["article", "smoke"])
def test_a_preset_is_laid_over_with_the_comments_kept(folder, name):
    before = (folder / "params.yaml").read_text()
    assert run_stage(folder, "params", "--preset", name).returncode == 0
    after = (folder / "params.yaml").read_text()
    preset = yaml.safe_load((folder / "presets" / f"{name}.yaml").read_text())
    merged = yaml.safe_load(after)
    for key, value in preset.items():
        held = {inner: merged[key][inner] for inner in value} if isinstance(value, dict) else merged[key]
        assert held == value
    assert [line.split("#")[1] for line in after.splitlines() if "#" in line] == [
        line.split("#")[1] for line in before.splitlines() if "#" in line
    ]
    assert len(after.splitlines()) == len(before.splitlines())
    assert "frozen_learning_rate: 3.0e-3" in after
    assert schema.load(folder).image == preset["image"]


def test_the_default_preset_of_none_changes_nothing_after_a_preset(folder):
    run_stage(folder, "params", "--preset", "smoke")
    before = (folder / "params.yaml").read_bytes()
    for arguments in ((), ("--preset", "smoke")):
        assert run_stage(folder, "params", *arguments).returncode == 0
        assert (folder / "params.yaml").read_bytes() == before


def test_an_unknown_preset_lists_those_there_are(folder):
    known = ", ".join(sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
    assert refusal(folder, "--preset", "artcile") == f"no preset 'artcile'; presets/ has {known}"
    assert refusal(folder, "--preset", "../params").startswith("no preset '../params'")


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "recipe: {sizee: 1}\n",
            "params.yaml with presets/mine.yaml: recipe: unknown key 'sizee' (did you mean 'size'?)",
        ),
        ("batch_sizes: [0]\n", "params.yaml with presets/mine.yaml: batch_sizes: expected 1 or more, found 0"),
        ("recipe: 3\n", "params.yaml with presets/mine.yaml: recipe: expected a mapping, found 3"),
        ("- a\n", "presets/mine.yaml: expected keys with values, found ['a']"),
        ("recipe: [\n", "presets/mine.yaml: not readable as YAML: "),
        (
            "images: [nowhere]\nimage: nowhere\n",
            "with presets/mine.yaml: compare.baseline: expected one of the settings",
        ),
    ],
)
def test_a_bad_preset_leaves_params_untouched(folder, preset, expected):
    before = (folder / "params.yaml").read_bytes()
    (folder / "presets/mine.yaml").write_text(preset)
    assert expected in refusal(folder, "--preset", "mine")
    assert (folder / "params.yaml").read_bytes() == before


def test_an_image_may_be_named_in_a_free_mapping(folder):
    (folder / "presets/mine.yaml").write_text("container: {base_images: {cuda-9.2: 'mirror.example/python:3.7'}}\n")
    assert run_stage(folder, "params", "--preset", "mine").returncode == 0
    assert schema.load(folder).container.base_images == {"cuda-9.2": "mirror.example/python:3.7"}


def test_cells_interleave_the_repeats(folder):
    edit(folder, r"^images: \[host\]", "images: [host, cuda-10.0]")
    cells = schema.load(Path(folder)).cells()
    assert [cell.repeat for cell in cells] == [1] * 4 + [2] * 4 + [3] * 4
    assert [cell.setting for cell in cells[:4]] == [
        "host/fp32-bs16",
        "host/mixed-bs16",
        "cuda-10.0/fp32-bs16",
        "cuda-10.0/mixed-bs16",
    ]
