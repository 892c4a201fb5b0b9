"""Results of a face-off whose truth is known: what each repeat took, in the order in which the matrix runs."""

import dataclasses
import datetime
import random
from collections.abc import Mapping, Sequence

from stages.harness.comparison import compare
from stages.harness.params.schema import CompareParams
from stages.harness.results.read import Result
from stages.records import Cell, Profile, SettingFigures
from tests import results

BASELINE = "host/fp32-bs16"
BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
PHOTOS = tuple(f"valid/cats/cat.{number}.jpg" for number in range(400))


def noisy(seconds: float, repeats: int, spread: float = 0.003, seed: int = 0) -> list[float]:
    """So many times around `seconds`; `spread` is the standard deviation as a share of it."""
    noise = random.Random(seed)  # noqa: S311 - repeatable
    return [seconds * (1 + noise.gauss(0, spread)) for _ in range(repeats)]


def face_off(drift: float = 0.0, **images: Sequence[float | str]) -> list[Result]:
    """Images and the seconds of an epoch in each repeat; a text is a status without figures. `drift`: share per run."""
    found, place = [], 0
    for repeat in range(1, max(map(len, images.values())) + 1):
        for image, seconds in images.items():
            if repeat <= len(seconds):
                found.append(cell(image, repeat, seconds[repeat - 1], place, drift))
                place += 1
    return found


def cell(image: str, repeat: int, seconds: float | str, place: int, drift: float = 0.0) -> Result:
    one = Cell(image, "fp32", 16, repeat)
    if isinstance(seconds, str):
        return Result(one, seconds, "the reason")
    now = BEGIN + datetime.timedelta(minutes=2 * place)
    slower = (1 + drift) ** place
    train = results.trained(one, seconds * slower, started_at=now.isoformat())
    later = (now + datetime.timedelta(minutes=1)).isoformat()
    return Result(one, "ok", None, train, results.evaluated(one, 0.3 * seconds * slower, started_at=later))


def on_device(found: Sequence[Result], image: str, device: str) -> list[Result]:
    """The same, with the repeats of one image on another device."""
    return [
        dataclasses.replace(each, train=_on(each.train, device)) if each.train and each.cell.image == image else each
        for each in found
    ]


def _on(train: results.TrainResult, device: str) -> results.TrainResult:
    return dataclasses.replace(train, environment=dataclasses.replace(train.environment, device=device))


def telling(found: Sequence[Result], **wrong: Sequence[int]) -> list[Result]:
    """The same with predictions of PHOTOS: by image, the numbers of those that it tells wrong in every repeat."""
    return [
        dataclasses.replace(
            each,
            right={photo: number not in wrong[each.cell.image] for number, photo in enumerate(PHOTOS)},
        )
        for each in found
    ]


def compared(
    found: Sequence[Result], looks: Sequence[int] = (), profiles: Mapping[str, Profile] | None = None
) -> dict[str, SettingFigures]:
    """By image."""
    settings = compare.compare(found, CompareParams(BASELINE, 0.02, tuple(looks)), profiles or {})
    return {each.setting.split("/")[0]: each for each in settings}
