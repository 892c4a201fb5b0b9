"""Runs `dvc repro`, and shows how far it is: a bar over all stages on a terminal, else a plain line per stage.

DVC names each stage as it begins or skips it, and nothing else tells which cells are measured and which are kept.
"""

import contextlib
import getpass
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stages.errors import TRY_LATER, FaceoffError
from stages.harness.environments import launch
from stages.harness.params.schema import Params
from stages.harness.pipeline import dvc_files
from stages.harness.pipeline.progress import Tracker
from stages.harness.process import dvc_lock, signals

FAILED = re.compile(r"ERROR: failed to reproduce '.+': failed to run: .+, exited with (\d+)")
# Not the script `dvc`: its first line, as pip writes it, is shell, and breaks in a checkout at "it's $(odd)".
DVC_REPRO = [sys.executable, "-m", "dvc", "repro"]


def repro(wanted: Params, console: Console) -> int:
    """Run the pipeline, its output going to the console as it comes; for whoever holds locks.only_run().

    The exit code of DVC, 128 + n after signal n, and TRY_LATER where a cell is to go on in another session.
    """
    dvc_files.mend()
    try:
        return _repro(wanted, console)
    finally:
        dvc_files.mend()


def _repro(wanted: Params, console: Console) -> int:
    cells = wanted.cells()
    there = {cell for cell in cells if cell.result_path("train").exists()}
    tracker = Tracker(cells, there)
    if not console.is_terminal:
        return _run(DVC_REPRO, lambda line: _show_plainly(line, tracker), errors=None)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=tracker.total, visible=False)

        def show(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if tracker.hear(line):
                bar.update(task, completed=tracker.done, description=tracker.words, visible=bool(tracker.words))

        return _run(DVC_REPRO, show, errors=subprocess.STDOUT)  # else they would run through the bar


def _show_plainly(line: str, tracker: Tracker) -> None:
    print(line)
    if tracker.hear(line) and tracker.words:
        print(f"faceoff: stage {tracker.done + 1} of {tracker.total}: {tracker.words}")


def _run(command: list[str], show: Callable[[str], None], errors: int | None) -> int:
    """Run a command and hand on its lines as they come; its stderr to ours, or by STDOUT among the others.

    A signal to stop is passed on to it and to what it runs, and the end of all that write to its output is waited for.
    """
    environment = {
        **os.environ,
        **launch.PYTHON_ENVIRONMENT,
        dvc_lock.WILL_MEND: str(os.getpid()),
        "SHELL": "/bin/sh",  # by which DVC runs a stage; a service's user may have one that runs nothing
        "LOGNAME": _user(),
    }
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if errors is None else errors,
            text=True,
            errors="replace",
            process_group=0,  # so that Ctrl-C reaches it through us, once
            preexec_fn=lambda: signals.end_with_parent(signal.SIGTERM),
        )
    except OSError as error:
        raise FaceoffError(f"cannot run {command[0]}: {error.strerror}", exit_code=127) from None
    exits = set[int]()  # of stages that DVC says have failed
    listener = threading.Thread(target=_hand_on, args=(process.stderr, _complain, exits))
    with process:
        with signals.masked_signals(signal.SIG_BLOCK):  # which the thread inherits: they are for the main one
            listener.start()
        try:
            with signals.stop_signals():
                _hand_on(process.stdout, show, exits)
                code = process.wait()
        except SystemExit as stop:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(process.pid, int(str(stop.code)) - 128)
            _hand_on(process.stdout, show, exits)
            raise
        finally:
            listener.join()
    if exits == {TRY_LATER}:
        return TRY_LATER
    return code if code >= 0 else 128 - code


def _user() -> str:
    """Return the user's name; DVC must have one, and not every uid of a container or cluster has."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "faceoff"


def _hand_on(lines: IO[str] | None, show: Callable[[str], None], exits: set[int]) -> None:
    """Hand on all lines but DVC's complaint that a stage goes on another time, which the stage itself has told."""
    for line in lines or ():
        text = line.rstrip("\n")
        failed = FAILED.fullmatch(text)
        if failed:
            exits.add(int(failed[1]))
        if not failed or int(failed[1]) != TRY_LATER:
            show(text)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
