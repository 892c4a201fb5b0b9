"""The cards that the NVIDIA driver shows, whatever CUDA_VISIBLE_DEVICES leaves of them, through nvidia-ml-py (NVML).

A driver may hang or crash: call `facts` and `states` through guard.guarded, and watch cards in a process of its own.

Runs inside images: Python 3.7 syntax, standard library, and nvidia-ml-py where it is installed.
"""

import os
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Set, Tuple, TypeVar

from stages.contract import printable
from stages.records import Gpu, GpuState
from stages.units import amount
from stages.workload.probes import files

Read = TypeVar("Read")
MEGA = 10**6
NOT_KNOWN = (2**32 - 1, 2**64 - 1)  # NVML_VALUE_NOT_AVAILABLE, as an int and as a long one, both without sign
# nvml.h, nvmlClocksEventReasons. Left out: bit 0, that the card idles, which holds no work back.
THROTTLE_REASONS = {
    0x2: "application clocks setting",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake slowdown",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability",
}
IDLE = 0x1
NO_BINDING, NO_LIBRARY = "nvidia-ml-py is not installed", "NVML Shared Library Not Found"
FIRST_PID_NAMESPACE = "pid:[4026531836]"  # of the machine itself (the kernel's PROC_PID_INIT_INO)


class Holder(NamedTuple):
    """A process that holds some of a card's memory."""

    pid: int  # as the driver numbers it: of the machine, most often, whoever asks
    name: Optional[str]
    used_bytes: Optional[int]


class CardMemory(NamedTuple):
    """A card's memory at one moment."""

    uuid: Optional[str]
    name: Optional[str]
    total_bytes: Optional[int]
    free_bytes: Optional[int]
    used_bytes: Optional[int]  # what the driver keeps for itself is in it
    holders: Optional[Tuple[Holder, ...]]  # but this process; None: the driver does not tell, or not which is this one
    absent: Dict[str, str]  # null field: why

    @property
    def title(self) -> str:
        """The name, or what else says which it is."""
        return self.name or self.uuid or "a card that does not tell its name"


def has_devices(root: Path = files.ROOT) -> bool:
    """Whether a card's device is here, whatever the driver answers; on the Linux of Windows it is that of any GPU."""
    return any((root / "dev").glob("nvidia[0-9]*")) or (root / "dev/dxg").exists()


def was_asked(reason: Optional[str]) -> bool:
    """Whether a driver that shows no card was asked at all, by why it shows none: it can't be without its library."""
    return reason is not None and reason != NO_BINDING and NO_LIBRARY not in reason


def facts() -> Tuple[Tuple[Gpu, ...], Optional[str]]:
    """Return the cards and, where there are none, why."""
    return _read_cards(_gpu)


def states() -> Tuple[Tuple[GpuState, ...], Optional[str]]:
    """Return what each card is doing now, in the order of `facts`; and, where there is none, why."""
    return _read_cards(_state)


def memory() -> Tuple[Tuple[CardMemory, ...], Optional[str]]:
    """Return what of each card's memory is in use and by whom, in the order of `facts`; where there is none, why."""
    return _read_cards(_memory)


def _read_cards(read: Callable[["Card"], Read]) -> Tuple[Tuple[Read, ...], Optional[str]]:
    hidden = _is_ours_hidden()
    try:
        import pynvml as nvml
    except ImportError:
        return (), NO_BINDING
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), f"no NVIDIA driver answers: {error}"
    try:
        driver = text(nvml.nvmlSystemGetDriverVersion())
        found = tuple(read(Card(nvml, index, driver, hidden)) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        return (), f"the NVIDIA driver refused: {error}"
    finally:
        nvml.nvmlShutdown()
    return found, None if found else "the NVIDIA driver shows no card"


class Card:
    """Asks the driver about one card. What it does not answer is None, with the reason in `absent`."""

    def __init__(self, nvml: Any, index: int, driver: str, ours_is_hidden: bool) -> None:
        self.nvml = nvml
        self.driver = driver
        self.ours_is_hidden = ours_is_hidden
        self.absent = {}  # type: dict
        self._handle, self._lost = None, None
        try:
            self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:  # a card that fell off its bus; the others go on
            self._lost = _driver_says(error)

    def ask(self, field: str, *functions: str, argument: Any = None, convert: Any = None, least: float = 0) -> Any:
        """Return what the first of NVML's functions answers that binding and driver have, as `convert` makes it.

        Below `least` it is no value, as is NVML's own mark for that.
        """
        if self._lost is not None:
            self.absent[field] = self._lost
            return None
        arguments = (self._handle,) if argument is None else (self._handle, argument)
        for name in functions:
            try:
                answer = getattr(self.nvml, name)(*arguments)
            except AttributeError:
                self.absent[field] = f"this version of nvidia-ml-py has no {name}"
            except Exception as error:  # NVMLError, and what the binding raises where it does not suit the driver
                self.absent[field] = _driver_says(error)
                if getattr(error, "value", None) != self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                    return None
            else:
                return self._checked(field, answer, answer if convert is None else convert(answer), least)
        return None

    def _checked(self, field: str, answer: Any, value: Any, least: float) -> Any:
        is_number = isinstance(value, (int, float))
        if value is None or answer in NOT_KNOWN or (is_number and (value < least or value in NOT_KNOWN)):
            self.absent[field] = f"the driver answers {answer}, which is no value"
            return None
        self.absent.pop(field, None)
        return value


def _gpu(card: Card) -> Gpu:
    nvml, ask = card.nvml, card.ask
    capability = ask(
        "compute_capability", "nvmlDeviceGetCudaComputeCapability", convert=lambda pair: "{}.{}".format(*pair)
    )
    return Gpu(
        name=ask("name", "nvmlDeviceGetName", convert=text),
        uuid=ask("uuid", "nvmlDeviceGetUUID", convert=text),
        driver=card.driver,
        driver_cuda=_driver_cuda(card),
        memory_bytes=ask("memory_bytes", "nvmlDeviceGetMemoryInfo", convert=lambda memory: memory.total, least=1),
        compute_capability=capability,
        cores=ask("cores", "nvmlDeviceGetNumGpuCores", least=1),
        max_sm_hertz=ask(
            "max_sm_hertz", "nvmlDeviceGetMaxClockInfo", argument=nvml.NVML_CLOCK_SM, convert=_hertz, least=1
        ),
        max_memory_hertz=ask(
            "max_memory_hertz", "nvmlDeviceGetMaxClockInfo", argument=nvml.NVML_CLOCK_MEM, convert=_hertz, least=1
        ),
        memory_bus_bits=ask("memory_bus_bits", "nvmlDeviceGetMemoryBusWidth", least=1),
        # The limit that is set; the enforced one also has what the card lowers it to of itself.
        power_limit_watts=ask("power_limit_watts", "nvmlDeviceGetPowerManagementLimit", convert=_watts, least=1),
        pcie_max_generation=ask("pcie_max_generation", "nvmlDeviceGetMaxPcieLinkGeneration", least=1),
        pcie_max_width=ask("pcie_max_width", "nvmlDeviceGetMaxPcieLinkWidth", least=1),
        ecc=ask("ecc", "nvmlDeviceGetEccMode", convert=lambda modes: enabled(modes[0])),  # now, and after a restart
        mig=ask("mig", "nvmlDeviceGetMigMode", convert=lambda modes: enabled(modes[0])),
        persistence=ask("persistence", "nvmlDeviceGetPersistenceMode", convert=enabled),
        absent=card.absent,
    )


def _state(card: Card) -> GpuState:
    ask = card.ask
    return GpuState(
        uuid=ask("uuid", "nvmlDeviceGetUUID", convert=text),
        memory_free_bytes=ask("memory_free_bytes", "nvmlDeviceGetMemoryInfo", convert=lambda memory: memory.free),
        memory_used_bytes=ask("memory_used_bytes", "nvmlDeviceGetMemoryInfo", convert=lambda memory: memory.used),
        **moving(card),
        pcie_generation=ask("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration", least=1),
        pcie_width=ask("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", least=1),
        other_processes=_other_processes(card),
        absent=card.absent,
    )


def moving(card: Card) -> Dict[str, Any]:
    """Return what both a moment's state and a sample have."""
    nvml, ask = card.nvml, card.ask
    return {
        "sm_hertz": ask("sm_hertz", "nvmlDeviceGetClockInfo", argument=nvml.NVML_CLOCK_SM, convert=_hertz),
        "memory_hertz": ask("memory_hertz", "nvmlDeviceGetClockInfo", argument=nvml.NVML_CLOCK_MEM, convert=_hertz),
        "temperature_celsius": ask(
            "temperature_celsius", "nvmlDeviceGetTemperature", argument=nvml.NVML_TEMPERATURE_GPU, least=1
        ),
        "power_watts": ask("power_watts", "nvmlDeviceGetPowerUsage", convert=_watts),
        "busy_share": ask("busy_share", "nvmlDeviceGetUtilizationRates", convert=_busy_share),
        "throttle_reasons": ask(
            "throttle_reasons",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",  # its name before driver 535
            convert=_throttle_reasons,
        ),
    }


def _driver_cuda(card: Card) -> Optional[str]:
    """Return '12.2'. It is the driver's, not the card's: a lost card has one too."""
    try:
        found = card.nvml.nvmlSystemGetCudaDriverVersion()
    except AttributeError:
        card.absent["driver_cuda"] = "this version of nvidia-ml-py has no nvmlSystemGetCudaDriverVersion"
    except card.nvml.NVMLError as error:
        card.absent["driver_cuda"] = _driver_says(error)
    else:
        return f"{found // 1000}.{found % 1000 // 10}"
    return None


def _memory(card: Card) -> CardMemory:
    sizes = card.ask("memory", "nvmlDeviceGetMemoryInfo", convert=lambda found: (found.total, found.free, found.used))
    listed = _others_on(card)
    return CardMemory(
        card.ask("uuid", "nvmlDeviceGetUUID", convert=text),
        card.ask("name", "nvmlDeviceGetName", convert=text),
        *(sizes or (None, None, None)),
        None if listed is None else tuple(Holder(pid, _name(card.nvml, pid), used) for pid, used in listed.items()),
        card.absent,
    )


def _other_processes(card: Card) -> Optional[Tuple[str, ...]]:
    """Return those that compute and those that draw, this one left out."""
    listed = _others_on(card)
    return None if listed is None else tuple(_described(card.nvml, pid, used) for pid, used in listed.items())


def _others_on(card: Card) -> Optional[Dict[int, Optional[int]]]:
    """Return the memory that each process on the card holds, but this one, by its number."""
    found = {}  # type: Dict[int, Optional[int]]
    for kind in ("Compute", "Graphics"):
        function = f"nvmlDeviceGet{kind}RunningProcesses"
        # A driver before 510 has the second version alone, nvidia-ml-py3 the first, whose name bears no number.
        listed = card.ask("other_processes", function + "_v3", function + "_v2", function)
        if listed is None:
            return None
        found.update((each.pid, each.usedGpuMemory) for each in listed)
    ours = set(found) & _own_threads()
    if found and not ours and card.ours_is_hidden:
        card.absent["other_processes"] = (
            f"{len(found)} on the card, and this process may be one of them: the driver gives numbers of the machine, "
            "not of this container"
        )
        return None
    return {pid: used for pid, used in sorted(found.items()) if pid not in ours}


def _own_threads() -> Set[int]:
    """Return those of this process and its parent: a guard's child asks in the place of its parent."""
    folders = (Path(f"/proc/{pid}/task") for pid in (os.getpid(), os.getppid()))
    return {int(each.name) for folder in folders if folder.exists() for each in folder.iterdir()}


def in_pid_namespace() -> bool:
    """Whether processes have numbers of their own in here, as in a container: others outside of it are not seen."""
    return _link(Path("/proc/self/ns/pid")) != FIRST_PID_NAMESPACE


def _is_ours_hidden() -> bool:
    """Whether this process computes on a card under a number that the driver may not tell: a container has its own.

    To be asked before NVML is started: what CUDA opens and NVML does not is /dev/nvidia-uvm.
    """
    if not in_pid_namespace():
        return False
    return any(_link(each).startswith("/dev/nvidia-uvm") for each in Path("/proc/self/fd").iterdir())


def _link(path: Path) -> str:
    try:
        return os.readlink(str(path))
    except OSError:  # the file was closed since, or this kernel does not have it
        return ""


def _described(nvml: Any, pid: int, used: Optional[int]) -> str:
    name = _name(nvml, pid)
    shown = "name not known" if name is None else name or "without a name"
    return "pid {}, {}, {}".format(pid, shown, "memory not known" if used is None else amount(used))


def _name(nvml: Any, pid: int) -> Optional[str]:
    """Return what the process was started as, without the folder; None: it ended since, or is somebody else's."""
    try:
        return printable(text(nvml.nvmlSystemGetProcessName(pid)).rpartition("/")[2])
    except nvml.NVMLError:
        return None


def _throttle_reasons(bits: int) -> Tuple[str, ...]:
    known = [words for bit, words in THROTTLE_REASONS.items() if bits & bit]
    others = bits & ~IDLE & ~sum(THROTTLE_REASONS)
    return tuple(known + ([f"reason {others:#x}"] if others else []))


def _hertz(megahertz: int) -> int:
    return megahertz * MEGA


def _watts(milliwatts: int) -> float:
    return milliwatts / 1000


def _busy_share(rates: Any) -> Optional[float]:
    return rates.gpu / 100 if rates.gpu <= 100 else None


def enabled(state: int) -> Optional[bool]:
    return {0: False, 1: True}.get(state)


def _driver_says(error: Exception) -> str:
    return f"the driver answers: {error}"


def text(value: Any) -> str:
    """nvidia-ml-py3 answers in bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
