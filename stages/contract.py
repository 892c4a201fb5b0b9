"""The seam between faceoff and a job: environment variables, and a file of JSON lines that the job may write.

Every line is one object and tells one thing. All of them are optional, and five lines of bash can write them:

    {"span": "epochs", "seconds": 12.31, "samples": 320, "steps": 20, "values": {"train_loss": 0.51}, "split": {...},
     "step_seconds": [0.61, 0.59, ...]}
    {"metric": "accuracy", "value": 0.937}
    {"fact": "number_format", "value": "bf16"}
    {"unsupported": "this library has no mixed precision on a CPU"}
    {"error": "out of GPU memory at batch size 64: ..."}
    {"resumed_after_spans": 3}
    {"ceilings": {"loader_samples_per_second": 410.0, "compute_samples_per_second": 95.5}}
    {"measurement": "convolution", "unit": "flop/s", "samples": [1.0e9], "detail": "...", "explains": "compute"}
    {"estimate": {"data_bytes": 900000, "output_bytes": 80000, "state_bytes": 0, "shm_bytes": 65536}}

Strict: an unknown key, a number that is none, a name used for two kinds are refused by file and line. docs/job.md is
the same for people. Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from stages.codec import RecordError, check, decode

EVENTS = "FACEOFF_EVENTS"
OUTPUT = "FACEOFF_OUTPUT"
STATE = "FACEOFF_STATE"
CELL = "FACEOFF_CELL"
STEPS = "FACEOFF_STEPS"
DATA = "FACEOFF_DATA"  # the folder data/<job>: for a download to fill, for the rest to read

PREDICTIONS = "predictions.csv"
PREDICTION_COLUMNS = ("item", "label", "predicted")  # further ones are kept and not read
MOST_BYTES = 8 * 2**20  # of events: enough for the times of 800,000 steps
TOO_LONG = "{}: {} bytes, at most {} are read: report a span an epoch, not one a step, and step_seconds to 6 places"
TAKEN_SPANS = ("total", "undisturbed", "beyond")  # no spans: such times are there by themselves
SPLIT_SLACK, SPLIT_SLACK_SECONDS = 1.01, 0.001  # by which a split may exceed its span: two clocks, and rounding
EXPLAINS = ("wait", "copy", "compute")
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")  # sequences of a terminal

Value = Union[str, int, float, bool]


@dataclasses.dataclass(frozen=True)
class Split:
    """Where the time of a span's steps went, in sums over the steps. The first four parts make up the whole."""

    wait_seconds: float  # for the loader
    copy_seconds: float  # of the batches to the device
    compute_seconds: float  # forward, backward and optimiser
    other_seconds: float  # the rest of the loop
    # Of compute_seconds: stretches at whose end the device had nothing left in its queue, so that it waits for the host
    # to launch work. None: not known (a CPU, a job that does not tell).
    launch_seconds: Optional[float] = None

    def __post_init__(self) -> None:
        if self.launch_seconds is not None:
            holds = self.launch_seconds <= self.compute_seconds * SPLIT_SLACK + SPLIT_SLACK_SECONDS
            check("launch_seconds", self.launch_seconds, holds, "at most compute_seconds, as it is a part of that")

    @property
    def seconds(self) -> float:
        """The sum of the four; launch_seconds is inside of compute_seconds."""
        return self.wait_seconds + self.copy_seconds + self.compute_seconds + self.other_seconds


@dataclasses.dataclass(frozen=True)
class Span:
    """A timed part of a cell, an epoch for example. Spans of one name add up."""

    name: str
    seconds: float
    samples: Optional[int] = None
    steps: Optional[int] = None
    values: Dict[str, float] = dataclasses.field(default_factory=dict)  # e.g. train_loss: what the curves show
    split: Optional[Split] = None  # of its steps; what of `seconds` is beside it is no step (a validation)
    step_seconds: Tuple[float, ...] = ()  # of each step, from the end of the one before to its own; empty: not told

    @property
    def stepping_seconds(self) -> float:
        """What its steps took: the split's sum, or all of it where there is no split."""
        return self.split.seconds if self.split else self.seconds


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """What each side of a step reaches alone, measured apart from every span."""

    loader_samples_per_second: float
    compute_samples_per_second: float
    # Of a step of compute alone, how much the device's kernels take: by torch's profiler, in a part that is thrown away
    # after all timed spans, divided by the time of a step that is not profiled. None: not known.
    device_busy_share: Optional[float] = None

    def __post_init__(self) -> None:
        share = self.device_busy_share
        check("device_busy_share", share, share is None or 0 <= share <= 1, "0 to 1")


@dataclasses.dataclass(frozen=True)
class JobMeasurement:
    """One thing that the job made the machine do, several times, for an image's profile."""

    name: str
    unit: str  # 'flop/s', 'bytes/s' or 'samples/s', or another of its own
    samples: Tuple[float, ...]  # empty where it could not be measured
    detail: str = ""  # what exactly: shapes, sizes, number of threads; or why there are no samples
    explains: Optional[str] = None  # of EXPLAINS: the part of a step that it tells about
    applies: Dict[str, Value] = dataclasses.field(default_factory=dict)  # parameters and facts of the cells it is for
    peak: Optional[float] = None  # theoretical, where it is known

    def __post_init__(self) -> None:
        check("explains", self.explains, self.explains in (None, *EXPLAINS), "one of " + ", ".join(EXPLAINS))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a variant will need, as far as the job can tell; None: not told."""

    data_bytes: Optional[int] = None  # that the download will write below data/
    output_bytes: Optional[int] = None  # that a training leaves
    state_bytes: Optional[int] = None  # that its checkpoint takes, at most
    shm_bytes: Optional[int] = None  # that its loader needs of /dev/shm
    memory_bytes: Optional[int] = None  # that comes on top of what a dry-run shows
    gpu_memory_bytes: Optional[int] = None  # that must be free of its card
    span_seconds: Optional[float] = None  # of the longest span, from a dry-run: what must fit into a session
    cell_seconds: Optional[float] = None  # of training and evaluation, from a dry-run
    elsewhere_bytes: Dict[str, int] = dataclasses.field(default_factory=dict)  # folder: what is written there besides


@dataclasses.dataclass(frozen=True)
class Events:
    """Everything that a job told, in its order."""

    spans: Tuple[Span, ...] = ()
    metrics: Dict[str, float] = dataclasses.field(default_factory=dict)
    facts: Dict[str, Value] = dataclasses.field(default_factory=dict)
    unsupported: Optional[str] = None
    error: Optional[str] = None
    resumed_after_spans: Optional[int] = None
    ceilings: Optional[Ceilings] = None
    measurements: Tuple[JobMeasurement, ...] = ()
    estimate: Optional[Estimate] = None


# docs/job.md, "Events": the key that says what a line tells, and the other keys that it may have.
_KINDS = {
    "span": ("seconds", "samples", "steps", "values", "split", "step_seconds"),
    "metric": ("value",),
    "fact": ("value",),
    "unsupported": (),
    "error": (),
    "resumed_after_spans": (),
    "ceilings": (),
    "measurement": ("unit", "samples", "detail", "explains", "applies", "peak"),
    "estimate": (),
}  # type: Dict[str, Tuple[str, ...]]


def read_events(path: Path, declared: Optional[Dict[str, Any]] = None) -> Events:
    """Return everything that the file tells; nothing where it is not there.

    `declared`: names of the metrics that job.yaml declares, where others are to be refused. Raises RecordError, which
    names file and line, for a line that the contract does not know.
    """
    reader = Reader(path, declared)
    for number, line in enumerate(_lines(path), start=1):
        reader.take(number, line)
    return reader.events()


def _lines(path: Path) -> List[bytes]:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RecordError(TOO_LONG.format(path, size, MOST_BYTES))
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError("{}: not readable: {}".format(path, error.strerror)) from None


class Reader:
    """Takes one line after the other, and gathers what they tell."""

    def __init__(self, path: Path, declared: Optional[Dict[str, Any]] = None) -> None:
        self._path = path
        self._declared = declared
        self._kinds = {}  # type: Dict[str, str]
        self._spans = []  # type: List[Span]
        self._measurements = []  # type: List[JobMeasurement]
        self._parts = {}  # type: Dict[str, Any]
        self._metrics = {}  # type: Dict[str, float]
        self._facts = {}  # type: Dict[str, Value]

    def take(self, number: int, line: bytes) -> None:
        """Take the line of this number, counted from 1. Raises RecordError."""
        where = "{}, line {}".format(self._path, number)
        if not line.strip():
            return
        kind, document = _parse(line, where)
        getattr(self, "_take_" + kind)(document, where)

    def events(self) -> Events:
        """Everything that was taken so far."""
        return Events(
            spans=tuple(self._spans),
            metrics=dict(self._metrics),
            facts=dict(self._facts),
            measurements=tuple(self._measurements),
            **self._parts,
        )

    def _take_span(self, document: Dict[str, Any], where: str) -> None:
        name = self._name(document["span"], "span", where)
        metric = name + "_seconds"
        if name in TAKEN_SPANS:
            raise RecordError("{}: span {!r}: {} is there by itself: name it otherwise".format(where, name, metric))
        if metric in (self._declared or ()):
            raise RecordError(
                "{}: span {!r}: its time is {}, which `metrics` of job.yaml has too: rename one".format(
                    where, name, metric
                )
            )
        step_seconds = _step_seconds(document.pop("step_seconds", []), where)
        span = decode(Span, _renamed(document, "span"), where)  # type: Span
        for key in span.values:
            _check_name(key, "values", where)
        if span.split:
            _check_sum(span, span.split.seconds, "split: expected parts", where)
        if step_seconds:
            _check_sum(span, sum(step_seconds), "step_seconds: expected steps", where)
            if span.steps not in (None, len(step_seconds)):
                raise RecordError(
                    "{}.step_seconds: expected one for each of {} steps, found {}".format(
                        where, span.steps, len(step_seconds)
                    )
                )
        self._spans.append(dataclasses.replace(span, step_seconds=step_seconds))

    def _take_metric(self, document: Dict[str, Any], where: str) -> None:
        name = self._name(document["metric"], "metric", where)
        if self._declared is not None and name not in self._declared:
            raise RecordError(
                "{}: metric {!r} is not in `metrics` of job.yaml{}".format(where, name, _hint(name, self._declared))
            )
        self._metrics[name] = decode(float, _value(document, where), where + ": value")

    def _take_fact(self, document: Dict[str, Any], where: str) -> None:
        name, value = self._name(document["fact"], "fact", where), _value(document, where)
        if not isinstance(value, (str, int, float, bool)):
            raise RecordError("{}: value: expected text, a number, true or false, found {!r:.80}".format(where, value))
        if not isinstance(value, (str, bool)):
            decode(float, value, where + ": value")
        self._facts[name] = printable(value) if isinstance(value, str) else value

    def _take_unsupported(self, document: Dict[str, Any], where: str) -> None:
        self._parts["unsupported"] = _line(document["unsupported"], where + ": unsupported")

    def _take_error(self, document: Dict[str, Any], where: str) -> None:
        self._parts["error"] = _line(document["error"], where + ": error")

    def _take_resumed_after_spans(self, document: Dict[str, Any], where: str) -> None:
        count = decode(int, document["resumed_after_spans"], where + ": resumed_after_spans")
        if count < 0 or self._spans:
            raise RecordError("{}: resumed_after_spans: expected 0 or more, before the first span".format(where))
        self._parts["resumed_after_spans"] = count

    def _take_ceilings(self, document: Dict[str, Any], where: str) -> None:
        self._parts["ceilings"] = decode(Ceilings, document["ceilings"], where + ": ceilings")

    def _take_measurement(self, document: Dict[str, Any], where: str) -> None:
        self._measurements.append(decode(JobMeasurement, _renamed(document, "measurement"), where))

    def _take_estimate(self, document: Dict[str, Any], where: str) -> None:
        self._parts["estimate"] = decode(Estimate, document["estimate"], where + ": estimate")

    def _name(self, name: Any, kind: str, where: str) -> str:
        """Return the name, which no line may have used for another kind."""
        _check_name(name, kind, where)
        other = self._kinds.setdefault(name, kind)
        if other != kind:
            raise RecordError("{}: {!r} is a {} here and was a {} before".format(where, name, kind, other))
        return str(name)


def _step_seconds(values: Any, where: str) -> Tuple[float, ...]:
    """Return what each step took. By hand: there may be very many, and `decode` takes its time."""
    where += ".step_seconds"
    if not isinstance(values, list):
        raise RecordError("{}: expected a list, found {!r:.80}".format(where, values))
    for index, value in enumerate(values):
        if type(value) not in (float, int) or not 0 <= value <= sys.float_info.max:
            message = "{}[{}]: expected a finite number, 0 or more, found {!r:.80}"
            raise RecordError(message.format(where, index, value))
    return tuple(map(float, values))


def _check_sum(span: Span, seconds: float, what: str, where: str) -> None:
    if seconds > span.seconds * SPLIT_SLACK + SPLIT_SLACK_SECONDS:
        message = "{}.{} that make up {:.6g} s at most, found {:.6g} s"
        raise RecordError(message.format(where, what, span.seconds, seconds))


def _check_name(name: Any, key: str, where: str) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > 100 or not name.isprintable():
        raise RecordError("{}: {}: expected a name in one line, found {!r:.80}".format(where, key, name))


def _parse(line: bytes, where: str) -> Tuple[str, Dict[str, Any]]:
    try:
        text = line.decode("utf-8")
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        if HALF_CHARACTER.search(
            text
        ):  # of a file name that is no UTF-8, most often: no record could be written with it
            document = json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8"))
    except UnicodeDecodeError:
        raise RecordError("{}: bytes that are no UTF-8".format(where)) from None
    except (ValueError, RecursionError) as error:
        raise RecordError("{}: not JSON ({}): {!r:.80}".format(where, error, text)) from None
    if not isinstance(document, dict):
        raise RecordError("{}: expected an object, {{...}}, found {!r:.80}".format(where, document))
    kinds = [kind for kind in _KINDS if kind in document]
    if len(kinds) != 1:
        key = str(next(iter(document), ""))
        raise RecordError(
            "{}: unknown key {!r:.80}{}; a line has one of {}".format(where, key, _hint(key, _KINDS), ", ".join(_KINDS))
            if not kinds
            else "{}: {} in one line; expected one of them".format(where, " and ".join(kinds))
        )
    allowed = (kinds[0], *_KINDS[kinds[0]])
    for key in document:
        if key not in allowed:
            raise RecordError("{}: unknown key {!r:.80}{}".format(where, key, _hint(key, allowed)))
    return kinds[0], document


def _refuse_constant(name: str) -> None:
    raise ValueError("{} is no number".format(name))


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError("key {!r:.80} stands there twice".format(twice))
    return document


def _value(document: Dict[str, Any], where: str) -> Any:
    if "value" not in document:
        raise RecordError("{}: key 'value' is missing".format(where))
    return document["value"]


def _line(text: Any, where: str) -> str:
    said = printable(text) if isinstance(text, str) else ""
    if not said:
        raise RecordError("{}: expected a sentence, found {!r:.80}".format(where, text))
    return said[:2000]


def printable(text: str) -> str:
    """Return the text in one line, without what would move a terminal's cursor or colour its words."""
    return " ".join("".join(each if each.isprintable() else " " for each in ESCAPES.sub("", text)).split())


def _renamed(document: Dict[str, Any], key: str) -> Dict[str, Any]:
    """Return the line with its own key as the record's `name`."""
    return {"name" if each == key else each: value for each, value in document.items()}


def _hint(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return " (did you mean {!r}?)".format(close[0]) if close else "; expected " + (", ".join(known) or "none")
