"""Why cells that have results will be measured again: told before the first of them is, for that takes time.

What can be seen at once, preflight tells: another machine, job, code or params. Other data, another image or
environment show when the image is there: stage `setting` tells of those.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stages import codec, records
from stages.codec import SCHEMA_VERSION, OtherSchemaError, RecordError
from stages.harness import formatting
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.harness.results import read
from stages.records import STAGES, Belongs, Cell, Result

LATE = {"data_sha256", "image_sha256", "facts_sha256"}  # of Belongs, what shows when the image is there
SHOWN = 3  # of what changed in a machine or a job
LETTERS = 40  # of a value that changed
NO_MODEL = "their evaluation is missing, and what the training left is not in models/"
KEEP = (
    "faceoff: to keep them, stop now (Ctrl-C): `make show` shows them and measures nothing; undo what is named, and "
    "they count again"
)
KEEP_MODEL = "faceoff: models/ has to stay until the evaluations are there"

Reasons = dict[str, list[Cell]]  # what cells are measured again for, in words


def found_early(params: Params, cells: Iterable[Cell]) -> Reasons:
    """Return why those of the cells that have results will be measured again, as far as it can be seen at once."""
    _, present = read.belongs_now(params)
    changed = functools.cache(lambda: _changes(params))
    found: Reasons = {}
    for cell in cells:
        its = present.get((cell.image, cell.variant))
        try:
            train = codec.read(cell.result_path("train"), Result)
        except OtherSchemaError as error:
            words = f"they were measured by another version of faceoff (schema {error.found}, not {SCHEMA_VERSION})"
            found.setdefault(words, []).append(cell)
            continue
        except RecordError:
            continue
        why = []
        for key, words in read.differences(train.belongs, its, cell.image) if its else ():
            is_known = key in ("machine_sha256", "job_sha256")
            why.append(words + changed().get(getattr(train.belongs, key), "") if is_known else words)
        if why and train.status == "ok":
            found.setdefault(f"they were {'; '.join(why)}", []).append(cell)
    return found


def found_late(cells: Iterable[Cell], present: Belongs) -> Reasons:
    """Return why those cells of one setting that have results will be measured again, where it was not told before."""
    found: Reasons = {}
    for train in _trained(cells):
        why = dict(read.differences(train.belongs, present, train.cell.image))
        if why and LATE.issuperset(why):
            found.setdefault(f"they were {'; '.join(why.values())}", []).append(train.cell)
    return found


def without_model(params: Params, cells: Iterable[Cell]) -> list[Cell]:
    """Return those of the cells whose training counts and whose evaluation, which is missing, has nothing to go by."""
    _, present = read.belongs_now(params)
    return [
        train.cell
        for train in _trained(cells)
        if train.belongs == present.get((train.cell.image, train.cell.variant))
        and not _is_evaluated(train.cell)
        and codec.digest(train.cell.output_dir) != train.output_sha256
    ]


def tell(reasons: Reasons, advice: str = KEEP) -> None:
    """Print a line for each reason: how many cells, about how long they took, and why."""
    for words, cells in reasons.items():
        how_long = sum(map(seconds, cells))
        about = f", about {formatting.seconds(how_long)}" if how_long else ""
        print(f"faceoff: {formatting.count(len(cells), 'cell')} with results will be measured again{about}: {words}")
    if reasons:
        print(advice)


def tell_pairs_lost(baseline: str, kept: Collection[Cell], measured: Collection[Cell]) -> None:
    """Say how many pairs will not count: one cell of each is `kept`, of a block that has ended, one is measured now."""
    lost = [
        rival
        for some, others in ((kept, measured), (measured, kept))
        for rival in some
        if rival.setting != baseline and (baseline, rival.repeat) in {(each.setting, each.repeat) for each in others}
    ]
    if not lost:
        return
    repeats = {cell.repeat for cell in lost}
    folders = sorted({cell.result_path("train").parent.as_posix() for cell in kept if cell.repeat in repeats})
    print(
        f"faceoff: {formatting.count(len(lost), 'pair')} with the baseline will not count: one cell of each is kept, "
        f"the other is of a later block of repeats; `rm -r {' '.join(folders)}` has all of them measured together, and "
        f"more `repeats` in params.yaml add pairs"
    )


def seconds(cell: Cell) -> float:
    """Return what the cell took, by its results; 0 where they cannot be read."""
    results = (codec.find(cell.result_path(stage), Result) for stage in STAGES)
    return sum(result.wall_seconds for result in results if result)


def _trained(cells: Iterable[Cell]) -> Iterator[Result]:
    """Yield results of trainings that ended well."""
    for cell in cells:
        train = codec.find(cell.result_path("train"), Result)
        if train and train.status == "ok":
            yield train


def _is_evaluated(cell: Cell) -> bool:
    return codec.find(cell.result_path("evaluate"), Result) is not None and cell.predictions_path.exists()


def _changes(params: Params) -> dict[str, str]:
    """Return in words what changed in the machine and the job since the last run, by the digest of what they were."""
    found = {}
    with contextlib.suppress(RecordError):
        machine = codec.read(records.COMPARISON_PATH, records.Comparison).machine
        now = codec.read(records.MACHINE_PATH, records.Machine)
        found[codec.fingerprint(machine)] = _shown(_changed(dataclasses.asdict(machine), dataclasses.asdict(now)))
    with contextlib.suppress(RecordError):
        job = codec.read(records.JOB_PATH, records.Job)
        present = jobs.record(params.job, jobs.load(params.job, Path()), params.section, params.seed, Path())
        found[codec.fingerprint(job)] = _shown(_changed(_document(job), _document(present)))
    return found


def _shown(changes: Iterable[str]) -> str:
    parts = [*changes]
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return f" ({', '.join(parts[:SHOWN])}{more})" if parts else ""


def _document(job: records.Job) -> dict[str, Any]:
    """Return the job as its author knows it: keys of job.yaml, of params.yaml, and names of files."""
    document = dataclasses.asdict(job)
    files = {f"jobs/{job.name}/{name}": digest for name, digest in document.pop("files").items()}
    section = json.loads(document.pop("section_json")) or {}
    return {**document, job.name: section, **files}


def _changed(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yield 'mine.size was 224, is 128'; of a digest that it changed, for it tells nobody anything."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from _changed(was.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple):
        yield from _changed_list(was, now, name)
    elif was != now:
        is_digest = "/" in name and isinstance(was or now, str) and len(was or now) == 64
        shown = _where_they_differ(*("not there" if each is None else repr(each) for each in (was, now)))
        yield f"{name} changed" if is_digest else f"{name} was {shown[0]}, is {shown[1]}"


def _changed_list(was: Sequence[Any], now: Sequence[Any], name: str) -> Iterator[str]:
    """Yield which words went and came, or what changed at each place; of another length, both lengths."""
    gone, new = [each for each in was if each not in now], [each for each in now if each not in was]
    if (gone or new) and all(isinstance(each, str) for each in (*was, *now)):
        yield from (f"{name} {verb} {', '.join(words)}" for verb, words in (("lost", gone), ("gained", new)) if words)
    elif len(was) == len(now):
        for place, pair in enumerate(zip(was, now, strict=True)):
            yield from _changed(*pair, f"{name}[{place}]")
    else:
        yield f"{name} had {formatting.count(len(was), 'item')}, has {len(now)}"


def _where_they_differ(was: str, now: str) -> list[str]:
    """Cut long texts out around the first letter that differs."""
    texts = was, now
    first = next((place for place, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), len(now))
    begin = max(0, first - LETTERS // 2) if max(map(len, texts)) > LETTERS else 0
    end = begin + LETTERS
    return ["…" * (begin > 0) + each[begin:end] + "…" * (len(each) > end) for each in texts]
