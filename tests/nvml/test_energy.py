"""What a command's cards took and did, by the supervisor over the compiled stand-in of the driver."""

import time
from pathlib import Path
from typing import Any

import pytest

from stages import codec
from stages.records import Result
from stages.workload.supervisor.progress import Progress
from tests import nvml
from tests.nvml import A100, K80, LIBRARY, T4, TWIN
from tests.supervised import CELL, EVENTS, PYTHONS, Checkout

UUID = str(T4["uuid"])
# `turn` has a card's numbers change from now on; `work` is a span.
SCRIPT = (
    EVENTS
    + """
def turn(**values):
    path = os.environ["NVML_STANDIN"]
    lines = open(path).read().splitlines()
    began = next(float(line.split()[1]) for line in lines if line.startswith("began "))
    for index, line in enumerate(lines):
        if line.split(" ")[0] in values:
            lines[index] += ";%f:%s" % (time.time() - began, values[line.split(" ")[0]])
    open(path + ".new", "w").write("\\n".join(lines) + "\\n")
    os.replace(path + ".new", path)
def work(seconds, name="epoch", samples=10):
    began = time.perf_counter()
    time.sleep(seconds)
    tell(span=name, seconds=time.perf_counter() - began, samples=samples)
"""
)
SHORT = "work(0.7)\n"


class Driver:
    """A checkout whose supervisor sees the stand-in's cards."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, *cards: nvml.Card, **job: Any) -> None:
        self.checkout = Checkout(folder / "checkout", **job)
        nvml.modules(self.checkout.root)
        shell = nvml.environment(folder / "driver", *cards)
        for name in ("LD_LIBRARY_PATH", "NVML_STANDIN"):
            patch.setenv(name, shell[name])

    def run(self, script: str) -> Result:
        done = self.checkout.run("train", self.checkout.script(SCRIPT + script))
        assert done.returncode == 0, done.stderr
        return self.checkout.result()


@pytest.mark.parametrize("python", PYTHONS)
def test_energy_and_clocks_of_two_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
    card = {**T4, "power_milliwatts": 100000, "sm_megahertz": 345}
    driver = Driver(tmp_path, monkeypatch, card, python=python)
    # The change lies between two spans, so that both their ends lie where power is even.
    turn = "turn(power_milliwatts=300000, sm_megahertz=1980, throttle_reasons=4, busy_percent=90)\n"
    turn += "tell(fact='turned', value=time.time())\n"
    found = driver.run(
        f"work(2.5)\ntime.sleep(0.8)\n{turn}time.sleep(0.8)\nwork(2.5)\ntell(fact='ended', value=time.time())\n"
    )
    energy, (its,), (first, second) = found.energy, found.cards, found.spans
    assert energy is not None and (energy.how, energy.gpu_uuids, energy.idle_watts) == ("counted", (UUID,), 100.0)
    assert energy.spans_joules["epoch"] == pytest.approx(100 * first.seconds + 300 * second.seconds, rel=0.05)
    at_300 = float(found.facts["ended"]) - float(found.facts["turned"])
    assert found.command_seconds is not None
    assert energy.joules == pytest.approx(100 * (found.command_seconds - at_300) + 300 * at_300, rel=0.1)
    assert [(each.span, each.sm_hertz, each.power_watts) for each in its.spans] == [
        ("epoch", 345e6, 100.0),
        ("epoch", 1980e6, 300.0),
    ]
    assert its.sm_hertz is not None and (its.sm_hertz.low, its.sm_hertz.high) == (345e6, 1980e6)
    assert its.throttled is not None and 0 < its.throttled["software power cap"] < 1
    assert its.busy_share is not None and its.busy_share.high == 0.9
    assert 4 <= its.samples <= 2 * found.command_seconds + 2
    (ramp,) = (each for each in found.warnings if "clock was" in each)
    assert "345 MHz in the first span (epoch) and 1,980 MHz later" in ramp


def test_a_card_without_a_counter_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path, monkeypatch, {**K80, "power_milliwatts": 50000}, {**T4, "power_milliwatts": 30000})
    found = driver.run("work(1.2)\n")
    assert found.energy is not None and found.energy.how == "sampled"
    assert found.energy.joules == pytest.approx(80 * (found.command_seconds or 0), rel=0.05)
    assert found.energy.spans_joules["epoch"] == pytest.approx(80 * found.spans[0].seconds, rel=0.05)
    assert [each.uuid for each in found.cards] == [K80["uuid"], UUID]


def test_energy_is_that_of_the_cards_that_the_command_could_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path, monkeypatch, {**T4, "power_milliwatts": 50000}, {**TWIN, "power_milliwatts": 900000})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = driver.run(SHORT)
    assert found.energy is not None and found.energy.gpu_uuids == (UUID,)
    assert found.energy.joules == pytest.approx(50 * (found.command_seconds or 0), rel=0.05)


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ({**A100, "mig": 1}, "the card is in parts (MIG), and the driver tells what all of it takes"),
        (
            {**T4, "energy_millijoules": "error 4", "power_milliwatts": "error 4"},
            "neither a counter of energy (the driver answers: Insufficient Permissions) nor power "
            "(the driver answers: Insufficient Permissions)",
        ),
    ],
    ids=["MIG", "no permission"],
)
def test_energy_that_cannot_be_known_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: nvml.Card, why: str
) -> None:
    found = Driver(tmp_path, monkeypatch, card).run(SHORT)
    assert found.energy is None and found.absent["energy"] == why
    assert found.cards[0].sm_hertz is not None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("hangs", "the NVIDIA driver did not answer within 3 s"),
        ("crashes", "the process that asks the NVIDIA driver has crashed"),
    ],
)
def test_a_driver_that_hangs_or_crashes_amid_the_command_harms_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, why: str
) -> None:
    driver = Driver(tmp_path, monkeypatch, T4)
    # The card hangs in the counter alone, which conditions do not read.
    script = f"""
open(os.environ["NVML_STANDIN"], "a").write("{key} nvmlDeviceGetTotalEnergyConsumption\\n")
work(0.7)
"""
    found = driver.run(script)
    assert found.status == "ok" and found.energy is None and found.absent["energy"] == why
    assert found.command_seconds is not None and found.command_seconds < 15


def test_without_a_card_there_is_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path, monkeypatch, T4)
    (tmp_path / "driver" / LIBRARY).unlink()
    (tmp_path / "driver" / LIBRARY).touch()
    found = driver.run(SHORT)
    assert (found.energy, found.cards) == (None, ()) and "no card" in found.absent["energy"]


def test_spans_that_are_seen_from_outside_have_their_energy_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path, monkeypatch, {**T4, "power_milliwatts": 60000}, observe=True)
    loop = """
import torch
data = torch.utils.data.TensorDataset(torch.randn(60, 4), torch.randn(60, 1))
model = torch.nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range(2):
    for x, y in torch.utils.data.DataLoader(data, batch_size=6):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimiser.step()
        time.sleep(0.1)
"""
    found = driver.run(loop)
    assert [span.name for span in found.spans] == ["train", "train"] and found.energy is not None
    spanned = sum(span.seconds for span in found.spans)
    assert found.energy.spans_joules["train"] == pytest.approx(60 * spanned, rel=0.05)
    assert [each.span for each in found.cards[0].spans] == ["train", "train"]


def test_attempts_add_up_to_the_last_span_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(tmp_path, monkeypatch, {**T4, "power_milliwatts": 80000}, resumes=True)
    checkout = driver.checkout
    first = checkout.script(SCRIPT + "work(0.8)\nwork(0.8)\ntime.sleep(300)\n")
    with checkout.start("train", first) as process:
        path, deadline = checkout.root / CELL.progress_path, time.monotonic() + 120
        while time.monotonic() < deadline and len(known(path)) < 2:
            time.sleep(0.2)
        process.kill()
    assert len(known(path)) == 2
    found = driver.run("tell(resumed_after_spans=2)\nwork(0.8)\n")
    assert len(found.attempts) == len(found.cards) == 2 and found.energy is not None
    spanned = sum(span.seconds for span in found.spans)
    assert found.energy.spans_joules["epoch"] == pytest.approx(80 * spanned, rel=0.05)
    assert 80 * spanned < found.energy.joules == pytest.approx(80 * (found.command_seconds or 0), rel=0.1)


def known(path: Path) -> list[float]:
    """Energy of the spans that an attempt has noted."""
    if not path.exists():
        return []
    found = [each.joules for each in codec.read(path, Progress).parts[-1].arrivals]
    return [each for each in found if each is not None]
