"""The split of a step gives back delays that are put in, on fastai 2 on this machine and fastai 1 in cuda-10.0 alike.

Delays are real sleeps, of the loader where it opens a photo and of compute in the network's forward pass. Both learners
do all else that they do, with a network so small that what it takes, which varies, is little.
"""

import pytest

from jobs.dogs_cats import split
from tests.jobs.dogs_cats.programs import Programs

PROGRAM = """
from PIL import Image

open_photo = Image.open
delay_seconds = {"photo": 0.0}

def slow_open(*args, **kwargs):
    time.sleep(delay_seconds["photo"])
    return open_photo(*args, **kwargs)

def small_body(arch, weights):
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 8), nn.Conv2d(8, 8, 1))
    return networks.Body(layers, 1, networks.IMAGENET_STATS)

Image.open = slow_open
networks.body = small_body
for name, workers, photo_seconds, step_seconds in arguments["scenarios"]:
    delay_seconds["photo"] = 0.0
    learner.prepare(taken("fp32", 4, workers=workers))
    delay_seconds["photo"] = photo_seconds
    hook = learner.network.register_forward_hook(lambda module, *_: time.sleep(step_seconds * module.training))
    span = min(learner.run_phase("frozen"), key=lambda span: span.split.seconds)  # other processes only add
    seconds = {"train_seconds": span.split.seconds, "span_seconds": span.seconds}
    found[name] = {"split": dataclasses.asdict(span.split), "steps": span.steps, **seconds}
    if name.endswith("ceilings"):
        found[name]["ceilings"] = dataclasses.asdict(ceilings.measure(learner, learner._input))

# As on a GPU, of which this is one that is done at once with whatever is launched.
from jobs.dogs_cats import split

class Event:
    def __init__(self):
        self.at = time.perf_counter()

    def elapsed_time(self, later):
        return 1000.0 * (later.at - self.at)

def with_device(splitter):
    splitter._has_device = True
    begin(splitter)

def end_seen(splitter):
    end(splitter)
    kinds.append([mark.kind for mark in splitter._marks])

begin, end, kinds = split.Splitter.begin, split.Splitter.end, []
split.event, split.Splitter.begin, split.Splitter.end = Event, with_device, end_seen
learner.prepare(taken("fp32", 4, workers=0))
found["marked"] = [dataclasses.asdict(span.split) for span in learner.run_phase("frozen")]
found["kinds"] = kinds
found["parts"] = {"fastai1": 3, "fastai2": 2}[type(learner).__name__.lower()]

from jobs.dogs_cats import failures
from stages.errors import FaceoffError

damaged = Path("models/in/it/train/cats/damaged.jpg").resolve()  # as deep as the others: so their class is found
damaged.parent.mkdir(parents=True)
damaged.write_bytes(learner._input.photos[0].read_bytes()[:2000])
found["damaged"], found["refused"] = str(damaged), []
for workers in (0, 1):
    whole = taken("fp32", 4, workers=workers)
    last = whole.train[-1]
    whole = whole._replace(photos=whole.photos[:last] + [damaged] + whole.photos[last + 1 :])
    try:
        with failures.explained(whole, learner.version):
            learner.prepare(whole)
            learner.run_phase("frozen")
    except FaceoffError as error:
        found["refused"].append(str(error))
"""
TRAIN_PHOTOS, BATCH_SIZE = 16, 4
STEPS = TRAIN_PHOTOS // BATCH_SIZE
PHOTO_SECONDS, STEP_SECONDS = 0.1, 0.4
SCENARIOS = {  # workers, seconds that a photo takes longer to open, seconds that a step takes longer to compute
    "plain": (0, 0.0, 0.0),
    "slow loader": (0, PHOTO_SECONDS, 0.0),
    "slow compute": (0, 0.0, STEP_SECONDS),
    "plain, workers": (2, 0.0, 0.0),
    "slow loader, workers": (2, PHOTO_SECONDS, 0.0),
    "slow compute, workers": (2, 0.0, STEP_SECONDS),
    "hidden loader, workers, ceilings": (2, PHOTO_SECONDS, STEP_SECONDS),
}
EPOCHS = 2  # of each scenario, of which the fastest counts
TOLERANCE = 0.05  # of the training time


@pytest.fixture(scope="module", params=["host", pytest.param("cuda-10.0", marks=pytest.mark.engine)])
def found(request, tmp_path_factory):
    """What the split was in each scenario."""
    photos = {"train_photos": TRAIN_PHOTOS, "valid_photos": 4}
    folder = tmp_path_factory.mktemp(request.param)
    programs = Programs(folder, request.param, photos, frozen_epochs=EPOCHS, unfrozen_epochs=0)
    return programs.run(PROGRAM, scenarios=[(name, *values) for name, values in SCENARIOS.items()])


def share(found, name, part, seconds=0.0):
    """`part` of the scenario's split, less `seconds`, as a share of its training time."""
    return (found[name]["split"][part] - seconds) / found[name]["train_seconds"]


@pytest.mark.slow
class TestSplit:
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_every_step_is_in_it(self, found, name):
        parts = {**found[name]["split"]}
        assert parts.pop("launch_seconds") is None  # a CPU launches nothing
        assert found[name]["steps"] == STEPS and min(parts.values()) >= 0
        assert sum(parts.values()) <= found[name]["span_seconds"]  # no second is in two parts

    # Each delay is at least in its own part; as the parts make up the epoch, none of them is in another one.
    def test_a_delay_in_the_loader_is_waited_for(self, found):
        assert found["slow loader"]["split"]["wait_seconds"] >= TRAIN_PHOTOS * PHOTO_SECONDS

    @pytest.mark.parametrize("workers", ["", ", workers"])
    def test_a_delay_in_compute_is_compute(self, found, workers):
        assert found["slow compute" + workers]["split"]["compute_seconds"] >= STEPS * STEP_SECONDS

    def test_two_workers_share_a_delay_in_the_loader(self, found):
        # What compute hides of it is not waited for: both together are what the loader takes at least.
        name = "slow loader, workers"
        delay = TRAIN_PHOTOS * PHOTO_SECONDS / 2
        busy = share(found, name, "wait_seconds") + share(found, name, "compute_seconds")
        assert busy >= delay / found[name]["train_seconds"] - TOLERANCE
        assert share(found, name, "wait_seconds") > 0.5

    def test_a_delay_that_compute_hides_is_not_waited_for(self, found):
        """But for the first batch. Two workers take as long for the others as would be waited if nothing hid it."""
        waited, plain = (
            found[name]["split"]["wait_seconds"]
            for name in ("hidden loader, workers, ceilings", "slow compute, workers")
        )
        first_batch, others = (photos * PHOTO_SECONDS for photos in (BATCH_SIZE, (TRAIN_PHOTOS - 2 * BATCH_SIZE) / 2))
        assert waited - plain - first_batch < 0.6 * others

    def test_each_step_has_marks_at_the_ends_of_its_parts_before_fastai_waits_for_the_device(self, found):
        """fastai 2: forward and backward; fastai 1, which waits twice a step for its loss: the optimiser too."""
        step = [split.COPIES, split.COMPUTES, *[split.PASSES] * found["parts"], split.COMPUTED]
        assert found["kinds"] == [[split.BEGUN, *step * STEPS, split.ENDED]] * EPOCHS
        for marked in found["marked"]:
            assert marked["launch_seconds"] > 0.9 * marked["compute_seconds"] > 0

    def test_a_photo_that_is_damaged_in_the_middle_of_an_epoch_is_named(self, found):
        assert len(found["refused"]) == 2
        for line in found["refused"]:
            assert line.startswith(found["damaged"] + ": Pillow ") and " does not read it (image file is trunc" in line

    def test_the_ceilings_are_what_each_side_alone_takes(self, found):
        ceilings = found["hidden loader, workers, ceilings"]["ceilings"]
        # Two workers open a photo each in PHOTO_SECONDS, and one decodes it besides, on whatever CPU is free.
        assert 0.3 * 2 / PHOTO_SECONDS < ceilings["loader_samples_per_second"] < 1.1 * 2 / PHOTO_SECONDS
        assert 0.3 * BATCH_SIZE / STEP_SECONDS < ceilings["compute_samples_per_second"] < BATCH_SIZE / STEP_SECONDS
