"""What the section and a variant's parameters may be, as `check` says it: one line that names file and key."""

from pathlib import Path
from typing import Any

import pytest

from jobs.dogs_cats import parameters
from stages.codec import RecordError
from tests.jobs.dogs_cats.by_hand import by_hand
from tests.project import DOGS_CATS

PLAIN = {"precision": "fp32", "batch_size": 16}


def refused(changes: dict[str, Any], tmp_path: Path) -> str:
    """What `check` says of the plain section and variant with these keys changed."""
    job = by_hand(tmp_path)
    for key, value in changes.items():
        first, _, rest = key.partition(".")
        {"dataset": job.section["dataset"], "recipe": job.section["recipe"], "variant": job.parameters}[first][rest] = (
            value
        )
    return job.fail("check")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe.sise": 96}, "params.yaml: dogs_cats.recipe: unknown key 'sise' (did you mean 'size'?)"),
        ({"dataset.sede": 1}, "params.yaml: dogs_cats.dataset: unknown key 'sede' (did you mean 'seed'?)"),
        ({"recipe.size": 8}, "params.yaml: dogs_cats.recipe.size: expected at least 32 pixels, found 8"),
        ({"recipe.frozen_learning_rate": "1e-3"}, "dogs_cats.recipe.frozen_learning_rate: expected a finite number"),
        ({"dataset.source": "web"}, "dogs_cats.dataset.source: expected one of synthetic, folder, kaggle, fastai"),
        ({"dataset.source": "folder"}, "dogs_cats.dataset.folder: expected a folder of photos, for source folder"),
        (
            {"variant.batchsize": 16},
            "params.yaml: variants.plain.batchsize: unknown parameter (did you mean 'batch_size'",
        ),
        (
            {"variant.precision": "fp16"},
            "params.yaml: variants.plain.precision: expected one of fp32, mixed, found 'fp16'",
        ),
        ({"variant.batch_size": 0}, "params.yaml: variants.plain.batch_size: expected 1 or more, found 0"),
        ({"variant.size": 16}, "params.yaml: variants.plain (over dogs_cats.recipe).size: expected at least 32 pixels"),
        ({"variant.batch_size": 128}, "params.yaml: variants.plain.batch_size: 128 is more than the 64 of"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    line = refused(changes, tmp_path)
    assert says in line and "\n" not in line


def test_what_is_right_is_passed_without_a_word(tmp_path: Path) -> None:
    job = by_hand(tmp_path)
    assert job.run("check") == (0, "", "")


def test_a_missing_section_or_parameter_is_named() -> None:
    with pytest.raises(RecordError, match=r"params.yaml: dogs_cats: key 'dataset' is missing"):
        parameters.section(None)
    with pytest.raises(RecordError, match=r"variants.x: parameter 'precision' is missing"):
        parameters.choice(DOGS_CATS, {"batch_size": 16}, "params.yaml: variants.x")


def test_a_parameter_takes_the_place_of_the_recipes_own() -> None:
    words = ["--precision", "mixed", "--batch-size", "8", "--channels-last", "true", "--arch", "resnet34"]
    more = ["--frozen-learning-rate", "1e-4", "--unfrozen-learning-rates", "1e-6, 2.5e-4"]
    found = parameters.choice(DOGS_CATS, parameters.of_arguments([*words, *more]), "variants")
    assert (found.precision, found.batch_size) == ("mixed", 8)
    assert (found.recipe.arch, found.recipe.channels_last, found.recipe.size) == ("resnet34", True, 32)
    assert (found.recipe.frozen_learning_rate, found.recipe.unfrozen_learning_rates) == (1e-4, (1e-6, 2.5e-4))


@pytest.mark.parametrize("words", [["--precision"], ["precision", "fp32"]])
def test_a_command_line_that_is_no_pairs_is_refused(words: list[str]) -> None:
    with pytest.raises(RecordError, match="expected `--name value` pairs"):
        parameters.of_arguments(words)
