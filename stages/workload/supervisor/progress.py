"""What a training's attempts have reported so far, kept so that the next attempt can go on.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

from stages.codec import RecordError, read, remove, write
from stages.contract import Reader, Span
from stages.records import Attempt, Belongs, CardSpan, Conditions, Discarded, Load, Task, step_times
from stages.workload.supervisor.sampling import Sampled, Until

WORDS = {
    "job_sha256": "the job",
    "data_sha256": "its data",
    "machine_sha256": "the machine",
    "image_sha256": "the image",
    "facts_sha256": "the environment",
}  # of fields of Belongs whose values tell nobody anything


_UNSEEN = ("others_share", "steal_share", "throttled_seconds")
NOT_SEEN = Until(Load(0.0, None, None, None, dict.fromkeys(_UNSEEN, "the attempt was killed at once")), None)


@dataclasses.dataclass(frozen=True)
class Arrival:
    """A span, and when it came."""

    span: Span  # without step_seconds: so many numbers would take long to write, again and again
    until: Until  # since the command began
    joules: Optional[float]  # that the cards took in it; None: not known
    cards: Tuple[CardSpan, ...]  # in the order of Sampled.gpu_uuids; empty: no reading fell into it
    microseconds: str  # of its steps

    @classmethod
    def packed(
        cls, span: Span, until: Until, joules: Optional[float] = None, cards: Tuple[CardSpan, ...] = ()
    ) -> "Arrival":
        """Return it with its steps packed."""
        plain = dataclasses.replace(span, step_seconds=())
        return cls(plain, until, joules, cards, step_times.joined(span.step_seconds))

    @property
    def whole(self) -> Span:
        """The span as it came."""
        return dataclasses.replace(self.span, step_seconds=step_times.parted(self.microseconds))


@dataclasses.dataclass(frozen=True)
class Part:
    """What one attempt has reported."""

    after_spans: int  # of earlier attempts, that it says it goes on after
    resumed: bool  # it says so
    ended: bool  # and so it has reported no more than this
    arrivals: Tuple[Arrival, ...]
    heartbeat: Optional[Until]  # when the file of events was last touched; None: it never was
    conditions: Conditions
    sampled: Sampled
    started_at: str  # UTC, ISO 8601
    wall_seconds: float  # of the supervisor, so far


@dataclasses.dataclass(frozen=True)
class Progress:
    """models/<setting>/<repeat>.progress.json: all attempts at a training that has not ended."""

    belongs: Belongs
    parts: Tuple[Part, ...]
    lost: int  # attempts before these, of which nothing counts: it began anew
    discarded: Tuple[Discarded, ...]  # whole runs before these, which were disturbed


class Taken(NamedTuple):
    """What was seen of the cards in one attempt, as far as it counts."""

    sampled: Sampled
    until: Until
    arrivals: Tuple[Arrival, ...]


class Counted(NamedTuple):
    """What counts of the attempts before the one that has ended."""

    spans: Tuple[Span, ...]
    attempts: Tuple[Attempt, ...]
    conditions: Tuple[Conditions, ...]
    started_at: Optional[str]
    wall_seconds: float
    taken: Tuple[Taken, ...] = ()  # by attempt
    lost: int = 0  # attempts of which nothing counts, before the first that does


NOTHING = Counted((), (), (), None, 0.0)


def begin(task: Task) -> Progress:
    """Return what earlier attempts left, where the job can go on; else empty its folder of state, and say so."""
    cell, anew = task.cell, None
    kept = Progress(task.belongs, (), 0, ())
    if cell.progress_path.exists():
        try:
            found = read(cell.progress_path, Progress)  # type: Progress
            anew = _why_anew(task, found)
            if found.belongs == task.belongs:  # else of another training
                kept = dataclasses.replace(kept, lost=found.lost + len(found.parts), discarded=found.discarded)
            kept = kept if anew else found
        except RecordError as error:
            anew = str(error)
        if kept.parts and not kept.parts[-1].ended:
            parts = (*kept.parts[:-1], _completed(kept.parts[-1], cell.earlier_events_path))
            kept = dataclasses.replace(kept, parts=parts)
            write(cell.progress_path, kept)
        if anew:
            print(f"{cell.setting}, repeat {cell.repeat}: begins anew: {anew}")
    remove(cell.earlier_events_path)
    if not kept.parts:
        remove(cell.progress_path)
    if not kept.parts or not cell.state_dir.is_dir():
        remove(cell.state_dir)
    cell.state_dir.mkdir(parents=True, exist_ok=True)
    return kept


def once_more(task: Task, discarded: Tuple[Discarded, ...]) -> Progress:
    """Return the progress of a training that begins once more, its folder of state empty.

    The note goes first: whatever happens in between, the state is of no training that counts.
    """
    fresh = Progress(task.belongs, (), 0, discarded)
    write(task.cell.progress_path, fresh)
    remove(task.cell.state_dir)
    task.cell.state_dir.mkdir(parents=True, exist_ok=True)
    return fresh


def count(earlier: Progress, resumed_after_spans: Optional[int]) -> Counted:
    """Return what counts of earlier attempts, where the last one says that it goes on after so many spans.

    Raises RecordError where there were fewer. Without that line, nothing counts: it began anew.
    """
    if resumed_after_spans is None:
        return NOTHING._replace(lost=earlier.lost + len(earlier.parts))
    chain, parts = [], _heard_of(earlier)  # type: list, list
    for part in parts:
        chain = chain[: part.after_spans] if part.resumed else []
        chain += list(part.arrivals)
    if resumed_after_spans > len(chain):
        raise RecordError(
            f"resumed_after_spans: {resumed_after_spans}, but earlier attempts that count reported {len(chain)}"
        )
    counted = list(_counted_parts(parts, resumed_after_spans))
    anew = [index for index, part in enumerate(earlier.parts) if part in parts and not part.resumed]
    return Counted(
        spans=tuple(arrival.whole for arrival in chain[:resumed_after_spans]),
        attempts=tuple(Attempt(part.after_spans, its.until.load.seconds, its.until.load) for part, its in counted),
        conditions=tuple(part.conditions for part, _ in counted),
        started_at=counted[0][0].started_at if counted else None,
        wall_seconds=sum(part.wall_seconds for part, _ in counted),
        taken=tuple(its for _, its in counted),
        lost=earlier.lost + max(anew, default=0),
    )


def _heard_of(earlier: Progress) -> List[Part]:
    """Leave out attempts that were killed before they said whether they go on: they change nothing."""
    found = []  # type: List[Part]
    for part in earlier.parts:
        if part.arrivals or part.resumed or not any(each.arrivals for each in found):
            found.append(part)
    return found


def _counted_parts(parts: List[Part], spans: int) -> Iterator[Tuple[Part, Taken]]:
    """Yield attempts of which something counts, and what was seen until the last of it."""
    begins = max((index for index, part in enumerate(parts) if not part.resumed), default=0)
    ends = spans
    found = []
    for part in reversed(parts[begins:]):
        mine = part.arrivals[: max(0, ends - part.after_spans)]
        until = mine[-1].until if mine else part.heartbeat if spans == 0 else None
        if until is not None:
            found.append((part, Taken(part.sampled, until, mine)))
        ends = min(ends, part.after_spans)
    return reversed(found)


def _completed(part: Part, path: Path) -> Part:
    """Add what an attempt reported in the moment before it was killed; by when is told by the spans themselves."""
    reader, arrivals = Reader(path), list(part.arrivals)
    with suppress(RecordError, OSError):  # up to a last line that was cut off
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            reader.take(number, line)
    events = reader.events()
    for span in events.spans[len(arrivals) :]:
        last = (arrivals[-1].until if arrivals else part.heartbeat or NOT_SEEN).load
        until = Until(dataclasses.replace(last, seconds=last.seconds + span.seconds), None)
        arrivals.append(Arrival.packed(span, until))
    after_spans = events.resumed_after_spans
    return dataclasses.replace(
        part,
        after_spans=after_spans or part.after_spans,
        resumed=part.resumed or after_spans is not None,
        arrivals=tuple(arrivals),
        ended=True,
    )


def _why_anew(task: Task, found: Progress) -> Optional[str]:
    if not task.job.resumes:
        return "its job.yaml does not say `resumes: true`"
    differing = list(_differences(dataclasses.asdict(found.belongs), dataclasses.asdict(task.belongs)))
    return "the earlier attempt was of another state: " + "; ".join(differing) if differing else None


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield 'variant.parameters.rate was 0.5, is 0.1'; a key that came or went, or a limit, is one too."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _differences(was.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif was != now:
        shown = ["not there" if each is None else repr(each) for each in (was, now)]
        yield WORDS.get(name, "{} was {}, is {}".format(name, *shown))
