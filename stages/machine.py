"""Stage `machine`: what this machine's hardware is, and which of its cards jobs get, metrics/machine.json.

Looked at in every run, so that another machine measures again; holds nothing that moves between two runs. That the run
begins now goes to metrics/session.json.

    python -m stages.machine
"""

import dataclasses
import datetime
import os

from stages import codec, records
from stages.errors import FaceoffError, run_entry
from stages.harness.environments import cards
from stages.harness.params import schema
from stages.harness.process.dvc_lock import dvc_stage
from stages.units import amount
from stages.workload.probes import files, hardware


@dvc_stage
def main() -> int:
    choice = schema.load().container.gpus
    try:
        records.DATA_DIR.mkdir(exist_ok=True)
    except OSError as error:
        records.MACHINE_PATH.unlink(missing_ok=True)
        why = "something that is no folder lies there" if isinstance(error, FileExistsError) else error.strerror
        raise FaceoffError(f"{records.DATA_DIR} cannot be made: {why}; move it away, then run again") from None
    found = hardware.look(records.DATA_DIR, visible="" if choice == cards.NONE else None)
    machine_id = files.machine_id(files.ROOT)
    before = _before(machine_id)
    if choice != cards.NONE:
        cards.check_still_there(before, found)  # of the record, which stays where they are not
    records.MACHINE_PATH.unlink(missing_ok=True)
    chosen = cards.choose(choice, found, os.environ)
    identity = machine_id, "there is no /etc/machine-id"
    machine = records.Machine(hardware=found, job_gpus=chosen, **files.known({"machine_id": identity}))
    codec.write(records.MACHINE_PATH, before if before and _differ_in_words_alone(before, machine) else machine)
    began_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    codec.write(records.SESSION_PATH, records.Session(began_at))
    print(describe(machine))
    return 0


def _before(machine_id: str | None) -> records.Machine | None:
    """Return the record of an earlier run on this machine; none where it can't be told from another: it has no id."""
    machine = codec.find(records.MACHINE_PATH, records.Machine) if machine_id else None
    return machine if machine and machine.machine_id == machine_id else None


def _differ_in_words_alone(before: records.Machine, now: records.Machine) -> bool:
    """Whether all is as it was but the sentence why there is no GPU: its wording makes no other machine."""
    if before.hardware.gpus or now.hardware.gpus:
        return False
    hardware = dataclasses.replace(now.hardware, gpus_reason=before.hardware.gpus_reason)
    return dataclasses.replace(now, hardware=hardware) == before


def describe(machine: records.Machine) -> str:
    """Describe it in a line: 'AMD EPYC, 2 CPUs, 23.5 GiB, no GPU (…)'; which cards jobs get where not all."""
    found = machine.hardware
    gpus = ", ".join(gpu.title for gpu in found.gpus) or f"no GPU ({found.gpus_reason})"
    if found.gpus and len(machine.job_gpus) != len(found.gpus):
        names = {gpu.uuid: gpu.title for gpu in found.gpus}
        given = (f"{names.get(uuid, 'a part')} ({uuid})" for uuid in machine.job_gpus)
        gpus += f"; jobs get {', '.join(given) or 'none of them'}"
    memory = "? of memory" if found.memory_bytes is None else amount(found.memory_bytes)
    return f"{found.cpu.model or 'unknown CPU'}, {found.cpu.logical_cpus or '?'} CPUs, {memory}, {gpus}"


if __name__ == "__main__":
    run_entry(main)
