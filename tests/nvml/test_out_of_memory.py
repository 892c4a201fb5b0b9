"""A card that is full, from the script that dies of it to the line: the compiled stand-in, real processes, torch's words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import nvml
from tests.nvml import T4
from tests.supervised import EVENTS, Checkout

GIB = 2**30
UUID = str(T4["uuid"])
# As torch 2.14 puts it together, and as 1.2 did; of a card with 15 GiB.
FULL_NOW = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 14.75 GiB of which 1.09 GiB is free. "
    "{processes}Of the allocated memory {allocated} GiB is allocated by PyTorch, and 10.00 MiB is reserved by PyTorch "
    "but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
FULL_ONCE = (
    "CUDA out of memory. Tried to allocate 2.50 GiB (GPU 0; 14.75 GiB total capacity; {allocated} GiB already allocated; "
    "1.09 GiB free; 20.00 MiB cached)"
)
OURS = "Including non-PyTorch memory, this process has 13.66 GiB memory in use. "
END_IT = "end that process or choose another card (CUDA_VISIBLE_DEVICES)"
SMALLER = "let the variant need less of the card: smaller batches, for example"


class Card:
    """The only card of a machine, and a checkout whose job may run on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "driver"
        monkeypatch.chdir(folder)
        self.checkout = Checkout(folder)
        self.holds()
        for name, value in nvml.environment(self._folder, T4).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", UUID)

    def holds(self, used_gib: float = 0.1, processes: str = "", **system: str) -> None:
        card = {**T4, "memory_used": int(used_gib * GIB), "compute_processes": processes}
        nvml.environment(self._folder, card, **system)

    def reason(self, script: str, *, code: int = 1) -> str:
        done = self.checkout.run("train", self.checkout.script(EVENTS + script))
        assert done.returncode == code, done.stderr
        assert "faceoff: " + self.checkout.reason in done.stderr
        return self.checkout.reason


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    yield Card(tmp_path, monkeypatch)


def dies(text: str, kind: str = "RuntimeError") -> str:
    return f"raise {kind}({text!r})\n"


def test_somebody_elses_share_is_told_by_who_holds_it(card: Card) -> None:
    card.holds(13.1, f"99999999:{13 * GIB}", process_99999999="/usr/bin/python3 hog.py")
    named = "Process 99999999 has 13.00 GiB memory in use. Including non-PyTorch memory, this process has 0.66 GiB "
    for text in (
        FULL_NOW.format(processes=named + "memory in use. ", allocated="0.20"),
        FULL_ONCE.format(allocated="0.20"),
    ):
        assert card.reason(dies(text)) == (
            "out of GPU memory: 2.5 GiB more needed, 1.1 GiB of 14.8 GiB free; "
            f"pid 99999999 (python3 hog.py) holds 13 GiB of it: {END_IT}"
        )
