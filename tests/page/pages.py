"""Pages of comparisons that tests make up, with cells, params and profiles that belong to them."""

import dataclasses
from pathlib import Path

from stages.harness.params import schema
from stages.harness.params.schema import Params
from stages.harness.report import page
from stages.harness.results.read import Result
from stages.records import Cell, Comparison, Measurement, Profile
from tests import results
from tests.project import ROOT


def html(compared: Comparison) -> str:
    wanted = params_of(compared)
    profiles = {image: profile_of(image) for image in wanted.images}
    return page.html(compared, cells_of(compared), wanted, profiles, {"host": results.image("host")})


def cells_of(compared: Comparison) -> list[Result]:
    found = []
    for place, setting in enumerate(compared.settings):
        image, precision, size = _parts(setting.setting)
        for repeat in _repeats(compared):
            cell = Cell(image, precision, size, repeat)
            if str(repeat) in setting.reasons:
                status, reason = setting.reasons[str(repeat)].split(": ", 1)
                found.append(Result(cell, status, reason))
            else:
                found.append(Result(cell, "ok", None, results.trained(cell, 4.0 + place), results.evaluated(cell)))
    return found


def params_of(compared: Comparison) -> Params:
    parts = [_parts(setting.setting) for setting in compared.settings]
    images, precisions, sizes = (tuple(dict.fromkeys(each)) for each in zip(*parts, strict=True))
    plain = schema.load(Path(ROOT))
    provider = dataclasses.replace(
        plain.provider, name="Example Cloud", source="https://cloud.example/machines", cpus=4.0, memory="8 GB"
    )
    repeats = _repeats(compared)
    matrix = {"images": images, "precisions": precisions, "batch_sizes": sizes, "repeats": repeats}
    return dataclasses.replace(plain, image=images[0], provider=provider, **matrix)


def profile_of(image: str) -> Profile:
    """The first image has what the tests' machine has, another an older stack."""
    samples = (1.1e11, 1.2e11)
    measured = Measurement("matrix product", "2048 wide", "flop/s", samples, 1.15e11, 3e9, None, {"peak": "not stated"})
    plain = dataclasses.replace(results.profile(image), measurements=(measured,))
    if image == "host":
        return plain
    older = dataclasses.replace(
        results.CONTENTS, python="3.7.16", torch="1.2.0", fastai="1.0.48", cuda="10.0.130", cudnn=7602
    )
    return dataclasses.replace(plain, facts=dataclasses.replace(plain.facts, contents=older))


def _parts(setting: str) -> tuple[str, str, int]:
    image, _, rest = setting.partition("/")
    precision, size = rest.split("-bs")
    return image, precision, int(size)


def _repeats(compared: Comparison) -> tuple[int, ...]:
    keys = {*(key for each in compared.settings for key in each.reasons)}
    keys |= {key for each in compared.settings for figure in each.figures.values() for key in figure.samples}
    return tuple(sorted(map(int, keys)))
