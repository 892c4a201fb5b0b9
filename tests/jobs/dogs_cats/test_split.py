"""The split of an epoch on a GPU, with a stand-in for the card: a queue of work with a clock of its own."""

import importlib
import types

import pytest
import torch

from jobs.dogs_cats import split
from jobs.dogs_cats.clocks import EpochTimer
from tests.gpu_queue import Card


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Event", card.Event)
    monkeypatch.setattr(split.time, "perf_counter", lambda: card.host)
    return card


def epoch_of(card, steps, loader, copy, compute, bookkeeping=0.0, sync=False):
    """An epoch of equal steps, each part of them as long as given."""
    return marked(card, steps, loader, copy, compute, bookkeeping, sync).split(card.synchronises())


def marked(card, steps, loader, copy, compute, bookkeeping, sync):
    splitter = split.Splitter()
    splitter.begin()
    for _ in range(steps):
        card.waits(loader)
        splitter.copies()
        card.queues(copy)
        splitter.computes()
        card.queues(compute)
        splitter.computed()
        if sync:  # as fastai does that reads the loss
            card.synchronises()
        card.waits(bookkeeping)
        splitter.asks()
    card.synchronises()  # as the timer does
    splitter.end()
    return splitter


def parts(found):
    found = found[1]
    return found.wait_seconds, found.copy_seconds, found.compute_seconds, found.other_seconds


class TestGpu:
    def test_a_loader_that_the_host_waits_for_in_lockstep_with_the_card(self, card):
        found = epoch_of(card, steps=10, loader=0.3, copy=0.1, compute=0.5, bookkeeping=0.1, sync=True)
        assert found[0] == 10
        assert parts(found) == pytest.approx((3.0, 1.0, 5.0, 1.0))

    def test_what_the_card_hides_of_the_loader_is_not_waited_for(self, card):
        # The card is busy for 0.6 s a step, the host for 0.3 s: after the first batch the card never waits.
        found = epoch_of(card, steps=10, loader=0.3, copy=0.1, compute=0.5)
        assert parts(found) == pytest.approx((0.3, 1.0, 5.0, 0.0))

    def test_of_a_loader_slower_than_the_card_the_rest_is_waited_for(self, card):
        found = epoch_of(card, steps=10, loader=0.8, copy=0.1, compute=0.5)
        assert parts(found) == pytest.approx((0.8 + 9 * 0.2, 1.0, 5.0, 0.0))

    def test_a_card_that_idles_for_bookkeeping_does_not_wait_for_the_loader(self, card):
        found = epoch_of(card, steps=10, loader=0.0, copy=0.1, compute=0.5, bookkeeping=0.9)
        assert parts(found) == pytest.approx((0.0, 1.0, 5.0, 10 * (0.9 - 0.6)))

    def test_each_step_is_from_the_end_of_the_one_before_to_its_own_as_the_card_has_them(self, card):
        found = marked(card, steps=3, loader=0.3, copy=0.1, compute=0.5, bookkeeping=0.1, sync=True)
        seconds = found.step_seconds()
        assert seconds == (0.9, 1.0, 1.0)
        assert sum(seconds) == pytest.approx(found.split(card.synchronises())[1].seconds - 0.1)  # after the last

    def test_the_hosts_queueing_is_no_step(self, card):
        found = marked(card, steps=3, loader=0.3, copy=0.1, compute=0.5, bookkeeping=0.0, sync=False)
        card.synchronises()
        assert found.step_seconds() == (0.9, 0.6, 0.6)

    def test_no_event_is_read_before_the_card_has_come_to_it(self, card):
        epoch_of(card, steps=10, loader=0.1, copy=0.1, compute=0.5)
        assert card.reads_before_the_end == 0

    def test_the_timer_synchronises_twice_an_epoch_and_not_in_its_steps(self, card):
        readings = []
        timer = EpochTimer("frozen", clock=lambda: readings.append(1) or card.synchronises())
        timer.begin()
        for _ in range(20):
            timer.splitter.copies()
            timer.splitter.computes()
            card.queues(0.1)
            timer.splitter.computed()
            timer.splitter.asks()
        assert len(readings) == 1
        timer.trained()
        epoch = timer.end(samples=64, train_loss=0.5, valid_loss=0.4, accuracy=0.9)
        assert epoch.split.compute_seconds == pytest.approx(epoch.split.seconds) == pytest.approx(2.0)
        assert epoch.step_seconds == pytest.approx([0.1] * 20)
        assert len(readings) == 3  # begin, end of training, end of validation


class TestCopies:
    @pytest.fixture
    def module(self):
        return types.SimpleNamespace(to_device=lambda batch, device: (batch, device))

    def test_are_marked_while_an_epoch_trains_and_the_function_is_put_back(self, module):
        original, splitter = module.to_device, split.Splitter()
        with split.copies_marked(module, splitter):
            splitter.begin()
            assert module.to_device(1, device="cpu") == (1, "cpu")
            splitter.computed()
            splitter.end()
            module.to_device(2, device="cpu")  # of the validation
        assert module.to_device is original
        assert splitter.split(1.0)[0] == 1

    def test_the_function_is_put_back_after_a_failure(self, module):
        original = module.to_device
        with pytest.raises(RuntimeError), split.copies_marked(module, split.Splitter()):
            raise RuntimeError("bus error")
        assert module.to_device is original

    def test_fastai_2_copies_by_the_name_that_is_marked(self):
        load = importlib.import_module("fastai.data.load")
        seen = []
        original = load.to_device
        load.to_device = lambda *args: seen.append(args) or original(*args)
        try:
            list(load.DataLoader([1, 2, 3], bs=1, device=torch.device("cpu")))
        finally:
            load.to_device = original
        assert len(seen) == 3
