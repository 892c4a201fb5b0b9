"""What the machine can do with this job's photos and network inside an image, for its profile.

Every measurement is told of as soon as it is done: what is cut off costs its own numbers and no others.

Runs inside images: Python 3.7 syntax; standard library, torch and Pillow.
"""

import contextlib
import importlib
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

from jobs.dogs_cats import decoding, needs, parameters, seam
from jobs.dogs_cats.imports import cheap
from jobs.dogs_cats.photos import FOLDER, LISTING, Photos
from stages import contract
from stages.codec import read
from stages.errors import FaceoffError

RESERVE_SECONDS = 1.0  # for the process's begin and end, which count as well
OUT_OF_TIME = "the time for all of it was up: raise profile.measure_seconds in params.yaml"


class Part(NamedTuple):
    """One thing to measure."""

    name: str
    unit: str
    module: str
    function: str  # of the module: a generator of samples, and of details in words
    arguments: Dict[str, Any]  # of the function, beside the seconds that it may take
    explains: Optional[str]  # the part of a step
    applies: Dict[str, Any]  # parameters and facts of the cells that it is for
    order: int  # of OWN and so on: in this order they are measured


OWN, EXPLAINING, OTHERS = range(3)  # what a variant computes in; what explains a step besides; the rest
WEIGHTS = {OWN: 2.0, EXPLAINING: 1.0, OTHERS: 1.0}  # of the shares of the time


def main(arguments: Sequence[str]) -> int:
    """Measure within the seconds that FACEOFF_CELL allows, importing torch included, but for the start of a GPU."""
    began = time.monotonic()
    decoding.silence()
    cell = seam.cell()
    data = seam.folder(contract.DATA)
    photos = [str(data / FOLDER / photo.path) for photo in read(data / LISTING, Photos).photos]
    cores = max(1, int(cell["usable_cpus"]))
    with cheap():
        importlib.import_module("jobs.dogs_cats.learners")  # and torch
    parts = in_order([*of_photos(photos, cores), *of_network(cell["section"], cell["variants"])])
    if start_gpu():
        began = time.monotonic()
    run(parts, began + float(cell["seconds"]) - RESERVE_SECONDS)
    return 0


def start_gpu() -> bool:
    """Begin with the GPU, if there is one; return whether there is. What fails, the first measurement tells."""
    from jobs.dogs_cats import learners
    from jobs.dogs_cats.measurements import convolution

    if learners.device_name() == "cpu":
        return False
    with contextlib.suppress(RuntimeError):
        convolution.start_gpu()
    return True


def in_order(parts: Iterable[Part]) -> List[Part]:
    """Return them with those first that matter most, since the time may end before all are measured."""
    return sorted(parts, key=lambda part: part.order)


def run(parts: Sequence[Part], deadline: float) -> None:
    """Measure each part in turn, in its share of the time that is left, and tell of it."""
    for index, part in enumerate(parts):
        details, samples = [], []  # type: List[str], List[float]
        share = WEIGHTS[part.order] / sum(WEIGHTS[each.order] for each in parts[index:])
        try:
            for each in _measured(part, deadline, share):
                details.append(each) if isinstance(each, str) else samples.append(each)
            if not samples:
                details.append("not one was done in its share of the time")
        except Exception as error:  # whatever a part raises is its answer: the others go on
            kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
            details.append(kind + (str(error).splitlines() or [""])[0])
        event = {"measurement": part.name, "unit": part.unit, "samples": samples, "detail": "; ".join(details)}
        seam.say(**event, applies=part.applies, **({"explains": part.explains} if part.explains else {}))


def _measured(part: Part, deadline: float, share: float) -> Iterator[Any]:
    module = importlib.import_module("jobs.dogs_cats.measurements." + part.module)
    left = deadline - time.monotonic()
    if left <= 0:
        raise FaceoffError(OUT_OF_TIME)
    yield from getattr(module, part.function)(seconds=left * share, **part.arguments)


def of_photos(photos: List[str], cores: int) -> Iterator[Part]:
    """Yield what is done with photos, by as many processes as there are cores to use."""
    for name, explains in (("cold", "wait"), ("warm", None)):
        order = EXPLAINING if explains else OTHERS
        yield Part(
            "read of photos, " + name, "bytes/s", "files", "read_" + name, {"photos": photos}, explains, {}, order
        )
    for name, processes, explains in (("all usable cores", cores, "wait"), ("1 core", 1, None)):
        arguments = {"photos": photos, "processes": processes}
        order = EXPLAINING if explains else OTHERS
        yield Part("JPEG decode, " + name, "samples/s", "files", "decode", arguments, explains, {}, order)


class Shape(NamedTuple):
    """What decides the convolutions of a variant, beside the number format."""

    batch_size: int
    arch: str
    size: int
    channels_last: bool


def of_network(section: Any, variants: Sequence[Dict[str, Any]]) -> Iterator[Part]:
    """Yield the convolutions of each network and batch size that there is, the heaviest of all first."""
    from jobs.dogs_cats import learners

    fastai, device = learners.find().version, learners.device_name()
    formats = _formats("cpu" if device == "cpu" else "cuda")
    shapes, computed = {}, set()  # type: Dict[Shape, Dict[str, Any]], Set[Tuple[Shape, Optional[str]]]
    for variant in variants:
        choice = parameters.choice(section, variant, "params.yaml: variants")
        recipe = choice.recipe
        channels_last = recipe.channels_last and needs.learner_kind(fastai) == "fastai2"  # fastai 1 trains without
        shape = Shape(choice.batch_size, recipe.arch, recipe.size, channels_last)
        shapes.setdefault(shape, {name: variant[name] for name in ("arch", "size") if name in variant})
        computed.add((shape, formats.of_precision[choice.precision]))
    for layer in ("heaviest", "first"):
        for shape, own in shapes.items():
            for number_format, fact in formats.facts.items():
                order = OWN if (shape, number_format) in computed else EXPLAINING
                yield _convolution(formats.device, layer, shape, own, number_format, fact, order)


class Formats(NamedTuple):
    """The number formats in which convolutions are measured on a device."""

    device: str
    facts: Dict[str, str]  # number format: the fact number_format of the cells that it is for
    of_precision: Dict[str, str]  # parameter precision: the number format in which a training's are computed


def _formats(device: str) -> Formats:
    if device == "cpu":
        return Formats(device, {"fp32": "fp32", "bf16": "bf16"}, {"fp32": "fp32", "mixed": "bf16"})
    from jobs.dogs_cats.measurements import convolution

    if convolution.tf32_by_default():  # a training in fp32 has TF32 in its convolutions, and says that it is fp32
        facts = {"tf32": "fp32", "fp32": "ieee-fp32", "fp16": "fp16"}
        return Formats(device, facts, {"fp32": "tf32", "mixed": "fp16"})
    facts = {name: name for name in ("fp32", "tf32", "fp16")}
    return Formats(device, facts, {"fp32": "fp32", "mixed": "fp16"})


def _convolution(
    device: str, layer: str, shape: Shape, own: Dict[str, Any], number_format: str, fact: str, order: int
) -> Part:
    layout = "channels_last" if shape.channels_last else "contiguous"  # the learners' fact memory_format
    words = ["batch size {}".format(shape.batch_size), *map(str, own.values()), layout, fact]
    return Part(
        "convolution, {} layer, {}".format(layer, ", ".join(words)),
        "flop/s",
        "convolution",
        "convolution",
        {"device": device, "number_format": number_format, "layer": layer, **shape._asdict()},
        "compute" if layer == "heaviest" else None,
        {"batch_size": shape.batch_size, "memory_format": layout, "number_format": fact, **own},
        order if layer == "heaviest" else OTHERS,
    )
