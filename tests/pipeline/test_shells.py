"""The pipeline as a stranger's shell starts it: another Python first on PATH, a plain `dvc`, an account without a name.

One checkout serves all tests, in the order in which they stand.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from stages import codec, records
from tests.jobs import checkout
from tests.project import TINY_FILES, write_job
from tests.real_engine import unable

HELD, BEGAN = "held", "began"  # files beside the project: the job waits while the first is there, and makes the second
UNNAMED = ("unshare", "--user", "--map-user=12345", "env", "-u", "HOME")
AT_WORK = "faceoff: this checkout: another run is at work on it (process "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, committed, and beside it programs that no stage is to find."""
    made = checkout.make(tmp_path_factory.mktemp("checkout") / "project", ["host"], repeats=[1])
    beside = made.parent
    waits = f"touch {beside}/{BEGAN}\nwhile test -e {beside}/{HELD}; do sleep 0.1; done\n"
    write_job(made, "tiny", {"train.sh": waits + TINY_FILES["train.sh"]})
    for name in ("python", "python3", "dvc"):
        (beside / name).write_text("#!/bin/sh\necho another $0 >&2\nexit 9\n")
        (beside / name).chmod(0o755)
    for name in ("name", "email"):
        checkout.run(made, "git", "config", f"user.{name}", "t@localhost")
    commit(made)
    return made


def commit(folder: Path) -> None:
    checkout.run(folder, "git", "add", "--all")
    checkout.run(folder, "git", "commit", "-qm", "All")


def plain(folder: Path, **variables: str) -> Mapping[str, str]:
    """The environment of a shell in which nothing was activated."""
    wanted = ("TMPDIR", "LANG", "GIT_", "DVC_")  # of git and DVC, that this machine's settings stay out
    return {
        **{name: each for name, each in os.environ.items() if name.startswith(wanted)},
        "PATH": f"{folder.parent}:/usr/bin:/bin",
        "HOME": str(folder.parent),
        "SHELL": "/bin/sh",
        **variables,
    }


def started(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=folder, env=plain(folder, **variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(folder: Path, *command: str, code: int = 0, **variables: str) -> str:
    with started(folder, *command, **variables) as process:
        printed = process.communicate()[0]
    assert process.returncode == code, printed
    return printed


def status(folder: Path) -> str:
    """What is there beside what is committed, and beside .venv and DVC's own locks."""
    lines = checkout.run(folder, "git", "status", "--porcelain", "--ignored").splitlines(keepends=True)
    return "".join(line for line in lines if line[3:] not in (".venv\n", ".dvc/tmp/\n"))


def test_without_a_venv_that_is_whole_a_line_says_what_to_do_and_nothing_is_written(folder: Path) -> None:
    venv, dvc = folder / ".venv", str(folder / ".venv/bin/dvc")
    link, dvc = venv.readlink(), str(Path(dvc).resolve())
    before = status(folder)
    venv.unlink()
    said = run(folder, dvc, "repro", code=255)
    assert "faceoff: there is no .venv, whose Python runs every stage: `make repro` sets it up and runs" in said
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(Path(sys.executable).resolve())  # as a set-up leaves it that was cut off at once
    lacks = run(folder, dvc, "repro", code=255)
    assert f"faceoff: {folder}/.venv/bin/python lacks what this needs (No module named " in lacks
    assert "Traceback" not in said + lacks
    shutil.rmtree(venv)
    assert status(folder) == before
    venv.symlink_to(link)


def test_a_plain_dvc_repro_runs_by_venvs_python_whichever_is_first(folder: Path) -> None:
    other = next(filter(None, map(shutil.which, ("fish", "tcsh", "zsh", "sh"))))
    said = run(folder, ".venv/bin/dvc", "repro", SHELL=other)
    assert "another " not in said
    assert codec.read(folder / records.COMPARISON_PATH, records.Comparison).settings[0].status == "ok"
    commit(folder)


def test_an_account_without_name_home_shell_and_utf_8_runs_it_to_the_end_though_nobody_reads(folder: Path) -> None:
    as_unnamed = UNNAMED if subprocess.run([*UNNAMED, "true"], capture_output=True).returncode == 0 else ()
    variables = {"SHELL": "/usr/sbin/nologin", "PYTHONIOENCODING": "ascii"}
    before = (folder / records.SCORECARD_PATH).stat().st_mtime_ns
    with started(folder, *as_unnamed, ".venv/bin/python", "-m", "stages.repro", **variables) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.stdout.close()
    assert process.returncode == 0, said
    assert (folder / records.SCORECARD_PATH).stat().st_mtime_ns > before, "it went on to its last stage"
    said = run(folder, *as_unnamed, ".venv/bin/python", "-m", "stages.publish", **variables)
    assert "host/plain" in said and said.isascii()
    if not as_unnamed:
        unable("it runs to its end, but by an account with a name: no user namespace can be had here")


def test_a_terminal_that_closes_ends_no_run_that_nohup_started(folder: Path) -> None:
    script = "from stages.harness.process.signals import stop_signals\nwith stop_signals():\n os.kill(os.getpid(), 1)"
    command = [sys.executable, "-c", f"import os\n{script}"]
    ends = {how: subprocess.run([*how, *command], capture_output=True).returncode for how in ((), ("nohup",))}
    assert ends == {(): 129, ("nohup",): 0}


def test_what_else_nobody_reads_ends_quietly(folder: Path) -> None:
    many = "from stages.errors import run_entry\nrun_entry(lambda: [print(each) for each in range(10**6)] and 0)"
    with subprocess.Popen(
        [sys.executable, "-c", many], env={"PYTHONPATH": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_experiments_run_in_a_copy_and_never_two_at_once(folder: Path) -> None:
    """What `dvc queue start -j 2` does in the background: two copies of the checkout, each with locks of its own."""
    held, began = folder.parent / HELD, folder.parent / BEGAN
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("repeats:\n- 1\n", "repeats:\n- 1\n- 2\n"))
    began.unlink()
    held.touch()
    in_copy = (".venv/bin/dvc", "exp", "run", "--temp", "--name")
    with started(folder, *in_copy, "kept") as first:
        try:
            until = time.monotonic() + 300
            while not began.exists():
                assert first.poll() is None and time.monotonic() < until, first.communicate()[0]
                time.sleep(0.05)
            before = status(folder)
            assert AT_WORK in run(folder, *in_copy, "refused", code=255)
            assert status(folder) == before
        finally:
            held.unlink()
        said = first.communicate()[0]
    assert first.returncode == 0, said
    names = checkout.run(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").splitlines()
    [kept] = [name for name in names if name.endswith("/kept")]
    assert not any(name.endswith("/refused") for name in names)
    assert '"status": "ok"' in checkout.run(folder, "git", "show", f"{kept}:metrics/host/plain/train-2.json")
