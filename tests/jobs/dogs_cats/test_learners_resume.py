"""A learner goes on from a state that was kept between two epochs as if it had never stopped, fastai 2 on this machine
and fastai 1 in a container of cuda-10.0 alike.

What a process keeps goes through a file and to a learner that was made anew, as in another process.
"""

import json

import pytest

from stages import codec
from stages.records import Epoch
from tests import real_engine
from tests.project import make_project, stage

FROZEN_EPOCHS, UNFROZEN_EPOCHS = 2, 3
PROGRAM = """
import dataclasses, io, json, sys
import torch
from torch import nn
from stages.records import PHASES, Cell
from jobs.dogs_cats import inputs, learners, networks, photos

def small_body(arch, weights):
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2))
    return networks.Body(layers, 2, networks.IMAGENET_STATS)

torch.set_num_threads(1)  # several wait for each other where other processes take the CPUs
networks.body = small_body

def prepared(precision):
    learner = learners.find()
    learner.import_fastai()
    learner.prepare(photos.job_of(Cell("any", precision, 4, 1), inputs.read_recipe())[0])
    return learner

def keep(epochs, state):
    file = io.BytesIO()
    torch.save(state, file)
    kept.append((epochs, file.getvalue()))
    return not stop

def from_here_on(epochs, kept_state):
    learner = prepared(precision)
    torch.rand(7)  # what the generators did before must not matter
    phase, done = epochs[-1].phase, epochs
    state = torch.load(io.BytesIO(kept_state), map_location="cpu")
    found = list(learner.run_phase(phase, done, state))
    if phase == "frozen":
        found += learner.run_phase("unfrozen")
    learner.repeat_steps(lambda asked=iter([True, False]): next(asked))  # ceilings: also where no epoch was left
    return found

results = {}
for precision in sys.argv[1:]:
    kept, stop = [], False
    learner = prepared(precision)
    whole = [epoch for phase in PHASES for epoch in learner.run_phase(phase, after_epoch=keep)]
    results[precision] = {"whole": whole, "resumed": [from_here_on(*each) for each in kept]}
    kept, stop = [], True
    results[precision]["stopped"] = prepared(precision).run_phase("unfrozen", after_epoch=keep)
open("models/resumed.json", "w").write(json.dumps(results, default=dataclasses.asdict))
"""
PRECISIONS = {"host": ["fp32", "mixed"], "cuda-10.0": ["fp32"]}  # fastai 1 has no mixed precision on a CPU


@pytest.fixture(scope="module", params=["host", pytest.param("cuda-10.0", marks=pytest.mark.engine)])
def image(request):
    return request.param


@pytest.fixture(scope="module", params=[0, 2], ids=["no workers", "2 workers"])
def found(request, image, tmp_path_factory):
    """Epochs by precision: of a training that was not stopped, and of those that went on from each of its epochs."""
    if image != "host":
        real_engine.connect()
    folder = make_project(
        tmp_path_factory.mktemp(image),
        [image],
        dataset={"train_photos": 12, "valid_photos": 6},
        recipe={
            "arch": "resnet18",
            "pretrained": False,
            "size": 32,
            "frozen_epochs": FROZEN_EPOCHS,
            "unfrozen_epochs": UNFROZEN_EPOCHS,
            "workers": request.param,
        },
    )
    for command in (["download"], ["machine"], ["image", image]):
        stage(folder, *command)
    (folder / "stages/resumed.py").write_text(PROGRAM)
    stage(folder, "inside", image, "--", "python", "-m", "stages.resumed", *PRECISIONS[image])
    return json.loads((folder / "models/resumed.json").read_text())


def learned(epochs):
    """What does not depend on clocks and memory."""
    return [(e["phase"], e["index"], e["train_loss"], e["valid_loss"], e["accuracy"]) for e in epochs]


MASTERS = """
import io, torch
from stages.records import Cell
from jobs.dogs_cats import inputs, learners, photos
from jobs.dogs_cats.learners import fastai1

def ready(state=None):
    learner = learners.find()
    learner.import_fastai()
    learner.prepare(photos.job_of(Cell("any", "mixed", 4, 1), inputs.read_recipe())[0])
    planned = (None,) * learner._job.epochs("frozen")  # all done: a CPU computes no fp16
    learner.run_phase("frozen", planned, state)
    return learner._learner

def step(learner):
    torch.manual_seed(1)
    for master in fastai1._masters(learner):
        master.grad = torch.randn_like(master)
    learner.opt.step()
    learner.mixed_precision.on_step_end()

def told(learner):
    state = fastai1._state(learner)
    moments = [each[name] for each in state["optimiser"]["state"].values() for name in ("exp_avg", "exp_avg_sq")]
    moments.sort(key=lambda each: float(each.sum()))  # their keys are addresses
    return [each.float() for each in [*state["model"].values(), *state["masters"], *moments]]

one = ready()
one.handler.smoothener.add_value(torch.tensor(0.5))
step(one)
file = io.BytesIO()
torch.save(fastai1._state(one), file)
file.seek(0)
other = ready(torch.load(file))
for each in (step, None):
    pairs = list(zip(told(one), told(other)))
    assert len(pairs) > 100 and all(torch.equal(*pair) for pair in pairs), [torch.equal(*pair) for pair in pairs]
    if each:
        each(one)
        each(other)
masters = fastai1._masters(one)
assert len(masters) > 10 and all(each.dtype == torch.float32 for each in masters)
assert any(not torch.equal(each, each.half().float()) for each in masters)  # so that more than the model is needed
"""


@pytest.mark.slow
@pytest.mark.engine
def test_fp16_of_fastai_1_goes_on_with_its_fp32_weights_and_their_optimiser(tmp_path):
    real_engine.connect()
    recipe = {"arch": "resnet18", "pretrained": False, "size": 32}
    folder = make_project(tmp_path, ["cuda-10.0"], dataset={"train_photos": 12, "valid_photos": 6}, recipe=recipe)
    for command in (["download"], ["machine"], ["image", "cuda-10.0"]):
        stage(folder, *command)
    (folder / "stages/masters.py").write_text(MASTERS)
    stage(folder, "inside", "cuda-10.0", "--", "python", "-m", "stages.masters")


@pytest.mark.slow
class TestResuming:
    def test_losses_and_accuracies_are_those_of_a_training_that_was_not_stopped(self, found):
        for of_precision in found.values():
            for resumed in of_precision["resumed"]:
                whole = of_precision["whole"]
                assert learned(resumed) == learned(whole[-len(resumed) :])

    def test_it_can_go_on_from_every_epoch_and_they_differ(self, found):
        for of_precision in found.values():
            assert len(of_precision["resumed"]) == FROZEN_EPOCHS + UNFROZEN_EPOCHS
            assert len(set(learned(of_precision["whole"]))) == FROZEN_EPOCHS + UNFROZEN_EPOCHS

    def test_seconds_of_the_epochs_before_are_those_that_were_measured_then(self, found):
        for of_precision in found.values():
            frozen, unfrozen = of_precision["whole"][:FROZEN_EPOCHS], of_precision["whole"][FROZEN_EPOCHS:]
            for place, resumed in enumerate(of_precision["resumed"]):
                done = (frozen[: place + 1] + unfrozen)[: place + 1]
                done = [epoch for epoch in done if epoch["phase"] == resumed[0]["phase"]]
                assert resumed[: len(done)] == done
                for epoch in resumed[len(done) :]:
                    assert epoch not in of_precision["whole"]
                    assert epoch["split"]["steps"] == 12 // 4

    def test_it_stops_after_an_epoch_when_it_is_told_to(self, found):
        for of_precision in found.values():
            assert [epoch["index"] for epoch in of_precision["stopped"]] == [0]

    def test_what_comes_back_is_an_epoch(self, found):
        for of_precision in found.values():
            for epoch in of_precision["resumed"][0]:
                codec.decode(Epoch, epoch, "epoch")
