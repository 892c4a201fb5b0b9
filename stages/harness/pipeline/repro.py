"""Runs `dvc repro`, and shows how far it is: in two lines on a terminal, else in a plain line per stage.

DVC names each stage as it begins or skips it, and nothing else tells which cells are measured and which are kept. While
nobody watches, nothing looks at a running cell; else its file of events is looked at twice a second.
"""

import contextlib
import getpass
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rich.console import Console

from stages.codec import RecordError
from stages.errors import TRY_LATER, FaceoffError
from stages.harness.environments import launch
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.pipeline import adoption, dvc_files, progress, reasons
from stages.harness.pipeline.lines import Lines, Reader
from stages.harness.pipeline.progress import Tracker
from stages.harness.pipeline.screen import Screen
from stages.harness.process import dvc_lock, signals
from stages.harness.results.read import read_all
from stages.records import Cell
from stages.watched import WATCHED, is_watched

# Not the script `dvc`: its first line, as pip writes it, is shell, and breaks in a checkout at "it's $(odd)".
DVC_REPRO = [sys.executable, "-m", "dvc", "repro"]
Hear = Callable[[str, bool], None]  # takes each line, and whether the next one goes over it


def repro(wanted: Params, console: Console) -> int:
    """Run the pipeline, its output going to the console as it comes; for whoever holds locks.only_run().

    The exit code of DVC, 128 + n after signal n, and TRY_LATER where a cell is to go on in another session.
    """
    dvc_files.mend()
    adoption.note(wanted)
    code = 1
    try:
        code = _repro(wanted, console)
        return code
    finally:
        dvc_files.mend()
        if code not in (0, TRY_LATER):
            _say_what_is_there(wanted)


def _say_what_is_there(wanted: Params) -> None:
    with contextlib.suppress(RecordError):  # it ended before anything could be measured
        statuses = [result.status for result in read_all(wanted)]
        if "ok" in statuses:
            there = f"{statuses.count('ok')} of {len(statuses)} cells are measured"
            _complain(f"faceoff: {there}: `make show` shows them, `make repro` goes on")


def _repro(wanted: Params, console: Console) -> int:
    cells = wanted.cells()
    there = {cell for cell in cells if cell.result_path("train").exists()}
    evaluates = jobs.load(wanted.job, Path()).evaluate is not None
    tracker = Tracker(
        cells, there, progress.earlier(cells), evaluates=evaluates, again=lambda: _measured_again(wanted, there)
    )
    if is_watched() and not console.is_dumb_terminal:
        return _on_terminal(tracker, console)

    def hear(text: str, is_passing: bool) -> None:
        if not is_passing and tracker.hear(text) and tracker.words:
            print(f"faceoff: stage {tracker.place}: {tracker.words}{tracker.time_left()}")

    return _run(DVC_REPRO, print, None, hear)


def _measured_again(wanted: Params, cells: Collection[Cell]) -> set[Cell]:
    """Return those of the cells of which preflight has said that they will be."""
    with contextlib.suppress(RecordError):
        return {cell for found in reasons.found_early(wanted, cells).values() for cell in found}
    return set()


def _on_terminal(tracker: Tracker, console: Console) -> int:
    spans = progress.Spans()

    def say() -> tuple[str, float, str]:
        """Put together what the two lines show."""
        running, detail = tracker.running, tracker.passing
        if running and not detail:
            detail = spans.words(*running, tracker.expected_spans())
        what = f"{tracker.words}: {progress.duration(tracker.elapsed)}{detail and f', {detail}'}"
        beside = f"stage {tracker.place}{tracker.time_left()}"
        return what if tracker.words else "", tracker.done / tracker.total, beside

    def hear(text: str, is_passing: bool) -> None:
        tracker.passing = text if is_passing else ""
        if not is_passing:
            tracker.hear(text)

    with Screen(console, say) as screen:
        return _run(DVC_REPRO, screen.print, subprocess.STDOUT, hear)  # else complaints would run through the two lines


def _run(command: list[str], show: Callable[[str], None], errors: int | None, hear: Hear) -> int:
    """Run a command and hand on its lines as they come; its stderr to ours, or by STDOUT among the others.

    A signal to stop is passed on to it and to what it runs, and the end of all that write to its output is waited for.
    """
    seen = set[str]()
    output, complaints = Lines(seen), Lines(seen)
    with _started(command, errors) as process:
        said, complained = (Reader(each) if each else () for each in (process.stdout, process.stderr))
        listener = threading.Thread(target=_hand_on, args=(complained, complaints, _complain))
        signals.start(listener)
        try:
            with signals.stop_signals():
                _hand_on(said, output, show, hear)
                code = process.wait()
        except SystemExit as stop:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(process.pid, int(str(stop.code)) - 128)
            _hand_on(said, output, show, hear)
            raise
        finally:
            listener.join()
    failed = output.failed | complaints.failed
    if {*failed.values()} == {TRY_LATER}:
        return TRY_LATER
    for name, exit_code in failed.items():
        _complain(f"faceoff: stage {name} failed with exit code {exit_code}; why is above")
    return code if code >= 0 else 128 - code


def _started(command: list[str], errors: int | None) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        **launch.OWN_ENVIRONMENT,
        dvc_lock.WILL_MEND: str(os.getpid()),
        "SHELL": "/bin/sh",  # by which DVC runs a stage; a service's user may have one that runs nothing
        **_account(),
    }
    environment |= {} if errors is None else {WATCHED: "1"}
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if errors is None else errors,
            process_group=0,  # so that Ctrl-C reaches it through us, once
            preexec_fn=lambda: signals.end_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        raise FaceoffError(f"cannot run {command[0]}: {error.strerror}", exit_code=127) from None


def _account() -> dict[str, str]:
    """Return the name and the home that DVC must have, where a uid, of a container or cluster, has none."""
    found = {}
    try:
        getpass.getuser()
    except (KeyError, OSError):
        found["LOGNAME"] = "faceoff"
    try:
        Path.home()
    except RuntimeError:
        found["HOME"] = str(Path(".dvc/tmp").absolute())
    return found


def _hand_on(
    said: Iterable[tuple[str, bool]],
    chosen: Lines,
    show: Callable[[str], None],
    hear: Hear = lambda _text, _is_passing: None,
) -> None:
    for text, is_passing in said:
        hear(text, is_passing)
        for line in [] if is_passing else chosen.shown(text):
            show(line)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
