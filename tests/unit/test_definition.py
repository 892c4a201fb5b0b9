"""docker/<image>/image.yaml, and what the images that are shipped are made of."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from stages.errors import FaceoffError
from stages.harness.environments import definition
from tests.project import IMAGES, ROOT

BUILT = ("cpu", "cuda-9.2", "cuda-10.0", "cuda-12.6", "cuda-13.0")
PULLED = ("kaggle", "colab")
VENVS = ("torch-2.13", "torch-2.14")
XLA = ("xla",)  # a venv for an own job, which has no fastai
INTERPRETERS = ("host", "notebook")
ONE_OF_THEM = "build, pull, venv, python: expected exactly one of them"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docker" / "mine").mkdir(parents=True)
    define(tmp_path, "pull: registry.example/mine:1")
    return tmp_path


def define(root: Path, text: str) -> None:
    (root / "docker" / "mine" / "image.yaml").write_text(text)


# ------------------------------------------------------------------------------------------------ the shipped images


@pytest.mark.parametrize("name", IMAGES)
def test_a_shipped_image_is_well_defined(name: str) -> None:
    found = definition.load(name, ROOT)
    ways = {"build": BUILT, "pull": PULLED, "venv": VENVS + XLA, "python": INTERPRETERS}
    assert [way for way, names in ways.items() if name in names and getattr(found, way) is not None]
    made = found.build or found.venv
    if made is not None:
        assert (ROOT / made.packages).is_file()
        assert made.torch is not None and (ROOT / made.torch).is_file()
        assert made.torch == f"docker/{name}/torch.txt" or name in VENVS
        assert {"torch", *(("torch_xla",) if name in XLA else ("cuda", "fastai"))} <= {*found.expects}


@pytest.mark.parametrize("name", PULLED)
def test_what_a_provider_keeps_changing_is_looked_at_inside_and_never_assumed(name: str) -> None:
    found = definition.load(name, ROOT)
    assert found == definition.Definition(pull=found.pull, size=found.size)


def test_image_host_expects_what_its_lock_has() -> None:
    """Before it is set up, a job's estimate is told of these alone."""
    lock = (ROOT / "docker/host/requirements.lock").read_text()
    expects = definition.load("host", ROOT).expects
    assert {"torch", "fastai"} <= {*expects}
    assert all(re.search(rf"^{name}=={re.escape(version)} ", lock, re.MULTILINE) for name, version in expects.items())


def test_the_two_cuda_images_of_the_article_differ_in_the_torch_wheels_alone() -> None:
    older, newer = definition.load("cuda-9.2", ROOT), definition.load("cuda-10.0", ROOT)
    assert older.build is not None and newer.build is not None
    assert dataclasses.replace(older.build, torch="") == dataclasses.replace(newer.build, torch="")
    for each in ("python", "fastai", "cudnn"):
        assert older.expects[each] == newer.expects[each]
    assert names((ROOT / older.build.torch).read_text()) == names((ROOT / newer.build.torch).read_text())
    assert names((ROOT / newer.build.torch).read_text()) == {"torch", "torchvision"}


def test_the_two_virtual_environments_differ_in_torch_and_what_it_names_alone() -> None:
    older, newer = (definition.load(name, ROOT).venv for name in VENVS)
    assert older is not None and older.torch is not None and newer is not None and newer.torch is not None
    assert dataclasses.replace(older, torch=None) == dataclasses.replace(newer, torch=None)
    locks = [re.split(r"\n(?=\S)", (ROOT / path).read_text()) for path in (older.torch, newer.torch)]
    lines = [{block.strip() for block in lock if not block.startswith("#")} for lock in locks]
    changed = {block.partition("==")[0] for block in lines[0] ^ lines[1]}
    assert changed == {"torch", "torchvision", "triton", "nvidia-cudnn-cu13", "nvidia-nccl-cu13"}
    assert all("--hash=sha256:" in block for block in lines[0] | lines[1])


@pytest.mark.parametrize("lock", ["legacy.lock", "today.lock"])
def test_a_shared_lock_pins_by_hash_and_holds_nothing_of_one_cuda(lock: str) -> None:
    text = (ROOT / "docker" / lock).read_text()
    for block in re.split(r"\n(?=\S)", text):
        if not block.startswith("#"):
            assert re.match(r"\S+==\S+( ; .+)? \\\n +--hash=sha256:", block), block.splitlines()[0]
    assert not {name for name in names(text) if re.match(r"torch|triton|cuda|nvidia-(?!ml-py)", name)}


def test_the_legacy_lock_is_made_of_what_its_input_asks_for() -> None:
    def pins(text: str) -> set[str]:
        return {line.split()[0].lower().replace("_", "-") for line in text.splitlines() if re.match(r"\w\S*==", line)}

    assert pins((ROOT / "docker/legacy.lock").read_text()) == pins((ROOT / "docker/legacy.in").read_text())


def test_what_runs_a_face_off_is_locked_without_torch_and_as_image_host_has_it() -> None:
    def pins(path: str) -> set[tuple[str, ...]]:
        return set(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / path).read_text(), re.MULTILINE))

    harness, host = pins("stages/requirements.lock"), pins("docker/host/requirements.lock")
    assert "dvc" in dict(harness) and {"torch", "torchvision", "fastai"} <= {*dict(host)}
    assert not [name for name, _ in harness if re.match(r"torch|fastai|triton|nvidia-(?!ml-py)|cuda", name)]
    assert harness <= host  # laid over it, that lock changes none of its versions


@pytest.mark.parametrize("name", BUILT)
def test_the_base_is_pinned_by_its_digest(name: str) -> None:
    build = definition.load(name, ROOT).build
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
        ("python: python3\nbase: x", "docker/mine/image.yaml: unknown key 'base'"),
        ("build: {base: a}", "docker/mine/image.yaml: build: key 'packages' is missing"),
        (
            "python: python3\npull: python:3.12",
            f"docker/mine/image.yaml: {ONE_OF_THEM}",
        ),
        ("expects: {torch: '2'}", f"docker/mine/image.yaml: {ONE_OF_THEM}"),
        ("run: host", "docker/mine/image.yaml: unknown key 'run'"),
        ("venv: {torch: a}", "docker/mine/image.yaml: venv: key 'packages' is missing"),
        ("pull: x\nsetup: make it", "docker/mine/image.yaml: setup: expected nothing, without `python`"),
        (
            "pull: x\nenv: {OMP_NUM_THREADS: 1}",
            "docker/mine/image.yaml: env['OMP_NUM_THREADS']: expected text: put it in",
        ),
        ("pull: x\nenv: {FACEOFF_X: a}", "docker/mine/image.yaml: env: expected a variable's name"),
        (
            "pull: x\nenv: {CUDA_VISIBLE_DEVICES: '1'}",
            "and none that container.gpus sets, found 'CUDA_VISIBLE_DEVICES'",
        ),
        ('pull: x\nenv: {MY_FLAG: "a\\0b"}', "docker/mine/image.yaml: env['MY_FLAG']: expected text without a NUL"),
        ('python: python3\nsetup: "make \'x"', "docker/mine/image.yaml: setup: expected a command, with each quote"),
        ("python: python3\nsetup: ' '", "docker/mine/image.yaml: setup: expected a command, with each quote closed"),
        ("python: python3\nsetup: \"''\"", "docker/mine/image.yaml: setup: expected a command, with each quote closed"),
        ("python: ''", "docker/mine/image.yaml: python: expected a name on PATH or a path, whose `~` has a home here"),
        ("python: ~nobody9/bin/python", "python: expected a name on PATH or a path, whose `~` has a home here, found"),
        (
            "venv: {packages: a, python: ~nobody9/python}",
            "image.yaml: venv.python: expected a version or a path, whose",
        ),
        ("pull: x\nexpects: {python: 3.7}", "docker/mine/image.yaml: expects['python']: expected a version in quotes"),
        ("pull: x\ncompute_capabilities: ['7.5', 'T4']", "compute_capabilities: expected as NVIDIA writes it"),
        ("pull: [", "docker/mine/image.yaml: not readable as YAML"),
        ("", "docker/mine/image.yaml: expected keys with values"),
    ],
)
def test_a_mistake_in_image_yaml_is_one_line_that_names_file_and_key(root: Path, text: str, said: str) -> None:
    define(root, text)
    with pytest.raises(FaceoffError, match=re.escape(said)) as caught:
        definition.load("mine", root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["yours", "../docker/mine", ".", "Mine"])
def test_an_unknown_image_is_told_with_those_that_there_are(root: Path, name: str) -> None:
    with pytest.raises(FaceoffError, match=r"expected a folder of docker/ \(mine\)"):
        definition.load(name, root)


HOST = re.compile(r"(docker/)?host(/.*)?")


def asking(text: str) -> list[str]:
    """Strings of a Python file that are the image `host`, or its folder."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return [node.value for node in found if isinstance(node.value, str) and HOST.fullmatch(node.value)]


def test_no_file_asks_for_the_name_host() -> None:
    """What it is made of says how it runs: whoever copies its folder under another name gets the same."""
    files = {path: asking(path.read_text()) for path in sorted((ROOT / "stages").rglob("*.py"))}
    users = ROOT / "stages/harness/environments/docker_container.py"
    assert files.pop(users) == ["host"] and '"userns_mode": "host" if ' in users.read_text()
    assert {path: found for path, found in files.items() if found} == {}
    assert asking("if name == 'host': pass\nx = folder / 'docker/host/image.yaml'") == [
        "host",
        "docker/host/image.yaml",
    ]
