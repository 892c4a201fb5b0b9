"""A session wherever it is started: what it sets up with, what it passes on, and how a signal ends it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reach import session
from tests.project import ROOT
from tests.wheels import wheel

STAND_IN = """\
import pathlib, signal, sys, time
name = pathlib.Path(__file__).stem
pathlib.Path("ran").open("a").write(name + "\\n")
if name == "repro" and pathlib.Path("wait").exists():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pathlib.Path("began").touch()
    time.sleep(60)
if name == "pack":
    pathlib.Path(sys.argv[2]).write_text("a pack")
sys.exit(int(pathlib.Path("code").read_text()) if name == "repro" else 0)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose stages only note that they ran; `repro` ends with what stands in the file `code`."""
    for name in ("reach", "stages"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "reach/session.py", tmp_path / "reach")
    for name in ("params", "repro", "publish", "pack"):
        (tmp_path / f"stages/{name}.py").write_text(STAND_IN)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (tmp_path / "code").write_text("0")
    return tmp_path


def command(checkout: Path) -> list[str]:
    return [sys.executable, "reach/session.py", "--pack", "pack.zip", "--state", str(checkout / "state.json")]


@pytest.mark.parametrize(("code", "state"), [(0, "done"), (75, "timed-out"), (1, "failed"), (143, "stopped")])
def test_a_session_says_how_it_ended_and_packs_what_is_whole(checkout: Path, code: int, state: str) -> None:
    (checkout / "code").write_text(str(code))
    assert subprocess.run(command(checkout), cwd=checkout).returncode == code
    noted = json.loads((checkout / "state.json").read_text())
    assert (noted["state"], noted["code"]) == (state, code)
    expected = ["params", "repro", *(["publish"] if code == 0 else []), "pack"]
    assert (checkout / "ran").read_text().split() == expected
    assert (checkout / "pack.zip").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_is_noted(checkout: Path, number: signal.Signals) -> None:
    (checkout / "wait").touch()
    with subprocess.Popen(command(checkout), cwd=checkout) as process:
        while not (checkout / "began").exists():
            time.sleep(0.02)
        assert json.loads((checkout / "state.json").read_text())["state"] == "running"
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert json.loads((checkout / "state.json").read_text())["state"] == "stopped"
    assert (checkout / "ran").read_text().split() == ["params", "repro", "pack"]


def test_what_a_notebook_sets_for_itself_does_not_reach_the_run(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    names = [name for name in session.NOTEBOOK if not name.startswith("PYTHON")]  # which would end this Python too
    code = "from reach import session; session.Steps().run(['/bin/sh', '-c', 'env >\"$SEEN\"'])"
    environment = {**os.environ, **dict.fromkeys(names, "1"), "SEEN": str(seen)}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment).returncode == 0
    passed = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "PATH" in passed and len(names) == 5 and not passed & {*names}


def test_a_notebooks_backend_of_matplotlib_does_not_stop_the_report() -> None:
    code = "import stages.harness.report.page.svg"
    environment = {**os.environ, "MPLBACKEND": "module://of_a_notebook.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


def test_pips_settings_of_the_shell_do_not_lead_the_set_up_elsewhere(tmp_path: Path) -> None:
    lock, elsewhere = tmp_path / "lock", tmp_path / "elsewhere"
    lock.write_text(wheel(tmp_path / "wheels", "dvc", "1.0", {"dvc/cli.py": ""}))
    code = f"session.ROOT, session.LOCK = Path({str(tmp_path)!r}), Path({str(lock)!r}); "
    code = (
        f"from pathlib import Path; from reach import session; {code}raise SystemExit(session.set_up(session.Steps()))"
    )
    variables = {"FACEOFF_WHEELS": str(tmp_path / "wheels"), "PIP_TARGET": str(elsewhere), "PIP_USER": "1"}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables}).returncode == 0
    assert (tmp_path / ".venv/harness.stamp").exists() and not elsewhere.exists()


def test_a_python_that_is_called_python3_alone_runs_the_stages_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "ROOT", tmp_path)
    monkeypatch.setattr(session, "lacking", list)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "usr"))
    assert session.harness_python() == str(tmp_path / ".venv/bin/python")
    assert (tmp_path / ".venv/bin/python").samefile(sys.executable)


def test_a_python_that_holds_the_lock_is_known() -> None:
    assert session.lacking() == []


def test_what_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "not-there==1.0 \\\n    --hash=sha256:0\nof-windows==3.0 ; sys_platform == 'win32' \\\nPyYAML==0.1 \\\n"
    )
    monkeypatch.setattr(session, "LOCK", lock)
    assert session.lacking() == ["not-there", "pyyaml"]
