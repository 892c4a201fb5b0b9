"""Stage `machine`: what this machine's hardware is, metrics/machine.json.

Looked at in every run, so that another machine measures again; holds nothing that moves between two runs. That the run
begins now goes to metrics/session.json.

    python -m stages.machine
"""

import datetime

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.process.signals import stop_signals
from stages.units import amount
from stages.workload.probes import files, hardware


@stop_signals()
def main() -> int:
    records.MACHINE_PATH.unlink(missing_ok=True)
    try:
        records.DATA_DIR.mkdir(exist_ok=True)
    except OSError as error:
        why = "something that is no folder lies there" if isinstance(error, FileExistsError) else error.strerror
        raise FaceoffError(f"{records.DATA_DIR} cannot be made: {why}; move it away, then run again") from None
    found = hardware.look(records.DATA_DIR)
    identity = files.machine_id(files.ROOT), "there is no /etc/machine-id"
    machine = records.Machine(hardware=found, **files.known({"machine_id": identity}))
    codec.write(records.MACHINE_PATH, machine)
    began_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    codec.write(records.SESSION_PATH, records.Session(began_at))
    print(describe(found))
    return 0


def describe(found: records.Hardware) -> str:
    """Describe it in a line: 'AMD EPYC, 2 CPUs, 23.5 GiB, no GPU (…)'."""
    gpus = ", ".join(gpu.title for gpu in found.gpus) or f"no GPU ({found.gpus_reason})"
    memory = "? of memory" if found.memory_bytes is None else amount(found.memory_bytes)
    return f"{found.cpu.model or 'unknown CPU'}, {found.cpu.logical_cpus or '?'} CPUs, {memory}, {gpus}"


if __name__ == "__main__":
    run_entry(main)
