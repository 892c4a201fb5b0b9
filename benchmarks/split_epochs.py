"""Epochs of one training, in turn with and without the split of its steps; in one process, so that all else is equal.

Run inside an image by benchmarks/split_overhead.py, in a project with photos. Writes JSON: the seconds of each epoch,
[with, without] by pair. Python 3.7 syntax.

python split_epochs.py OUTPUT SECTION BATCH_SIZE PAIRS NETWORK       SECTION: the job's own of params.yaml, as JSON

NETWORK 'recipe': the seconds of its training. 'tiny', with next to no compute: the processor's seconds, which what else
runs on the machine hardly changes.
"""

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from jobs.dogs_cats import learners, networks, parameters, photos
from jobs.dogs_cats.split import Splitter
from stages.contract import Split


def main():
    output, section, batch_size, pairs, network = sys.argv[1:]
    if network == "tiny":
        networks.body = tiny_body
        torch.set_num_threads(1)  # idle threads take the processor's time too
    learner = learners.find()
    learner.import_fastai()
    choice = parameters.choice(json.loads(section), {"precision": "fp32", "batch_size": int(batch_size)}, "variants")
    learner.prepare(photos.load(Path("data/dogs_cats"), choice, 43))
    run = {"recipe": training_seconds, "tiny": processor_seconds}[network]
    run(learner)  # the first epoch allocates
    seconds = []
    for pair in range(int(pairs)):
        found = {}
        for split in (True, False) if pair % 2 else (False, True):  # so that a steady drift hits both alike
            found[split] = run(learner) if split else without_split(run, learner)
        seconds.append([found[True], found[False]])
    Path(output).write_text(json.dumps(seconds))


def training_seconds(learner):
    (epoch,) = learner.run_phase("frozen")
    return epoch.split.seconds


def processor_seconds(learner):
    began = time.process_time()
    learner.run_phase("frozen")
    return time.process_time() - began


def without_split(run, learner):
    module = sys.modules[type(learner).__module__]
    marks, copies, split = module._step_marks, module.copies_marked, Splitter.split
    module._step_marks = lambda *arguments: []
    module.copies_marked = nothing
    Splitter.split = lambda self, train_seconds: (1, Split(0.0, 0.0, 0.0, train_seconds))
    try:
        return run(learner)
    finally:
        module._step_marks, module.copies_marked, Splitter.split = marks, copies, split


@contextmanager
def nothing(*arguments):
    yield


def tiny_body(arch, weights):
    return networks.Body(nn.Sequential(nn.Conv2d(3, 8, 3, 8), nn.Conv2d(8, 8, 1)), 1, networks.IMAGENET_STATS)


if __name__ == "__main__":
    main()
