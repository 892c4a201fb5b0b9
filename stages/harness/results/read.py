"""Reads the results of the matrix: what of params.yaml ran whole, and why the rest did not."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stages import codec, records, variables
from stages.codec import RecordError
from stages.harness.params import jobs
from stages.harness.params.schema import Params
from stages.predictions import read_predictions
from stages.records import WALL, Belongs, Cell, Job, Result, step_times

CODE = tuple(Path("stages", name) for name in ("train.py", "evaluate.py", "workload"))  # as in stage `setting`
CLOCK_SKEW = timedelta(minutes=5)  # that a machine's clock may have been set back since


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """The steps of one span of a training, in their order."""

    span: str
    seconds: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class CellResult:
    """One cell. Both records are there where the status is 'ok', the training's alone where it is 'trained'."""

    cell: Cell
    status: str  # 'ok', 'trained' (not evaluated yet), 'failed', 'unsupported', 'refused' or 'missing'
    reason: str | None
    train: Result | None = None
    evaluate: Result | None = None
    right: Mapping[str, bool] | None = None  # item: predicted right; None where there are no predictions
    steps: tuple[StepTimes, ...] | None = None  # in the order of the spans; None: not told, or of work that was queued

    @property
    def stages(self) -> tuple[Result, ...]:
        """Records of training and evaluation, as far as they are there."""
        return tuple(each for each in (self.train, self.evaluate) if each is not None)


def read_all(params: Params, root: Path = Path(), data_sha256: str | None = None) -> list[CellResult]:
    """Every cell of params.yaml, and no other result in metrics/.

    `data_sha256`: of the data that they have to be of; None: of data/manifest.json. Raises RecordError without a job,
    a machine or data.
    """
    job = codec.read(root / records.JOB_PATH, Job)
    present = belongs(params, job, root, data_sha256)
    failures = {image: failure(image, root) for image in params.images}
    return [
        CellResult(cell, "failed", failures[cell.image])
        if failures[cell.image]
        else read(cell, present[cell.image, cell.variant], job, root)
        for cell in params.cells()
    ]


def failure(image: str, root: Path = Path()) -> str | None:
    """Return why the image, or its profile, failed where `on_failure` let the others go on."""
    for path in (records.image_path(image), records.facts_path(image)):
        failed = codec.find(root / path, records.Failed)  # none in the record of what was made
        if failed:
            return failed.reason
    return None


def setting_path(image: str, variant: str) -> Path:
    """Where stage `setting` says what the setting's results have to be of."""
    return Cell(image, variant, 1).result_path("train").with_name("setting.json")


def code_sha256(root: Path = Path()) -> str:
    """Return the digest of what measures, as it is now."""
    return codec.digest(*(root / each for each in CODE))


def belongs_now(params: Params, root: Path = Path()) -> tuple[Job, dict[tuple[str, str], Belongs]]:
    """Return the job as it is, and what results have to be of as far as it shows at once: all else is as last noted.

    Settings of which nothing is noted are left out. Raises RecordError without a machine.
    """
    job = jobs.record(params.job, jobs.load(params.job, root), params.section, params.seed, root)
    machine = codec.read(root / records.MACHINE_PATH, records.Machine)
    now: dict[str, Any] = {
        "job_sha256": codec.fingerprint(job),
        "machine_sha256": codec.fingerprint(machine),
        "code_sha256": code_sha256(root),
        "container": params.container.limits,
    }
    settings = [(image, name) for image in params.images for name in params.variants]
    noted = {each: codec.find(root / setting_path(*each), Belongs) for each in settings}
    return job, {
        key: dataclasses.replace(each, variant=params.variants[key[1]], **now) for key, each in noted.items() if each
    }


def _noted_code(path: Path) -> str | None:
    noted = codec.find(path, Belongs)
    return noted.code_sha256 if noted else None


def belongs(
    params: Params, job: Job, root: Path = Path(), data_sha256: str | None = None
) -> dict[tuple[str, str], Belongs]:
    """Return what a result has to be of, by image and variant: a new one measured now would be, if by noted code."""
    machine_sha256 = codec.fingerprint(codec.read(root / records.MACHINE_PATH, records.Machine))
    if data_sha256 is None:
        data_sha256 = codec.read(root / records.MANIFEST_PATH, records.Manifest).sha256
    digests = {
        image: (None, None)
        if failure(image, root)
        else (
            codec.file_fingerprint(root / records.image_path(image), records.Image),
            codec.file_fingerprint(root / records.facts_path(image), records.Facts),
        )
        for image in params.images
    }
    return {
        (image, name): Belongs(
            job_sha256=codec.fingerprint(job),
            data_sha256=data_sha256,
            machine_sha256=machine_sha256,
            image_sha256=digests[image][0],
            facts_sha256=digests[image][1],
            code_sha256=_noted_code(root / setting_path(image, name)),
            variant=variant,
            container=params.container.limits,
        )
        for image in params.images
        for name, variant in params.variants.items()
    }


def read(cell: Cell, present: Belongs, job: Job, root: Path = Path()) -> CellResult:
    """One cell; a result that isn't of this cell and of what is present is refused with the reason."""
    try:
        train = _stage(cell, "train", present, root)
        if train is None:
            return CellResult(cell, "missing", f"{cell.result_path('train')} was not written")
        if train.status != "ok":
            return CellResult(cell, train.status, train.reason)
        evaluate = _stage(cell, "evaluate", present, root)
        if evaluate is None:
            return CellResult(cell, "trained", f"{cell.result_path('evaluate')} was not written", train)
        _check_order(train, evaluate)
        if evaluate.status != "ok":
            return CellResult(cell, evaluate.status, evaluate.reason)
        same = evaluate.output_sha256 == train.output_sha256
        _check(cell.result_path("evaluate"), same, f"of another model than that of {cell.result_path('train')}")
        _check_names(job, train, evaluate)
        right = _predicted_right(evaluate, root)
        steps = _step_times(train, root)
    except RecordError as error:
        return CellResult(cell, "refused", str(error))
    return CellResult(cell, "ok", None, train, evaluate, right, steps)


def _stage(cell: Cell, stage: str, present: Belongs, root: Path) -> Result | None:
    path = cell.result_path(stage)
    if not (root / path).exists():
        return None
    found = codec.read(root / path, Result)
    same = (found.cell, found.stage) == (cell, stage)
    _check(path, same, f"is of {found.cell.setting}, repeat {found.cell.repeat}, {found.stage}")
    _check_belongs(path, found.belongs, present, cell.image)
    past = _moment(path, found.started_at) <= datetime.now(UTC) + CLOCK_SKEW
    _check(path, past, f"started_at: {found.started_at} is yet to come")
    return found


def _check_belongs(path: Path, were: Belongs, are: Belongs, image: str) -> None:
    for key, words in differences(were, are, image):
        _check(path, False, words if key in ("variant", "container") else f"{key}: {words}")


def differences(were: Belongs, are: Belongs, image: str) -> Iterator[tuple[str, str]]:
    """Yield each field of Belongs that is another, and how a result was measured that is of the first."""
    for section, was, now in (
        ("variant", were.variant.parameters, are.variant.parameters),
        ("variant", {"gpus": were.variant.gpus}, {"gpus": are.variant.gpus}),
        ("variant env", were.variant.env, are.variant.env),
        ("container", dataclasses.asdict(were.container), dataclasses.asdict(are.container)),
    ):
        for name in dict.fromkeys((*was, *now)):
            here, there = (_in_words(name, each) for each in (was, now))
            differing = "another" if here == there else there  # of secrets
            if not (name in was and name in now and was[name] == now[name]):
                yield section.split()[0], f"measured with {section} {name} {here}, now {differing}"
    for key, what, file in (
        ("job_sha256", "by another job, or another section of it,", records.JOB_PATH),
        ("data_sha256", "on other data", records.MANIFEST_PATH),
        ("machine_sha256", "on another machine", records.MACHINE_PATH),
        ("image_sha256", "in another image", records.image_path(image)),
        ("facts_sha256", "in another environment", records.facts_path(image)),
        ("code_sha256", "by other code", CODE[-1]),
    ):
        if getattr(were, key) != getattr(are, key):
            yield key, f"measured {what} than that of {file}"


def _in_words(name: str, values: Mapping[str, object]) -> str:
    return variables.shareable(name, str(values[name])) if name in values else "left out"


def _check_order(train: Result, evaluate: Result) -> None:
    path, earlier = (each.cell.result_path(each.stage) for each in (evaluate, train))
    older = _moment(path, evaluate.started_at) < _moment(earlier, train.started_at)
    _check(path, not older, f"older than the training in {earlier}")


def _check_names(job: Job, train: Result, evaluate: Result) -> None:
    """Check that what the total is made of is there, and that no metric is named as one that is there by itself."""
    path = train.cell.result_path("train")
    spans = {span.name for each in (train, evaluate) for span in each.spans}
    for name in job.total if job.total != WALL else ():
        _check(path, name in spans, f"'ok' without a span {name!r}, of which job.yaml's `total` is made")
    for name in job.metrics:
        own = name.removesuffix("_seconds")
        taken = name.endswith("_seconds") and own in spans
        _check(path, not taken, f"metric {name} of job.yaml is there by itself, for span {own!r}: give it another name")


def _predicted_right(evaluate: Result, root: Path) -> dict[str, bool] | None:
    """Return whether each item was predicted right."""
    path = evaluate.cell.predictions_path
    if evaluate.predictions_sha256 is None:
        return None
    content = _written_with(evaluate, path, evaluate.predictions_sha256, "predictions", root)
    try:
        return read_predictions(content, path) or None
    except RecordError as error:
        raise RecordError(f"{error}; measure again with `.venv/bin/dvc repro`") from None


def _step_times(train: Result, root: Path) -> tuple[StepTimes, ...] | None:
    """Return what each step took, where single steps mean something."""
    path = train.cell.steps_path
    if train.steps is None:
        return None
    content = _written_with(train, path, train.steps.sha256, "steps", root)
    rows = step_times.rows(content, path)
    return None if train.steps.queued else tuple(StepTimes(*row) for row in rows) or None


def _written_with(result: Result, path: Path, sha256: str, what: str, root: Path) -> str:
    """Return the text of the file that was written with the result. Raises RecordError where it is another."""
    try:
        content = (root / path).read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; measure again with `.venv/bin/dvc repro -f`") from None
    same = hashlib.sha256(content).hexdigest() == sha256
    _check(path, same, f"not the {what} of which {result.cell.result_path(result.stage)} has the sha256")
    return content.decode("utf-8", errors="replace")


def _moment(path: Path, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise RecordError(f"{path}: started_at: expected a time in ISO 8601, found {text!r}") from None


def _check(path: Path, holds: bool, problem: str) -> None:
    if not holds:
        raise RecordError(f"{path}: {problem}; measure again with `.venv/bin/dvc repro`")
