"""An interpreter of this machine as an image: a container's contract without one, by real processes and signals."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages import codec, records, variables
from stages.errors import FaceoffError
from stages.harness.environments import cards, host
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


@pytest.mark.parametrize(
    ("cpus", "said"),
    [
        (frozenset({2**14}), "this machine has not all of the CPUs of container.cpuset"),
        (frozenset({*os.sched_getaffinity(0), 2**14}), "this machine has not all of the CPUs of container.cpuset"),
        (None, "Exception"),
    ],
)
def test_what_fails_before_a_command_starts_is_told_of_the_cpus_only_where_some_are_chosen(
    cpus: frozenset[int] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError("no prctl here")

    if cpus is None:
        monkeypatch.setattr(host, "end_with_parent", refuse)
    with pytest.raises(FaceoffError, match=f"^cannot run true: {said}"), host.started(("true",), {}, cpus=cpus):
        pass


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
    assert done.stderr.startswith("faceoff: no image 'cuda-8': expected a folder of docker/ (colab, cpu, ")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------------------------------------- which Python, and how


def define(project: Path, text: str) -> Path:
    (project / "docker" / "mine").mkdir(exist_ok=True)
    (project / "docker" / "mine" / "image.yaml").write_text(text)
    return project


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A project whose image `mine` is the Python of this checkout, by an absolute path."""
    return define(make_project(tmp_path, ["host"]), f"python: {sys.executable}\n")


def test_it_is_checked_without_an_engine(tmp_path: Path) -> None:
    project = make_project(tmp_path, ["host"])
    done = run_stage(project, "image", "host", DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 0, done.stderr
    made = codec.read(project / "metrics/host/image.json", records.Image)
    assert (made.kind, made.python, made.reference) == ("python", sys.executable, None)
    assert made.contents.python.startswith("3.") and made.absent["reference"] == "it runs without a container"


def test_it_is_found_on_path_and_below_the_checkout(mine: Path, tmp_path: Path) -> None:
    show = ("inside", "mine", "--", "python", "-c", "import sys; print(sys.executable)")
    (tmp_path / "bin").mkdir()
    for name in ("python3.77", "bin/python"):
        (tmp_path / name).symlink_to(sys.executable)
    define(mine, "python: python3.77\n")
    assert run_stage(mine, *show, PATH=f"{tmp_path}:/usr/bin:/bin").stdout == f"{tmp_path}/python3.77\n"
    define(mine, "python: bin/python\n")
    assert run_stage(mine, *show).stdout == f"{tmp_path}/bin/python\n"


def test_faceoffs_own_venv_is_passed_over_on_path(mine: Path, tmp_path: Path) -> None:
    """It is first on PATH within make, has no torch perhaps, and programs that another Python's job does not mean."""
    own = Path(sys.executable).parent
    assert sys.prefix != sys.base_prefix and (own / "python3").exists()
    (tmp_path / "python3").symlink_to(sys.executable)
    define(mine, "python: python3\n")
    path = f"{own}:{tmp_path}:/usr/bin:/bin"
    done = run_stage(mine, "inside", "mine", "--", "sh", "-c", "command -v python3; echo $PATH", PATH=path)
    assert done.stdout == f"{tmp_path}/python3\n{tmp_path}:{tmp_path}:/usr/bin:/bin\n", done.stderr
    assert str(own) in run_stage(mine, "inside", "host", "--", "sh", "-c", "echo $PATH", PATH=path).stdout


@pytest.mark.parametrize("wanted", ["/nowhere/python", "bin/python", "python9.9", "stages"])
def test_one_that_is_not_there_is_one_line(mine: Path, wanted: str) -> None:
    define(mine, f"python: {wanted}\n")
    for stage in (("image", "mine"), ("inside", "mine", "--", "true")):
        done = run_stage(mine, *stage)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(
            f"faceoff: image mine: no Python at {wanted}, which docker/mine/image.yaml names: "
        )


def test_its_setup_is_run_before_it_is_looked_at(mine: Path) -> None:
    define(mine, f"python: ./python\nsetup: ln -s {sys.executable} python\n")
    done = run_stage(mine, "image", "mine")
    assert done.returncode == 0, done.stderr
    again = run_stage(mine, "image", "mine")  # `ln` fails now
    assert again.returncode == 1
    assert again.stderr.endswith(
        f"faceoff: image mine: setup (ln -s {sys.executable} python) ended with exit code 1; its words are above\n"
    )


def test_one_that_needs_a_library_path_of_the_shell_says_so(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("#!/bin/sh\necho 'libpython3.so: cannot open shared object file' >&2\nexit 127\n")
    (tmp_path / "broken").chmod(0o755)
    define(mine, "python: ./broken\n")
    done = run_stage(mine, "image", "mine", LD_LIBRARY_PATH="/opt/python/lib")
    assert "it gets no LD_LIBRARY_PATH of this shell, which may be what it lacks: put it under `env` in" in done.stderr
    assert "LD_LIBRARY_PATH" not in run_stage(mine, "image", "mine", LD_LIBRARY_PATH="").stderr


def venv(tmp_path: Path) -> Path:
    """A Python without torch, to which packages can be added."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    return tmp_path / "own"


def install(python: Path, name: str, version: str) -> None:
    [packages] = python.glob("lib/*/site-packages")
    (packages / f"{name}-{version}.dist-info").mkdir()


def test_packages_that_come_between_two_runs_are_seen_and_checked(mine: Path, tmp_path: Path) -> None:
    own = venv(tmp_path)
    define(mine, f"python: {own}/bin/python\nexpects: {{added: none}}\n")
    path = mine / "metrics/mine/image.json"
    assert run_stage(mine, "image", "mine").returncode == 0
    before = path.read_bytes()
    again = run_stage(mine, "image", "mine")
    assert (again.returncode, again.stdout, path.read_bytes()) == (0, "", before)
    install(own, "added", "9.9")
    done = run_stage(mine, "image", "mine")
    assert done.returncode == 1 and "added none expected, 9.9 found" in done.stderr and not path.exists()
    define(mine, f"python: {own}/bin/python\n")
    assert run_stage(mine, "image", "mine").returncode == 0
    assert codec.read(path, records.Image).contents.packages["added"] == "9.9"


def test_torch_is_asked_only_where_a_package_or_python_is_another(mine: Path, tmp_path: Path) -> None:
    own = venv(tmp_path)
    [packages] = own.glob("lib/*/site-packages")
    (packages / "torch.py").write_text(
        f"open({str(tmp_path / 'asked')!r}, 'a').write('x')\nraise ImportError('broken')\n"
    )
    define(mine, f"python: {own}/bin/python\n")
    assert "torch is installed but does not import: broken" in run_stage(mine, "image", "mine").stderr
    (packages / "torch.py").unlink()
    assert run_stage(mine, "image", "mine").returncode == 0
    (packages / "torch.py").write_text(
        f"open({str(tmp_path / 'asked')!r}, 'a').write('x')\nraise ImportError('broken')\n"
    )
    assert run_stage(mine, "image", "mine").returncode == 0
    install(own, "another", "1")
    assert run_stage(mine, "image", "mine").returncode == 1
    assert (tmp_path / "asked").read_text() == "xx"


# -------------------------------------------------------------------------------------------------- what reaches it


def environment(project: Path, image: str, **shell: str) -> dict[str, str]:
    done = run_stage(project, "inside", image, "--", "env", "-0", **shell)
    assert done.returncode == 0, done.stderr
    return dict(each.split("=", 1) for each in done.stdout.split("\0") if each)


STEERING = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_VERBOSE": "0",
    "CUDA_LAUNCH_BLOCKING": "1",
    "NVIDIA_TF32_OVERRIDE": "0",
    "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:32",
    "TORCH_LOGS": "all",
    "LD_LIBRARY_PATH": "/nowhere",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONPATH": "/nowhere",
    "PYTHONHASHSEED": "3",
}


def test_nothing_of_the_shell_that_steers_a_job_reaches_it(project: Path) -> None:
    found = environment(project, "host", HOME="/home/me", LC_ALL="C.UTF-8", TMPDIR="/var/tmp", **STEERING)
    assert not {*found} & {*STEERING}
    kept = {name: found[name] for name in ("HOME", "LC_ALL", "TMPDIR")}
    assert kept == {"HOME": "/home/me", "LC_ALL": "C.UTF-8", "TMPDIR": "/var/tmp"}
    compiled_again = "PYTHONDONTWRITEBYTECODE"  # in each process, where it is set
    assert found.get(compiled_again) == os.environ.get(compiled_again)
    assert found["PATH"].startswith(str(Path(sys.executable).parent))


def test_what_image_yaml_says_reaches_it_and_makes_another_image(mine: Path) -> None:
    plain = run_stage(mine, "image", "mine")
    before = codec.fingerprint(codec.read(mine / "metrics/mine/image.json", records.Image))
    define(mine, f'python: {sys.executable}\nenv: {{OMP_NUM_THREADS: "1", MY_FLAG: "a b"}}\n')
    assert plain.returncode == run_stage(mine, "image", "mine").returncode == 0
    assert codec.fingerprint(codec.read(mine / "metrics/mine/image.json", records.Image)) != before
    found = environment(mine, "mine", OMP_NUM_THREADS="2")
    assert (found["OMP_NUM_THREADS"], found["MY_FLAG"]) == ("1", "a b")


def test_a_shells_variables_that_reach_no_job_are_named_before_it_runs(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "warning: variables: needs environment variables where each job gets them"
    for stage in ("machine", "job"):
        assert run_stage(mine, stage).returncode == 0
    warned = run_stage(mine, "preflight", OMP_NUM_THREADS="1").stdout
    assert re.search(rf"{said}.*OMP_NUM_THREADS=1.* in this shell, which reach no job", warned)
    for name in variables.look(os.environ):  # of whoever runs this test
        monkeypatch.delenv(name)
    assert said not in run_stage(mine, "preflight").stdout
    meant = (mine / "params.yaml").read_text().replace("plain: {}", "plain: {env: {OMP_NUM_THREADS: '2'}}")
    (mine / "params.yaml").write_text(meant)
    assert said not in run_stage(mine, "preflight", OMP_NUM_THREADS="1").stdout


def test_it_runs_on_the_cpus_of_params_alone(tmp_path: Path) -> None:
    show = ("inside", "host", "--", "python", "-c", "import os; print(sorted(os.sched_getaffinity(0)))")
    cpu = min(os.sched_getaffinity(0))
    project = make_project(tmp_path, ["host"], container={"cpuset": str(cpu)})
    assert run_stage(project, *show).stdout == f"[{cpu}]\n"
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace(f"cpuset: '{cpu}'", "cpuset: '4000'"))
    done = run_stage(project, *show)
    assert done.returncode == 1 and "container.cpuset" in done.stderr and done.stderr.count("\n") == 1


def test_gpus_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    if any(device.exists() for device in cards.DEVICES):
        pytest.skip("this machine has a GPU")
    done = inside(make_project(tmp_path, ["host"], container={"gpus": "all"}), "true")
    assert done.returncode == 1 and done.stderr.startswith("faceoff: container.gpus is 'all', but no NVIDIA driver")


def test_gpus_that_are_not_wanted_are_hidden(tmp_path: Path) -> None:
    project = make_project(tmp_path, ["host"], container={"gpus": "none"})
    command = ("inside", "host", "--", "sh", "-c", "echo [$CUDA_VISIBLE_DEVICES]")
    assert run_stage(project, *command, CUDA_VISIBLE_DEVICES="0").stdout == "[]\n"
