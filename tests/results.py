"""Results as a small job leaves them, made through the records: for tests that need some without running it."""

import dataclasses
import hashlib
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import codec, records
from stages.contract import Ceilings, Span, Split
from stages.harness.params import jobs, schema
from stages.harness.results import read
from stages.harness.results.read import StepTimes
from stages.records import Belongs, Cell, Job, Metric, Result, Steps, Variant, step_times

MIB = 2**20

# A job with all that one can give: an epoch 'head' and two 'body', an evaluation 'predict', predictions, ceilings.
JOB = Job(
    name="toy",
    train="python train.py {parameters}",
    evaluate="python evaluate.py",
    files={"job.yaml": "a" * 64, "train.py": "b" * 64},
    total=("head", "body", "predict"),
    metrics={"accuracy": Metric("share", "higher")},
    resumes=True,
    dry_run=True,
    observe=False,
    section_json=json.dumps({"data": {"seed": 42}, "size": 96}, sort_keys=True),
    seed=42,
)
# Of a script that says nothing: the clock of its command is all there is.
SILENT_JOB = dataclasses.replace(JOB, name="silent", evaluate=None, total=records.WALL, metrics={}, resumes=False)
VARIANTS = {
    f"{precision}-bs{size}": Variant({"precision": precision, "batch_size": size}, {})
    for precision in ("fp32", "mixed")
    for size in (16, 64, 256)
}
DATA_SHA256 = "d" * 64
OUTPUT_SHA256 = "e" * 64  # of the model that a training left
CONTAINER = records.Container("none", "1g", None, None, None)
LOAD = records.Load(41.0, 0.01, 0.0, None, {"throttled_seconds": "no cgroup of this process has a cpu.stat"})
HEADER = "item,label,predicted\n"
CONTENTS = records.Contents(
    python="3.11.9",
    torch="2.14.1",
    cuda="13.0",
    cudnn=92400,
    nccl="2.30.7",
    cuda_architectures=("sm_75", "sm_120"),
    packages={"torch": "2.14.1", "torchvision": "0.29.1", "pillow": "12.0.0"},
    packages_sha256="c" * 64,
    absent={},
)


def span(name: str, seconds: float, index: int = 0, **changes: Any) -> Span:
    """An epoch of `seconds`, nine tenths of them steps, on 320 samples; `index`: it learns from one to the next."""
    plain = Span(
        name,
        seconds,
        samples=320,
        steps=20,
        values={"train_loss": 0.7 / (1 + index), "valid_loss": 0.6 / (1 + index), "accuracy": 0.9 + 0.01 * index},
        split=Split(0.3 * seconds, 0.0, 0.55 * seconds, 0.05 * seconds),
    )
    return dataclasses.replace(plain, **changes)


def belongs(cell: Cell, **changes: Any) -> Belongs:
    """What JOB's results are of, on the machine and the data of this file; with no image.json and no profile."""
    plain = Belongs(
        job_sha256=codec.fingerprint(JOB),
        data_sha256=DATA_SHA256,
        machine_sha256=codec.fingerprint(machine()),
        image_sha256=None,
        facts_sha256=None,
        code_sha256=None,
        variant=VARIANTS[cell.variant],
        container=CONTAINER,
    )
    return dataclasses.replace(plain, **changes)


def trained(cell: Cell, seconds: float = 10.0, **changes: Any) -> Result:
    """A whole training of JOB on the CPU; each of its three epochs took `seconds`."""
    plain: dict[str, Any] = {
        "spans": (span("head", seconds), span("body", seconds, 1), span("body", seconds, 2)),
        "metrics": {},
        "facts": {"device": "cpu", "number_format": "bf16" if cell.variant.startswith("mixed") else "fp32"},
        "ceilings": Ceilings(80.0, 55.0),
        "command_seconds": 3 * seconds + 7,
        "peak_process_memory_bytes": 900 * MIB,
        "energy": None,
        "cpu_joules": None,
        "output_sha256": OUTPUT_SHA256,
        "predictions_sha256": None,
        "steps": Steps(_sha256(step_times.NONE), 0, queued=False),
        "started_at": "2026-01-02T03:04:05+00:00",
        "wall_seconds": 3 * seconds + 9,
    }
    return _result(cell, "train", {**plain, **changes})


def evaluated(cell: Cell, predict_seconds: float = 3.0, **changes: Any) -> Result:
    """A whole evaluation, begun a minute after the training of `trained`."""
    plain: dict[str, Any] = {
        "spans": (Span("predict", predict_seconds),),
        "metrics": {"accuracy": 0.97},
        "facts": {"device": "cpu"},
        "ceilings": None,
        "command_seconds": predict_seconds + 6,
        "peak_process_memory_bytes": 950 * MIB,
        "energy": None,
        "cpu_joules": None,
        "output_sha256": OUTPUT_SHA256,
        "predictions_sha256": _sha256(HEADER),
        "steps": None,
        "started_at": "2026-01-02T03:05:05+00:00",
        "wall_seconds": predict_seconds + 8,
    }
    return _result(cell, "evaluate", {**plain, **changes})


def energy(joules: float = 900.0, **spans: float) -> records.Energy:
    """That a card took in a command, and in spans of these names."""
    return records.Energy(joules, records.COUNTED, 31.0, ("GPU-1",), spans, {})


def card(uuid: str, *sm_hertz: float, span: str = "body") -> records.CardSummary:
    """What a card did whose clock was so in one span after the other; at 150 W, and busy for 0.9 of the time."""
    even = {"power_watts": 150.0, "temperature_celsius": 61.0, "busy_share": 0.9, "memory_hertz": 5e9}
    courses = {name: records.Course(value, value, value) for name, value in even.items()}
    clock = records.Course(min(sm_hertz), statistics.median(sm_hertz), max(sm_hertz))
    spans = tuple(records.CardSpan(span, 20, hertz, 150.0, 0.9) for hertz in sm_hertz)
    return records.CardSummary(
        uuid, 20 * len(spans), clock, **courses, throttled={"software power cap": 0.25}, spans=spans, absent={}
    )


def silent(cell: Cell, seconds: float = 10.0, **changes: Any) -> tuple[Result, Result]:
    """Training and evaluation of SILENT_JOB, whose command took `seconds`."""
    owner = belongs(cell, job_sha256=codec.fingerprint(SILENT_JOB))
    plain: dict[str, Any] = {"belongs": owner, "spans": (), "facts": {}, "ceilings": None, "command_seconds": seconds}
    evaluate = {**plain, "metrics": {}, "command_seconds": None, "peak_process_memory_bytes": None}
    return trained(cell, seconds, **{**plain, **changes}), evaluated(cell, **evaluate)


def _result(cell: Cell, stage: str, given: dict[str, Any]) -> Result:
    plain = {
        "cell": cell,
        "stage": stage,
        "status": "ok",
        "reason": None,
        "belongs": given.pop("belongs", None) or belongs(cell),
        "attempts": (records.Attempt(0, 41.0, LOAD),),
        "conditions": (CONDITIONS, CONDITIONS),
        "gpu_uuids": (),
        "cards": (),
        "discarded": (),
        "warnings": (),
        "notes": (),
    }
    fields = {**plain, **given}
    absent = {name: "the job does not say it" for name, value in fields.items() if value is None and name != "reason"}
    return Result(**{"absent": absent, **fields})


def not_run(result: Result, status: str, reason: str) -> Result:
    """The record of a cell that did not run: nothing of the job."""
    empty: dict[str, Any] = {
        "spans": (),
        "metrics": {},
        "facts": {},
        "ceilings": None,
        "command_seconds": None,
        "attempts": (),
    }
    empty |= {"peak_process_memory_bytes": None, "energy": None, "cpu_joules": None, "cards": ()}
    empty |= {"output_sha256": None, "predictions_sha256": None, "steps": None}
    absent = {name: reason for name, value in empty.items() if value is None}
    return dataclasses.replace(result, status=status, reason=reason, absent=absent, **empty)


def even_steps(train: Result) -> tuple[StepTimes, ...]:
    """Step times of each span of the training, all alike."""
    spans = [(each, each.steps) for each in train.spans if each.steps]
    return tuple(StepTimes(each.name, (each.stepping_seconds / steps,) * steps) for each, steps in spans)


def with_steps(train: Result, steps: Sequence[StepTimes], queued: bool = False) -> Result:
    """The training with the record of these step times, which `write_cell` is then to be given too."""
    count = sum(len(each.seconds) for each in steps)
    return dataclasses.replace(train, steps=Steps(_sha256(_steps_text(steps)), count, queued))


def _steps_text(steps: Sequence[StepTimes]) -> str:
    return step_times.text((each.span, each.seconds) for each in steps)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_cell(
    train: Result,
    evaluate: Result,
    predictions: str = HEADER,
    root: Path = Path(),
    steps: Sequence[StepTimes] = (),
) -> None:
    """Write both records where the pipeline keeps them, the predictions and the step times, those of `with_steps`."""
    codec.write(root / train.cell.result_path("train"), train)
    codec.write_text(root / train.cell.steps_path, _steps_text(steps))
    codec.write(root / evaluate.cell.result_path("evaluate"), evaluate)
    codec.write_text(root / evaluate.cell.predictions_path, predictions)


def write_run(job: Job = JOB, root: Path = Path()) -> None:
    """Write what all results lean on: the job, the machine and the data's manifest."""
    codec.write(root / records.JOB_PATH, job)
    codec.write(root / records.MACHINE_PATH, machine())
    codec.write(root / records.MANIFEST_PATH, records.Manifest(job.name, DATA_SHA256, 416, 9_000_000))


NO_GPU = "no NVIDIA driver answers"
HARDWARE = records.Hardware(
    kernel="6.1.0",
    cpu=records.Cpu(
        model="AMD EPYC 7B12",
        architecture="x86_64",
        sockets=1,
        physical_cores=1,
        logical_cpus=2,
        numa_nodes=1,
        base_hertz=None,
        max_hertz=None,
        governor=None,
        core_kinds=(records.CoreKind("0-1", 1024, None, {"max_hertz": "no cpufreq"}),),
        caches=(records.Cache(1, "data", 32 * 2**10, 1), records.Cache(3, "unified", 16 * MIB, 1)),
        isa=("avx2",),
        absent=dict.fromkeys(("base_hertz", "max_hertz", "governor"), "no cpufreq"),
    ),
    memory_bytes=8 * 2**30,
    limits=records.Limits(2, "0-1", None, 2.0, None, 2**30, {"cpu_quota": "no limit", "memory_bytes": "no limit"}),
    disk=records.Disk("ext4", "solid state", 2**37, {}),
    gpus=(),
    gpus_reason=NO_GPU,
    absent={},
)
CONDITIONS = records.Conditions(
    "2026-01-02T03:04:04+00:00", 7 * 2**30, 2**36, 2_250_000_000, 0.01, 0, "turbo", (), NO_GPU, {}
)


def machine(name: str = "one", hardware: records.Hardware = HARDWARE) -> records.Machine:
    """A machine without a GPU."""
    return records.Machine(name, hardware, (), {})


def facts(image: str, hardware: records.Hardware = HARDWARE) -> records.Facts:
    plain: Any = (
        "Debian GNU/Linux 12 (bookworm)",
        "2.36",
        2,
        {},
        hardware,
        CONTENTS,
        {"gpu_uuid": "it trains on no GPU"},
    )
    return records.Facts(image, "cpu", None, *plain)


def profile(image: str) -> records.Profile:
    return records.Profile(facts(image), CONDITIONS, (), 1.5)


def older(image: str, **contents: Any) -> records.Profile:
    """Of an image with the software of 2019, or with these contents."""
    plain: dict[str, Any] = {"python": "3.7.16", "torch": "1.2.0", "cuda": "10.0.130", "cudnn": 7602}
    found = dataclasses.replace(CONTENTS, **(contents or plain))
    return dataclasses.replace(profile(image), facts=dataclasses.replace(facts(image), contents=found))


def image(name: str) -> records.Image:
    """What the image stage says of `host`."""
    fields = ("reference", "image_id", "size_bytes", "base", "base_id", "base_digest", "engine", "runtime")
    absent = dict.fromkeys(fields, "image host runs without a container")
    return records.Image(name, "python", "python", env={}, contents=CONTENTS, absent=absent, **dict.fromkeys(fields))


TOY = {  # the files of JOB, for a project of its own
    "job.yaml": (
        "train: python train.py {parameters}\nevaluate: python evaluate.py\ntotal: [head, body, predict]\n"
        "metrics:\n  accuracy: {unit: share, better: higher}\nresumes: true\ndry_run: true\n"
    ),
    "train.py": "",
    "evaluate.py": "",
}


def measure(*, seed: int = 0, spread: float = 0.003, root: Path = Path(), **seconds: float) -> None:
    """Write results of all cells of a project whose job is TOY: an epoch took about so many seconds, by image."""
    wanted = schema.load(root)
    definition = jobs.load(wanted.job, root)
    job = jobs.record(wanted.job, definition, wanted.section, wanted.seed, root)
    write_run(job, root)
    present = read.belongs(wanted, job, root)
    noise = random.Random(seed)  # noqa: S311 - repeatable
    for cell in wanted.cells():
        took = seconds.get(cell.image, 10.0) * (1 + noise.gauss(0, spread))
        fields = {"belongs": present[cell.image, cell.variant]}
        write_cell(trained(cell, took, **fields), evaluated(cell, 0.3 * took, **fields), root=root)
