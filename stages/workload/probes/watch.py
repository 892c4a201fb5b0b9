"""Reads cards again and again, in a process of its own: a driver that hangs or crashes takes nothing else with it.

Who watches asks whenever it likes and never waits longer than it says: nothing is read but when it asks. All that this
changes for the command is that the driver stays started.

Runs inside images: Python 3.7 syntax, standard library, and nvidia-ml-py where it is installed.
"""

import json
import os
import select
import signal
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from stages.workload.probes import gpus
from stages.workload.probes.guard import die_with

CHUNK_BYTES = 2**16
ENDED_SECONDS = 0.002  # by which the end of a command may be seen late, as its signal is blocked and waits
BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # are for who watches, which ends this


class Card(NamedTuple):
    """What moves of a card, at one moment."""

    millijoules: Optional[int]  # since the driver was loaded; Volta and later
    power_watts: Optional[float]
    sm_hertz: Optional[int]
    memory_hertz: Optional[int]
    temperature_celsius: Optional[int]
    busy_share: Optional[float]
    throttle_reasons: Optional[Sequence[str]]
    mig: bool  # it is in parts
    absent: Dict[str, str]  # null field: why


class Reading(NamedTuple):
    """What the cards did at one moment, in the order in which they were named."""

    at: float  # by time.monotonic
    cards: Tuple[Card, ...]
    cpu_seconds: float = 0.0  # that the reading took


class Watch:
    """The process that reads. `problem`: why it reads no more; None while it does."""

    def __init__(self, uuids: Sequence[str]) -> None:
        self.problem: Optional[str] = None
        self._asked_at: Optional[float] = None
        self._rest = b""
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        parent = os.getpid()
        try:
            self._child = os.fork()
        except OSError as error:  # no more processes, or no memory for one
            self._child, self.problem = 0, f"the NVIDIA driver could not be asked: {error}"
        if self._child == 0 and self.problem is None:
            os.close(self._requests)
            os.close(self._answers)
            _serve(requests, answers, uuids, parent)
        os.close(requests)
        os.close(answers)

    def ask(self, wait_seconds: float, patience_seconds: float) -> Optional[Reading]:
        """Return a reading, asked for now or before; None where it has not come after `wait_seconds`.

        Where one has not come `patience_seconds` after it was asked for, the process is ended, and there is a problem.
        """
        if self.problem is not None:
            return None
        try:
            if self._asked_at is None:
                os.write(self._requests, b"?")
                self._asked_at = time.monotonic()
            line = self._line(time.monotonic() + wait_seconds)
        except OSError:  # it has ended, and nobody reads the question
            line = b""
        if line is None:
            if time.monotonic() - self._asked_at > patience_seconds:
                self.end(f"the NVIDIA driver did not answer within {patience_seconds:g} s")
            return None
        self._asked_at = None
        answer = json.loads(line) if line else "the process that asks the NVIDIA driver has crashed"
        if isinstance(answer, str):
            self.end(answer)
            return None
        at, cards, cpu_seconds = answer
        return Reading(at, tuple(Card(*each) for each in cards), cpu_seconds)

    def end(self, problem: str = "it has been ended") -> None:
        """End the process. One that hangs in the kernel is left behind."""
        if self.problem is not None:
            return
        self.problem = problem
        os.close(self._requests)
        os.close(self._answers)
        try:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):  # the supervisor, which waits for all that end, was faster
            pass

    def _line(self, deadline: float) -> Optional[bytes]:
        """Return a whole line, b'' at the end of all; None where none has come in time."""
        while b"\n" not in self._rest:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._answers], [], [], min(left, ENDED_SECONDS))
            if not ready:
                if left <= ENDED_SECONDS or signal.SIGCHLD in signal.sigpending():
                    return None
                continue
            chunk = os.read(self._answers, CHUNK_BYTES)
            if not chunk:
                return b""
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def _serve(requests: int, answers: int, uuids: Sequence[str], parent: int) -> None:
    """Answer each question with a line, in the forked child, until nobody asks any more."""
    try:
        die_with(parent)
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        silent = os.open(os.devnull, os.O_RDWR)
        for number in range(3):  # else who waits for the end of the supervisor's output waits for a hanging driver too
            os.dup2(silent, number)
        found, problem = None, ""
        while os.read(requests, 1):
            answer: Any = problem
            if found is None and not problem:
                try:
                    found = Cards(uuids)
                except Exception as error:  # whatever a binding raises is its answer
                    answer = problem = str(error)
            if found is not None:
                at, began = time.monotonic(), time.process_time()
                answer = at, found.read(), time.process_time() - began
            line = json.dumps(answer).encode() + b"\n"
            while line:
                line = line[os.write(answers, line) :]
    finally:
        os._exit(0)


class Cards:
    """The cards of these UUIDs, the driver being started once. Raises OSError where it cannot be."""

    def __init__(self, uuids: Sequence[str]) -> None:
        try:
            import pynvml as nvml
        except ImportError:
            raise OSError(gpus.NO_BINDING) from None
        try:
            nvml.nvmlInit()
            cards = [gpus.Card(nvml, index, "", False) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            raise OSError(f"no NVIDIA driver answers: {error}") from None
        by_uuid = {card.ask("uuid", "nvmlDeviceGetUUID", convert=gpus.text): card for card in cards}
        gone = [uuid for uuid in uuids if uuid not in by_uuid]
        if gone:
            raise OSError(f"the driver does not show card {gone[0]}")
        self._cards: List[gpus.Card] = [by_uuid[uuid] for uuid in uuids]
        self._mig = [each.ask("mig", "nvmlDeviceGetMigMode", convert=lambda modes: modes[0]) for each in self._cards]

    def read(self) -> Tuple[Card, ...]:
        """Return what each does now."""
        return tuple(_read(card, mig == 1) for card, mig in zip(self._cards, self._mig))


def _read(card: gpus.Card, mig: bool) -> Card:
    millijoules = card.ask("millijoules", "nvmlDeviceGetTotalEnergyConsumption")
    moving = gpus.moving(card)
    absent = {field: why for field, why in card.absent.items() if field in Card._fields and field != "mig"}
    return Card(millijoules, mig=mig, absent=absent, **moving)
