"""A training by the job's own command: what it tells, and how it ends where it does not end well."""

import signal
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from jobs.dogs_cats import imports, needs, parameters, photos, training
from jobs.dogs_cats.checkpoint import NAME, Progress
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.by_hand import ByHand, by_hand

pytestmark = pytest.mark.slow

EPOCHS = 3


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data with drawn photos."""
    job = by_hand(tmp_path_factory.mktemp("downloaded"), {"train_photos": 32, "valid_photos": 8})
    job.succeed("download")
    return job.data


@pytest.fixture
def job(downloaded: Path, tmp_path: Path) -> ByHand:
    return with_data(tmp_path, downloaded)


def with_data(folder: Path, downloaded: Path) -> ByHand:
    """The job with photos that are there, one frozen and two unfrozen epochs."""
    job = by_hand(folder, {"train_photos": 32, "valid_photos": 8}, unfrozen_epochs=EPOCHS - 1)
    folder.mkdir(exist_ok=True)
    (folder / "data").symlink_to(downloaded)
    return job


def spans(job: ByHand) -> list[tuple[str, dict[str, float]]]:
    """What of them does not depend on clocks."""
    return [(span.name, span.values) for span in job.events().spans]


def test_killed_amid_an_epoch_it_goes_on_to_the_very_same_end(job: ByHand, downloaded: Path, tmp_path: Path) -> None:
    whole = with_data(tmp_path / "whole", downloaded)
    whole.succeed("train")
    process = job.start("train")
    deadline = time.monotonic() + 300
    while len(job.events().spans) < 2 or not (job.state / NAME).exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = spans(job)
    events = job.succeed("train")
    kept = events.resumed_after_spans
    assert kept in (1, 2), "a span is told before it is kept"
    assert before[:kept] + spans(job) == spans(whole)
    assert (job.output / "model.pth").read_bytes() == (whole.output / "model.pth").read_bytes()
    assert [path.name for path in job.output.iterdir()] == ["model.pth"]


def test_a_session_that_is_over_is_left_at_once_and_is_no_error(job: ByHand) -> None:
    job.session_ends_at = time.time()
    code, _, errors = job.run("train")
    assert code == 75 and "faceoff: session.max_hours: 0 s are left and an epoch takes up to 0 s" in errors
    assert "stopped after epoch 0 of 3 of host/plain, repeat 1; run `make repro` again to go on" in errors
    assert job.events().error is None and job.events().spans == ()


@pytest.mark.parametrize(
    ("spans", "longest_seconds", "leaves"), [(1, 200.0, True), (1, 50.0, False), (3, 200.0, False)]
)
def test_no_epoch_is_begun_that_does_not_fit_into_the_session(
    job: ByHand, spans: int, longest_seconds: float, leaves: bool
) -> None:
    cell = {"image": "host", "variant": "plain", "repeat": 1, "session_ends_at": time.time() + 100}
    choice = parameters.choice(job.section, job.parameters, "variants")
    progress = Progress(spans, "unfrozen", 1, longest_seconds)
    under_way = training.Training(photos.load(job.data, choice, 43), cell, progress)
    with pytest.raises(FaceoffError) if leaves else nullcontext() as caught:
        under_way.leave_unless_it_fits()
    assert not leaves or (caught and caught.value.exit_code == 75)


def test_a_loss_that_is_none_is_one_line(job: ByHand) -> None:
    job.section["recipe"]["frozen_learning_rate"] = 1e30
    line = job.fail("train")
    assert line.startswith("the loss is nan in frozen epoch 1: the training diverged: lower dogs_cats.recipe.frozen_le")
    assert list(job.output.iterdir()) == []


def test_a_model_that_finds_no_room_is_one_line_and_leaves_nothing(job: ByHand) -> None:
    class Learner:
        def save(self, path: Path) -> None:
            path.write_bytes(b"half of it")
            raise RuntimeError("basic_ios::clear: iostream error")

    with pytest.raises(FaceoffError, match=r"model\.pth: not written, with .* free on that disk: make room, then run"):
        training.save(Learner(), job.output / "model.pth")
    assert list(job.output.iterdir()) == []


def test_a_dry_run_ends_after_its_steps_and_estimates_a_cell(job: ByHand) -> None:
    events = job.succeed("train", {"FACEOFF_STEPS": "4"})
    [span] = events.spans
    assert span.steps == 2 and span.split is not None
    assert events.estimate is not None and events.facts["number_format"] == "fp32"
    recipe = job.section["recipe"]
    batch_bytes = 16 * 3 * recipe["size"] ** 2 + 4096  # with the labels' page
    assert events.estimate.memory_bytes == (2 + 1 + needs.UNCOLLECTED_BATCHES - 2) * batch_bytes
    assert events.estimate.cell_seconds is not None and events.estimate.span_seconds is not None
    assert events.estimate.cell_seconds > EPOCHS * events.estimate.span_seconds > 0
    assert list(job.output.iterdir()) == list(job.state.iterdir()) == []


def test_what_is_put_off_at_the_imports_is_not_needed_later_amid_what_is_timed(job: ByHand) -> None:
    job.parameters["precision"] = "mixed"
    for command in ("train", "evaluate"):
        code, _, errors = job.run(command, {"PYTHONPROFILEIMPORTTIME": "1"})  # a line for each module, on stderr
        imported = {line.rpartition("|")[2].strip() for line in errors.splitlines() if line.startswith("import time:")}
        assert code == 0 and {"torch", "fastai.learner"} <= imported, errors[-500:]
        assert not {"torch._dynamo", *imports.LATER} & imported, command


def test_signs_of_life_come_before_the_first_epoch_ends(job: ByHand) -> None:
    process = job.start("train")
    try:
        deadline = time.monotonic() + 300
        while not job.events_path.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        assert job.events().spans == ()
        process.send_signal(signal.SIGUSR1)  # shows where it is, and goes on
    finally:
        _, errors = process.communicate()
    assert process.returncode == 0 and "most recent call first" in errors
