"""A few steps of a cell, to see what it takes before the first one is trained.

Runs inside images: Python 3.7 syntax.
"""

import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor

from jobs.dogs_cats import decoding, failures, learners, needs, photos, seam, training
from jobs.dogs_cats.clocks import peak_gpu_memory_bytes
from jobs.dogs_cats.parameters import Choice
from jobs.dogs_cats.photos import Input
from stages import contract
from stages.contract import Span

VALID_PHOTOS = 2  # predicting them takes less memory than training
EPOCHS = 2  # the first makes the optimiser's memory and chooses algorithms; the second is timed
EVALUATION_PASSES = 10  # over the validation photos: the plain prediction, and with augmentation one plain and eight
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass takes twice as long
CELL_PROCESSES = 2  # that each import torch and fastai: the training's and the evaluation's
CELL_SECONDS = 3.0  # for the ceilings, after the epochs of a setting's first cell
DECODED_PHOTOS = 64  # that tell how fast photos are decoded


def run(choice: Choice, seed: int, steps: int) -> int:
    """Train the real network for some steps with few photos, and no weights: untrained, it takes as much memory."""
    began = time.perf_counter()
    learner = learners.find()
    unsupported = learner.unsupported(choice.precision)
    if unsupported:
        seam.say(unsupported=unsupported)
        return 0
    whole = photos.load(seam.folder(contract.DATA), choice, seed)
    decoding.check(whole.rare, whole.root)
    few = few_photos(whole, max(1, steps // EPOCHS))
    learner.import_fastai()
    with failures.explained(whole, learner.version):
        learner.prepare(few)
        training.say_facts(learner, whole)
        start_seconds = time.perf_counter() - began
        span = learner.run_phase("unfrozen")[-1]
        decoded = decoded_per_second(whole)
    training.say_span(span)
    training.say_peak(peak_gpu_memory_bytes())
    seam.say(estimate=estimate(whole, span, learner.version, start_seconds, decoded))
    return 0


def few_photos(whole: Input, steps: int) -> Input:
    """Return the input with as many photos as an epoch of so many steps takes."""
    train, valid = whole.train[: steps * whole.batch_size], whole.valid[:VALID_PHOTOS]
    return whole._replace(
        recipe=dataclasses.replace(whole.recipe, frozen_epochs=0, unfrozen_epochs=EPOCHS),
        photos=[whole.photos[index] for index in train + valid],
        valid=list(range(len(train), len(train) + len(valid))),
        weights=None,
    )


def estimate(whole: Input, span: Span, fastai: str, start_seconds: float, decoded: float) -> dict:
    """Return what a whole cell will take, by what an epoch of a few steps did."""
    assert span.split and span.steps  # noqa: S101 - the timer gives both
    recipe, split = whole.recipe, span.split
    batches = needs.batches_at_once(fastai, peak_gpu_memory_bytes() is not None, recipe) if recipe.workers else 0
    later_bytes = max(0, batches - span.steps) * needs.batch_bytes(fastai, whole.batch_size, recipe)
    step_seconds = (split.copy_seconds + split.compute_seconds + split.other_seconds) / span.steps
    seconds = predicted_seconds(step_seconds, whole, decoded)
    return {
        "memory_bytes": later_bytes,
        "span_seconds": epoch_seconds(step_seconds, whole, decoded),
        "cell_seconds": seconds + CELL_PROCESSES * start_seconds + CELL_SECONDS,
    }


def epoch_seconds(step_seconds: float, whole: Input, decoded: float) -> float:
    """Predict an epoch with its validation."""
    loading = whole.batch_size / decoded
    steps = len(whole.train) // whole.batch_size
    return steps * max(step_seconds, loading) + _pass_seconds(step_seconds, whole, loading)


def predicted_seconds(step_seconds: float, whole: Input, decoded: float) -> float:
    """Predict a cell: its epochs and its evaluation, without what its processes take besides.

    Assumes that a batch takes as long as the slower of the two takes for it: the device, by the dry-run's steps, and
    the loader, which does nothing but decode. In validation the device does the forward pass alone.
    """
    passes = EVALUATION_PASSES * _pass_seconds(step_seconds, whole, whole.batch_size / decoded)
    return whole.recipe.epochs * epoch_seconds(step_seconds, whole, decoded) + passes


def _pass_seconds(step_seconds: float, whole: Input, loading: float) -> float:
    return len(whole.valid) / whole.batch_size * max(step_seconds * FORWARD_SHARE, loading)


def decoded_per_second(whole: Input) -> float:
    """Return how many photos a second as many threads decode as the loader has processes; Pillow frees the GIL."""
    some = whole.photos[:DECODED_PHOTOS]
    threads = max(1, min(whole.recipe.workers, len(os.sched_getaffinity(0))))
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decoding.decode, some))
    return len(some) / (time.perf_counter() - began)
