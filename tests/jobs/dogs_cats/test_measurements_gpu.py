"""The job's own measurements on a GPU, with a stand-in for it: a queue of work on the test's clock, and no CUDA."""

import types

import pytest
import torch

from jobs.dogs_cats import learners, measurements, seam
from jobs.dogs_cats.measurements import EXPLAINING, OTHERS, OWN, convolution, in_order, of_network, of_photos, queued
from jobs.dogs_cats.measurements.sampling import MOST_SAMPLES, NotPossible
from stages.contract import read_events
from tests.gpu_queue import Card
from tests.project import DOGS_CATS

WAKE_SECONDS = 10e-6
OTHER_SECONDS = 400e-6  # of the product that keeps the card busy


@pytest.fixture
def card(monkeypatch):
    card = Card()

    def wakes():
        card.synchronises()
        card.waits(WAKE_SECONDS)

    stand_in = types.SimpleNamespace(
        ones=lambda *_, device: None,
        mm=lambda *_: card.launches(1, 8e-6, OTHER_SECONDS),
        cuda=types.SimpleNamespace(Event=card.Event, synchronize=wakes),
    )
    monkeypatch.setattr(queued, "torch", stand_in)
    clock = types.SimpleNamespace(perf_counter=lambda: card.host)
    monkeypatch.setattr(queued, "time", clock)
    monkeypatch.setattr("jobs.dogs_cats.measurements.sampling.time", clock)
    return card


class TestTheGpusTime:
    @pytest.mark.parametrize("launch_seconds", [5e-6, 100e-6, 2e-3])
    @pytest.mark.parametrize("gpu_seconds", [3e-6, 200e-6, 10e-3])
    def test_is_what_is_told_however_slowly_the_host_launches(self, card, launch_seconds, gpu_seconds):
        found = list(queued.rates(1.0, lambda: card.launches(6, launch_seconds / 6, gpu_seconds / 6), seconds=5.0))
        assert found == pytest.approx([1.0 / gpu_seconds] * len(found)) and len(found) == MOST_SAMPLES

    def test_a_host_that_got_slower_since_it_was_tried_is_seen_and_the_card_kept_busy_for_longer(self, card):
        calls = []

        def work():
            calls.append(1)
            card.launches(1, 1e-4 if len(calls) < 80 else 6e-4, 20e-6)

        found = list(queued.rates(1.0, work, seconds=5.0))
        assert found == pytest.approx([1.0 / 20e-6] * len(found)) and len(calls) > 80

    def test_where_the_card_can_not_be_kept_busy_no_time_of_the_hosts_is_told(self, card):
        with pytest.raises(NotPossible, match="the host launches it so slowly"):
            list(queued.rates(1.0, lambda: (card.synchronises(), card.launches(1, 1e-4, 1e-5)), seconds=5.0))

    def test_the_queue_takes_all_of_a_sample(self, card):
        """CUDA's holds about a thousand launches, a sample some ten for each time."""
        assert queued.MOST_TIMES * 10 + 500 < 1024

    def test_the_time_is_held_and_one_sample_is_there(self, card):
        found = list(queued.rates(1.0, lambda: card.launches(1, 1e-5, 0.3), seconds=1.0))
        assert len(found) == 1 and card.host < 3.0
        with pytest.raises(NotPossible, match=r"once takes 2 s, and its share of the time is 1 s: raise"):
            list(queued.rates(1.0, lambda: card.launches(1, 1e-5, 2.0), seconds=1.0))


VARIANTS = [{"precision": name, "batch_size": size} for name in ("fp32", "mixed") for size in (16, 64)]


@pytest.fixture
def gpu(monkeypatch):
    """What torch says of a card of compute capability 9.0."""
    monkeypatch.setattr(learners, "device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    return monkeypatch


class TestOrder:
    def test_what_the_variants_compute_in_comes_first_then_what_else_explains(self, gpu):
        parts = in_order([*of_photos(["a.jpg"], 2), *of_network(DOGS_CATS, VARIANTS)])
        names = [part.name for part in parts]
        heaviest = "convolution, heaviest layer, batch size {}, contiguous, {}"
        assert names[:4] == [heaviest.format(size, name) for size in (16, 64) for name in ("fp32", "fp16")]
        assert set(names[4:8]) == {
            "read of photos, cold",
            "JPEG decode, all usable cores",
            *(heaviest.format(size, "ieee-fp32") for size in (16, 64)),
        }
        assert all(part.explains is None for part in parts[8:]) and len(names) == len(set(names)) == 16

    def test_batch_sizes_of_one_precision_do_not_lend_it_to_the_other(self, gpu):
        apart = [{"precision": "fp32", "batch_size": 16}, {"precision": "mixed", "batch_size": 64}]
        own = [part.name for part in in_order([*of_network(DOGS_CATS, apart)]) if part.order == OWN]
        assert [name.rpartition("size ")[2] for name in own] == ["16, contiguous, fp32", "64, contiguous, fp16"]

    def test_parts_that_matter_have_twice_the_share_and_what_is_left_over_goes_on(self, monkeypatch, tmp_path):
        shares = []
        clock = types.SimpleNamespace(now=100.0)

        def part(seconds):
            shares.append(seconds)
            clock.now += min(seconds, 2.0)
            yield 1.0

        monkeypatch.setattr(measurements, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
        monkeypatch.setattr(convolution, "part", part, raising=False)
        monkeypatch.setenv("FACEOFF_EVENTS", str(tmp_path / "events.jsonl"))
        made = measurements.Part("a", "flop/s", "convolution", "part", {}, None, {}, OWN)
        orders = (OWN, OWN, EXPLAINING, OTHERS)
        measurements.run([made._replace(name=str(index), order=each) for index, each in enumerate(orders)], 112.0)
        assert shares == pytest.approx([12.0 * 2 / 6, 10.0 * 2 / 4, 8.0 / 2, 6.0])
        assert all(each.samples == (1.0,) for each in read_events(tmp_path / "events.jsonl").measurements)


class TestTf32:
    """In torch a training of fp32 computes its convolutions in TF32 where the card has it."""

    def found(self):
        parts = [part for part in of_network(DOGS_CATS, VARIANTS[:1]) if part.explains]
        return {part.arguments["number_format"]: (part.applies["number_format"], part.order) for part in parts}

    def test_is_what_applies_to_such_trainings(self, gpu):
        assert self.found() == {
            "tf32": ("fp32", OWN),
            "fp32": ("ieee-fp32", EXPLAINING),
            "fp16": ("fp16", EXPLAINING),
        }

    @pytest.mark.parametrize("case", ["older card", "older torch", "forbidden"])
    def test_does_not_where_it_is_not_used(self, gpu, case):
        if case == "older card":
            gpu.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
        elif case == "older torch":
            gpu.setattr(convolution.torch.backends, "cudnn", types.SimpleNamespace())
        else:
            gpu.setenv("NVIDIA_TF32_OVERRIDE", "0")
        assert self.found()["fp32"] == ("fp32", OWN) and self.found()["tf32"][0] == "tf32"


@pytest.mark.parametrize("starts", [True, False])
def test_starting_the_gpu_takes_none_of_the_time(gpu, starts, monkeypatch, tmp_path):
    """Importing takes 5 s here, and the start 20 s, whether or not it fails: as much as there is for measurements."""
    clock = types.SimpleNamespace(now=100.0)
    deadlines = []

    def start():
        clock.now += 20.0
        if not starts:
            raise RuntimeError("CUDA error: out of memory")

    def of_network(*_):
        clock.now += 5.0
        return []

    monkeypatch.setattr(measurements, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(seam, "cell", lambda: {"usable_cpus": 2.0, "section": {}, "variants": [], "seconds": 20.0})
    monkeypatch.setattr(seam, "folder", lambda _: tmp_path)
    monkeypatch.setattr(measurements, "read", lambda *_: types.SimpleNamespace(photos=[]))
    monkeypatch.setattr(measurements, "of_network", of_network)
    monkeypatch.setattr(convolution, "start_gpu", start)
    monkeypatch.setattr(measurements, "run", lambda parts, deadline: deadlines.append(deadline))
    assert measurements.main([]) == 0
    assert deadlines == [125.0 + 20.0 - measurements.RESERVE_SECONDS]
    gpu.setattr(learners, "device_name", lambda: "cpu")
    assert measurements.main([]) == 0
    assert deadlines[1] == 125.0 + 20.0 - measurements.RESERVE_SECONDS and clock.now == 130.0
