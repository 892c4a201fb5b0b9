"""The supervisor on real commands, under this Python and under 3.7: each end has its outcome, in one line."""

import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from stages import codec, records
from stages.records import Metric
from tests import environments
from tests.supervised import CELL, JOB, PYTHONS, Checkout, write_image_task

EVENTS = """import json, os, sys, time
def tell(**line):
    open(os.environ["FACEOFF_EVENTS"], "a").write(json.dumps(line) + "\\n")
"""
SPAN = 'tell(span="epoch", seconds=0.5, samples=10, values={"loss": 0.25})\n'


@pytest.fixture(params=PYTHONS, ids=lambda path: "3.7" if "3.7" in path else "this Python")
def checkout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path, request.param)


@pytest.fixture
def oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Under the oldest Python that is here."""
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path, PYTHONS[-1])


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Under this Python alone: for what no version makes different."""
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# -------------------------------------------------------------------------------------------------- what ends well


def test_a_script_that_says_nothing_has_its_time_its_memory_and_its_output(checkout: Checkout) -> None:
    command = checkout.script('sleep 0.5\necho a model > "$FACEOFF_OUTPUT/model"\n', "job.sh")
    done = checkout.run("train", command)
    assert (done.returncode, done.stdout) == (0, "host/plain, repeat 1: train: ok\n"), done.stderr
    found = checkout.result()
    assert (found.status, found.spans, found.metrics, found.facts) == ("ok", (), {}, {})
    assert found.command_seconds is not None and 0.5 <= found.command_seconds < 5
    assert found.command_seconds < found.wall_seconds < 10
    assert found.peak_process_memory_bytes is not None and 2**20 < found.peak_process_memory_bytes < 2**27
    assert found.absent["ceilings"] == "the job gives none"
    (attempt,) = found.attempts
    assert (attempt.after_spans, attempt.seconds) == (0, found.command_seconds) and len(found.conditions) == 2
    assert (CELL.output_dir / "model").read_text() == "a model\n"


def test_all_that_a_job_says_is_in_the_result(checkout: Checkout) -> None:
    checkout.job = dataclasses.replace(checkout.job, metrics={"tokens": Metric("tokens/s", "higher", True)})
    ceilings = '{"loader_samples_per_second": 4.0, "compute_samples_per_second": 2}'
    text = EVENTS + SPAN + f'tell(metric="tokens", value=7)\ntell(fact="on", value=True)\ntell(ceilings={ceilings})\n'
    done = checkout.run("train", checkout.script(text))
    assert done.returncode == 0, done.stderr
    found = checkout.result()
    assert [(each.name, each.seconds, each.samples, each.values) for each in found.spans] == [
        ("epoch", 0.5, 10, {"loss": 0.25})
    ]
    assert (found.metrics, found.facts) == ({"tokens": 7.0}, {"on": "true"})
    assert found.ceilings is not None and found.ceilings.compute_samples_per_second == 2.0


def test_what_a_job_is_told(checkout: Checkout) -> None:
    text = """import json, os, sys
names = ("EVENTS", "OUTPUT", "STATE", "CELL", "DATA", "STEPS")
told = {name: os.environ.get("FACEOFF_" + name) for name in names}
told.update(cwd=os.getcwd(), mine=os.environ["MINE"], python=sys.executable, stdin=sys.stdin.read())
json.dump(told, open(os.path.join(told["OUTPUT"], "told.json"), "w"))
"""
    assert checkout.run("train", checkout.script(text), session_ends_at=4e9).returncode == 0
    told = json.loads((CELL.output_dir / "told.json").read_text())
    assert told["cwd"] == str(checkout.root / "jobs" / JOB) and told["DATA"] == str(checkout.root / "data" / JOB)
    assert [told[name] for name in ("EVENTS", "OUTPUT", "STATE")] == [
        str(checkout.root / path) for path in (CELL.events_path, CELL.output_dir, CELL.state_dir)
    ]
    assert (told["mine"], told["STEPS"], told["stdin"]) == ("of the variant", None, "")
    assert Path(told["python"]).samefile(checkout.python)
    cell = json.loads(told["CELL"])
    assert cell == {
        "job": JOB,
        "stage": "train",
        "image": "host",
        "variant": "plain",
        "repeat": 1,
        "seed": 43,
        "parameters": {"rate": 0.5},
        "section": {"size": 3},
        "session_ends_at": 4e9,
    }


def test_what_cannot_be_done_here_is_unsupported_whatever_the_exit_code(checkout: Checkout) -> None:
    text = EVENTS + 'tell(fact="device", value="cpu")\ntell(unsupported="no fp16\\n here")\nsys.exit(3)\n'
    done = checkout.run("train", checkout.script(text))
    assert done.returncode == 0, done.stderr
    found = checkout.result()
    assert (found.status, found.reason, found.attempts) == ("unsupported", "no fp16 here", ())
    assert (found.facts, found.absent["command_seconds"]) == ({"device": "cpu"}, "no fp16 here")
    assert not list(CELL.output_dir.iterdir())


def test_a_last_line_without_its_end_counts_where_the_job_ended_well(checkout: Checkout) -> None:
    command = checkout.script('printf \'{"fact": "a", "value": 1}\' >> $FACEOFF_EVENTS\n', "job.sh")
    assert checkout.run("train", command).returncode == 0
    assert checkout.result().facts == {"a": "1"}


# ------------------------------------------------------------------------------------------------ what does not

FAILURES = {
    "ends with a code": ("sys.exit(3)", 1, "the command ended with exit code 3; its own words are above"),
    "raises": ("1 / 0", 1, "the command ended with exit code 1; its own words are above"),
    "says an error": ('tell(error="no room")', 1, "no room"),
    "says an error and fails": ('tell(error="no room"); sys.exit(9)', 1, "no room"),
    "stops before the session's end": (
        "sys.exit(75)",
        75,
        "the command stopped before the session's end: run `make repro` again to go on",
    ),
    "is killed": ("os.kill(os.getpid(), 11)", 139, "the command was killed by SIGSEGV"),
    "is killed amid a line": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"spa\'); os.kill(os.getpid(), 9)',
        137,
        "the command was killed by SIGKILL",
    ),
    "misspells a key": (
        'tell(span="a", second=1)',
        1,
        "EVENTS, line 1: unknown key 'second' (did you mean 'seconds'?)",
    ),
    "tells half a line": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"spa\')',
        1,
        "EVENTS, line 1: not JSON (Unterminated string starting at: line 1 column 2 (char 1)): b'{\"spa'",
    ),
    "tells no number": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"span": "a", "seconds": NaN}\\n\')',
        1,
        'EVENTS, line 1: not JSON (NaN is no number): b\'{"span": "a", "seconds": NaN}\'',
    ),
    "tells a negative time": (
        'tell(span="a", seconds=-1)',
        1,
        "EVENTS, line 1.seconds: expected 0 or more, found -1.0",
    ),
    "tells no text": (
        'open(os.environ["FACEOFF_EVENTS"], "ab").write(b"\\xff\\xfe\\n")',
        1,
        "EVENTS, line 1: bytes that are no UTF-8",
    ),
    "tells far too much": (
        'line = b\'{"span": "s", "seconds": 1}\\n\'; open(os.environ["FACEOFF_EVENTS"], "ab").write(line * 360000)',
        1,
        "EVENTS: 10080000 bytes, at most 8388608 are read: report spans, not every step",
    ),
    "tells a metric that is not declared": (
        'tell(metric="loss", value=1)',
        1,
        "EVENTS, line 1: metric 'loss' is not in `metrics` of job.yaml; expected none",
    ),
    "uses a name twice": (
        'tell(span="a", seconds=1); tell(fact="a", value=1)',
        1,
        "EVENTS, line 2: 'a' is a fact here and was a span before",
    ),
    "writes the file anew": (
        'tell(fact="long", value="x" * 99); time.sleep(1.5); open(os.environ["FACEOFF_EVENTS"], "w").write("")',
        1,
        "EVENTS: shorter than before: open it to append (mode 'a')",
    ),
    "goes on after spans that nobody knows": (
        "tell(resumed_after_spans=2)",
        1,
        "resumed_after_spans: 2, but earlier attempts that count reported 0",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_other_end_has_its_exit_code_and_one_line_for_the_host(oldest: Checkout, name: str) -> None:
    text, code, reason = FAILURES[name]
    done = oldest.run("train", oldest.script(EVENTS + 'open(os.environ["FACEOFF_OUTPUT"] + "/x", "w")\n' + text))
    assert done.returncode == code, done.stderr
    assert oldest.reason == reason.replace("EVENTS", str(CELL.events_path))
    assert done.stderr.splitlines()[-1] == "faceoff: " + oldest.reason and "stages/workload" not in done.stderr
    assert not CELL.result_path("train").exists() and not list(CELL.output_dir.iterdir())


def test_a_bad_line_is_told_at_once(mine: Checkout) -> None:
    text = EVENTS + 'tell(sapn="a")\ntime.sleep(1.5)\nprint("the end", file=sys.stderr)\n'
    lines = mine.run("train", mine.script(text)).stderr.splitlines()
    assert len(lines) == 3 and lines[1] == "the end"
    assert lines[0] == f"{lines[2]}: the cell will fail" and "did you mean 'span'?" in lines[0]


def test_a_shell_whose_child_was_killed_ends_as_the_child_did(mine: Checkout) -> None:
    assert mine.run("train", mine.script("bash -c 'kill -SEGV $$'\nexit $?\n", "job.sh")).returncode == 139
    done = mine.run("train", mine.script("bash -c 'kill -TERM $$'\nexit $?\n", "job.sh"))
    assert done.returncode == 1, "nobody stopped the run: it would be taken up again and again"


def test_a_total_that_names_a_span_needs_it(mine: Checkout) -> None:
    mine.job = dataclasses.replace(mine.job, total=("epoch", "predict"))
    assert mine.run("train", mine.script(EVENTS + SPAN)).returncode == 1
    assert mine.reason == (
        "the job reported no span 'predict', which `total` of jobs/mine/job.yaml names; it reported: epoch"
    )


@pytest.mark.parametrize("command", [("no-such-program",), ("./job.py",), ("python", "a\0b")])
def test_what_cannot_be_started_is_one_line(mine: Checkout, command: tuple[str, ...]) -> None:
    mine.script("")
    done = mine.run("train", command)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("faceoff: cannot run ") and mine.reason in done.stderr


def test_a_session_that_is_over_starts_nothing(mine: Checkout) -> None:
    done = mine.run("train", mine.script('open("ran", "w")'), session_ends_at=time.time() - 1)
    assert done.returncode == 75 and done.stderr.startswith("faceoff: session.max_hours: the session is over")
    assert not (mine.root / "jobs" / JOB / "ran").exists()


# ---------------------------------------------------------------------------------------------------- processes

DAEMON = """import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), file=open(os.environ["FACEOFF_OUTPUT"] + "/pid", "w"))
        while True:
            time.sleep(0.05)
            open(os.environ["FACEOFF_EVENTS"], "a").write('{"fact": "late", "value": 1}\\n')
    os._exit(0)
os.close(1)
os.close(2)
time.sleep(0.7)
"""


def test_what_stays_is_ended_with_the_command(checkout: Checkout) -> None:
    done = checkout.run("train", checkout.script(DAEMON))
    assert done.returncode == 0, done.stderr
    assert gone(int((CELL.output_dir / "pid").read_text()))
    size = CELL.events_path.stat().st_size
    time.sleep(0.2)
    assert CELL.events_path.stat().st_size == size


def test_the_memory_is_of_the_largest_process(checkout: Checkout) -> None:
    text = """import os
if os.fork() == 0:
    block = os.urandom(1) * 200_000_000
    sum(range(10_000_000))
    os._exit(0)
os.wait()
"""
    assert checkout.run("train", checkout.script(text)).returncode == 0
    peak = checkout.result().peak_process_memory_bytes
    assert peak is not None and 200e6 < peak < 300e6


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


STUBBORN = (
    EVENTS
    + """import signal
signal.signal(signal.SIGTERM, {handler})
open(os.environ["FACEOFF_OUTPUT"] + "/../begun", "w").write(str(os.getpid()))
while True:
    time.sleep(0.1)
"""
)


@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "lambda *_: sys.exit(0)", "signal.SIG_IGN"])
def test_who_is_asked_to_stop_stops_the_command(checkout: Checkout, handler: str) -> None:
    """A command that takes no notice is killed."""
    process = checkout.start("train", checkout.script(STUBBORN.format(handler=handler)))
    begun = CELL.output_dir / "../begun"
    wait_for(begun)
    began = time.monotonic()
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 143 and "Traceback" not in stderr
    assert (time.monotonic() - began > 3.5) == (handler == "signal.SIG_IGN")
    assert gone(int(begun.read_text())) and not CELL.result_path("train").exists()


def test_a_killed_supervisor_takes_the_command_with_it(checkout: Checkout) -> None:
    process = checkout.start("train", checkout.script(STUBBORN.format(handler="signal.SIG_IGN")))
    begun = CELL.output_dir / "../begun"
    wait_for(begun)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while not gone(int(begun.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(int(begun.read_text()))


@pytest.mark.parametrize("handles", [True, False])
def test_a_command_says_where_it_stands_when_the_host_asks(checkout: Checkout, handles: bool) -> None:
    """By its own handler of SIGUSR1, or else as any Python does that aborts."""
    own = "import faulthandler\nfaulthandler.register(signal.SIGUSR1)\n" if handles else ""
    text = own + 'def stand_still():\n    open(os.environ["FACEOFF_OUTPUT"] + "/../begun", "w").write("1")\n'
    text = EVENTS + "import signal\n" + text + "    while True:\n        pass\nstand_still()\n"
    process = checkout.start("train", checkout.script(text))
    wait_for(CELL.output_dir / "../begun")
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    time.sleep(1)
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert "in stand_still" in stderr
    assert process.returncode == (143 if handles else 134)


# ------------------------------------------------------------------------------------------------------ resume

EPOCHS = (
    EVENTS
    + """
state = os.environ["FACEOFF_STATE"] + "/done"
done = len(open(state).read()) if os.path.exists(state) else 0
say = {say}
if say and done:
    tell(resumed_after_spans=done)
for index in range(done, 4):
    time.sleep(0.2)
    tell(span="epoch", seconds=0.2 + index)
    open(state, "a").write("x")
    if index == {dies_after}:
        time.sleep(1.2)
        os.kill(os.getpid(), 9)
"""
)


def resuming(checkout: Checkout, first: str, second: str, **changes: Any) -> Any:
    """Two attempts, the first of which dies; the second's process and result."""
    checkout.job = dataclasses.replace(checkout.job, resumes=changes.pop("resumes", True))
    assert checkout.run("train", checkout.script(first)).returncode == 137
    done = checkout.run("train", checkout.script(second), **changes)
    assert done.returncode == 0, done.stderr
    return done, checkout.result()


def test_a_training_goes_on_where_it_was_killed(checkout: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    done, found = resuming(checkout, first, second)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2]
    one, other = found.attempts
    assert (one.after_spans, other.after_spans) == (0, 2)
    assert 0.4 <= one.seconds < 1.2, "the pause after its last span is not counted"
    assert found.command_seconds == one.seconds + other.seconds
    assert len(found.conditions) == 3 and found.wall_seconds > found.command_seconds
    assert found.warnings[-1] == (
        "trained in 2 attempts, anew after 2 spans, which makes the next one a cold one; it counts all the same"
    )
    assert "begins anew" not in done.stdout


def test_spans_that_are_trained_again_count_once(mine: Checkout) -> None:
    """Its checkpoint is older than its last span."""
    second = EPOCHS.format(say=True, dies_after=-1).replace("done = len(", "done = -1 + len(")
    _, found = resuming(mine, EPOCHS.format(say=True, dies_after=2), second)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2]
    assert [attempt.after_spans for attempt in found.attempts] == [0, 2]


def test_a_job_that_says_nothing_of_going_on_began_anew(mine: Checkout) -> None:
    done, found = resuming(mine, *(EPOCHS.format(say=False, dies_after=index) for index in (1, -1)))
    assert [span.seconds for span in found.spans] == [2.2, 3.2] and len(found.attempts) == 1
    assert "began anew: the job said nothing of going on" in done.stdout


def test_a_job_that_does_not_resume_begins_anew_with_an_empty_folder_and_says_so(checkout: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    done, found = resuming(checkout, first, second, resumes=False)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2] and len(found.attempts) == 1
    assert "host/plain, repeat 1: begins anew: its job.yaml does not say `resumes: true`" in done.stdout


def test_what_is_of_another_state_is_not_gone_on_with(mine: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    done, found = resuming(mine, first, second, data_sha256="b" * 64)
    assert len(found.attempts) == 1 and len(found.spans) == 4
    assert "begins anew: the earlier attempt was of another state: its data" in done.stdout


def test_a_job_that_goes_on_amid_its_first_span_counts_until_it_was_last_heard_of(mine: Checkout) -> None:
    begins = EVENTS + 'time.sleep(1)\nos.utime(os.environ["FACEOFF_EVENTS"])\ntime.sleep(1)\nos.kill(os.getpid(), 9)'
    _, found = resuming(mine, begins, EVENTS + "tell(resumed_after_spans=0)\n" + SPAN)
    one, other = found.attempts
    assert (one.after_spans, other.after_spans) == (0, 0) and 0.9 < one.seconds < 1.9


@pytest.mark.parametrize("says", [True, False])
def test_three_attempts_one_of_them_without_a_span(mine: Checkout, says: bool) -> None:
    mine.job = dataclasses.replace(mine.job, resumes=True)
    say = EPOCHS.format(say=True, dies_after=0)
    assert mine.run("train", mine.script(say)).returncode == 137
    words = "tell(resumed_after_spans=1)\ntime.sleep(0.8)\n" if says else ""
    assert mine.run("train", mine.script(EVENTS + words + "os.kill(os.getpid(), 9)\n")).returncode == 137
    assert mine.run("train", mine.script(EPOCHS.format(say=True, dies_after=-1))).returncode == 0
    found = mine.result()
    assert len(found.spans) == 4 and [attempt.after_spans for attempt in found.attempts] == [0, 1]


# ---------------------------------------------------------------------------------------------------- evaluation


def trained(checkout: Checkout, text: str = SPAN) -> None:
    checkout.job = dataclasses.replace(checkout.job, evaluate="python job.py", total=("epoch", "predict"))
    done = checkout.run("train", checkout.script(EVENTS + text))
    assert done.returncode == 0, done.stderr


def evaluated(checkout: Checkout, text: str) -> Any:
    return checkout.run("evaluate", checkout.script(EVENTS + text))


WRITE = """path = os.environ["FACEOFF_OUTPUT"] + "/predictions.csv"
open(path, "wb").write("{}".encode("utf-8", "surrogateescape"))
"""
PREDICT = 'tell(span="predict", seconds=0.1)\n'


def test_an_evaluation_has_its_own_folder_and_its_predictions_are_kept(checkout: Checkout) -> None:
    trained(checkout)
    written = (
        'open(os.environ["FACEOFF_OUTPUT"] + "/predictions.csv", "w").write("item,label,predicted,p\\na,1,0,.5\\n")'
    )
    done = evaluated(checkout, PREDICT + written)
    assert done.returncode == 0, done.stderr
    found = checkout.result("evaluate")
    assert CELL.predictions_path.read_text() == "item,label,predicted,p\na,1,0,.5\n"
    assert found.predictions_sha256 and [span.name for span in found.spans] == ["predict"]
    assert not CELL.evaluation_dir.exists() and not list(CELL.output_dir.iterdir())


def test_predictions_that_the_training_left_count_too(mine: Checkout) -> None:
    trained(
        mine,
        SPAN + 'open(os.environ["FACEOFF_OUTPUT"] + "/predictions.csv", "w").write("item,label,predicted\\n1,2,3\\n")',
    )
    assert evaluated(mine, PREDICT).returncode == 0
    assert CELL.predictions_path.read_text().endswith("1,2,3\n")


@pytest.mark.parametrize("text", ["item,predicted\\n", "", "\\udcff"])
def test_other_predictions_fail_it(mine: Checkout, text: str) -> None:
    trained(mine)
    written = WRITE.format(text)
    done = evaluated(mine, PREDICT + written)
    assert done.returncode == 1 and str(CELL.evaluation_dir / "predictions.csv") in mine.reason
    assert not CELL.result_path("evaluate").exists()


def test_a_span_of_the_total_may_come_in_the_evaluation_and_no_later(mine: Checkout) -> None:
    trained(mine)
    assert evaluated(mine, "").returncode == 1
    assert mine.reason.startswith("the job reported no span 'predict'")


def test_without_a_command_there_is_an_evaluation_that_says_so(checkout: Checkout) -> None:
    assert checkout.run("train", checkout.script(EVENTS)).returncode == 0
    assert checkout.run("evaluate", ()).returncode == 0
    found = checkout.result("evaluate")
    assert (found.status, found.spans, found.command_seconds) == ("ok", (), None)
    assert found.absent["command_seconds"] == "job mine has no `evaluate` command"
    assert CELL.predictions_path.read_text() == "item,label,predicted\n"


def test_where_the_training_did_not_end_well_nothing_is_run(mine: Checkout) -> None:
    trained(mine, 'tell(unsupported="not here")')
    assert evaluated(mine, "sys.exit(1)").returncode == 0
    found = mine.result("evaluate")
    assert (found.status, found.reason) == ("unsupported", "not here")
    assert CELL.predictions_path.read_text() == "item,label,predicted\n"


# --------------------------------------------------------------------------------------------------- environment


def test_another_environment_than_the_profiles_is_refused_with_what_differs(mine: Checkout) -> None:
    facts = environments.facts(packages={"six": "1.0"}, packages_sha256="c" * 64)
    codec.write(records.facts_path("host"), facts)
    done = mine.run("train", mine.script('open("ran", "w")'))
    assert done.returncode == 1 and "metrics/host/facts.json: the environment is another: " in done.stderr
    assert "hardware." in done.stderr and "run `dvc repro -s -f profile@host`" in done.stderr
    assert not (mine.root / "jobs" / JOB / "ran").exists()


def test_another_package_is_another_environment(checkout: Checkout) -> None:
    task = checkout.task("train", checkout.script(""))
    path = write_image_task(checkout.root, task, checkout.job)
    command = [checkout.python, "-m", "stages.profile", "--task", path]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout.root)}, check=True)
    assert checkout.run("train", task.command).returncode == 0
    (checkout.root / "surplus-1.2.dist-info").mkdir()
    done = checkout.run("train", task.command)
    assert done.returncode == 1 and "surplus was not there, is 1.2" in done.stderr
