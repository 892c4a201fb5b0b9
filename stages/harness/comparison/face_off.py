"""The face-off that the results here make: all of them, compared, with what the report says beside that."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stages import codec, records
from stages.harness.comparison import compare, quota, runs
from stages.harness.params.schema import Params
from stages.harness.results.metrics import declared
from stages.harness.results.read import CellResult, read_all
from stages.harness.statistics import stability
from stages.harness.statistics.estimates import CONFIDENCE

WarnOfCpu = Callable[[records.Cpu, str | None], Sequence[records.Check]]  # by the CPUs that jobs may use


@dataclasses.dataclass(frozen=True)
class FaceOff:
    """The results of a run, what they are results of, and what comes out of them."""

    wanted: Params
    job: records.Job
    results: Sequence[CellResult]
    profiles: Mapping[str, records.Profile]  # by image, those that there are
    images: Mapping[str, records.Image]  # likewise
    compared: records.Comparison


def read(wanted: Params, warn_of_cpu: WarnOfCpu) -> FaceOff:
    """Read and compare what is in metrics/. Raises RecordError without a job, a machine or data."""
    job = codec.read(records.JOB_PATH, records.Job)
    machine = codec.read(records.MACHINE_PATH, records.Machine)
    profiles = runs.read_profiles(wanted.images)
    data_sha256 = runs.data_sha256(Path())
    results = read_all(wanted, data_sha256=data_sha256)
    compared = records.Comparison(
        baseline=wanted.compare.baseline,
        job=job.name,
        total=job.total,
        metrics=declared(job, results),
        data_sha256=data_sha256,
        margin=wanted.compare.margin,
        confidence=CONFIDENCE,
        machine=machine,
        warnings=(
            *machine_warnings(machine, profiles, warn_of_cpu),
            *quota.warnings(results, profiles),
            *stability.of_run(results, job),
        ),
        settings=compare.compare(results, wanted.compare, profiles, job),
    )
    return FaceOff(wanted, job, results, profiles, runs.read_images(wanted.images), compared)


def machine_warnings(
    machine: records.Machine, profiles: Mapping[str, records.Profile], warn_of_cpu: WarnOfCpu
) -> tuple[str, ...]:
    """Warn of what the processors are, which concerns all settings alike; by what the jobs may use of them."""
    seen = next((each.facts.hardware for each in profiles.values()), machine.hardware)
    return tuple(f"{each.found}; {each.advice}" for each in warn_of_cpu(seen.cpu, seen.limits.cpuset))
