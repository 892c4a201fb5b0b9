"""What disturbed a run of a command, and whether it is run once more; which of several runs counts.

The rule looks at the disturbance alone, never at what a run took: nobody knows yet which side that would help.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional, Tuple

from stages.codec import remove, sync_folder, write, write_text
from stages.contract import Span
from stages.errors import FaceoffError
from stages.records import DATA_DIR, IN_VAIN, Discarded, Result, Task
from stages.workload.probes import conditions, load
from stages.workload.supervisor.observation import Seen
from stages.workload.supervisor.progress import Counted
from stages.workload.supervisor.recorder import Recorded

LOOK_SECONDS = 1.0  # at what goes on now: 100 ticks of the kernel's clock on each CPU
GOES_ON = "what disturbed it goes on"
HOT = "a card is hot, and the next run would begin on it"
SESSION_ENDS = "the session ends before"
SEVERAL = "it was trained in several attempts"


class Measured(NamedTuple):
    """A command that ended well, with what earlier attempts add to it."""

    recorded: Recorded
    counted: Counted
    seen: Seen
    started_at: str  # UTC, ISO 8601
    wall_seconds: float  # of this process, for this run alone

    @property
    def spans(self) -> Tuple[Span, ...]:
        """All that count."""
        return (*self.counted.spans, *self.recorded.events.spans, *self.seen.spans)


class Chosen(NamedTuple):
    """The run that counts, and what came of the others."""

    kept: Measured
    discarded: Tuple[Discarded, ...] = ()
    warnings: Tuple[str, ...] = ()  # why it was not run once more, though it was disturbed


Keep = Callable[[Chosen], Result]  # writes what is kept beside the result, and returns that
Once = Callable[[Tuple[Discarded, ...]], Measured]  # runs the command from the begin; told what is discarded so far


def least_disturbed(
    task: Task, first: Measured, spent: Tuple[Discarded, ...], once: Once, keep: Keep, folder: Path
) -> Result:
    """Run the command once more where it was disturbed, `task.remeasure` times at most; `spent` of them are gone.

    The folder, the command's output, is left as the run that counts has left it. Should this process be killed for the
    repetition, the host finds the result of the run before it.
    """
    return keep(_choose(task, first, spent, once, keep, folder))


def _choose(task: Task, first: Measured, spent: Tuple[Discarded, ...], once: Once, keep: Keep, folder: Path) -> Chosen:
    kept, discarded = first, spent
    while found(kept.recorded) and len(discarded) < task.remeasure:
        why_not = _why_not(task, kept)
        if why_not is not None:
            return Chosen(kept, discarded, (f"disturbed, and not measured once more: {why_not}",))
        print("{}: {}: measured once more".format(_title(task), "; ".join(found(kept.recorded))), flush=True)
        _put_aside(task, keep(Chosen(kept, discarded)), folder)
        try:
            again = once((*discarded, _discarded(kept)))
            if again.recorded.events.unsupported is not None:
                raise FaceoffError(again.recorded.events.unsupported)
        except (FaceoffError, OSError) as error:  # and no SystemExit: this process was asked to stop
            _put_back(task, folder)
            said = IN_VAIN + str(error)
            print("{}: {}".format(_title(task), said), flush=True)
            return Chosen(kept, discarded, (said,))
        if _degree(again.recorded) <= _degree(kept.recorded):
            kept, worse = again, kept
            remove(task.cell.aside_dir)
        else:
            worse = again
            _put_back(task, folder)
        discarded = (*discarded, _discarded(worse))
    return Chosen(kept, discarded)


def found(recorded: Recorded) -> Tuple[str, ...]:
    """Return what disturbed the run, in words with numbers; empty where nothing did.

    A CPU quota, which holds every run back, is not among it.
    """
    if recorded.events.unsupported is not None:
        return ()
    before, after = recorded.conditions
    said = [*load.passing(recorded.load), *conditions.heat(before, after)]
    said += [*conditions.of_cards(before), *conditions.of_cards(after, heat=False)]  # hot after: its own doing
    return tuple(dict.fromkeys(said))


def _degree(recorded: Recorded) -> Tuple[bool, float, int]:
    """Return what is the smaller, the less the run was disturbed."""
    said, taken = found(recorded), recorded.load
    return bool(said), (taken.others_share or 0.0) + (taken.steal_share or 0.0), len(said)


def _why_not(task: Task, kept: Measured) -> Optional[str]:
    """Say why a run that was disturbed is not made once more; None: it is."""
    if kept.counted.attempts:
        return SEVERAL
    ends_at = task.session_ends_at
    if ends_at is not None and time.time() + 2 * kept.recorded.ended.seconds > ends_at:
        return SESSION_ENDS
    return _now(kept.recorded)


def _now(recorded: Recorded) -> Optional[str]:
    """Say what would disturb a run that began now."""
    meter = load.Meter()
    time.sleep(LOOK_SECONDS)
    taken = meter.read()
    now = conditions.look(DATA_DIR, sample_seconds=0, visible=recorded.visible)
    others = (
        *load.passing(taken),
        *conditions.heat(recorded.conditions[1], now),
        *conditions.of_cards(now, heat=False),
    )
    if others:
        return GOES_ON
    return HOT if conditions.of_cards(now) else None


def _discarded(run: Measured) -> Discarded:
    recorded = run.recorded
    return Discarded(
        started_at=run.started_at,
        command_seconds=recorded.ended.seconds,
        spans=tuple(dataclasses.replace(span, step_seconds=()) for span in run.spans),
        load=recorded.load,
        disturbed_by=found(recorded),
    )


def _put_aside(task: Task, result: Result, folder: Path) -> None:
    """Keep the run while another is made; the result comes last, when all that it tells of is there."""
    cell = task.cell
    empty(cell.aside_dir)
    _move(folder, cell.aside_output_dir)
    write(cell.aside_result_path, result)
    write_text(cell.events_path, "")
    cell.aside_dir.touch()  # for the host's watchdog: what follows is a run of its own


def _put_back(task: Task, folder: Path) -> None:
    remove(task.cell.aside_result_path)
    _move(task.cell.aside_output_dir, folder)


def _move(folder: Path, to: Path) -> None:
    """Move what is in the folder, which may be a mount and so stays, into another; what was there is gone."""
    empty(to)
    for each in folder.iterdir():
        each.rename(to / each.name)
    sync_folder(to)


def empty(folder: Path) -> None:
    """Make the folder, without anything in it. It is a mount's own in a container, so it stays."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for each in folder.iterdir():
        remove(each)


def _title(task: Task) -> str:
    return "{}, repeat {}: {}".format(task.cell.setting, task.cell.repeat, task.stage)
