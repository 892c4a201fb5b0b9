"""What the supervisor makes of a training that says no spans itself: those that were seen from outside."""

import dataclasses
from pathlib import Path

import pytest

from stages.records import Metric, step_times
from stages.workload.observer.read import NOT_SEEN
from stages.workload.supervisor import observation
from tests.observer.observing import SCRIPTS
from tests.supervised import CELL, EVENTS, SPAN, Checkout

TRAINING = """
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(1)
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), 0.01)
loader = DataLoader(TensorDataset(torch.randn(48, 4)), batch_size=16)
for epoch in range(2):
    for (batch,) in loader:
        optimiser.zero_grad()
        model(batch).pow(2).mean().backward()
        optimiser.step()
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path, observe=True)


def test_a_script_that_says_nothing_has_its_epochs_steps_and_samples(checkout):
    done = checkout.run("train", checkout.script(TRAINING))
    found = checkout.result()
    assert [(each.name, each.samples, each.steps) for each in found.spans] == [("train", 48, 3)] * 2, done.stderr
    assert 0 < sum(each.seconds for each in found.spans) < found.command_seconds
    assert all(each.split is not None for each in found.spans) and "ceilings" in found.absent
    assert not CELL.observed_dir.exists()
    kept = step_times.rows(CELL.steps_path.read_text(), CELL.steps_path)
    assert [(name, len(seconds)) for name, seconds in kept] == [("train", 3)] * 2
    assert all(sum(seconds) <= span.seconds for (_, seconds), span in zip(kept, found.spans, strict=True))
    assert (found.steps.count, found.steps.queued) == (6, False)


def test_steps_that_were_queued_on_a_gpu_are_said_to_be(checkout):
    begins = "import torch\ntorch.cuda.is_initialized = lambda: True\n"
    checkout.run("train", checkout.script(begins + TRAINING))
    found = checkout.result()
    assert (found.steps.count, found.steps.queued) == (6, True)


def test_steps_by_the_clock_of_a_card_are_not_queued_ones(checkout):
    """Of a stand-in: the first backward pass tells which card it is."""
    begins = f"import sys\nsys.path.insert(0, {str(SCRIPTS)!r})\nimport card, torch\ncard.start()\n"
    on_card = TRAINING.replace("model(batch).pow(2).mean().backward()", "card.on_card(model(batch).mean()).backward()")
    checkout.run("train", checkout.script(begins + on_card))
    found = checkout.result()
    assert (found.steps.count, found.steps.queued) == (6, False)
    assert all(each.split is not None and each.split.launch_seconds is not None for each in found.spans[1:])


def test_the_total_may_be_what_was_seen(checkout):
    checkout.job = dataclasses.replace(checkout.job, total=("train",))
    checkout.run("train", checkout.script(TRAINING))
    assert checkout.result().status == "ok"


def test_what_the_job_says_itself_wins(checkout):
    checkout.run("train", checkout.script(TRAINING + EVENTS + SPAN))
    found = checkout.result()
    assert [each.name for each in found.spans] == ["epoch"] and found.notes == () and found.steps.count == 0


def test_where_nothing_was_seen_it_is_said_why(checkout):
    checkout.run("train", checkout.script("echo done", "job.sh"))
    found = checkout.result()
    assert (found.status, found.spans, found.notes) == ("ok", (), (NOT_SEEN,))


def test_a_job_that_is_not_to_be_looked_at_is_not(checkout):
    checkout.job = dataclasses.replace(checkout.job, observe=False)
    checkout.run("train", checkout.script(TRAINING))
    found = checkout.result()
    assert (found.status, found.spans, found.notes) == ("ok", (), ())


def test_a_metric_of_the_jobs_own_keeps_its_name(checkout):
    checkout.job = dataclasses.replace(checkout.job, metrics={"train_seconds": Metric("seconds", "lower")})
    checkout.run("train", checkout.script(TRAINING))
    assert checkout.result().notes == (observation.NAME_TAKEN.format("train_seconds"),)


def test_steps_are_a_sign_of_life(checkout):
    """For the host, which looks at the file of events alone."""
    began = "import os, pathlib\npathlib.Path(os.environ['FACEOFF_OUTPUT'], 'began').touch()\n"
    checkout.run("train", checkout.script(began + TRAINING + "import time\ntime.sleep(1.5)\n"))
    events = CELL.events_path.stat()
    assert events.st_size == 0 and events.st_mtime_ns > (CELL.output_dir / "began").stat().st_mtime_ns
