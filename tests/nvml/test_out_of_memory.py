"""A full card, from the script that dies of it to the line: the compiled stand-in, real processes, torch's words."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages import codec, records
from tests import nvml
from tests.nvml import T4
from tests.nvml.test_job_cards import TORCH
from tests.project import ROOT, make_project, run_stage
from tests.supervised import EVENTS, LEGACY, Checkout, write_image_task

GIB = 2**30
HOG = 99999999  # no process of this machine has such a number
# As torch 2.14 puts it together, and as 1.2 did; of a card with 15 GiB.
NOW = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 14.75 GiB of which 1.09 GiB is "
    f"free. Process {HOG} has 13.00 GiB memory in use. Including non-PyTorch memory, this process has 0.66 GiB memory "
    "in use. "
    "Of the allocated memory 0.20 GiB is allocated by PyTorch, and 10.00 MiB is reserved by PyTorch but unallocated. "
    "If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation."
)
ONCE = (
    "CUDA out of memory. Tried to allocate 2.50 GiB (GPU 0; 14.75 GiB total capacity; {} GiB already allocated; "
    "1.09 GiB free; 20.00 MiB cached)"
)
END_IT = "end that process or choose another card (CUDA_VISIBLE_DEVICES)"
NUMBERS = "out of GPU memory: 2.5 GiB more needed, 1.1 GiB of 14.8 GiB free; "
WHO = f"pid {HOG} (python3 hog.py) holds 13 GiB of it"
REAL = "import torch\nraise torch.OutOfMemoryError({!r})\n"  # its type, if not its card
OLDEST = LEGACY[0] if LEGACY else sys.executable


class Card:
    """The only card of a machine, and a checkout whose job may run on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder / "driver"
        monkeypatch.chdir(folder)
        self.checkout = Checkout(folder)
        self.is_held(0)
        nvml.modules(folder)
        for name in ("LD_LIBRARY_PATH", "NVML_STANDIN"):
            monkeypatch.setenv(name, nvml.environment(self._folder, T4)[name])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(T4["uuid"]))

    def is_held(self, gib: float, named: bool = True) -> dict[str, str]:
        """By another process, which the driver names or not."""
        processes = f"{HOG}:{int(gib * GIB)}" if gib and named else ""
        card = {**T4, "memory_used": int((gib + 0.1) * GIB), "compute_processes": processes}
        return nvml.environment(self._folder, card, **{f"process_{HOG}": "/usr/bin/python3 hog.py"})

    def reason(self, script: str) -> str:
        done = self.checkout.run("train", self.checkout.script(EVENTS + script))
        assert done.returncode == 1, done.stderr
        assert "faceoff: " + self.checkout.reason in done.stderr
        return self.checkout.reason


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(tmp_path, monkeypatch)


def test_a_raw_error_of_todays_torch_says_who_holds_the_card(card: Card) -> None:
    card.is_held(13)
    assert card.reason(REAL.format(NOW)) == f"{NUMBERS}{WHO}: {END_IT}"


def test_old_words_and_the_driver_say_the_same_and_the_jobs_own_stay(card: Card) -> None:
    card.checkout.python = OLDEST
    card.is_held(13)
    text = ONCE.format("0.20")
    script = f"tell(error='at batch size 64: {text}')\nraise RuntimeError({text!r})\n"
    assert card.reason(script) == f"out of GPU memory (at batch size 64): {NUMBERS[19:]}{WHO}: {END_IT}"


def test_smaller_batches_are_advised_where_nobody_else_is_there(card: Card) -> None:
    assert card.reason(f"raise RuntimeError({ONCE.format('13.30')!r})\n") == (
        NUMBERS
        + "it is the command's own, nobody else holds much of it: let the variant need less of the card: smaller "
        "batches, for example"
    )


def test_what_the_driver_does_not_name_is_told_by_how_much(card: Card) -> None:
    card.is_held(13, named=False)
    script = f"raise RuntimeError({ONCE.format('0.20')!r})\n"
    assert "; processes that the driver does not name hold 13.1 GiB of it: end what else" in card.reason(script)


def test_a_program_that_went_on_and_died_of_something_else_is_not_taken_for_it(card: Card) -> None:
    card.is_held(13)
    script = f"import traceback\ntry:\n    raise RuntimeError({ONCE.format('0.20')!r})\nexcept RuntimeError:\n"
    assert card.reason(script + "    traceback.print_exc()\nraise KeyError('loss')\n") == (
        "the command ended with exit code 1; its own words are above"
    )


@pytest.mark.parametrize(
    ("processes", "who"),
    [
        ("", "somebody outside of this container holds 13 GiB of it: end what else is on it"),
        (f"{HOG}:{13 * GIB}", f"pid {HOG} of the machine holds 13 GiB of it: end that process"),
    ],
    ids=["the driver names nobody", "the driver gives the machine's numbers"],
)
def test_in_a_container_it_is_somebody_outside(tmp_path: Path, processes: str, who: str) -> None:
    """By a process namespace of its own, which is what a container has."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no namespace")
    script = (
        "from stages.workload import gpu_memory as m; print(m.explain('CUDA error: out of memory', '', None, {}).line)"
    )
    environment = nvml.environment(tmp_path, {**T4, "memory_used": 13 * GIB, "compute_processes": processes})
    done = subprocess.run(
        [*alone, sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert who in done.stdout, done.stderr


def test_preflight_inside_an_image_says_who_filled_the_card_and_not_to_take_smaller_batches(card: Card) -> None:
    """By a dry-run that the real stage makes, in a Python whose torch finds the stand-in's card."""
    card.is_held(13)
    checkout = card.checkout
    nvml.modules(checkout.root, TORCH)
    codec.write(records.MANIFEST_PATH, records.Manifest("mine", "d" * 64, 1, 1))
    job = dataclasses.replace(checkout.job, dry_run=True)
    task = checkout.task("train", checkout.script(f"raise RuntimeError({ONCE.format('0.20')!r})\n"))
    path = write_image_task(checkout.root, dataclasses.replace(task, job=job), job)
    command = [sys.executable, "-m", "stages.preflight_inside", "--task", path]
    environment = {**os.environ, "PYTHONPATH": str(checkout.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    checks = codec.read(records.preflight_path("host"), records.Preflight).checks
    found = {each.name: each for each in checks}
    assert found["GPU memory of Tesla T4"].found == f"1.9 GiB of 15 GiB free; {WHO}"
    memory = found["memory, plain"]
    assert (memory.status, memory.found, memory.advice) == ("failed", f"{NUMBERS}{WHO}", END_IT)


def test_preflight_says_who_holds_much_of_a_card_before_anything_is_made(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", ["host"], container={"gpus": "auto"})
    held = {**T4, "memory_used": 13 * GIB, "compute_processes": f"{HOG}:{13 * GIB}"}
    environment = nvml.environment(tmp_path / "driver", held, **{f"process_{HOG}": "/usr/bin/python3 hog.py"})
    done = run_stage(project, "machine", **environment)
    assert done.returncode == 0, done.stderr
    done = run_stage(project, "preflight", **environment)
    needed = "a card of which nobody else holds much"
    found = f"2 GiB of 15 GiB free; {WHO}"
    assert f"warning: GPU memory of Tesla T4: needs {needed}; found: {found}; {END_IT}" in done.stdout
