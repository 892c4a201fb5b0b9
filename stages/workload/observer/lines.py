"""Reads what the hook wrote: one Process for each that trained, with its lines in their order.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import glob
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

FORMAT = 1


@dataclasses.dataclass
class Row:
    """What happened from one question for a batch to the next; `run` None: work without a batch of its own."""

    run: Optional[int]
    asked: Optional[float]
    wait: float
    samples: Optional[int]
    backwards: int = 0
    backward_at: Optional[float] = None
    steps: int = 0
    step_at: Optional[float] = None
    thread: bool = True  # the loader was read by the thread that trains
    graphs: int = 0  # that torch.compile made meanwhile
    marked: bool = False  # its work's end is known by the GPU's clock
    fetched: bool = False  # by a thread of the script's: no wait of the training

    @property
    def worked_at(self) -> Optional[float]:
        """The time at which the last work on the row was done."""
        return max((each for each in (self.backward_at, self.step_at) if each is not None), default=None)


class Mark(NamedTuple):
    """One in a GPU's queue of work; seconds by the host's clock, but for `elapsed`."""

    # "a": a batch is asked for, "g": it is there, "d": it is there and on the GPU already, "c": a module is called with
    # it, "f": a backward pass begins and no such call was seen, "b": that has ended, "s": an optimiser has stepped,
    # "e": the loader has no more.
    kind: str
    at: float  # when it was put behind all that was queued
    elapsed: Optional[float]  # by the GPU's clock, since the mark before
    late: Optional[float]  # a time at which the GPU was seen not to have passed it
    passed: float  # the time at which it was seen to have


@dataclasses.dataclass
class Loader:
    """The begin of one pass of a loader."""

    began: float
    seconds: float = 0.0  # of starting its workers
    length: Optional[int] = None
    batch_size: Optional[int] = None
    drop_last: bool = False


@dataclasses.dataclass
class Process:
    """One process that read loaders or trained."""

    rank: int
    world: int
    torch: str
    offset: float  # from its clock to the time of day
    rows: List[Row] = dataclasses.field(default_factory=list)
    loaders: Dict[int, Loader] = dataclasses.field(default_factory=dict)
    ends: Dict[int, Row] = dataclasses.field(default_factory=dict)  # of loaders that were read to the end
    cuda: bool = False
    marks: List[Mark] = dataclasses.field(default_factory=list)
    marks_ended: Optional[str] = None  # why they did, before the training
    full: bool = False  # the file has reached its limit: what came later was not written

    @property
    def trained(self) -> bool:
        """Whether it trained, as far as was seen."""
        return any(row.backwards or row.steps for row in self.rows)


def read_processes(prefix: Path) -> List[Process]:
    """Return all processes whose files begin with the prefix."""
    found: List[Process] = []
    for path in sorted(prefix.parent.glob(glob.escape(prefix.name) + ".*.*.jsonl")):
        found.extend(_processes(path))
    return found


def _processes(path: Path) -> List[Process]:
    """Return those of one file: two in which a process had the number of an earlier one."""
    found: List[Process] = []
    with path.open("rb") as file:
        for line in file:
            try:
                document = json.loads(line.decode("utf-8"))
                if document["event"] == "process":
                    if document["format"] != FORMAT:
                        break
                    found.append(_process(document))
                elif found:
                    _take(found[-1], document)
            except (ValueError, KeyError, TypeError):  # the last one of a process that was killed, or of a full disk
                continue
    return found


def _process(document: Dict[str, Any]) -> Process:
    return Process(
        rank=document["rank"],
        world=document["world"],
        torch=document["torch"],
        offset=document["unix"] - document["clock"],
    )


def _take(process: Process, line: Dict[str, Any]) -> None:
    event = line.pop("event")
    if event in ("batch", "fetched"):
        line.setdefault("wait", 0.0)
        process.rows.append(Row(fetched=event == "fetched", **line))
    elif event == "loader":
        process.loaders[line["run"]] = Loader(
            line["began"], line["seconds"], line["length"], line["batch_size"], line["drop_last"]
        )
    elif event == "exhausted":
        process.ends[line["run"]] = Row(line["run"], line["asked"], line["seconds"], None)
    elif event == "marks":
        columns = zip(line["kinds"], line["at"], line["elapsed"], line["late"], line["passed"])
        process.marks.extend(_mark(*column) for column in columns)
    elif event == "marks ended":
        process.marks_ended = line["why"]
    elif event == "cuda":
        process.cuda = True
    elif event == "full":
        process.full = True


def _mark(kind: str, at: int, elapsed: Optional[int], late: Optional[int], passed: int) -> Mark:
    """Return one of the file's, which has microseconds, and tenths of them for `elapsed`."""
    return Mark(
        kind,
        at / 1e6,
        None if elapsed is None else elapsed / 1e7,
        None if late is None else (at + late) / 1e6,
        (at + passed) / 1e6,
    )
