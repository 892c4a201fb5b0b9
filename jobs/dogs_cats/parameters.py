"""How the network is trained and on what photos: the job's section of params.yaml, and a variant's parameters.

Runs on the host and inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
import difflib
import re
import typing
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from stages.codec import RecordError, check, decode

SECTION = "params.yaml: dogs_cats"
PRECISIONS = ("fp32", "mixed")
PHASES = ("frozen", "unfrozen")
ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "tf_efficientnet_lite0")
SOURCES = ("synthetic", "folder", "kaggle", "fastai")
OWN = {"precision": str, "batch_size": int}  # parameters beside those of the recipe
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The `recipe` of the section, with a variant's own in its place."""

    arch: str
    pretrained: bool
    size: int  # edge of the square input, pixels
    frozen_epochs: int
    unfrozen_epochs: int
    frozen_learning_rate: float  # peak of the one-cycle schedule, for the head
    unfrozen_learning_rates: Tuple[float, float]  # peak for the first layer group and for the head
    pct_start: float  # share of the unfrozen schedule in which the learning rate rises
    workers: int  # processes that load photos
    channels_last: bool  # memory format of the network and its input, where the image's torch has it

    def __post_init__(self) -> None:
        check("arch", self.arch, self.arch in ARCHITECTURES, "one of " + ", ".join(ARCHITECTURES))
        check("size", self.size, self.size >= 32, "at least 32 pixels")
        check("frozen_epochs", self.frozen_epochs, self.frozen_epochs >= 0, "0 or more")
        check("unfrozen_epochs", self.unfrozen_epochs, self.unfrozen_epochs >= 0, "0 or more")
        total = self.frozen_epochs + self.unfrozen_epochs
        check("unfrozen_epochs", self.unfrozen_epochs, total >= 1, "at least one epoch, frozen or unfrozen")
        check("frozen_learning_rate", self.frozen_learning_rate, self.frozen_learning_rate > 0, "above 0")
        rates = self.unfrozen_learning_rates
        check("unfrozen_learning_rates", list(rates), 0 < rates[0] <= rates[1], "two rates above 0, the lower first")
        check("pct_start", self.pct_start, 0 < self.pct_start < 1, "between 0 and 1")
        check("workers", self.workers, self.workers >= 0, "0 or more")

    @property
    def epochs(self) -> int:
        """Return the number of epochs of both phases."""
        return self.frozen_epochs + self.unfrozen_epochs


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The `dataset` of the section: where the photos come from."""

    source: str
    folder: Optional[str]  # with source folder
    train_photos: int  # with source synthetic
    valid_photos: int
    seed: int  # with source synthetic, and of the split of a folder that has none

    def __post_init__(self) -> None:
        check("source", self.source, self.source in SOURCES, "one of " + ", ".join(SOURCES))
        good = self.source != "folder" or bool(self.folder)
        check("folder", self.folder, good, "a folder of photos, for source folder")
        for key in ("train_photos", "valid_photos"):  # each class must be in both splits
            check(key, getattr(self, key), getattr(self, key) >= 2, "at least 2")
        check("seed", self.seed, 0 <= self.seed < 2**32, "between 0 and 2**32 - 1")


@dataclasses.dataclass(frozen=True)
class Section:
    """The job's own section of params.yaml."""

    dataset: Dataset
    recipe: Recipe


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a variant stands for."""

    precision: str
    batch_size: int
    recipe: Recipe


def section(document: Any) -> Section:
    """Return the section as it is checked. Raises RecordError, one line that names the key."""
    found = decode(Section, document if document is not None else {}, SECTION)  # type: Section
    return found


def choice(document: Any, parameters: Dict[str, Any], where: str) -> Choice:
    """Return what the variant's parameters make of the section; `where` names the variant in messages."""
    recipe = dict((document or {}).get("recipe") or {})
    kinds = {**OWN, **typing.get_type_hints(Recipe)}
    own = {}  # type: Dict[str, Any]
    for name, value in parameters.items():
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            hint = "did you mean {!r}?".format(close[0]) if close else "expected " + ", ".join(kinds)
            raise RecordError("{}.{}: unknown parameter ({})".format(where, name, hint))
        (own if name in OWN else recipe)[name] = _value(kinds[name], value)
    for name in OWN:
        if name not in own:
            raise RecordError("{}: parameter {!r} is missing".format(where, name))
    mixed = [name for name in parameters if name not in OWN]
    place = "{} (over dogs_cats.recipe)".format(where) if mixed else SECTION + ".recipe"
    found = Choice(
        decode(str, own["precision"], where + ".precision"),
        decode(int, own["batch_size"], where + ".batch_size"),
        decode(Recipe, recipe, place),
    )
    good = found.precision in PRECISIONS
    check(where + ".precision", found.precision, good, "one of " + ", ".join(PRECISIONS))
    check(where + ".batch_size", found.batch_size, found.batch_size >= 1, "1 or more")
    return found


def of_arguments(arguments: Sequence[str]) -> Dict[str, str]:
    """Return the parameters of a command line: `--batch-size 16` is batch_size. Raises RecordError."""
    names, values = arguments[::2], arguments[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        raise RecordError("run.py: expected `--name value` pairs, found {!r}".format(" ".join(arguments)))
    return {name[2:].replace("-", "_"): value for name, value in zip(names, values)}


def _value(kind: Any, value: Any) -> Any:
    """Return the value as YAML would have it, where it came as text; else as it is, for `decode` to judge."""
    if not isinstance(value, str) or kind is str:
        return value
    if kind is bool:
        return {"true": True, "false": False}.get(value, value)
    if kind is int:
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    if kind is float:
        return float(value) if EXPONENT.fullmatch(value) else value
    return [_value(float, each.strip()) for each in value.strip("[]").split(",")]  # rates: '1e-5, 3e-4'


def weights_path(data: Path, recipe: Recipe) -> Optional[Path]:
    """Return where the recipe's pretrained weights lie; None where it trains from scratch.

    Below downloads, which the data's digest leaves out: their own digest is known, and more of them change no cell.
    """
    return data / "downloads/weights" / (recipe.arch + ".pth") if recipe.pretrained else None


def architectures(choices: Sequence[Choice]) -> List[str]:
    """Return the networks of which pretrained weights are wanted."""
    return sorted({each.recipe.arch for each in choices if each.recipe.pretrained})
