"""What the machine can do with this job's photos and network inside an image, for its profile.

Every measurement is told of as soon as it is done: what is cut off costs its own numbers and no others.

Runs inside images: Python 3.7 syntax; standard library, torch and Pillow.
"""

import importlib
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

from jobs.dogs_cats import needs, parameters, seam
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


def main(arguments: Sequence[str]) -> int:
    """Measure within the seconds that FACEOFF_CELL allows, importing torch included."""
    cell = seam.cell()
    deadline = time.monotonic() + float(cell["seconds"]) - RESERVE_SECONDS
    data = seam.folder(contract.DATA)
    photos = [str(data / FOLDER / photo.path) for photo in read(data / LISTING, Photos).photos]
    cores = max(1, int(cell["usable_cpus"]))
    run([*of_photos(photos, cores), *of_network(cell["section"], cell["variants"])], deadline)
    return 0


def run(parts: Sequence[Part], deadline: float) -> None:
    """Measure each part in turn, in an equal share of the time that is left, and tell of it."""
    for index, part in enumerate(parts):
        details, samples = [], []  # type: List[str], List[float]
        try:
            for each in _measured(part, deadline, len(parts) - index):
                details.append(each) if isinstance(each, str) else samples.append(each)
            if not samples:
                details.append("not one was done in its share of the time")
        except Exception as error:  # whatever a part raises is its answer: the others go on
            kind = "" if isinstance(error, FaceoffError) else type(error).__name__ + ": "
            details.append(kind + (str(error).splitlines() or [""])[0])
        event = {"measurement": part.name, "unit": part.unit, "samples": samples, "detail": "; ".join(details)}
        seam.say(**event, applies=part.applies, **({"explains": part.explains} if part.explains else {}))


def _measured(part: Part, deadline: float, parts_left: int) -> Iterator[Any]:
    module = importlib.import_module("jobs.dogs_cats.measurements." + part.module)
    left = deadline - time.monotonic()
    if left <= 0:
        raise FaceoffError(OUT_OF_TIME)
    yield from getattr(module, part.function)(seconds=left / parts_left, **part.arguments)


def of_photos(photos: List[str], cores: int) -> Iterator[Part]:
    """Yield what is done with photos, by as many processes as there are cores to use."""
    for name, explains in (("cold", "wait"), ("warm", None)):
        yield Part("read of photos, " + name, "bytes/s", "files", "read_" + name, {"photos": photos}, explains, {})
    for name, processes, explains in (("1 core", 1, None), ("all usable cores", cores, "wait")):
        arguments = {"photos": photos, "processes": processes}
        yield Part("JPEG decode, " + name, "samples/s", "files", "decode", arguments, explains, {})


def of_network(section: Any, variants: Sequence[Dict[str, Any]]) -> Iterator[Part]:
    """Yield the convolutions of each network and batch size that there is, the heaviest of all first."""
    from jobs.dogs_cats import learners

    fastai, device = learners.find().version, learners.device_name()
    device = "cpu" if device == "cpu" else "cuda"
    shapes = {}  # type: Dict[tuple, Dict[str, Any]]
    for variant in variants:
        choice = parameters.choice(section, variant, "params.yaml: variants")
        recipe = choice.recipe
        channels_last = recipe.channels_last and needs.learner_kind(fastai) == "fastai2"  # fastai 1 trains without
        key = (choice.batch_size, recipe.arch, recipe.size, channels_last)
        shapes.setdefault(key, {name: variant[name] for name in ("arch", "size") if name in variant})
    for layer in ("heaviest", "first"):
        for (batch_size, arch, size, channels_last), own in shapes.items():
            layout = "channels_last" if channels_last else "contiguous"  # the learners' fact memory_format
            for number_format in ("fp32", "tf32", "fp16") if device == "cuda" else ("fp32", "bf16"):
                words = ["batch size {}".format(batch_size), *map(str, own.values()), layout, number_format]
                yield Part(
                    "convolution, {} layer, {}".format(layer, ", ".join(words)),
                    "flop/s",
                    "convolution",
                    "convolution",
                    {
                        "device": device,
                        "number_format": number_format,
                        "layer": layer,
                        "arch": arch,
                        "size": size,
                        "channels_last": channels_last,
                        "batch_size": batch_size,
                    },
                    "compute" if layer == "heaviest" else None,
                    {"batch_size": batch_size, "memory_format": layout, "number_format": number_format, **own},
                )
