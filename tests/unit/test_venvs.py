"""Virtual environments below .venvs: real ones, of tiny wheels, made, interrupted, made anew and removed."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages import venvs as listing
from stages.errors import FaceoffError
from stages.harness.environments import pip, venvs
from stages.harness.environments.definition import Venv
from stages.harness.process.locks import held
from tests.mounts import mounting
from tests.project import ROOT
from tests.wheels import wheel

PACKAGES, TORCH = "docker/mine/packages.lock", "docker/mine/torch.txt"
VENV = Venv(PACKAGES, TORCH)
MAKE = """
import sys
from pathlib import Path
from stages.errors import run_entry
from stages.harness.environments import venvs
from tests.unit.test_venvs import VENV
run_entry(lambda: print(venvs.make(VENV, Path(sys.argv[1]), print)) or 0)
"""
BROKEN = "raise OSError('libcudart.so.13: cannot open shared object file')"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an image `mine` of two tiny wheels, which a pip.conf finds; and no other pip.conf."""
    wheels, mine = tmp_path / "wheels", tmp_path / "docker" / "mine"
    mine.mkdir(parents=True)
    (mine / "packages.lock").write_text(wheel(wheels, "tiny", "1.0", {"tiny.py": ""}))
    (mine / "torch.txt").write_text(wheel(wheels, "torch", "9.0", {"torch.py": ""}))
    (mine / "image.yaml").write_text(f"venv: {{packages: {PACKAGES}, torch: {TORCH}}}\n")
    for name in os.environ:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return tmp_path


def holds(python: Path) -> set[str]:
    return {path.name for path in python.parent.parent.glob("lib/python3*/site-packages/t*.py")}


# ------------------------------------------------------------------------------------------------------------ making


def test_one_is_made_once_whatever_the_shell_and_pip_conf_say(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = root / "elsewhere"
    with (root / "pip.conf").open("a") as conf:
        conf.write(f"constraint = {root}/no-such-file\n[install]\ntarget = {elsewhere}\nno-deps = false\n")
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME", "PIP_PYTHON"):
        monkeypatch.setenv(name, str(elsewhere))
    for name in ("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PIP_NO_BINARY"):
        monkeypatch.setenv(name, "1")
    assert not venvs.is_made(VENV, root)

    said: list[str] = []
    python = venvs.make(VENV, root, said.append)
    assert python.parent.parent == venvs.folder_of(VENV, root)
    assert python.parent.parent.parent == venvs.place(root) == root / ".venvs"
    assert holds(python) == {"tiny.py", "torch.py"}
    assert not elsewhere.exists()
    assert [line.partition(": ")[2].split(" of ")[0] for line in said] == [
        "a virtual environment",
        PACKAGES,
        TORCH,
    ]
    assert venvs.made(VENV, root) == python
    size = venvs.size_bytes(python)
    assert size is not None and size > 10**6
    assert {path.name for path in venvs.place(root).iterdir()} == {python.parent.parent.name}  # and no lock

    (root / "wheels").rename(root / "gone")  # made again, it would fail
    assert venvs.make(VENV, root, said.append) == python
    assert len(said) == 3


def test_a_making_that_was_killed_is_not_trusted_and_made_anew(root: Path) -> None:
    folder = venvs.folder_of(VENV, root)
    command = [sys.executable, "-c", MAKE, str(root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        while not (folder / "bin" / "python").exists():  # pip comes next
            assert process.poll() is None
            time.sleep(0.01)
        assert venvs.lock(folder).exists()
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        process.stdout.read()  # until what it had started is gone too
    assert not venvs.is_made(VENV, root)

    said: list[str] = []
    python = venvs.make(VENV, root, said.append)
    assert said[0] == f".venvs/{folder.name}: left half made by an interrupted run; made anew"
    assert holds(python) == {"tiny.py", "torch.py"}
    assert not venvs.lock(folder).exists()


def test_a_torch_that_does_not_import_is_not_taken_for_made(root: Path) -> None:
    (root / TORCH).write_text(wheel(root / "wheels", "torch", "9.1", {"torch.py": BROKEN}))
    folder = venvs.folder_of(VENV, root)
    with pytest.raises(FaceoffError) as failed:
        venvs.make(VENV, root, lambda line: None)
    assert str(failed.value) == (
        f".venvs/{folder.name}: the virtual environment was not made (import of torch): "
        "OSError: libcudart.so.13: cannot open shared object file"
    )
    assert not folder.exists()


def test_a_wheel_of_another_hash_is_refused_in_one_line(root: Path) -> None:
    (root / PACKAGES).write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(FaceoffError, match=r"not made \(docker/mine/packages.lock\): pip says: THESE PACKAGES DO NOT"):
        venvs.make(VENV, root, lambda line: None)


def test_a_full_disk_is_one_line_and_gets_its_room_back(root: Path) -> None:
    place = venvs.place(root)
    place.mkdir()
    command = shlex.join([sys.executable, "-c", MAKE, str(root)])
    script = f"mount -t tmpfs -o size=8m tmpfs {place}\n{command} >/dev/null || echo exit code $?\nls {place}"
    done = mounting(script, ROOT)
    name = venvs.folder_of(VENV, root).name
    assert (done.stdout, done.stderr) == (
        "exit code 1\n",
        f"faceoff: .venvs/{name}: the virtual environment was not made (ensurepip): "
        f"the disk of {place} is full; make room on it, then run again\n",
    )


def test_two_at_once_do_not_disturb_each_other(root: Path) -> None:
    folder = venvs.folder_of(VENV, root)
    refused = pytest.raises(FaceoffError, match=rf"\.venvs/{folder.name}: another run is at work on it")
    with held(venvs.lock(folder), "the other"), refused:
        venvs.make(VENV, root, print)
    assert not folder.exists()


def test_what_an_environment_is_made_of_is_its_name(root: Path) -> None:
    names = [venvs.folder_of(VENV, root).name]
    for file in (PACKAGES, TORCH):
        with (root / file).open("a") as lock:
            lock.write("# another\n")
        names.append(venvs.folder_of(VENV, root).name)
    python = fake_python(root / "python3.98", ["/x/python3", "3.98.1", "CPython", "x86_64", True])
    for version in ("3.98.1", "3.98.2"):
        fake_python(python, ["/x/python3", version, "CPython", "x86_64", True])
        names.append(venvs.folder_of(Venv(PACKAGES, TORCH, str(python)), root).name)
    assert len(set(names)) == 5
    assert names[0] != venvs.folder_of(VENV, root).name


def test_one_that_was_moved_is_made_anew_since_its_scripts_name_the_old_place(root: Path) -> None:
    folder = stand_in(venvs.folder_of(VENV, root))
    assert venvs.is_made(VENV, root)
    shutil.move(folder, root / "moved")
    assert venvs.stamp(root / "moved") is None


# ----------------------------------------------------------------------------------------------------- which Python


def fake_python(path: Path, facts: list[object]) -> Path:
    path.write_text(f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
    path.chmod(0o755)
    return path


def wanted(python: str) -> Venv:
    return Venv(PACKAGES, TORCH, python)


def test_a_version_is_looked_for_on_path_past_what_does_not_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = root / "shims", root / "bin"
    for folder in (first, second):
        folder.mkdir()
    shim = first / "python3.98"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.98: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    fake_python(second / "python3.97", ["/x/python3.97", "3.97.0", "CPython", "x86_64", True])
    monkeypatch.setenv("PATH", f"{first}:{second}")
    with pytest.raises(
        FaceoffError, match=r"venv.python 3.98: .*/shims/python3.98 does not run: pyenv: python3.98: com"
    ):
        venvs.make(wanted("3.98"), root, print)
    with pytest.raises(FaceoffError, match=r"venv.python 3.9: no python3.9 on PATH; found 3.97, 3.98; install it, or"):
        venvs.make(wanted("3.9"), root, print)

    fake_python(second / "python3.98", ["/x/python3.98", "3.98.0", "CPython", "x86_64", False])
    with pytest.raises(FaceoffError, match=r"/x/python3.98 cannot make .*: apt-get install python3.98-venv"):
        venvs.make(wanted("3.98"), root, print)
    with pytest.raises(FaceoffError, match=r"venv.python 3.98.4: .*shims.*; .*/bin/python3.98 is 3.98.0; install it"):
        venvs.make(wanted("3.98.4"), root, print)


def test_a_path_is_from_the_top_of_the_checkout(root: Path) -> None:
    fake_python(root / "own", ["/x/python3.98", "3.98.0", "CPython", "x86_64", False])
    with pytest.raises(FaceoffError, match=r"/x/python3.98 cannot make"):
        venvs.make(wanted("./own"), root, print)
    with pytest.raises(FaceoffError, match=r"venv.python no/python: .*/no/python does not run: No such file"):
        venvs.make(wanted("no/python"), root, print)


def test_a_lock_that_is_not_there_is_one_line(root: Path) -> None:
    (root / PACKAGES).unlink()
    with pytest.raises(FaceoffError, match=r"packages.lock: not readable: No such file"):
        venvs.is_made(VENV, root)


# -------------------------------------------------------------------------------------------------- pip's own settings


def test_of_pips_settings_the_way_to_an_index_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n    https://b.example\n    https://c.example\n"
        "cert = /a.pem\ntimeout = 5\nuser = true\n[install]\ncert = /b.pem\nprefix = /x\n[list]\ncert = /no.pem\n"
    )
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setenv("PIP_CACHE_DIR", "/cache")
    monkeypatch.setenv("PIP_ROOT", "/x")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = pip.environment(Path(sys.executable))
    assert {name: value.split() for name, value in found.items() if name.startswith("PIP_")} == {
        "PIP_INDEX_URL": ["https://a.example/simple"],
        "PIP_EXTRA_INDEX_URL": ["https://b.example", "https://c.example"],
        "PIP_CERT": ["/b.pem"],
        "PIP_TIMEOUT": ["7"],
        "PIP_CACHE_DIR": ["/cache"],
        "PIP_CONFIG_FILE": ["/dev/null"],
    }
    assert found["https_proxy"] == "http://proxy.example"
    assert "OMP_NUM_THREADS" not in found


def test_a_broken_pip_conf_is_one_line(root: Path) -> None:
    (root / "pip.conf").write_text("index-url = x\n")
    with pytest.raises(FaceoffError, match=r"pip does not read its settings: .*pip.conf.*: mend that file") as failed:
        pip.environment(Path(sys.executable))
    assert "\n" not in str(failed.value)


# ------------------------------------------------------------------------------------------------- what is used by whom


def stand_in(folder: Path) -> Path:
    """An environment that looks whole, without the seconds that making one takes."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / venvs.STAMP).write_text(json.dumps({"folder": str(folder), "size_bytes": 3 * 2**30}))
    return folder


def test_the_list_names_size_and_images(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing.show(root)
    folder = venvs.folder_of(VENV, root)
    assert capsys.readouterr().out == f".venvs/{folder.name}   not made  mine\n"
    stand_in(folder)
    shutil.copytree(root / "docker" / "mine", root / "docker" / "same")
    half = venvs.place(root) / "0123456789ab"
    half.mkdir()
    (root / "docker" / "other").mkdir()
    (root / "docker" / "other" / "image.yaml").write_text("venv: {packages: docker/no.lock}\n")
    listing.show(root)
    lines = capsys.readouterr().out.splitlines()
    assert f".venvs/{folder.name}      3 GiB  mine, same" in lines
    assert any(line.startswith(".venvs/0123456789ab ") and line.endswith("no image, half made") for line in lines)
    assert lines[-1].startswith("image other: ") and "docker/no.lock: not readable" in lines[-1]


def test_what_no_image_is_and_what_is_half_made_is_removed_and_nothing_else(root: Path) -> None:
    place, used = venvs.place(root), stand_in(venvs.folder_of(VENV, root))
    unused = stand_in(place / "0123456789ab")
    (place / "of the user's own").mkdir()
    target = root / "a folder"  # which an environment may link to: the link alone goes
    target.mkdir()
    (target / "file").touch()
    (unused / "lib64").symlink_to(target)
    listing.remove_unused(root)
    assert {path.name for path in place.iterdir()} == {used.name, "of the user's own"}
    assert (target / "file").exists()

    (used / venvs.STAMP).unlink()
    listing.remove_unused(root)
    assert {path.name for path in place.iterdir()} == {"of the user's own"}


def test_nothing_is_removed_where_an_images_own_cannot_be_told(root: Path) -> None:
    unused = stand_in(venvs.place(root) / "0123456789ab")
    (root / "docker" / "mine" / "image.yaml").write_text(
        "venv: {packages: docker/mine/packages.lock, python: '3.99'}\n"
    )
    with pytest.raises(FaceoffError, match=r"nothing is removed.*image mine: venv.python 3.99: no python3.99 on PATH"):
        listing.remove_unused(root)
    assert unused.exists()


def test_one_that_is_being_made_is_not_removed(root: Path) -> None:
    half = venvs.place(root) / "0123456789ab"
    half.mkdir(parents=True)
    refused = pytest.raises(FaceoffError, match=r"\.venvs/0123456789ab: another run is at work on it")
    with held(venvs.lock(half), "another"), refused:
        listing.remove_unused(root)
    assert half.exists()


def test_neither_git_nor_dvc_looks_through_them() -> None:
    """DVC walks through all that it does not ignore, at each of its commands."""
    assert "/.venvs" in (ROOT / ".gitignore").read_text().splitlines()
    assert ".venvs" in (ROOT / ".dvcignore").read_text().splitlines()
