"""The supervisor's processes, attempts and evaluations, on real commands, under this Python and under 3.7."""

import dataclasses
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.supervised import CELL, EVENTS, PYTHONS, SPAN, Checkout


@pytest.fixture(params=PYTHONS, ids=lambda path: "3.7" if "3.7" in path else "this Python")
def checkout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path, request.param)


@pytest.fixture
def oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Under the oldest Python that is here: for what takes seconds."""
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
while not os.path.getsize(os.environ["FACEOFF_EVENTS"]):
    time.sleep(0.05)
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
def test_who_is_asked_to_stop_stops_the_command(oldest: Checkout, handler: str) -> None:
    """A command that takes no notice is killed; any other is not waited for until then, in one of some tries."""
    if handler == "signal.SIG_IGN":
        assert _seconds_to_stop(oldest, handler) > 3.5
    else:
        assert any(_seconds_to_stop(oldest, handler) < 3.5 for _ in range(4))


def _seconds_to_stop(oldest: Checkout, handler: str) -> float:
    """How long a command and its supervisor take to end when that is asked to stop."""
    begun = CELL.output_dir / "../begun"
    begun.unlink(missing_ok=True)
    process = oldest.start("train", oldest.script(STUBBORN.format(handler=handler)))
    wait_for(begun)
    began = time.monotonic()
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    took = time.monotonic() - began
    assert process.returncode == 143 and "Traceback" not in stderr
    assert gone(int(begun.read_text())) and not CELL.result_path("train").exists()
    return took


def test_a_killed_supervisor_takes_the_command_with_it(checkout: Checkout) -> None:
    process = checkout.start("train", checkout.script(STUBBORN.format(handler="signal.SIG_IGN")))
    begun = CELL.output_dir / "../begun"
    wait_for(begun)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while not gone(int(begun.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(int(begun.read_text()))


@pytest.mark.parametrize("handles", [True, False])
def test_a_command_says_where_it_stands_when_the_host_asks(oldest: Checkout, handles: bool) -> None:
    """By its own handler of SIGUSR1, or else as any Python does that aborts."""
    own = "import faulthandler\nfaulthandler.register(signal.SIGUSR1)\n" if handles else ""
    text = own + 'def stand_still():\n    open(os.environ["FACEOFF_OUTPUT"] + "/../begun", "w").write("1")\n'
    text = EVENTS + "import signal\n" + text + "    while True:\n        pass\nstand_still()\n"
    process = oldest.start("train", oldest.script(text))
    wait_for(CELL.output_dir / "../begun")
    process.send_signal(signal.SIGUSR1)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"in stand_still")
    if handles:
        process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == (143 if handles else 134)


def read_until(pipe: int, words: bytes) -> None:
    text = b""
    while words not in text:
        more = os.read(pipe, 65536) if select.select([pipe], [], [], 30)[0] else b""
        assert more, text
        text += more


# ------------------------------------------------------------------------------- folders that the job replaced


@pytest.mark.parametrize("replaced", ["echo x > $it", "ln -s /usr $it", ":"], ids=["a file", "a link", "nothing"])
def test_a_command_that_replaces_its_output_fails_and_the_next_attempt_finds_a_folder(
    mine: Checkout, replaced: str
) -> None:
    script = f'it=$FACEOFF_OUTPUT\nrm -r "$it"\n{replaced}\n'
    done = mine.run("train", mine.script(script, "job.sh"))
    assert (done.returncode, done.stderr) == (1, f"faceoff: {mine.reason}\n")
    assert mine.reason.startswith(f"FACEOFF_OUTPUT ({CELL.output_dir}) is no folder any more: ")
    mine.run("train", mine.script(script + "kill -9 $$\n", "job.sh"))
    trained(mine)
    assert mine.result().status == "ok" and not list(CELL.output_dir.iterdir())
    done = mine.run("evaluate", mine.script(script, "job.sh"))
    assert done.returncode == 1 and mine.reason.startswith(f"FACEOFF_OUTPUT ({CELL.evaluation_dir}) is no folder")
    assert evaluated(mine, PREDICT).returncode == 0


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize("replaced", ["echo x > $it", ":"], ids=["a file", "nothing"])
def test_a_command_that_replaces_its_state_finds_a_folder_at_the_next_attempt(
    mine: Checkout, replaced: str, resumes: bool
) -> None:
    mine.job = dataclasses.replace(mine.job, resumes=resumes)
    dies = f'it=$FACEOFF_STATE\nrm -r "$it"\n{replaced}\nkill -9 $$\n'
    assert mine.run("train", mine.script(dies, "job.sh")).returncode == 137
    done = mine.run("train", mine.script('ls -A "$FACEOFF_STATE" && test -d "$FACEOFF_STATE"', "job.sh"))
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------------ resume

PAUSE_SECONDS = 1.2  # before it dies
EPOCHS = (
    EVENTS
    + """
began = time.monotonic()
state = os.environ["FACEOFF_STATE"] + "/done"
done = len(open(state).read()) if os.path.exists(state) else 0
say = {say}
if say and done:
    tell(resumed_after_spans=done)
for index in range(done, 4):
    time.sleep(0.2)
    tell(span="epoch", seconds=0.2 + index, step_seconds=[0.1, 0.1 * index])
    open(state, "a").write("x")
    if index == {dies_after}:
        open(os.environ["FACEOFF_STATE"] + "/took", "w").write(str(time.monotonic() - began))
        time.sleep({pause})
        os.kill(os.getpid(), 9)
"""
).replace("{pause}", str(PAUSE_SECONDS))
KEPT = "span,microseconds\n" + "".join(f"epoch,100000 {100000 * index}\n" for index in range(4))


def resuming(checkout: Checkout, first: str, second: str, **changes: Any) -> Any:
    """Two attempts, the first of which dies; the second's process and result."""
    checkout.job = dataclasses.replace(checkout.job, resumes=changes.pop("resumes", True))
    assert checkout.run("train", checkout.script(first)).returncode == 137
    done = checkout.run("train", checkout.script(second), **changes)
    assert done.returncode == 0, done.stderr
    return done, checkout.result()


def test_a_training_goes_on_where_it_was_killed(checkout: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    pause_seconds = 5  # so long that a slow start of Python is no pause
    done, found = resuming(checkout, first.replace(f"sleep({PAUSE_SECONDS})", f"sleep({pause_seconds})"), second)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2]
    assert CELL.steps_path.read_text() == KEPT and found.steps is not None and found.steps.count == 8
    one, other = found.attempts
    assert (one.after_spans, other.after_spans) == (0, 2)
    took = float((CELL.state_dir / "took").read_text())
    assert 0.4 <= took < one.seconds < took + pause_seconds, "the pause after its last span is not counted"
    assert found.command_seconds == one.seconds + other.seconds
    assert len(found.conditions) == 3 and found.wall_seconds > found.command_seconds
    assert found.warnings[-1] == (
        "trained in 2 attempts, anew after 2 spans, which makes the next one a cold one; it counts all the same"
    )
    assert "begins anew" not in done.stdout and found.notes == ()


def test_spans_that_are_trained_again_count_once(mine: Checkout) -> None:
    """Its checkpoint is older than its last span."""
    second = EPOCHS.format(say=True, dies_after=-1).replace("done = len(", "done = -1 + len(")
    _, found = resuming(mine, EPOCHS.format(say=True, dies_after=2), second)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2]
    assert [attempt.after_spans for attempt in found.attempts] == [0, 2]
    assert CELL.steps_path.read_text() == KEPT


def test_a_job_that_says_nothing_of_going_on_began_anew(mine: Checkout) -> None:
    done, found = resuming(mine, *(EPOCHS.format(say=False, dies_after=index) for index in (1, -1)))
    assert [span.seconds for span in found.spans] == [2.2, 3.2] and len(found.attempts) == 1
    assert "began anew: the job said nothing of going on" in done.stdout
    assert found.notes == ("it began anew after 1 attempt that does not count",)


def test_a_job_that_does_not_resume_begins_anew_with_an_empty_folder_and_says_so(mine: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    done, found = resuming(mine, first, second, resumes=False)
    assert [span.seconds for span in found.spans] == [0.2, 1.2, 2.2, 3.2] and len(found.attempts) == 1
    assert "host/plain, repeat 1: begins anew: its job.yaml does not say `resumes: true`" in done.stdout
    assert found.notes == ("it began anew after 1 attempt that does not count",)


def test_what_is_of_another_state_is_not_gone_on_with(mine: Checkout) -> None:
    first, second = (EPOCHS.format(say=True, dies_after=index) for index in (1, -1))
    done, found = resuming(mine, first, second, data_sha256="b" * 64)
    assert len(found.attempts) == 1 and len(found.spans) == 4
    assert "begins anew: the earlier attempt was of another state: its data" in done.stdout
    assert found.notes == (), "it was another training"


def test_all_attempts_that_do_not_count_are_noted(mine: Checkout) -> None:
    """Two without a state; one that began anew of its own, and was gone on with."""
    for _ in range(2):
        assert mine.run("train", mine.script(EPOCHS.format(say=True, dies_after=0))).returncode == 137
    done = mine.run("train", mine.script(EVENTS + SPAN))
    assert (done.returncode, mine.result().notes) == (0, ("it began anew after 2 attempts that do not count",))
    mine.discard()
    mine.job = dataclasses.replace(mine.job, resumes=True)
    for say, dies_after, code in ((True, 0, 137), (False, 1, 137), (True, -1, 0)):
        script = EPOCHS.format(say=say, dies_after=dies_after)
        anew = script.replace("say = False", 'done = 0\nopen(state, "w").close()\nsay = False')
        done = mine.run("train", mine.script(anew))
        assert done.returncode == code, done.stderr
    found = mine.result()
    assert [attempt.after_spans for attempt in found.attempts] == [0, 2]
    assert found.notes == ("it began anew after 1 attempt that does not count",)


def test_a_job_that_goes_on_amid_its_first_span_counts_until_it_was_last_heard_of(mine: Checkout) -> None:
    begins = EVENTS + 'time.sleep(1)\nos.utime(os.environ["FACEOFF_EVENTS"])\ntime.sleep(5)\nos.kill(os.getpid(), 9)'
    _, found = resuming(mine, begins, EVENTS + "tell(resumed_after_spans=0)\n" + SPAN)
    one, other = found.attempts
    assert (one.after_spans, other.after_spans) == (0, 0) and 0.9 < one.seconds < 6


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


@pytest.mark.parametrize("text", ["item,predicted\\n", "", "\\udcff", "item,label,predicted\\na,1\\n"])
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


def test_another_model_than_the_training_left_is_not_evaluated(checkout: Checkout) -> None:
    trained(checkout, SPAN + 'open(os.environ["FACEOFF_OUTPUT"] + "/model", "w").write("a model")\n')
    (CELL.output_dir / "model").write_text("b model")
    assert evaluated(checkout, PREDICT).returncode == 1
    advice = f"to train again: rm {CELL.result_path('train')}, then make repro"
    assert checkout.reason == f"{CELL.output_dir} is not as the training left it: {advice}"
    (CELL.output_dir / "model").write_text("a model")
    assert evaluated(checkout, PREDICT).returncode == 0


def test_without_a_command_there_is_an_evaluation_that_says_so(checkout: Checkout) -> None:
    assert checkout.run("train", checkout.script(EVENTS)).returncode == 0
    done = checkout.run("evaluate", ())
    assert (done.returncode, done.stdout) == (0, "")  # it would be said of every cell
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
