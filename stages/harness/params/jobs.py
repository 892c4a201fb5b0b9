"""jobs/<name>/job.yaml as a checked record, its commands with placeholders filled in, and digests of its files."""

import dataclasses
import difflib
import hashlib
import json
import os
import re
import shlex
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.params.documents import document, read_text
from stages.records import Metric, Scalar, Variant

JOBS_DIR = Path("jobs")
DEFINITION = "job.yaml"
# What a command may name beside the variant's parameters. {parameters}: all of them, each as `--name value`. {gpus}: of
# a training that starts its processes itself; any other is started by torch's launcher where there are several.
PARAMETERS, GPUS = "parameters", "gpus"
PLACEHOLDERS = ("repeat", "seed", "output", "state", GPUS, PARAMETERS)
PYTHON = "python"
OF_A_CELL = ("train", "evaluate")  # commands that a variant's parameters must reach
COMMANDS = (*OF_A_CELL, "download", "check", "estimate", "measure")
AUTO = "auto"
OBSERVE = (AUTO, "none")
BY_THEMSELVES = re.compile(
    r"(total|undisturbed|beyond)_seconds|samples_per_second|peak_(process|job)_memory_bytes"
    r"|energy_joules|cpu_joules|joules_per_sample"
)
SHELL_WORD = re.compile(r"\|\|?|&&?|;|\d?>>?(&\d)?|<<?|(\$\(|`).*", re.DOTALL)  # what a shell would act on
LEFT_OUT = ("__pycache__",)  # of a job's files


@dataclasses.dataclass(frozen=True)
class Definition:
    """What job.yaml says. Only `train` is needed; what is not there the job does not give."""

    train: str
    evaluate: str | None = None
    download: str | None = None  # on the host, with the network; fills data/<job>
    check: str | None = None  # on the host: whether the variant's parameters and the job's section are right
    estimate: str | None = None  # on the host: what a variant needs, for preflight
    measure: str | None = None  # inside each image: the job's own measurements, for its profile
    files: tuple[str, ...] | None = None  # that a result depends on, below the job's folder; None: all of them
    data: tuple[str, ...] = ()  # folders that the training reads beside data/<job>
    total: tuple[str, ...] = records.WALL
    gpus: int = 1  # of a variant that does not say
    resumes: bool = False
    dry_run: bool = False
    observe: str = AUTO  # of OBSERVE: whether a training in PyTorch is looked at from outside
    metrics: dict[str, Metric] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in COMMANDS:
            text = getattr(self, key)
            codec.check(key, text, text is None or bool(_words(key, text)), "a command")
        codec.check("gpus", self.gpus, 1 <= self.gpus <= records.MOST_GPUS, f"from 1 to {records.MOST_GPUS}")
        codec.check("observe", self.observe, self.observe in OBSERVE, "one of " + ", ".join(OBSERVE))
        codec.check("total", list(self.total), bool(self.total), "wall, or a list of spans")
        own = {*(f"{span}_seconds" for span in self.total)}
        expected = "a span, and none called total, undisturbed or beyond"
        for name in own:
            free = BY_THEMSELVES.fullmatch(name) is None
            codec.check("total", name.removesuffix("_seconds"), free, expected)
        for name in self.metrics:
            taken = name in own or BY_THEMSELVES.fullmatch(name) is not None
            codec.check("metrics", name, not taken, "a name that is not there by itself")
            good = records.PARAMETER_NAME.fullmatch(name) is not None
            codec.check("metrics", name, good, "a name of lower-case letters, digits and '_'")


def load(name: str, root: Path) -> Definition:
    """Read jobs/<name>/job.yaml. Raises FaceoffError or RecordError, one line that names the file and the key."""
    path = JOBS_DIR / name / DEFINITION
    known = names(root)
    if name not in known:
        raise FaceoffError(
            f"params.yaml: job: no job {name!r}: expected a folder of jobs/ with a {DEFINITION} "
            f"({', '.join(known) or 'there is none'})"
        )
    content = document(read_text(root / path), str(path))
    content["total"] = _total(content.get("total", "wall"), path)
    found: Definition = codec.decode(Definition, content, str(path))
    for key in COMMANDS:
        _check_script(path, key, getattr(found, key), root)
        filled = [] if key in OF_A_CELL else [*_placeholders(f"{path}: {key}", getattr(found, key) or "")]
        if filled:
            raise codec.RecordError(f"{path}: {key}: has no placeholders, found {{{filled[0]}}}: see FACEOFF_CELL")
    return found


def names(root: Path) -> list[str]:
    """Jobs that there are: folders of jobs/ with a job.yaml."""
    return sorted(each.parent.name for each in (root / JOBS_DIR).glob(f"*/{DEFINITION}"))


def warnings(name: str, definition: Definition) -> list[str]:
    """Say which words of the commands only a shell would act on, a line for each command that has one."""
    lines = []
    for key in COMMANDS:
        found = [word for word in _words(key, getattr(definition, key) or "") if SHELL_WORD.fullmatch(word)]
        if found:
            where = f"{JOBS_DIR / name / DEFINITION}: {key}"
            lines.append(f"{where}: no shell sees it: {found[0]!r} is plain text to the command; use `bash run.sh`")
    return lines


def folders(name: str, definition: Definition, root: Path) -> tuple[Path, ...]:
    """Return what the job reads beside data/<job>: its own folder and job.yaml's `data`. Raises RecordError."""
    where = f"{JOBS_DIR / name / DEFINITION}: data"
    for each in map(Path, definition.data):
        codec.check(where, str(each), each.is_absolute(), "an absolute path")
        codec.check(where, str(each), each.is_dir(), "a folder that is there")
    return (root / JOBS_DIR / name, *map(Path, definition.data))


def record(name: str, definition: Definition, section: Any, seed: int, root: Path) -> records.Job:
    """Return what metrics/job.json says of the job."""
    return records.Job(
        name=name,
        train=definition.train,
        evaluate=definition.evaluate,
        files=digests(name, definition, root),
        total=definition.total,
        metrics=definition.metrics,
        resumes=definition.resumes,
        dry_run=definition.dry_run,
        observe=definition.observe == AUTO,
        section_json=json.dumps(section, sort_keys=True),
        seed=seed,
    )


def check_variants(name: str, definition: Definition, variants: Mapping[str, Variant]) -> None:
    """Raise RecordError unless each placeholder has a value in each variant, and each parameter reaches a command."""
    for variant, its in variants.items():
        for each in its.parameters:
            expected = f"a name that is no placeholder of its own ({', '.join(PLACEHOLDERS)})"
            codec.check(f"params.yaml: variants.{variant}", each, each not in PLACEHOLDERS, expected)
    where = f"{JOBS_DIR / name / DEFINITION}"
    commands = {key: getattr(definition, key) for key in OF_A_CELL if getattr(definition, key) is not None}
    used = {key: {*_placeholders(f"{where}: {key}", text)} for key, text in commands.items()}
    for key, wanted in used.items():
        for variant, its in variants.items():
            for each in sorted(wanted - {*its.parameters, *PLACEHOLDERS}):
                close = difflib.get_close_matches(each, [*its.parameters, *PLACEHOLDERS], n=1)
                hint = f" (did you mean {{{close[0]}}}?)" if close else ""
                expected = ", ".join([*its.parameters, *PLACEHOLDERS])
                raise codec.RecordError(
                    f"{where}: {key}: unknown placeholder {{{each}}}{hint}: variant {variant} of params.yaml has no "
                    f"such parameter; known: {expected}"
                )
    _check_launch(where, definition, variants)
    reached = set[str]().union(*used.values())
    for variant, its in variants.items():
        for each in its.parameters:
            if PARAMETERS not in reached and each not in reached:
                raise codec.RecordError(
                    f"params.yaml: variants.{variant}.{each}: reaches no command of {where}: write {{{each}}} or "
                    f"{{{PARAMETERS}}} into its `train`, or take it out"
                )


def launches_itself(template: str) -> bool:
    """Whether the training's command starts its processes itself: it says {gpus}."""
    return GPUS in _placeholders("train", template)


def _check_launch(where: str, definition: Definition, variants: Mapping[str, Variant]) -> None:
    """Raise RecordError for several GPUs of a training that neither is Python nor says what to do with them."""
    first = shlex.split(definition.train)[0]
    for name, its in variants.items():
        if its.gpus > 1 and first != PYTHON and not launches_itself(definition.train):
            raise codec.RecordError(
                f"params.yaml: variants.{name}: gpus is {its.gpus}, and `train` of {where} begins with {first!r}: only "
                f"`{PYTHON} …` is started once for each: write {{{GPUS}}} into it where it starts its processes itself"
            )


def command(template: str, parameters: Mapping[str, Scalar], others: Mapping[str, str]) -> tuple[str, ...]:
    """Split the command as a shell would, then fill in its placeholders; no shell sees it.

    `others`: values of `repeat`, `seed`, `output`, `state` and `gpus`, as far as the command may use them.
    """
    values = {**others, **{name: text(value) for name, value in parameters.items()}}
    words: list[str] = []
    for word in shlex.split(template):
        if word == f"{{{PARAMETERS}}}":
            words += [each for name in parameters for each in (f"--{name.replace('_', '-')}", values[name])]
        else:
            words.append(string.Formatter().vformat(word, (), values))
    return tuple(words)


def text(value: Scalar) -> str:
    """Return a parameter as a command takes it: 'true' and 'false' as YAML has them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _total(value: Any, path: Path) -> Any:
    """Return the list that Definition takes, of `wall` or of a list of spans."""
    if isinstance(value, str):
        codec.check(f"{path}: total", value, (value,) == records.WALL, "wall, or a list of spans")
        return [value]
    if isinstance(value, list):
        codec.check(f"{path}: total", value, records.WALL[0] not in value, "wall alone, or a list of spans")
    return value


def _words(key: str, template: str) -> list[str]:
    codec.check(key, template, "\0" not in template, "a command without a null byte")
    try:
        return shlex.split(template)
    except ValueError as error:
        raise codec.RecordError(
            f"{key}: expected a command with its quotes closed, found {template!r} ({error})"
        ) from None


def _placeholders(where: str, template: str) -> Iterator[str]:
    """Return the names in braces. `{{` is a brace; anything but a plain name is refused."""
    for word in shlex.split(template):
        try:
            fields = [(field, form, turned) for _, field, form, turned in string.Formatter().parse(word)]
        except ValueError as error:
            raise codec.RecordError(f"{where}: {word!r}: {error}; a brace that stands for itself is doubled") from None
        for field, form, turned in fields:
            if field is None:
                continue
            if form or turned or not records.PARAMETER_NAME.fullmatch(field):
                raise codec.RecordError(f"{where}: {word!r}: expected a placeholder such as {{seed}}; double the brace")
            if field == PARAMETERS and word != f"{{{PARAMETERS}}}":
                raise codec.RecordError(f"{where}: {word!r}: {{{PARAMETERS}}} stands for several words, so it is one")
            yield field


def _check_script(path: Path, key: str, template: str | None, root: Path) -> None:
    """Raise RecordError where the script that the command names is not in the job's folder."""
    script = _script(template)
    if script and (script.startswith("../") or not (root / path.parent / script).is_file()):
        raise codec.RecordError(f"{path}: {key}: {script} is not in {path.parent}: expected a file there")


def _script(template: str | None) -> str | None:
    """Return the first word that ends as a script does, from the job's folder; None: the command names none there."""
    for word in shlex.split(template or ""):
        if word.endswith((".py", ".sh")) and not re.search(r"^-|[\s=]", word):
            return None if "{" in word or word.startswith("/") else os.path.normpath(word)
    return None


def digests(name: str, definition: Definition, root: Path) -> dict[str, str]:
    """Return the sha256 of each file that a result depends on, by its path below the job's folder."""
    folder = root / JOBS_DIR / name
    wanted = [folder / each for each in definition.files] if definition.files is not None else [folder]
    found = {}
    for place in wanted:
        _check_inside(place, folder, name)
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and not {*path.relative_to(folder).parts} & {*LEFT_OUT}:
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    scripts = (_script(getattr(definition, key)) for key in COMMANDS)
    for each in {DEFINITION, *filter(None, scripts)} - {*found}:
        found[each] = hashlib.sha256((folder / each).read_bytes()).hexdigest()
    return found


def _check_inside(place: Path, folder: Path, name: str) -> None:
    where = f"{JOBS_DIR / name / DEFINITION}: files"
    if not place.resolve().is_relative_to(folder.resolve()):
        raise codec.RecordError(f"{where}: {place} is outside of {JOBS_DIR / name}: expected a path below it")
    if not place.exists():
        raise codec.RecordError(f"{where}: {place.name} is not there: expected a file or folder of {JOBS_DIR / name}")
