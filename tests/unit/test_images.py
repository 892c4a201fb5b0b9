"""docker/: what each image is made of, when one is made again, and the check of what it holds."""

import dataclasses
import re
from contextlib import chdir
from pathlib import Path

import pytest

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import images
from stages.harness.environments.launch import Outcome
from stages.harness.params.schema import ContainerParams
from tests import results
from tests.fake_engine import FakeEngine
from tests.project import ROOT

SHIPPED = ("host", "cpu", "cuda-9.2", "cuda-10.0", "cuda-12.6", "cuda-13.0")
BUILT = SHIPPED[1:]
CONTAINER = ContainerParams(gpus="none", shm_size="64m", memory=None, cpus=None, base_images={})
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
    for name in (*images.PASSED_ON, "PIP_CERT", images.BASE_VARIABLE, images.NETWORK_VARIABLE):
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


def make(root: Path, engine: FakeEngine, container: ContainerParams = CONTAINER) -> tuple[records.Image, list[str]]:
    shown: list[str] = []
    return images.make("mine", images.load("mine", root), root, container, engine, shown.append), shown


# ------------------------------------------------------------------------------------------------ the shipped images


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_image_is_well_defined(name: str) -> None:
    definition = images.load(name, ROOT)
    assert definition.on_host == (name == "host")
    if definition.build is not None:
        assert (ROOT / definition.build.packages).is_file()
        assert definition.build.torch == f"docker/{name}/torch.txt"
        assert {"python", "torch", "cuda", "fastai"} <= {*definition.expects}


def test_no_folder_of_docker_is_left_untested() -> None:
    assert {path.parent.name for path in (ROOT / "docker").glob("*/image.yaml")} == set(SHIPPED)


def test_the_two_cuda_images_of_the_article_differ_in_the_torch_wheels_alone() -> None:
    older, newer = images.load("cuda-9.2", ROOT), images.load("cuda-10.0", ROOT)
    assert older.build is not None and newer.build is not None
    assert dataclasses.replace(older.build, torch="") == dataclasses.replace(newer.build, torch="")
    for each in ("python", "fastai", "cudnn"):
        assert older.expects[each] == newer.expects[each]
    assert names((ROOT / older.build.torch).read_text()) == names((ROOT / newer.build.torch).read_text())
    assert names((ROOT / newer.build.torch).read_text()) == {"torch", "torchvision"}


@pytest.mark.parametrize("lock", ["legacy.lock", "today.lock"])
def test_a_shared_lock_pins_by_hash_and_holds_nothing_of_one_cuda(lock: str) -> None:
    text = (ROOT / "docker" / lock).read_text()
    for block in re.split(r"\n(?=\S)", text):
        if not block.startswith("#"):
            assert re.match(r"\S+==\S+ \\\n +--hash=sha256:", block), block.splitlines()[0]
    assert not {name for name in names(text) if re.match(r"torch|triton|cuda|nvidia-(?!ml-py)", name)}


def test_the_legacy_lock_is_made_of_what_its_input_asks_for() -> None:
    def pins(text: str) -> set[str]:
        return {line.split()[0].lower().replace("_", "-") for line in text.splitlines() if re.match(r"\w\S*==", line)}

    assert pins((ROOT / "docker/legacy.lock").read_text()) == pins((ROOT / "docker/legacy.in").read_text())


@pytest.mark.parametrize("name", BUILT)
def test_the_base_is_pinned_by_its_digest(name: str) -> None:
    build = images.load(name, ROOT).build
    assert build is not None and re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", build.base)


UNHASHED = {  # README says so: nobody publishes their hashes
    "cuda-9.2": ["torch", "torchvision"],
    "cuda-12.6": ["torch", "torchvision"],
    "cpu": ["torchvision"],
}


@pytest.mark.parametrize("name", BUILT)
def test_torchs_wheels_are_named_by_hash_or_by_exact_address(name: str) -> None:
    text = re.sub(r" \\\n +", " ", (ROOT / "docker" / name / "torch.txt").read_text())
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    address = r"https://download\.pytorch\.org/whl/(cpu|cu\d+)/\S+\.whl(#sha256=[0-9a-f]{64})?$"
    assert all(re.match(rf"\S+==\S+ --hash=sha256:|{address}", line) for line in lines)
    without = sorted(names("\n".join(line for line in lines if "sha256" not in line)))
    assert without == UNHASHED.get(name, [])


def names(requirements: str) -> set[str]:
    """Distributions of a requirements file, be they pinned by version or by a wheel's address."""
    pattern = r"^(?:https://\S+/)?([A-Za-z][\w.]*?(?:-[A-Za-z][\w.]*?)*)(?:==|-\d)"
    return {name.lower() for name in re.findall(pattern, requirements, re.MULTILINE)}


# ------------------------------------------------------------------------------------------------------- image.yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: host\nbase: x", "docker/mine/image.yaml: unknown key 'base'"),
        ("build: {base: a, packages: b}", "docker/mine/image.yaml: build: key 'torch' is missing"),
        ("run: host\npull: python:3.12", "docker/mine/image.yaml: build, pull, run: expected exactly one of them"),
        ("expects: {torch: '2'}", "docker/mine/image.yaml: build, pull, run: expected exactly one of them"),
        ("run: container", "docker/mine/image.yaml: run: expected 'host'"),
        ("pull: x\nexpects: {python: 3.7}", "docker/mine/image.yaml: expects['python']: expected a version in quotes"),
        ("pull: x\ncompute_capabilities: ['7.5', 'T4']", "compute_capabilities: expected as NVIDIA writes it"),
        ("pull: [", "docker/mine/image.yaml: not readable as YAML"),
        ("", "docker/mine/image.yaml: expected keys with values"),
    ],
)
def test_a_mistake_in_image_yaml_is_one_line_that_names_file_and_key(root: Path, text: str, said: str) -> None:
    define(root, text)
    with pytest.raises(FaceoffError, match=re.escape(said)) as caught:
        images.load("mine", root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["yours", "../docker/mine", ".", "Mine"])
def test_an_unknown_image_is_told_with_those_that_there_are(root: Path, name: str) -> None:
    with pytest.raises(FaceoffError, match=r"expected a folder of docker/ \(mine\)"):
        images.load(name, root)


# ------------------------------------------------------------------------------------------------ build, pull, reuse


def test_an_image_is_built_once(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    first, shown = make(root, engine)
    second, shown_again = make(root, engine)
    assert first == second
    assert [tag for tag, *_ in engine.builds] == [first.reference]
    assert re.fullmatch(r"faceoff/mine:[0-9a-f]{12}", str(first.reference))
    assert "building" in shown
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
    final = (ROOT / images.DOCKERFILE).read_text().split("FROM ${BASE}\n")[-1]
    assert not re.search(r"PIP_|ca\.pem|ARG", final)


def test_without_a_site_of_its_own_nothing_but_the_base_is_passed(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    make(root, engine)
    [(_, files, arguments, network)] = engine.builds
    assert arguments == {"BASE": "python:3.7"}
    assert set(files) == {"Dockerfile", "packages.lock", "torch.txt"}
    assert network is None


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
    container = dataclasses.replace(CONTAINER, base_images={"mine": "for.mine/python:3.7"})
    assert make(root, engine, container)[0].base == "for.mine/python:3.7"
    assert engine.pulls == ["python:3.7", "for.all/python:3.7", "for.mine/python:3.7"]
    assert len({tag for tag, *_ in engine.builds}) == 3


def test_a_ready_made_image_is_pulled_once_and_nothing_is_built(root: Path) -> None:
    define(root, "pull: registry.example/team/train:1.4\nexpects: {cuda: '10.0'}")
    engine = FakeEngine(registry=("registry.example/team/train:1.4",))
    for _ in range(2):
        image, _ = make(root, engine)
        assert image.reference == "registry.example/team/train:1.4"
        assert image.base is None
        assert set(image.absent) == {"base", "base_digest"}
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


def judge(key: str, expected: str | int, contents: records.Contents, good: bool) -> None:
    if good:
        images.check("mine", {key: expected}, contents)
    else:
        with pytest.raises(FaceoffError, match=f"{key} {re.escape(str(expected))} expected, .* found"):
            images.check("mine", {key: expected}, contents)


def test_a_check_that_crashes_is_no_result(root: Path) -> None:
    (root / "stages/workload/contents.py").write_text("raise SystemExit(3)")
    with pytest.raises(FaceoffError, match="ended with exit code 3"):
        make(root, FakeEngine("python:3.7"))
    assert list((root / "models").iterdir()) == []


# -------------------------------------------------------------------------------------------- what pip's failures mean

NEW_CONNECTION = (
    "NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fb9f27ff610>: "
    "Failed to establish a new connection: [Errno -2] Name or service not known')"
)
RETRYING = "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by "
INSTALL_ERROR = "ERROR: Could not install packages due to an OSError: "
TORCH_PATH = "/whl/cu92/torch-1.2.0%2Bcu92-cp37-cp37m-manylinux1_x86_64.whl"
UNREACHABLE = (  # pip 22.0.4 and 24.0 alike
    "Collecting torch==1.2.0+cu92",
    f"  {RETRYING}'{NEW_CONNECTION}': {TORCH_PATH}",
    f"{INSTALL_ERROR}HTTPSConnectionPool(host='download.pytorch.org', port=443): "
    f"Max retries exceeded with url: {TORCH_PATH} (Caused by {NEW_CONNECTION})",
    "Removing intermediate container 79850254950b",
)
UNTRUSTED = (
    f"{INSTALL_ERROR}HTTPSConnectionPool(host='files.example', port=443): Max retries exceeded with url: /six.whl "
    "(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
    "unable to get local issuer certificate (_ssl.c:1091)')))",
)
MISSING = (
    "  ERROR: HTTP error 404 while getting https://download.pytorch.org/whl/cu92/torch.whl",
    "ERROR: Could not install requirement torch from https://download.pytorch.org/whl/cu92/torch.whl "
    "because of HTTP error 404 Client Error: Not Found for url: https://download.pytorch.org/whl/cu92/torch.whl",
)
NO_INDEX = (
    f"{RETRYING}'{NEW_CONNECTION}': /simple/six/",
    "ERROR: Could not find a version that satisfies the requirement six==1.17.0 (from versions: none)",
    "ERROR: No matching distribution found for six==1.17.0",
)
FULL = (f"{INSTALL_ERROR}[Errno 28] No space left on device",)
OTHER = ("Collecting six", "ERROR: six-1.17.0-cp39.whl is not a supported wheel on this platform.", "")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            UNREACHABLE,
            f"https://download.pytorch.org{TORCH_PATH} cannot be downloaded "
            "(Name or service not known); see that a build can reach it",
        ),
        (UNTRUSTED, "https://files.example/six.whl cannot be downloaded (unable to get local issuer certificate"),
        (MISSING, "https://download.pytorch.org/whl/cu92/torch.whl cannot be downloaded (HTTP 404); see that"),
        (NO_INDEX, "the package index cannot be reached (No matching distribution found for six==1.17.0); see that"),
        (FULL, "the disk that holds Docker's images is full; make room"),
        (OTHER, "pip says: six-1.17.0-cp39.whl is not a supported wheel on this platform."),
    ],
)
def test_pips_failure_in_one_line(lines: tuple[str, ...], said: str) -> None:
    assert str(images.why_pip_failed(lines)).startswith(said)


def test_a_failing_build_says_what_was_printed_last(root: Path) -> None:
    (root / "docker/Dockerfile").write_text("FROM x\nRUN echo 'ERROR: no wheel for you' >&2; exit 4\n")
    with pytest.raises(FaceoffError, match="image mine was not built: pip says: no wheel for you"):
        make(root, FakeEngine("python:3.7"))
    (root / "docker/Dockerfile").write_text("FROM x\nRUN exit 4\n")
    with pytest.raises(FaceoffError, match=r"image mine was not built: .* a step returned 4"):
        make(root, FakeEngine("python:3.7"))


# ----------------------------------------------------------------------------------------------------- running in it


def run(root: Path, engine: FakeEngine, *command: str) -> Outcome:
    with chdir(root):
        return images.run("mine", command, CONTAINER, (), engine)


def test_a_command_runs_in_the_image_that_was_recorded(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    image, _ = make(root, engine)
    codec.write(root / records.image_path("mine"), image)
    assert run(root, engine, "sh", "-c", "exit 5").exit_code == 5
    assert engine.jobs[-1].reference == image.reference
    assert engine.jobs[-1].labels["faceoff.image"] == "mine"


def test_an_image_that_was_never_made_or_is_gone_says_how_to_make_it(root: Path) -> None:
    engine = FakeEngine("python:3.7")
    with pytest.raises(FaceoffError, match=r"has not been made .*: python -m stages\.image mine"):
        run(root, engine, "true")
    image, _ = make(root, engine)
    codec.write(root / records.image_path("mine"), image)
    engine.images.clear()
    with pytest.raises(FaceoffError, match=r"is not here any more; make it: dvc repro -s -f image@mine"):
        run(root, engine, "true")
