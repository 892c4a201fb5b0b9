"""What this machine's hardware is: metrics/machine.json. Looked at in every run, so that another machine measures
again; holds nothing that moves between two runs.

    python -m stages.machine
"""

import platform
from types import ModuleType

from stages import records
from stages.errors import run_entry
from stages.workload import probes


def main() -> int:
    records.MACHINE_PATH.unlink(missing_ok=True)
    gpus, gpus_reason = probes.gpus(load_nvml())
    machine = records.Machine(
        machine_id=probes.machine_id(probes.ROOT),
        cpu=probes.cpu_name(probes.ROOT),
        physical_cores=probes.physical_cores(probes.ROOT),
        logical_cpus=probes.logical_cpus(probes.ROOT),
        memory_bytes=probes.memory_bytes(probes.ROOT),
        kernel=platform.release(),
        gpus=gpus,
        gpus_reason=gpus_reason,
    )
    records.write(records.MACHINE_PATH, machine)
    print(f"{machine.cpu or 'unknown CPU'}, {machine.logical_cpus or '?'} CPUs, {describe_gpus(machine)}")
    return 0


def load_nvml() -> ModuleType | None:
    """The NVIDIA management library's module; None where it isn't installed."""
    try:
        import pynvml
    except ImportError:
        return None
    module: ModuleType = pynvml
    return module


def describe_gpus(machine: records.Machine) -> str:
    return ", ".join(gpu.name for gpu in machine.gpus) or f"no GPU ({machine.gpus_reason})"


if __name__ == "__main__":
    run_entry(main)
