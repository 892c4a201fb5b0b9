"""Container: when an image is built, pulled and made again, the check of what it holds, and running in it."""

import dataclasses
import re
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import container, contents, definition
from stages.harness.environments.container import Container
from stages.harness.environments.launch import Job, Outcome, Work
from stages.harness.params.schema import ContainerParams
from stages.harness.process.watchdog import Watch
from tests import results
from tests.fake_engine import FakeEngine
from tests.project import ROOT

PARAMS = ContainerParams(gpus="none", shm_size="64m", memory=None, cpus=None, cpuset=None, base_images={})
CONTENTS = dataclasses.replace(
    results.CONTENTS,
    python="3.7.16",
    torch="1.2.0",
    cuda="10.0.130",
    cudnn=7602,
    packages={"torch": "1.2.0", "fastai": "1.0.48", "typing-extensions": "4.7.1"},
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*container.PASSED_ON, "PIP_CERT", container.BASE_VARIABLE, container.NETWORK_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one image to build, `mine`, whose check holds whatever contents.json beside image.yaml says."""
    folder = tmp_path / "docker" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "docker" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN echo building\n")
    (folder / "packages.lock").write_text("six==1.17.0\n")
    (folder / "torch.txt").write_text("torch==1.2.0\n")
    define(tmp_path, "build: {base: 'python:3.7', packages: docker/mine/packages.lock, torch: docker/mine/torch.txt}")
    module = tmp_path / "stages" / "workload"
    module.mkdir(parents=True)
    for each in (module.parent, module):
        (each / "__init__.py").touch()
    codec.write(folder / "contents.json", CONTENTS)
    script = "import shutil, sys\nshutil.copy('docker/mine/contents.json', sys.argv[2])\n"
    (module / "contents.py").write_text(script)
    return tmp_path


def define(root: Path, text: str) -> None:
    (root / "docker" / "mine" / "image.yaml").write_text(text)


def of(root: Path, engine: FakeEngine, params: ContainerParams = PARAMS) -> Container:
    return Container("mine", definition.load("mine", root), root, params, lambda: None, engine)


def make(
    root: Path, engine: FakeEngine, params: ContainerParams = PARAMS, before: records.Image | None = None
) -> tuple[records.Image, list[str]]:
    shown: list[str] = []
    return of(root, engine, params).make(before, shown.append), shown


# ------------------------------------------------------------------------------------------------ build, pull, reuse


def test_an_image_is_built_once(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    first, shown = make(root, engine)
    second, shown_again = make(root, engine)
    assert first == second
    assert [tag for tag, *_ in engine.builds] == [first.reference]
    assert re.fullmatch(r"faceoff/mine:[0-9a-f]{12}", str(first.reference))
    assert any("building" in line for line in shown)
    assert f"{first.reference} is here already" in shown_again


@pytest.mark.parametrize("path", ["docker/Dockerfile", "docker/mine/packages.lock", "docker/mine/torch.txt"])
def test_another_tag_for_another_content(root: Path, path: str) -> None:
    engine = FakeEngine("python:3.7")
    before, _ = make(root, engine)
    with (root / path).open("a") as file:
        file.write("# changed\n")
    after, _ = make(root, engine)
    assert after.reference != before.reference
    assert len(engine.builds) == 2


def test_another_tag_when_the_base_of_that_name_has_changed(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    before, _ = make(root, engine)
    engine.images["python:3.7"] = dataclasses.replace(engine.images["python:3.7"], image_id="sha256:newer")
    after, _ = make(root, engine)
    assert after.reference != before.reference


def test_one_that_is_still_what_it_was_is_not_looked_at_again_and_its_base_may_be_gone(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    before, _ = make(root, engine)
    looks = len(engine.jobs)
    assert make(root, engine, before=before) == (before, [])
    del engine.images["python:3.7"]
    assert make(root, engine, before=before) == (before, [])
    assert len(engine.jobs) == looks and engine.pulls == []


@pytest.mark.parametrize("change", ["lock", "base", "env", "image", "runtime"])
def test_one_that_is_another_is_looked_at_again(root: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine("python:3.7")
    before, _ = make(root, engine)
    looks = len(engine.jobs)
    if change == "lock":
        (root / "docker/mine/packages.lock").write_text("six==1.16.0\n")
    elif change == "base":
        engine.images["python:3.7"] = dataclasses.replace(engine.images["python:3.7"], image_id="sha256:newer")
    elif change == "env":
        with (root / "docker/mine/image.yaml").open("a") as file:
            file.write("\nenv: {A: b}\n")
    elif change == "image":
        reference = str(before.reference)
        engine.images[reference] = dataclasses.replace(engine.images[reference], image_id="sha256:newer")
    else:
        monkeypatch.setattr(engine, "about", lambda: dataclasses.replace(FakeEngine().about(), runtime="kata"))
    assert make(root, engine, before=before)[0] != before
    assert len(engine.jobs) == looks + 1


def test_what_image_yaml_expects_by_now_is_checked_of_one_that_is_still_what_it_was(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    before, _ = make(root, engine)
    with (root / "docker/mine/image.yaml").open("a") as file:
        file.write("\nexpects: {torch: '9'}\n")
    with pytest.raises(FaceoffError, match=r"torch 9 expected, 1\.2\.0 found"):
        make(root, engine, before=before)


def test_what_is_only_expected_of_an_image_does_not_build_it_again(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    make(root, engine)
    with (root / "docker/mine/image.yaml").open("a") as file:
        file.write("\nexpects: {torch: '1.2.0'}\n")
    make(root, engine)
    assert len(engine.builds) == 1


def test_a_sites_own_index_and_certificate_reach_the_build_but_neither_tag_nor_image(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = make(root, FakeEngine("python:3.7"))
    (tmp_path / "site.pem").write_text("certificate of this site")
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@mirror.example/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "site.pem"))
    monkeypatch.setenv("FACEOFF_BUILD_NETWORK", "host")
    engine = FakeEngine("python:3.7")
    image, _ = make(root, engine)
    assert image.reference == plain.reference
    [(_, files, arguments, network)] = engine.builds
    assert arguments == {
        "BASE": "python:3.7",
        "PIP_INDEX_URL": "https://user:secret@mirror.example/simple",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "PIP_CERT": "/install/ca.pem",
    }
    assert files["ca.pem"] == b"certificate of this site"
    assert network == "host"
    final = (ROOT / container.DOCKERFILE).read_text().split("FROM ${BASE}\n")[-1]
    assert not re.search(r"PIP_|ca\.pem|ARG", final)


def test_without_a_site_of_its_own_nothing_but_the_base_is_passed(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    make(root, engine)
    [(_, files, arguments, network)] = engine.builds
    assert arguments == {"BASE": "python:3.7"}
    assert set(files) == {"Dockerfile", "packages.lock", "torch.txt"}
    assert network is None


def test_torch_may_be_left_out(root: Path) -> None:
    define(root, "build: {base: 'python:3.7', packages: docker/mine/packages.lock}")
    engine = FakeEngine("python:3.7")
    make(root, engine)
    [(_, files, _, _)] = engine.builds
    assert (files["packages.lock"], files["torch.txt"]) == (b"six==1.17.0\n", b"")


def test_a_missing_certificate_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CERT", "/nowhere/ca.pem")
    with pytest.raises(FaceoffError, match=r"PIP_CERT: /nowhere/ca\.pem: not readable"):
        make(root, FakeEngine("python:3.7"))


def test_the_base_of_params_goes_before_the_environments_and_that_before_image_yamls(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(registry=("python:3.7", "for.all/python:3.7", "for.mine/python:3.7"))
    assert make(root, engine)[0].base == "python:3.7"
    monkeypatch.setenv("FACEOFF_BASE_IMAGE", "for.all/python:3.7")
    assert make(root, engine)[0].base == "for.all/python:3.7"
    params = dataclasses.replace(PARAMS, base_images={"mine": "for.mine/python:3.7"})
    assert make(root, engine, params)[0].base == "for.mine/python:3.7"
    assert engine.pulls == ["python:3.7", "for.all/python:3.7", "for.mine/python:3.7"]
    assert len({tag for tag, *_ in engine.builds}) == 3


def test_a_ready_made_image_is_pulled_once_and_nothing_is_built(root: Path) -> None:
    define(root, "pull: registry.example/team/train:1.4\nexpects: {cuda: '10.0'}")
    engine = FakeEngine(registry=("registry.example/team/train:1.4",))
    for _ in range(2):
        image, _ = make(root, engine)
        assert image.reference == "registry.example/team/train:1.4"
        assert image.base is None
        assert set(image.absent) == {"base", "base_id", "base_digest"}
    assert engine.pulls == ["registry.example/team/train:1.4"]
    assert engine.builds == []


def test_a_base_of_a_registry_is_told_by_its_digest_and_another_by_the_reason_that_it_has_none(root: Path) -> None:
    pulled, _ = make(root, FakeEngine(registry=("python:3.7",)))
    assert (pulled.base_digest, pulled.absent) == ("sha256:digest of python:3.7", {})
    imported, _ = make(root, FakeEngine("python:3.7"))
    assert imported.base_digest is None
    assert imported.absent == {"base_digest": "python:3.7 came from no registry: it was built or imported here"}
    assert (imported.engine, imported.runtime) == ("1.0", "processes")


def test_a_lock_that_is_not_there_is_named(root: Path) -> None:
    define(root, "build: {base: 'python:3.7', packages: docker/mine/none.lock, torch: docker/mine/torch.txt}")
    with pytest.raises(FaceoffError, match=r"docker/mine/none\.lock: not readable: No such file"):
        make(root, FakeEngine("python:3.7"))


# --------------------------------------------------------------------------------------------------------- the check


def test_an_image_that_holds_something_else_is_refused_with_all_that_differs(root: Path) -> None:
    with (root / "docker/mine/image.yaml").open("a") as file:
        file.write("\nexpects: {python: '3.7', torch: 1.2.0+cu92, cuda: '9.2', cudnn: 7602, fastai: 1.0.48}\n")
    with pytest.raises(FaceoffError) as caught:
        make(root, FakeEngine("python:3.7"))
    said = str(caught.value)
    assert "docker/mine/image.yaml" in said
    assert "torch 1.2.0+cu92 expected, 1.2.0 found" in said
    assert "cuda 9.2 expected, 10.0.130 found" in said
    assert not re.search(r"(python|cudnn|fastai) \S+ expected", said)


@pytest.mark.parametrize(
    ("key", "expected", "found", "good"),
    [
        ("cuda", "10.0", "10.0.130", True),
        ("cuda", "10.0", "10.0", True),
        ("cuda", "1", "10.0", False),
        ("cuda", "10.0", "10.01", False),
        ("cuda", "none", None, True),
        ("cuda", "none", "12.6", False),
        ("cuda", "12.6", None, False),
        ("torch", "1.2.0", "1.2.0+cu92", True),
        ("torch", "1.2.0+cu92", "1.2.0", False),
        ("python", "3.7", "3.7.17", True),
        ("python", "3.1", "3.12.1", False),
        ("cudnn", 7602, 7602, True),
        ("cudnn", 7602, 7605, False),
        ("python", "none", "3.7.17", False),
    ],
)
def test_what_meets_an_expectation(key: str, expected: str | int, found: object, good: bool) -> None:
    absent = {} if found else {key: "not there"}
    judge(key, expected, dataclasses.replace(CONTENTS, **{key: found, "absent": absent}), good)


@pytest.mark.parametrize(
    ("package", "expected", "good"),
    [
        ("fastai", "1.0.48", True),
        ("fastai", "1.0", True),
        ("fastai", "2.8", False),
        ("Typing_Extensions", "4.7.1", True),  # as PyPI normalises names
        ("jax", "0.4", False),
        ("jax", "none", True),
        ("fastai", "none", False),
    ],
)
def test_any_package_is_checked_by_its_name(package: str, expected: str, good: bool) -> None:
    judge(package, expected, CONTENTS, good)


def judge(key: str, expected: str | int, found: records.Contents, good: bool) -> None:
    if good:
        contents.check("mine", {key: expected}, found)
    else:
        with pytest.raises(FaceoffError, match=f"{key} {re.escape(str(expected))} expected, .* found"):
            contents.check("mine", {key: expected}, found)


class OldPython(FakeEngine):
    """Its images' `python` is one of 2.7, which can't read what runs it; python3 is there beside it."""

    def run(self, job: Job, watch: Watch | None = None) -> Outcome:
        return Outcome(1, out_of_memory=False) if job.command[0] == "python" else super().run(job, watch)


def test_an_old_python_gives_way_to_python3(root: Path) -> None:
    assert make(root, OldPython("python:3.7"))[0].python == "python3"


def test_a_check_that_crashes_is_no_result(root: Path) -> None:
    (root / "stages/workload/contents.py").write_text("raise SystemExit(3)")
    with pytest.raises(FaceoffError, match="ended with exit code 3"):
        make(root, FakeEngine("python:3.7"))
    assert list((root / "models").iterdir()) == []


def test_a_failing_build_says_what_was_printed_last(root: Path) -> None:
    (root / "docker/Dockerfile").write_text("FROM x\nRUN echo 'ERROR: no wheel for you' >&2; exit 4\n")
    with pytest.raises(FaceoffError, match="image mine was not built: pip says: no wheel for you"):
        make(root, FakeEngine("python:3.7"))
    (root / "docker/Dockerfile").write_text("FROM x\nRUN exit 4\n")
    with pytest.raises(FaceoffError, match=r"image mine was not built: .* a step returned 4"):
        make(root, FakeEngine("python:3.7"))


# ----------------------------------------------------------------------------------------------------- running in it


def run(root: Path, engine: FakeEngine, *command: str) -> Outcome:
    return of(root, engine).run(Work(command))


def test_a_command_runs_in_the_image_that_was_recorded(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    image, _ = make(root, engine)
    codec.write(root / records.image_path("mine"), image)
    assert run(root, engine, "sh", "-c", "exit 5").exit_code == 5
    assert engine.jobs[-1].reference == image.reference
    assert engine.jobs[-1].labels["faceoff.image"] == "mine"


def test_an_image_that_was_never_made_or_is_gone_says_how_to_make_it(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    with pytest.raises(FaceoffError, match=r"has not been made .*: \.venv/bin/python -m stages\.image mine"):
        run(root, engine, "true")
    image, _ = make(root, engine)
    codec.write(root / records.image_path("mine"), image)
    engine.images.clear()
    with pytest.raises(FaceoffError, match=r"is not here any more; make it: .venv/bin/dvc repro -s -f image@mine"):
        run(root, engine, "true")
