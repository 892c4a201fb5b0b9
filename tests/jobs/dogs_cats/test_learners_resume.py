"""A learner goes on from a state that was kept between two epochs as if it had never stopped, fastai 2 on this machine
and fastai 1 in a container of cuda-10.0 alike.

What a process keeps goes through a file and to a learner that was made anew, as in another process.
"""

from pathlib import Path
from typing import Any

import pytest

from stages import codec
from stages.contract import Span
from tests.jobs.dogs_cats.programs import Programs

FROZEN_EPOCHS, UNFROZEN_EPOCHS = 2, 3
PROGRAM = """
networks.body = small_body

def prepared(precision):
    learner = learners.find()
    learner.prepare(taken(precision, 4))
    return learner

def keep(epoch, state):
    file = io.BytesIO()
    torch.save(state, file)
    kept.append((epoch.name, sum(name == epoch.name for name, *_ in kept) + 1, file.getvalue()))
    return not stop

def from_here_on(phase, done, kept_state):
    learner = prepared(precision)
    torch.rand(7)  # what the generators did before must not matter
    spans = list(learner.run_phase(phase, done, torch.load(io.BytesIO(kept_state), map_location="cpu")))
    if phase == "frozen":
        spans += learner.run_phase("unfrozen")
    learner.repeat_steps(lambda asked=iter([True, False]): next(asked))  # ceilings: also where no epoch was left
    return spans

for precision in arguments["precisions"]:
    kept, stop = [], False
    learner = prepared(precision)
    whole = [span for phase in parameters.PHASES for span in learner.run_phase(phase, after_epoch=keep)]
    found[precision] = {"whole": whole, "resumed": [from_here_on(*each) for each in kept]}
    kept, stop = [], True
    found[precision]["stopped"] = prepared(precision).run_phase("unfrozen", after_epoch=keep)
"""
PRECISIONS = {"host": ["fp32", "mixed"], "cuda-10.0": ["fp32"]}  # fastai 1 has no mixed precision on a CPU

MASTERS = """
from jobs.dogs_cats.learners import fastai1

def ready(state=None):
    learner = learners.find()
    learner.prepare(taken("mixed", 4))
    learner.run_phase("frozen", learner._input.epochs("frozen"), state)  # all done: a CPU computes no fp16
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


@pytest.fixture(scope="module", params=["host", pytest.param("cuda-10.0", marks=pytest.mark.engine)])
def image(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[0, 2], ids=["no workers", "2 workers"])
def found(request: pytest.FixtureRequest, image: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of each precision: a training that was not stopped, and those that went on from each of its epochs."""
    epochs = {"frozen_epochs": FROZEN_EPOCHS, "unfrozen_epochs": UNFROZEN_EPOCHS}
    photos = {"train_photos": 12, "valid_photos": 6}
    programs = Programs(tmp_path_factory.mktemp(image), image, photos, workers=request.param, **epochs)
    return list(programs.run(PROGRAM, precisions=PRECISIONS[image]).values())


def learned(spans: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What does not depend on clocks."""
    return [(each["name"], *each["values"].values()) for each in spans]


@pytest.mark.slow
@pytest.mark.engine
def test_fp16_of_fastai_1_goes_on_with_its_fp32_weights_and_their_optimiser(tmp_path: Path) -> None:
    Programs(tmp_path, "cuda-10.0", {"train_photos": 12, "valid_photos": 6}).run(MASTERS)


@pytest.mark.slow
class TestResuming:
    def test_losses_and_accuracies_are_those_of_a_training_that_was_not_stopped(self, found: list) -> None:
        for of_precision in found:
            whole = learned(of_precision["whole"])
            for place, resumed in enumerate(of_precision["resumed"]):
                assert learned(resumed) == whole[place + 1 :]
                assert all(span["steps"] == 12 // 4 for span in resumed)

    def test_it_can_go_on_from_every_epoch_and_they_differ(self, found: list) -> None:
        for of_precision in found:
            assert len(of_precision["resumed"]) == FROZEN_EPOCHS + UNFROZEN_EPOCHS
            assert len(set(learned(of_precision["whole"]))) == FROZEN_EPOCHS + UNFROZEN_EPOCHS

    def test_it_stops_after_an_epoch_when_it_is_told_to(self, found: list) -> None:
        for of_precision in found:
            assert len(of_precision["stopped"]) == 1

    def test_what_comes_back_is_a_span(self, found: list) -> None:
        for of_precision in found:
            for span in of_precision["whole"]:
                codec.decode(Span, span, "span")
