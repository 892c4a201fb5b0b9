"""`python -m stages.inside host`: the contract of a container without one, by real processes and real signals."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.harness.environments import cards
from stages.inside import USAGE
from tests.project import make_project, run_stage

# Starts a child that outlives a polite end, says both process ids, and waits.
STUBBORN_LOADER = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('loading', flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"), ["host"])


def inside(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return run_stage(project, "inside", "host", "--", *command)


def start(project: Path, *command: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "stages.inside", "host", "--", *command]
    return subprocess.Popen(arguments, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie has ended; whoever inherited it has not looked yet


def wait_until_gone(*pids: int) -> None:
    for _ in range(200):
        if not any(map(is_running, pids)):
            return
        time.sleep(0.05)
    pytest.fail(f"still running: {[pid for pid in pids if is_running(pid)]}")


def test_output_and_exit_code_are_the_commands(project: Path) -> None:
    done = inside(project, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_kaggles_token_is_for_the_download_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.setenv(name, "canary")
    assert "canary" not in inside(project, "env").stdout


def test_the_command_is_taken_as_it_is(project: Path) -> None:
    done = inside(project, "python", "-c", "import sys; print(sys.argv[1:])", "--", "a b", "$HOME", "--image", "*")
    assert done.stdout == "['--', 'a b', '$HOME', '--image', '*']\n"


def test_python_is_the_one_that_faceoff_runs_under_by_any_way(project: Path) -> None:
    show = "import sys; print(sys.prefix, sys.dont_write_bytecode)"
    direct = inside(project, "python", "-c", show)
    by_path = inside(project, "sh", "-c", f"python -c '{show}'")
    assert direct.stdout == by_path.stdout == f"{sys.prefix} True\n"


def test_a_command_that_is_not_there_is_one_line(project: Path) -> None:
    done = inside(project, "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "faceoff: cannot run no-such-command: No such file or directory\n"


def test_a_killed_command_has_the_exit_code_that_a_shell_gives_it(project: Path) -> None:
    assert inside(project, "sh", "-c", "kill -9 $$").returncode == 137
    assert inside(project, "sh", "-c", "kill -SEGV $$").returncode == 139


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda each: str(each)
)
def test_a_signal_ends_all_that_the_command_started(project: Path, number: int, code: int) -> None:
    process = start(project, "python", "-c", STUBBORN_LOADER)
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2 and all(map(is_running, pids))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors == f"faceoff: {signal.Signals(number).name}: stopping\n"
    wait_until_gone(*pids)


def test_a_command_that_ignores_a_polite_end_is_killed(project: Path) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    process = start(project, "python", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    process.terminate()
    assert process.stderr is not None and process.stderr.readline() == "faceoff: SIGTERM: stopping\n"
    process.send_signal(signal.SIGINT)  # an impatient second one changes nothing
    assert process.wait(timeout=60) == 143


def test_what_a_command_leaves_running_is_ended_with_it(project: Path) -> None:
    done = inside(project, "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    assert done.returncode == 0
    wait_until_gone(int(done.stdout))


def test_signals_reach_the_command_itself(project: Path) -> None:
    """A child inherits what its parent holds back; the command must not, or nothing but SIGKILL would end it."""
    done = inside(project, "python", "-c", "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))")
    assert done.stdout == "set()\n"


def test_output_comes_while_the_command_runs(project: Path) -> None:
    gate = project / "models" / "gate"
    gate.parent.mkdir(exist_ok=True)
    process = start(project, "sh", "-c", f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second")
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    assert process.poll() is None
    gate.touch()
    assert process.communicate(timeout=60)[0] == "second\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["host"], ["host", "--"], ["host", "true"], ["--", "true"], ["host", "--result"], ["host", "--profile", "x"]],
    ids=lambda each: " ".join(each),
)
def test_a_wrong_call_is_one_line(project: Path, arguments: list[str]) -> None:
    done = run_stage(project, "inside", *arguments)
    assert done.returncode == 2
    assert done.stderr == f"faceoff: {USAGE}\n" and done.stderr.count("\n") == 1


def test_an_unknown_image_is_one_line(project: Path) -> None:
    done = run_stage(project, "inside", "cuda-8", "--", "true")
    assert done.returncode == 1
    assert done.stderr.startswith("faceoff: no image 'cuda-8': expected a folder of docker/ (cpu, cuda-10.0, ")
    assert done.stderr.count("\n") == 1


def test_the_host_image_is_checked_without_an_engine(tmp_path: Path) -> None:
    project = make_project(tmp_path, ["host"])
    done = run_stage(project, "image", "host", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 0, done.stderr
    assert '"python": "3.' in (project / "metrics/host/image.json").read_text()


def test_gpus_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    if any(device.exists() for device in cards.DEVICES):
        pytest.skip("this machine has a GPU")
    done = inside(make_project(tmp_path, ["host"], container={"gpus": "all"}), "true")
    assert done.returncode == 1 and done.stderr.startswith("faceoff: container.gpus is 'all', but no NVIDIA driver")


def test_gpus_that_are_not_wanted_are_hidden(tmp_path: Path) -> None:
    project = make_project(tmp_path, ["host"], container={"gpus": "none"})
    command = ("inside", "host", "--", "sh", "-c", "echo [$CUDA_VISIBLE_DEVICES]")
    assert run_stage(project, *command, CUDA_VISIBLE_DEVICES="0").stdout == "[]\n"
