"""Two profiles side by side, by the real command: images as they are, and as a commit holds them."""

import dataclasses
import subprocess

import pytest

from stages import codec, records
from tests.environments import facts, gpu, hardware, unknown
from tests.project import make_project, run_stage

OLD = facts("cuda-9.2", cuda="9.2.148", torch="1.2.0+cu92")
NEW = facts("cuda-10.0")


def git(folder, *arguments):
    user = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *user, *arguments], cwd=folder, check=True, capture_output=True)


def image(name, **told):
    """What Docker says of an image of ours."""
    plain = {"reference": f"faceoff/{name}:1", "image_id": "sha256:1", "size_bytes": 2**31, "base": "python:3.7.17"}
    plain |= {
        "kind": "built",
        "python": "python",
        "env": {},
        "base_id": "sha256:a",
        "base_digest": "sha256:b",
        "engine": "28.2.2",
        "runtime": "runc",
    }
    return unknown(records.Image, {"name": name, "contents": NEW.contents, **plain, **told})


@pytest.fixture
def folder(tmp_path):
    """A commit with the facts of two images of one base."""
    make_project(tmp_path, ["cuda-9.2", "cuda-10.0"])
    for each in (OLD, NEW):
        codec.write(tmp_path / records.facts_path(each.image), each)
        codec.write(tmp_path / records.image_path(each.image), image(each.image))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "metrics")
    git(tmp_path, "commit", "-q", "-m", "Results")
    return tmp_path


def on_card(found, name):
    """The facts on a machine with that card."""
    return dataclasses.replace(found, hardware=hardware(gpu(name)), device=name)


def test_two_images_and_one_cause(folder):
    for each in (OLD, NEW):
        codec.write(folder / records.facts_path(each.image), on_card(each, "Tesla T4"))
    done = run_stage(folder, "compare_profiles", "cuda-9.2", "cuda-10.0")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["Hardware: nothing differs", "Software", "  CUDA: 9.2.148 | 10.0.130"]
    assert "  torch's build (CUDA): cu92 | without a tag" in lines
    assert lines[-1] == "One cause: a timing of the two shows what CUDA does."


def test_an_image_and_itself_as_a_commit_has_it(folder):
    assert "Nothing differs" in run_stage(folder, "compare_profiles", "HEAD:cuda-10.0", "cuda-10.0").stdout
    card = gpu("Tesla T4")
    codec.write(folder / records.facts_path("cuda-10.0"), facts("cuda-10.0", hardware(card), device=card.name))
    lines = run_stage(folder, "compare_profiles", "HEAD:cuda-10.0", "cuda-10.0").stdout.splitlines()
    assert lines == [
        "Hardware",
        "  GPUs (GPU): none | Tesla T4",
        "  trains on (GPU): cpu | Tesla T4",
        "Software: nothing differs",
        "One cause: a timing of the two shows what GPU does.",
    ]


def test_another_runtime_is_a_cause(folder):
    codec.write(folder / records.image_path("cuda-10.0"), image("cuda-10.0", runtime="runsc"))
    lines = run_stage(folder, "compare_profiles", "HEAD:cuda-10.0", "cuda-10.0").stdout.splitlines()
    assert lines == [
        "Hardware: nothing differs",
        "Software",
        "  container runtime (runtime): runc | runsc",
        "One cause: a timing of the two shows what runtime does.",
    ]


def test_another_base_image_is_a_cause_and_the_system_comes_with_it(folder):
    newer = image("cuda-10.0", base_digest="sha256:c", image_id="sha256:2", size_bytes=2**32, engine="29.0")
    codec.write(folder / records.image_path("cuda-10.0"), newer)
    codec.write(folder / records.facts_path("cuda-10.0"), dataclasses.replace(NEW, os="Debian 13", glibc="2.41"))
    lines = run_stage(folder, "compare_profiles", "HEAD:cuda-10.0", "cuda-10.0").stdout.splitlines()
    assert "  base image's digest (base image): sha256:b | sha256:c" in lines
    assert "  operating system (base image): Debian GNU/Linux 12 | Debian 13" in lines
    for what in ("  Docker engine: ", "  image id: ", "  image size: 2 GiB | 4 GiB"):  # no causes
        assert [line for line in lines if line.startswith(what)]
    assert lines[-1] == "One cause: a timing of the two shows what base image does."


def test_beside_no_container_that_alone_is_told_of_docker(folder):
    told = dict.fromkeys(("reference", "image_id", "size_bytes", "base", "base_id", "base_digest", "engine", "runtime"))
    codec.write(folder / records.image_path("cuda-10.0"), image("cuda-10.0", **told))
    lines = run_stage(folder, "compare_profiles", "HEAD:cuda-10.0", "cuda-10.0").stdout.splitlines()
    assert lines[1:3] == ["Software", "  container runtime (runtime): runc | no container"] and len(lines) == 4


def test_the_articles_columns_are_several_causes(folder):
    codec.write(folder / records.facts_path("cuda-9.2"), on_card(OLD, "Tesla K80"))
    codec.write(folder / records.facts_path("cuda-10.0"), on_card(facts("cuda-10.0", cudnn=7501), "Tesla P100"))
    done = run_stage(folder, "compare_profiles", "cuda-9.2", "cuda-10.0")
    assert done.stdout.splitlines()[-1].startswith("Several causes: GPU, CUDA, cuDNN. ")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("nowhere", "faceoff: metrics/nowhere/facts.json: missing; the stage that writes it has not run"),
        ("HEAD:nowhere", "faceoff: HEAD:nowhere: git has no metrics/nowhere/facts.json there ("),
        ("v9:cuda-10.0", "faceoff: git knows no commit 'v9' here; name one with results"),
    ],
)
def test_what_is_not_there_is_one_line(folder, place, expected):
    done = run_stage(folder, "compare_profiles", place, "cuda-10.0")
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(expected)


def test_facts_of_another_schema_in_a_commit_are_refused(folder):
    path = folder / records.facts_path("cuda-9.2")
    path.write_text(path.read_text().replace(f'"schema_version": {codec.SCHEMA_VERSION}', '"schema_version": 1'))
    git(folder, "commit", "-q", "-a", "-m", "Old results")
    done = run_stage(folder, "compare_profiles", "HEAD:cuda-9.2", "cuda-10.0")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"faceoff: HEAD:metrics/cuda-9.2/facts.json: not of schema version {codec.SCHEMA_VERSION}"
    )
