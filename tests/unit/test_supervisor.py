"""The supervisor on real commands, under this Python and under 3.7: each end has its outcome, in one line."""

import dataclasses
import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from stages import codec, records
from stages.records import Metric, Steps, step_times
from tests import environments
from tests.supervised import CELL, EVENTS, JOB, PYTHONS, SPAN, Checkout, write_image_task


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


# -------------------------------------------------------------------------------------------------- what ends well


def test_a_script_that_says_nothing_has_its_time_its_memory_and_its_output(checkout: Checkout) -> None:
    command = checkout.script('sleep 0.5\necho a model > "$FACEOFF_OUTPUT/model"\n', "job.sh")
    began = time.monotonic()
    done = checkout.run("train", command)
    took = time.monotonic() - began
    assert (done.returncode, done.stdout) == (0, "host/plain, repeat 1: train: ok\n"), done.stderr
    found = checkout.result()
    assert (found.status, found.spans, found.metrics, found.facts) == ("ok", (), {}, {})
    assert found.command_seconds is not None and 0.5 <= found.command_seconds < found.wall_seconds < took
    assert found.peak_process_memory_bytes is not None and 2**20 < found.peak_process_memory_bytes < 2**27
    assert found.absent["ceilings"] == "the job gives none"
    (attempt,) = found.attempts
    assert attempt.began_at is not None and time.time() - took <= attempt.began_at <= time.time() - 0.5
    assert (attempt.after_spans, attempt.seconds) == (0, found.command_seconds) and len(found.conditions) == 2
    assert (CELL.output_dir / "model").read_text() == "a model\n"


def test_memory_of_several_processes_is_their_sum_in_which_what_they_share_counts_once(checkout: Checkout) -> None:
    script = """
import os, time
shared = bytearray(b"x") * (64 * 2**20)
if FORKS and os.fork() == 0:
    own = bytearray(b"y") * (32 * 2**20)
    time.sleep(4)  # a look amid the allocation puts off the next one
    os._exit(0)
os.wait() if FORKS else time.sleep(0.6)
"""
    assert checkout.run("train", checkout.script(script.replace("FORKS", "True"))).returncode == 0
    together = checkout.result().peak_job_memory_bytes
    assert together is not None and 96 * 2**20 < together < 150 * 2**20
    assert checkout.run("train", checkout.script(script.replace("FORKS", "False"))).returncode == 0
    assert checkout.result().peak_job_memory_bytes is None


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
told["leaves_no_compiled_code"] = sys.dont_write_bytecode
json.dump(told, open(os.path.join(told["OUTPUT"], "told.json"), "w"))
"""
    assert checkout.run("train", checkout.script(text), session_ends_at=4e9).returncode == 0
    told = json.loads((CELL.output_dir / "told.json").read_text())
    assert told["cwd"] == str(checkout.root / "jobs" / JOB) and told["DATA"] == str(checkout.root / "data" / JOB)
    assert [told[name] for name in ("EVENTS", "OUTPUT", "STATE")] == [
        str(checkout.root / path) for path in (CELL.events_path, CELL.output_dir, CELL.state_dir)
    ]
    assert (told["mine"], told["STEPS"], told["stdin"]) == ("of the variant", None, "")
    assert told["leaves_no_compiled_code"]  # which the next repeat would find
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
        "gpus": 1,
        "section": {"size": 3},
        "session_ends_at": 4e9,
        "ceilings": True,
    }


def test_what_cannot_be_done_here_is_unsupported_whatever_the_exit_code(checkout: Checkout) -> None:
    text = EVENTS + 'tell(fact="device", value="cpu")\ntell(unsupported="no fp16\\n here")\nsys.exit(3)\n'
    done = checkout.run("train", checkout.script(text))
    assert done.returncode == 0, done.stderr
    found = checkout.result()
    assert (found.status, found.reason, found.attempts) == ("unsupported", "no fp16 here", ())
    assert (found.facts, found.absent["command_seconds"]) == ({"device": "cpu"}, "no fp16 here")
    assert (found.steps, found.absent["steps"]) == (None, "no fp16 here")
    assert CELL.steps_path.read_text() == step_times.NONE and not list(CELL.output_dir.iterdir())


STEPS = """tell(span="head", seconds=0.4, steps=3, step_seconds=[0.1, 0.0000126, 0.2])
tell(span="validation", seconds=0.1)
tell(span="of two, one", seconds=1, steps=2, step_seconds=[0.5, 0.5])
tell(span="half told", seconds=0.1, steps=1, step_seconds=[0.1])
tell(span="half told", seconds=0.1, steps=1)
tell(span="head", seconds=0.0, steps=0)
tell(span="head", seconds=0.1, step_seconds=[0.05])
"""


def test_steps_are_kept_beside_the_record_in_microseconds(checkout: Checkout) -> None:
    """Of a name of which one span tells none, there would be a part: they are left out."""
    done = checkout.run("train", checkout.script(EVENTS + STEPS))
    assert done.returncode == 0, done.stderr
    kept = CELL.steps_path.read_bytes()
    assert kept == b'span,microseconds\nhead,100000 13 200000\n"of two, one",500000 500000\nhead,50000\n'
    found = checkout.result()
    assert found.steps == Steps(hashlib.sha256(kept).hexdigest(), 6, queued=False)
    assert found.notes == ("of span 'half told' some tell their steps and some do not: none of them are kept",)
    assert len(found.spans) == 7 and not any(span.step_seconds for span in found.spans)
    assert CELL.steps_path.stat().st_mtime_ns <= CELL.result_path("train").stat().st_mtime_ns


def test_steps_of_an_earlier_training_are_not_taken_for_those_of_one_that_fails(mine: Checkout) -> None:
    assert mine.run("train", mine.script(EVENTS + STEPS)).returncode == 0
    assert mine.run("train", mine.script("raise SystemExit(3)")).returncode == 1
    assert not CELL.steps_path.exists()


def test_spans_that_make_up_more_than_the_command_took_are_warned_of(mine: Checkout) -> None:
    for seconds in (0.4, 2.0):
        done = mine.run("train", mine.script(EVENTS + f'tell(span="a", seconds={seconds})\n' * 2))
        assert done.returncode == 0, done.stderr
        warned = [
            each for each in mine.result().warnings if each.startswith("its spans add up to 4.0 s and its command")
        ]
        assert len(warned) == (seconds == 2.0)


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
    "stops before its end": (
        "sys.exit(75)",
        75,
        "the command ended with exit code 75 (stopped before its end): run `make repro` again",
    ),
    "is killed": ("os.kill(os.getpid(), 11)", 139, "the command was killed by SIGSEGV"),
    "is killed by a signal that is not ours": (
        "os.kill(os.getpid(), 15)",
        1,
        "the command was killed by SIGTERM, and not by faceoff: see who did, and run again",
    ),
    "is killed amid a line": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"spa\'); os.kill(os.getpid(), 4)',
        132,
        "the command was killed by SIGILL",
    ),
    "misspells a key": (
        'tell(span="a", second=1)',
        1,
        "EVENTS, line 1: unknown key 'second' (did you mean 'seconds'?)",
    ),
    "tells half a line": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"spa\')',
        1,
        "EVENTS, line 1: not JSON (Unterminated string starting at: line 1 column 2 (char 1)): '{\"spa'",
    ),
    "tells no number": (
        'open(os.environ["FACEOFF_EVENTS"], "a").write(\'{"span": "a", "seconds": NaN}\\n\')',
        1,
        'EVENTS, line 1: not JSON (NaN is no number): \'{"span": "a", "seconds": NaN}\'',
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
        "EVENTS: 10080000 bytes, at most 8388608 are read: report a span an epoch, not one a step, "
        "and step_seconds to 6 places",
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
        'tell(fact="long", value="x" * 99); time.sleep(3); open(os.environ["FACEOFF_EVENTS"], "w").write("")',
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
    said = f"faceoff: {oldest.reason}" in done.stderr.splitlines()
    assert said == (code <= 128) and "stages/workload" not in done.stderr, "what a signal means, the host tells"
    assert not CELL.result_path("train").exists() and not list(CELL.output_dir.iterdir())


def test_a_bad_line_is_told_at_once(mine: Checkout) -> None:
    text = EVENTS + 'tell(sapn="a")\ntime.sleep(3)\nprint("the end", file=sys.stderr)\n'
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


# --------------------------------------------------------------------------------------------------- environment


def test_another_environment_than_the_profiles_is_refused_with_what_differs(mine: Checkout) -> None:
    facts = environments.facts(packages={"six": "1.0"}, packages_sha256="c" * 64)
    codec.write(records.facts_path("host"), facts)
    done = mine.run("train", mine.script('open("ran", "w")'))
    assert done.returncode == 1 and "metrics/host/facts.json: the environment is another: " in done.stderr
    assert "hardware." in done.stderr and "run `.venv/bin/dvc repro -s -f profile@host`" in done.stderr
    assert not (mine.root / "jobs" / JOB / "ran").exists()


def test_another_package_is_another_environment(checkout: Checkout) -> None:
    task = checkout.task("train", checkout.script(""))
    path = write_image_task(checkout.root, task, checkout.job)
    command = [checkout.python, "-m", "stages.profile", "--task", path]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout.root)}, check=True)
    assert checkout.run("train", task.command).returncode == 0
    (checkout.root / "surplus-1.2.dist-info").mkdir()
    done = checkout.run("train", task.command)
    assert done.returncode == 1 and "package surplus was not there, is 1.2" in done.stderr


def test_another_value_of_a_variable_that_steers_speed_is_another_environment(
    oldest: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the variant itself sets is not the environment's."""
    oldest.variant = dataclasses.replace(oldest.variant, env={"OMP_NUM_THREADS": "7", "MALLOC_ARENA_MAX": "1"})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    task = oldest.task("train", oldest.script(""))
    path = write_image_task(oldest.root, task, oldest.job)
    command = [oldest.python, "-m", "stages.profile", "--task", path]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(oldest.root)}, check=True)
    assert oldest.run("train", task.command).returncode == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    done = oldest.run("train", task.command)
    assert (
        done.returncode == 1
        and (
            "metrics/host/facts.json: the environment is another: variable ATEN_CPU_CAPABILITY was unset, is default; "
            "variable OMP_NUM_THREADS was 1, is 2: run `.venv/bin/dvc repro -s -f profile@host`, then `make repro`\n"
        )
        in done.stderr
    )
