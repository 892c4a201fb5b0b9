"""Programs of tests that run inside an image with the job's modules, on fastai 2 of this machine or 1 of cuda-10.0."""

import json
from pathlib import Path
from typing import Any

from tests import real_engine
from tests.jobs.dogs_cats.by_hand import by_hand
from tests.project import make_project, stage

# Before each program: `taken(precision, batch_size, **recipe)` is an input of the project's photos; `found` is told at
# the end. A network so small that what it takes, which varies, is little.
BEGIN = """
import dataclasses, io, json, os, sys, time
from pathlib import Path
import torch
from torch import nn
from jobs.dogs_cats import ceilings, learners, networks, parameters, photos

torch.set_num_threads(1)  # several wait for each other where other processes take the CPUs
arguments = json.loads(sys.argv[1])
section = arguments["section"]

def taken(precision, batch_size, **recipe):
    own = {"precision": precision, "batch_size": batch_size, **recipe}
    return photos.load(Path("data/dogs_cats"), parameters.choice(section, own, "variants"), 43)

def small_body(arch, weights):
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2))
    return networks.Body(layers, 2, networks.IMAGENET_STATS)

learner = learners.find()
learner.import_fastai()
found = {}
"""
END = """
Path("models/found.json").write_text(json.dumps(found, default=dataclasses.asdict))
"""


class Programs:
    """A project of an image with photos, in which programs run."""

    def __init__(self, folder: Path, image: str, dataset: dict[str, Any], **recipe: Any) -> None:
        if image != "host":
            real_engine.connect()
        self.section = by_hand(folder, dataset, **recipe).section
        self.folder, self.image = folder / "project", image
        variants = {"plain": {"precision": "fp32", "batch_size": 4}}
        make_project(self.folder, [image], job="dogs_cats", variants=variants, dogs_cats=self.section)
        for command in (["machine"], ["job"], ["download"], ["image", image]):
            stage(self.folder, *command)

    def run(self, program: str, **arguments: Any) -> dict[str, Any]:
        """What the program found. Its `arguments` are those."""
        (self.folder / "models").mkdir(exist_ok=True)
        told = json.dumps({"section": self.section, **arguments})
        stage(self.folder, "inside", self.image, "--", "python", "-c", BEGIN + program + END, told)
        found: dict[str, Any] = json.loads((self.folder / "models/found.json").read_text())
        return found
