"""What the machine can do inside this image: the measured part of a profile, within its own time limit.

Every part runs in a process of its own beside this one, which streams its samples. What hangs, crashes or fails there
costs its own figures and no others, and nothing outlasts the limit.

Runs inside images: Python 3.7 syntax; standard library, numpy, torch and Pillow.
"""

import time
from pathlib import Path
from typing import Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from stages import needs
from stages.records import Facts, Measurement, Recipe
from stages.workload.measure import peaks
from stages.workload.measure.process import MeasuringProcess, Told

# When a part counts as hanging. The last of its samples began within its share, and to start the process anew and
# import torch again would cost the others more than to wait some seconds, as long as there are some.
PATIENCE = 1.5  # shares
PATIENCE_SECONDS = 3.0  # but not more than half of what is left
OUT_OF_TIME = "the time for all of it was up: raise profile.measure_seconds in params.yaml"
MATRIX_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


class Part(NamedTuple):
    """One thing to measure."""

    name: str
    unit: str
    module: str
    function: str  # of the module: a generator of samples, and of details in words
    arguments: dict  # of the function, beside the seconds that it may take
    peak: peaks.Peak


def measure(
    seconds: float, facts: Facts, recipe: Recipe, batch_sizes: Sequence[int], photos: Sequence[Path]
) -> Tuple[Measurement, ...]:
    """Measure within `seconds`, which is all that it takes, starting Python and importing torch included."""
    return run(plan(facts, recipe, batch_sizes, photos), seconds)


def plan(facts: Facts, recipe: Recipe, batch_sizes: Sequence[int], photos: Sequence[Path]) -> List[Part]:
    """The parts in their order: those of the photos first, which need not wait until torch is imported."""
    return [*_of_photos(facts, [str(photo) for photo in photos]), *_of_device(facts, recipe, batch_sizes)]


def run(parts: Sequence[Part], seconds: float) -> Tuple[Measurement, ...]:
    """Each part in turn, in an equal share of the time that is left."""
    deadline = time.monotonic() + seconds
    measured = []
    with MeasuringProcess() as process:
        for index, part in enumerate(parts):
            told = _run_part(process, part, deadline, len(parts) - index)
            measured.append(_measurement(part, told))
    return tuple(measured)


def _run_part(process: MeasuringProcess, part: Part, deadline: float, parts_left: int) -> Told:
    failure = process.load(part.module, max(0.0, deadline - time.monotonic()))
    left = deadline - time.monotonic()
    if left <= 0:
        return Told([], [], OUT_OF_TIME)
    if failure:
        return Told([], [], failure)
    share = left / parts_left
    patience = max(share * PATIENCE, min(PATIENCE_SECONDS, left / 2))
    return process.run(part.module, part.function, part.arguments, share, min(patience, left))


def _of_photos(facts: Facts, photos: List[str]) -> Iterator[Part]:
    module = "stages.workload.measure.files"
    cpus = max(1, int(facts.hardware.limits.usable_cpus))
    for name in ("cold", "warm"):
        yield Part(
            "read of photos, " + name, "bytes/s", module, "read_" + name, {"photos": photos}, peaks.NONE_FOR_A_DISK
        )
    for name, processes in (("1 core", 1), ("all usable cores", cpus)):
        arguments = {"photos": photos, "processes": processes}
        yield Part("JPEG decode, " + name, "images/s", module, "decode", arguments, peaks.NONE_FOR_JPEG)


def _of_device(facts: Facts, recipe: Recipe, batch_sizes: Sequence[int]) -> Iterator[Part]:
    module = "stages.workload.measure.device"
    learner = needs.learner_kind(facts.contents.fastai or "")
    device = "cpu" if facts.device == "cpu" else "cuda"
    for precision in MATRIX_PRECISIONS:
        arguments = {"device": device, "precision": precision}
        peak = peaks.arithmetic(facts, precision)
        yield Part("matrix product, " + precision, "flop/s", module, "matrix_product", arguments, peak)
    yield Part("memory copy", "bytes/s", module, "memory_copy", {"device": device}, peaks.memory(facts))
    for kind in ("pinned", "pageable"):
        arguments = {"device": device, "pinned": kind == "pinned"}
        yield Part("host to device, " + kind, "bytes/s", module, "host_to_device", arguments, peaks.link(facts))
    for batch_size in batch_sizes:
        for layer in ("first", "heaviest"):
            for precision in ("fp32", "tf32", "fp16") if device == "cuda" else ("fp32", "bf16"):
                arguments = {
                    "device": device,
                    "precision": precision,
                    "layer": layer,
                    "arch": recipe.arch,
                    "size": recipe.size,
                    "channels_last": recipe.channels_last and learner == "fastai2",  # fastai1 trains without
                    "batch_size": batch_size,
                }
                name = "convolution, {} layer, batch size {}, {}".format(layer, batch_size, precision)
                yield Part(name, "flop/s", module, "convolution", arguments, peaks.arithmetic(facts, precision))


def _measurement(part: Part, told: Told) -> Measurement:
    samples, reason = told.samples, told.failure or "not one was done in its share of the time"
    absent = {}
    if not samples:
        absent["median"] = reason
    if len(samples) < 2:
        absent["spread"] = "one sample has none" if samples else reason
    if part.peak.value is None:
        absent["peak"] = part.peak.reason
    lower, median, upper = (float(each) for each in np.percentile(samples or [0.0], [25, 50, 75]))
    return Measurement(
        name=part.name,
        detail="; ".join([*told.details, *([told.failure] if told.failure and samples else [])]),
        unit=part.unit,
        samples=tuple(samples),
        median=median if samples else None,
        spread=upper - lower if len(samples) > 1 else None,
        peak=part.peak.value,
        absent=absent,
    )
