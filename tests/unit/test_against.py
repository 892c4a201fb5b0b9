"""`python -m stages.compare --against REV`, on results in a real git repository."""

import contextlib
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from stages import codec, records
from stages.harness.params import schema
from tests import project, results

THEN = "v1"
REPEATS = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose results are committed under the tag THEN; each test has a copy."""
    variants = {"fp32-bs16": {"precision": "fp32", "batch_size": 16}}
    folder = tmp_path_factory.mktemp("made")
    project.make_project(folder, ["host", "cpu"], job="toy", variants=variants, repeats=REPEATS, toy={"size": 96})
    project.write_job(folder, "toy", results.TOY)
    with contextlib.chdir(folder):
        Path(".gitignore").write_text("/data\n/reports\n__pycache__\n")
        results.measure(host=10.0, cpu=12.0)
        project.stage(folder, "compare")
        git("init", "-q", "-b", "main")
        git("add", "--all")
        git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "results")
        git("tag", THEN)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # for the repository stays as it was
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "project"))
    return tmp_path / "project"


def git(*arguments):
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def against(folder, revision=THEN):
    return project.run_stage_here(folder, "compare", "--against", revision)


def test_what_became_slower_is_told_by_image_and_ends_with_1(folder):
    results.measure(seed=9, host=10.0, cpu=12.6)
    done = against(folder)
    host, *others, end = done.stdout.splitlines()
    assert host.startswith("host/fp32-bs16: equivalent: ")
    (cpu,) = [line for line in others if line.startswith("cpu/fp32-bs16: ")]
    assert cpu.startswith("cpu/fp32-bs16: slower: 1.052 times the time in v1 (95% interval 1.048 to 1.055, 5 against 5")
    assert cpu.endswith("; by more than the margin of 2%")
    (rate,) = [line for line in others if line.startswith("cpu/fp32-bs16, samples_per_second: ")]
    assert "slower: 0.951 times the rate in v1" in rate
    assert end.startswith("Slower than in v1 by more than 2%: cpu/fp32-bs16 (total_seconds), cpu/fp32-bs16 (head_")
    assert done.returncode == 1


@pytest.mark.parametrize("host", [10.1, 9.0])
def test_as_good_within_the_margin_or_faster_is_no_regression(folder, host):
    results.measure(seed=9, host=host, cpu=12.0)
    done = against(folder)
    assert done.stdout.splitlines()[-1] == "Nothing is shown to be slower than in v1 by more than 2%."
    assert done.returncode == 0


def test_these_very_results_are_told_and_nothing_is_written(folder):
    done = against(folder, "HEAD")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "faceoff: HEAD holds these very results: nothing to compare; name an earlier commit\n"
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout == ""


def test_a_clone_compares_what_its_commit_holds_with_the_branch_of_its_remote(folder, tmp_path, monkeypatch):
    """As CI clones: depth 1, no branch of its own, and no data/, which is not in git."""
    git("checkout", "-q", "-b", "side")
    results.measure(seed=9, host=10.0, cpu=12.6)
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--all", "-m", "slower")
    git("clone", "-q", "--depth=1", "--no-single-branch", folder.as_uri(), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    git("checkout", "-q", "--detach")
    done = against(tmp_path / "clone", "main")
    assert done.returncode == 1, done.stderr
    assert done.stderr == "faceoff: git knows no main here, so origin/main is taken\n"
    assert done.stdout.splitlines()[-1].startswith("Slower than in origin/main by more than 2%: cpu/fp32-bs16 (")


def test_another_machine_is_refused(folder):
    cpu = dataclasses.replace(results.HARDWARE.cpu, model="Xeon Gold 6130")
    other = results.machine(hardware=dataclasses.replace(results.HARDWARE, cpu=cpu))
    codec.write(records.MACHINE_PATH, other)
    done = against(folder)
    assert done.returncode == 2
    assert done.stderr == (
        "faceoff: refused: the results in v1 were measured on another machine (AMD EPYC 7B12; here Xeon Gold 6130); "
        "measure that commit here\n"
    )


def test_another_governor_makes_another_machine_and_is_named(folder):
    unknown = {name: why for name, why in results.HARDWARE.cpu.absent.items() if name != "governor"}
    cpu = dataclasses.replace(results.HARDWARE.cpu, governor="powersave (acpi-cpufreq)", absent=unknown)
    codec.write(records.MACHINE_PATH, results.machine(hardware=dataclasses.replace(results.HARDWARE, cpu=cpu)))
    assert against(folder).stderr == (
        "faceoff: refused: the results in v1 were measured on another machine (this one, and changed since: "
        "hardware.cpu.governor: not known, now powersave (acpi-cpufreq)); measure that commit here\n"
    )


def test_another_section_of_the_job_is_refused_by_its_key(folder):
    text = schema.PARAMS_PATH.read_text().replace("  size: 96", "  size: 64")
    schema.PARAMS_PATH.write_text(text)
    results.measure(host=10.0, cpu=12.0)
    done = against(folder)
    assert done.returncode == 2
    assert "refused: the results in v1 are of toy.size 96, not 64; measure both with one" in done.stderr


def test_other_data_are_refused(folder):
    manifest = codec.read(records.MANIFEST_PATH, records.Manifest)
    codec.write(records.MANIFEST_PATH, dataclasses.replace(manifest, sha256="0" * 64))
    assert "refused: the results in v1 are of other data; measure both on the same" in against(folder).stderr


def test_too_few_repeats_and_failures_cannot_be_told(folder):
    for repeat in (2, 3, 4, 5):
        records.Cell("host", "fp32-bs16", repeat).result_path("train").unlink()
    done = against(folder)
    first, *others, last = done.stdout.splitlines()
    assert first.startswith("host/fp32-bs16: cannot say: ")
    assert "cpu/fp32-bs16: 5 repeats in v1 already, so not compared" in others
    assert last == "Not to be told: host/fp32-bs16."
    assert done.returncode == 2


def test_a_damaged_result_of_then_is_named_with_its_revision(folder):
    path = records.MACHINE_PATH
    document = json.loads(path.read_text())
    del document["hardware"]
    path.write_text(json.dumps(document))
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--amend", "--all", "--no-edit")
    git("tag", "-f", THEN)
    codec.write(path, results.machine())
    done = against(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"faceoff: {THEN}:metrics/machine.json: ")


@pytest.mark.parametrize(
    ("schema_version", "words"),
    [
        (
            codec.SCHEMA_VERSION - 1,
            f"an older faceoff (schema {codec.SCHEMA_VERSION - 1}, not {codec.SCHEMA_VERSION}): measure that commit "
            "again with this version, or compare with a newer",
        ),
        (
            codec.SCHEMA_VERSION + 1,
            f"a newer faceoff (schema {codec.SCHEMA_VERSION + 1}, not {codec.SCHEMA_VERSION}): compare with that "
            "version of faceoff",
        ),
    ],
)
def test_results_of_another_schema_are_said_to_be_those_of_then(folder, schema_version, words):
    path = records.COMPARISON_PATH
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": schema_version}))
    git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--all", "-m", "other")
    done = against(folder, "HEAD")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"faceoff: the results in HEAD are of {words}")
