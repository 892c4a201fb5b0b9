"""Results of a face-off whose truth is known: what each repeat took, in the order in which the matrix runs."""

import dataclasses
import datetime
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stages import codec
from stages.harness.comparison import compare
from stages.harness.params.schema import CompareParams
from stages.harness.results.read import CellResult, StepTimes
from stages.records import Cell, Job, Profile, Result, SettingResult
from tests import results

BASELINE = "host/fp32-bs16"
BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
STEPS, STEPPING = 20, 0.9  # of an epoch, and the share of its time that they take
Tail = Callable[[list[float], int], list[float]]  # what becomes of the steps of an epoch, by its index
REPEATS = 8  # of faced
ITEMS = tuple(f"item-{number}" for number in range(400))


def noisy(seconds: float, repeats: int, spread: float = 0.003, seed: int = 0) -> list[float]:
    """So many times around `seconds`; `spread` is the standard deviation as a share of it."""
    noise = random.Random(seed)  # noqa: S311 - repeatable
    return [seconds * (1 + noise.gauss(0, spread)) for _ in range(repeats)]


def face_off(drift: float = 0.0, job: Job = results.JOB, **images: Sequence[float | str]) -> list[CellResult]:
    """Images and the seconds of an epoch in each repeat; a text is a status without times. `drift`: share per run."""
    found, place = [], 0
    for repeat in range(1, max(map(len, images.values())) + 1):
        for image, seconds in images.items():
            if repeat <= len(seconds):
                found.append(cell(image, repeat, seconds[repeat - 1], place, drift, job))
                place += 1
    return found


def cell(
    image: str, repeat: int, seconds: float | str, place: int, drift: float = 0.0, job: Job = results.JOB
) -> CellResult:
    """A cell of results.JOB, whose prediction takes 0.3 of an epoch, or of results.SILENT_JOB."""
    one = Cell(image, "fp32-bs16", repeat)
    if isinstance(seconds, str):
        return CellResult(one, seconds, "the reason")
    now = BEGIN + datetime.timedelta(minutes=2 * place)
    took = seconds * (1 + drift) ** place
    if job == results.SILENT_JOB:
        train, evaluate = results.silent(one, took, started_at=now.isoformat())
    else:
        fields = {"belongs": results.belongs(one, job_sha256=codec.fingerprint(job))}
        train = results.trained(one, took, started_at=now.isoformat(), **fields)
        evaluate = results.evaluated(one, 0.3 * took, **fields)
    later = (now + datetime.timedelta(minutes=1)).isoformat()
    return CellResult(one, "ok", None, train, dataclasses.replace(evaluate, started_at=later))


def changed(found: Sequence[CellResult], image: str, change: Callable[[Result], Result]) -> list[CellResult]:
    """The same, with the trainings of one image changed."""
    return [
        dataclasses.replace(each, train=change(each.train)) if each.train and each.cell.image == image else each
        for each in found
    ]


def with_facts(found: Sequence[CellResult], image: str, **facts: str) -> list[CellResult]:
    """The same, with the repeats of one image on another device, or the like."""
    return changed(found, image, lambda train: dataclasses.replace(train, facts={**train.facts, **facts}))


def with_steps(found: Sequence[CellResult], spread: float = 0.01, seed: int = 0, **tails: Tail) -> list[CellResult]:
    """The same with the times of their steps; by image, what makes some of them, and so their epoch, longer."""
    noise = random.Random(seed)  # noqa: S311 - repeatable
    return [_with_steps(each, spread, noise, tails.get(each.cell.image)) for each in found]


def _with_steps(result: CellResult, spread: float, noise: random.Random, tail: Tail | None) -> CellResult:
    if result.train is None:
        return result
    spans, steps = [], []
    for index, span in enumerate(result.train.spans):
        plain = [STEPPING * span.seconds / STEPS * (1 + noise.gauss(0, spread)) for _ in range(STEPS)]
        taken = tail([*plain], index) if tail else plain
        spans.append(dataclasses.replace(span, seconds=span.seconds + sum(taken) - sum(plain)))
        steps.append(StepTimes(span.name, tuple(taken)))
    return dataclasses.replace(result, train=dataclasses.replace(result.train, spans=tuple(spans)), steps=tuple(steps))


def waits(seed: int, most: float = 6.0) -> Tail:
    """A tail that makes a total noisy: in each epoch one step waits, for up to `most` seconds."""
    noise = random.Random(seed)  # noqa: S311 - repeatable

    def tail(steps: list[float], _: int) -> list[float]:
        steps[noise.randrange(1, len(steps))] += noise.uniform(0, most)
        return steps

    return tail


def faced(
    seed: int = 0,
    slowdown: float = 1.0,
    repeats: int = REPEATS,
    host: Tail | None = None,
    other: Tail | None = None,
    spread: float = 0.003,
) -> list[CellResult]:
    """Cells of two images with step times; `host`, `other`: their tails."""
    found = face_off(
        host=noisy(10.0, repeats, spread, 2 * seed), other=noisy(10.0 * slowdown, repeats, spread, 2 * seed + 1)
    )
    tails = {name: tail for name, tail in (("host", host), ("other", other)) if tail}
    return with_steps(found, 0.01, seed, **tails)


def beside(found: Sequence[CellResult], image: str, repeats: Sequence[int], **load: Any) -> list[CellResult]:
    """The same, with these repeats of one image measured beside such a load: others_share=0.4."""

    def loaded(train: Result) -> Result:
        if train.cell.repeat not in repeats:
            return train
        attempts = (dataclasses.replace(each, load=dataclasses.replace(each.load, **load)) for each in train.attempts)
        return dataclasses.replace(train, attempts=tuple(attempts))

    return changed(found, image, loaded)


def predicting(found: Sequence[CellResult], **wrong: Sequence[int]) -> list[CellResult]:
    """The same with predictions of ITEMS: by image, the numbers of those that it gets wrong in every repeat."""
    return [
        dataclasses.replace(each, right={item: n not in wrong[each.cell.image] for n, item in enumerate(ITEMS)})
        for each in found
    ]


def compared(
    found: Sequence[CellResult],
    looks: Sequence[int] = (),
    profiles: Mapping[str, Profile] | None = None,
    job: Job = results.JOB,
    **rules: Any,
) -> dict[str, SettingResult]:
    """By image."""
    wanted = dataclasses.replace(CompareParams(BASELINE, 0.02, tuple(looks), 1), **rules)
    settings = compare.compare(found, wanted, profiles or {}, job)
    return {each.setting.split("/")[0]: each for each in settings}
