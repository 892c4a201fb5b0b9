"""Reads the results of the matrix: what of params.yaml ran whole, and why the rest did not."""

import csv
import dataclasses
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stages import codec, records
from stages.codec import RecordError
from stages.harness.params.schema import Params
from stages.records import Cell, Container, EvaluateResult, Recipe, TrainResult

CLOCK_SKEW = timedelta(minutes=5)  # that a machine's clock may have been set back since


@dataclasses.dataclass(frozen=True)
class Result:
    """One cell. Both records are there exactly where the status is 'ok'."""

    cell: Cell
    status: str  # 'ok', 'failed', 'unsupported', 'refused' or 'missing'
    reason: str | None
    train: TrainResult | None = None
    evaluate: EvaluateResult | None = None
    right: Mapping[str, bool] | None = None  # photo: told right, with TTA; None where there are no predictions


@dataclasses.dataclass(frozen=True)
class Present:
    """What a result has to be of, all of it: a new one measured today would be."""

    recipe: Recipe
    container: Container
    dataset_sha256: str
    machine_sha256: str
    image_sha256: str | None  # None, here and below: there is no such file
    facts_sha256: str | None


def read_all(params: Params, root: Path = Path()) -> list[Result]:
    """Every cell of params.yaml, and no other result in metrics/. Raises RecordError without a data set or machine."""
    dataset = codec.read(root / records.DATASET_PATH, records.Dataset)
    machine_sha256 = codec.fingerprint(codec.read(root / records.MACHINE_PATH, records.Machine))
    present = {
        image: Present(
            recipe=params.recipe,
            container=params.container.limits,
            dataset_sha256=dataset.sha256,
            machine_sha256=machine_sha256,
            image_sha256=codec.file_fingerprint(root / records.image_path(image), records.Image),
            facts_sha256=codec.file_fingerprint(root / records.facts_path(image), records.Facts),
        )
        for image in params.images
    }
    return [read(cell, present[cell.image], root) for cell in params.cells()]


def read(cell: Cell, present: Present, root: Path = Path()) -> Result:
    """One cell; a result that isn't of this cell and of what is present is refused with the reason."""
    try:
        if not (root / cell.train_path).exists():
            return Result(cell, "missing", f"{cell.train_path} was not written")
        train = codec.read(root / cell.train_path, TrainResult)
        _check_train(train, cell, present)
        if train.status != "ok":
            return Result(cell, train.status, train.reason)
        if not (root / cell.evaluate_path).exists():
            return Result(cell, "missing", f"{cell.evaluate_path} was not written")
        evaluate = codec.read(root / cell.evaluate_path, EvaluateResult)
        _check_evaluate(evaluate, cell, train)
        _check_unchanged(root / cell.predictions_path, evaluate)
        right = _told_right(root / cell.predictions_path)
        _check_predictions(evaluate, right)
    except RecordError as error:
        return Result(cell, "refused", str(error))
    if evaluate.status != "ok":
        return Result(cell, evaluate.status, evaluate.reason)
    return Result(cell, "ok", None, train, evaluate, right)


def _told_right(path: Path) -> dict[str, bool] | None:
    """Photo: whether the class with the highest probability, with TTA, is its own."""
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        try:
            for row in rows:
                values = {name: float(value) for name, value in row.items() if name.endswith("_tta")}
                codec.check("probabilities", values, all(0 <= each <= 1 for each in values.values()), "0 to 1")
                told = max((value, name) for name, value in values.items())[1]
                found[row["photo"]] = told == f"{row['label']}_tta"
        except (KeyError, ValueError, TypeError, AttributeError, RecordError, csv.Error):
            raise RecordError(
                f"{path}, line {rows.line_num}: not a prediction; measure again with `dvc repro`"
            ) from None
    return found or None


def _check_unchanged(path: Path, evaluate: EvaluateResult) -> None:
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; measure again with `dvc repro -f`") from None
    told = f"not the predictions of which {evaluate.cell.evaluate_path} has the predictions_sha256"
    _check(path, sha256 == evaluate.predictions_sha256, told)


def _check_predictions(evaluate: EvaluateResult, right: Mapping[str, bool] | None) -> None:
    """What the record counts is what the predictions hold."""
    if right is None or evaluate.accuracy_tta is None:
        return
    path, photos, told = evaluate.cell.predictions_path, evaluate.photos, sum(right.values())
    _check(path, len(right) == photos, f"of {len(right)} photos, and {evaluate.cell.evaluate_path} says {photos}")
    expected = evaluate.accuracy_tta * photos
    agrees = abs(told - expected) < 1.5  # a tie may have been rounded into another place
    _check(path, agrees, f"{told} told right, and {evaluate.cell.evaluate_path}: accuracy_tta says {expected:.0f}")


def _check_train(train: TrainResult, cell: Cell, present: Present) -> None:
    path = cell.train_path
    _check_cell(path, train.cell, cell)
    for section, were, are in (
        ("recipe", train.recipe, present.recipe),
        ("container", train.container, present.container),
    ):
        for field in dataclasses.fields(type(were)):
            was, now = getattr(were, field.name), getattr(are, field.name)
            _check(path, was == now, f"measured with {section}.{field.name} {was}, now {now}")
    for key, what, file in (
        ("dataset_sha256", "on another data set", records.DATASET_PATH),
        ("machine_sha256", "on another machine", records.MACHINE_PATH),
        ("image_sha256", "in another image", records.image_path(cell.image)),
        ("facts_sha256", "in another environment", records.facts_path(cell.image)),
    ):
        same = getattr(train, key) == getattr(present, key)
        _check(path, same, f"{key}: measured {what} than that of {file}")
    epochs, planned = len(train.epochs), present.recipe.frozen_epochs + present.recipe.unfrozen_epochs
    _check(path, train.status != "ok" or epochs == planned, f"'ok' with {epochs} of {planned} epochs")
    _check_past(path, train.started_at)


def _check_evaluate(evaluate: EvaluateResult, cell: Cell, train: TrainResult) -> None:
    path = cell.evaluate_path
    _check_cell(path, evaluate.cell, cell)
    older = _moment(path, evaluate.started_at) < _moment(cell.train_path, train.started_at)
    _check(path, not older, f"older than the training in {cell.train_path}")
    _check_past(path, evaluate.started_at)


def _check_past(path: Path, started_at: str) -> None:
    past = _moment(path, started_at) <= datetime.now(UTC) + CLOCK_SKEW
    _check(path, past, f"started_at: {started_at} is yet to come")


def _moment(path: Path, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise RecordError(f"{path}: started_at: expected a time in ISO 8601, found {text!r}") from None


def _check_cell(path: Path, found: Cell, cell: Cell) -> None:
    _check(path, found == cell, f"is of {found.setting}, repeat {found.repeat}")


def _check(path: Path, holds: bool, problem: str) -> None:
    if not holds:
        raise RecordError(f"{path}: {problem}; measure again with `dvc repro`")
