"""What it costs to split the steps of training: epochs with the split beside epochs without it.

python -m benchmarks.split_overhead [IMAGE] [--pairs N]

Epochs with and without alternate in one process. Printed are the ratio of their times pair by pair, and, since noise
hides so small a thing, how much more of the processor's time a step of next to no compute takes with the split, as a
share of the step of a real network on this machine. Ends with 1 where that share is above MOST_SHARE. Takes minutes;
wants an idle machine, the former more than the latter.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy
import yaml
from scipy import stats

from benchmarks.overhead import dogs_cats, inside, prepare, source
from stages.errors import run_entry

TRAIN_PHOTOS = 96
BATCH_SIZES = {"recipe": 8, "tiny": 2}
MOST_SHARE = 0.01  # of a step's time
TINY_TIMES = 5  # as many pairs, of epochs that are short
RECIPE = {"size": 64, "workers": 0, "frozen_epochs": 1, "unfrozen_epochs": 0}

Pairs = list[tuple[float, float]]  # seconds of a step, with the split and without


def main() -> int:
    """Measure and print; 1 where the split takes too much."""
    parser = argparse.ArgumentParser(description="Epochs with the split of their steps beside epochs without it.")
    parser.add_argument("image", nargs="?", default="host")
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceoff-split-") as name:
        photos = {"train_photos": TRAIN_PHOTOS, "valid_photos": 8}
        folder = dogs_cats(Path(name), arguments.image, BATCH_SIZES["recipe"], photos, **RECIPE)
        prepare(folder, arguments.image)
        real = measure(folder, arguments.image, arguments.pairs, "recipe")
        tiny = measure(folder, arguments.image, TINY_TIMES * arguments.pairs, "tiny")
    step_seconds = statistics.median(without for _, without in real)
    extra = [split - without for split, without in tiny]
    print(f"image {arguments.image}, {arguments.pairs} pairs of epochs of {TRAIN_PHOTOS} photos")
    print(f"time with the split / without: {interval([split / without for split, without in real], '.4f')}")
    print(f"processor's time that the split takes in a step, µs: {interval([1e6 * each for each in extra], '.0f')}")
    share = statistics.median(extra) / step_seconds
    print(f"as a share of a step of {1e3 * step_seconds:.1f} ms: {share:.3%}, {MOST_SHARE:.0%} at most")
    return int(share > MOST_SHARE)


def measure(folder: Path, image: str, pairs: int, network: str) -> Pairs:
    """Return the seconds of a step, by pair."""
    output, batch_size = folder / f"models/{network}.json", BATCH_SIZES[network]
    section = json.dumps(yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["dogs_cats"])
    arguments = [str(output), section, str(batch_size), str(pairs), network]
    inside(folder, image, ["python", "-c", source("split_epochs.py"), *arguments])
    steps = TRAIN_PHOTOS // batch_size
    return [(split / steps, without / steps) for split, without in json.loads(output.read_text(encoding="utf-8"))]


def interval(values: list[float], form: str) -> str:
    """Say where the median lies."""
    found = stats.bootstrap((values,), numpy.median, method="percentile", rng=0).confidence_interval
    return f"median {statistics.median(values):{form}} (95 % interval {found.low:{form}} to {found.high:{form}})"


if __name__ == "__main__":
    run_entry(main)
