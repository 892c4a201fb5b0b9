"""What an environment is said to hold: this one, an old Python's, and made-up ones with something missing or broken."""

import gc
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import contents
from stages.workload.contents import find_torch
from tests.project import ROOT

LEGACY_PYTHON = [str(path) for path in Path.home().glob(".pyenv/versions/3.7.*/bin/python")]  # where there is any


def read(python: str, output: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run the module by `python` alone with the folders `path` to import from, beside the checkout."""
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT), *map(str, path)]}; sys.argv[1:] = ['--output', {str(output)!r}]; "
    )
    script += "from stages.errors import run_entry; from stages.workload import contents; run_entry(contents.main)"
    command = [python, "-S", "-E", "-c", script]  # without site-packages
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages with a torch for CUDA 9.2."""
    folder = tmp_path / "packages"
    for name in ("torch-1.2.0+cu92", "Ruamel.Yaml_Clib-0.2", "six-1.0"):
        (folder / f"{name}.dist-info").mkdir(parents=True)
    (folder / "torch.py").write_text(
        "from types import SimpleNamespace as N\n__version__ = '1.2.0+cu92'\nversion = N(cuda='9.2.148')\n"
        "backends = N(cudnn=N(version=lambda: 7602))\n"
        "cuda = N(nccl=N(version=lambda: 2408))\n"
        "_C = N()\n"
    )
    return folder


def test_this_environment(tmp_path: Path) -> None:
    output = tmp_path / "contents.json"
    command = [sys.executable, "-m", "stages.workload.contents", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)
    contents = codec.read(output, records.Contents)
    assert contents.python == ".".join(map(str, sys.version_info[:3]))
    assert contents.torch is not None and contents.torch.startswith(version("torch"))
    assert contents.packages["dvc"] == version("dvc")
    assert contents.cuda_architectures == tuple(torch.cuda.get_arch_list()) or torch.version.cuda is None


def test_what_is_not_installed_is_none(tmp_path: Path) -> None:
    output = tmp_path / "contents.json"
    done = read(sys.executable, output)
    assert done.returncode == 0, done.stderr
    contents = codec.read(output, records.Contents)
    assert (contents.torch, contents.cuda, contents.cudnn, contents.nccl) == (None,) * 4
    assert contents.absent["cuda"] == "torch is not installed"


@pytest.mark.parametrize("python", [sys.executable, *LEGACY_PYTHON])
def test_versions_and_packages(python: str, packages: Path, tmp_path: Path) -> None:
    other = tmp_path / "later"
    (other / "six-2.0.dist-info").mkdir(parents=True)
    output = tmp_path / "contents.json"
    done = read(python, output, packages, other)
    assert done.returncode == 0, done.stderr
    contents = codec.read(output, records.Contents)
    assert (contents.torch, contents.cuda, contents.cudnn) == ("1.2.0+cu92", "9.2.148", 7602)
    assert (contents.nccl, contents.cuda_architectures) == ("2.4.8", ())
    assert contents.packages == {"ruamel-yaml-clib": "0.2", "six": "1.0", "torch": "1.2.0+cu92"}
    assert contents.python.startswith("3.7.") == (python in LEGACY_PYTHON)


def test_what_setuptools_or_debian_installed_counts_too(packages: Path, tmp_path: Path) -> None:
    """A folder or a file, with the Python and the platform in its name; installed in place, without a version."""
    (packages / "numpy-1.17.5-py3.7-linux-x86_64.egg-info").mkdir()
    (packages / "Pygments-2.14.0.egg-info").write_text("Metadata-Version: 2.1\nName: Pygments\nVersion: 2.14.0\n")
    (packages / "mine.egg-info").mkdir()
    (packages / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 0.3\n")
    hashes = set()
    for output in ("with.json", "without.json"):
        read(sys.executable, tmp_path / output, packages)
        contents = codec.read(tmp_path / output, records.Contents)
        hashes.add(contents.packages_sha256)
        if output == "with.json":
            known = contents.packages
            (packages / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 0.4\n")
    assert known == {
        "mine": "0.3",
        "numpy": "1.17.5",
        "pygments": "2.14.0",
        "ruamel-yaml-clib": "0.2",
        "six": "1.0",
        "torch": "1.2.0+cu92",
    }
    assert len(hashes) == 2


def test_the_hash_tells_two_sets_of_packages_apart(packages: Path, tmp_path: Path) -> None:
    hashes = []
    for extra in ("more-1.0.dist-info", "more-1.1.dist-info"):
        folder = tmp_path / extra
        (folder / extra).mkdir(parents=True)
        for _ in range(2):
            read(sys.executable, tmp_path / "contents.json", packages, folder)
            hashes.append(codec.read(tmp_path / "contents.json", records.Contents).packages_sha256)
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_a_broken_installation_says_what_is_broken(packages: Path, tmp_path: Path) -> None:
    (packages / "torch.py").write_text("import no_such_dependency")
    done = read(sys.executable, tmp_path / "contents.json", packages)
    assert done.returncode == 1
    assert done.stderr == ("faceoff: torch is installed but does not import: No module named 'no_such_dependency'\n")
    assert not (tmp_path / "contents.json").exists()


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_after_the_look_at_torch_where_it_was_before(collects: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        find_torch()
        assert gc.isenabled() == collects
    finally:
        (gc.enable if was else gc.disable)()


def test_a_program_that_is_no_python_and_ends_well_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FaceoffError, match="left nothing: its `python` is no Python"):
        contents.read(0, tmp_path / "contents.json")
