"""params.yaml as a checked record, so that a typo is found before anything is downloaded or built."""

import dataclasses
import datetime
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.codec import RecordError, check, decode
from stages.errors import FaceoffError
from stages.harness.params import jobs, thresholds
from stages.harness.params.documents import document, read_text
from stages.harness.params.overrides import merged, round_trip
from stages.records import VARIABLE_NAME, VARIANT_NAME, Cell, Container, Variant

PARAMS_PATH = Path("params.yaml")
DOCKER_DIR = Path("docker")
PRESETS_DIR = Path("presets")
GPU_CHOICES = ("auto", "all", "none")
GPU_NAME = re.compile(r"\d+|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+")  # a card, as nvidia-smi -L tells
CPU_LIST = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", re.ASCII)
ON_FAILURE = ("stop", "record")
CURRENCY = re.compile(r"[A-Z]{3}")
PRICED_BY = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}  # in seconds
# What container.gpus says, for all images alike.
NOT_FOR_ENV = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")

ENV_LINE = 'env: {OMP_WAIT_POLICY: passive, GOMP_SPINCOUNT: "1000"}'

# Image names become folder, stage, tag and experiment names, and part of a command line in dvc.yaml.
IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
DOCKER_SIZE = re.compile(r"(\d+)([bkmg]?)")
_UNIT_BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ([MGT]i?B)")
_AMOUNT_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclasses.dataclass(frozen=True)
class ContainerParams:
    """The `container` section: what a container may use."""

    gpus: str
    shm_size: str
    memory: str | None
    cpus: float | None
    cpuset: str | None  # CPUs to run on, as the kernel lists them: '0-3,8'
    base_images: dict[str, str]  # image: base to build it from, instead of the one that its image.yaml names

    def __post_init__(self) -> None:
        good = self.gpus in GPU_CHOICES or GPU_NAME.fullmatch(self.gpus) is not None
        check("gpus", self.gpus, good, f"one of {', '.join(GPU_CHOICES)}, or a card's index or UUID in quotes")
        for key, value in (("shm_size", self.shm_size), ("memory", self.memory)):
            good = value is None or size_bytes(value) > 0
            check(key, value, good, "a size as Docker writes it, e.g. 512m or 8g")
        check("cpus", self.cpus, self.cpus is None or self.cpus > 0, "above 0")
        good = self.cpuset is None or _is_cpu_list(self.cpuset)
        check("cpuset", self.cpuset, good, "CPUs as the kernel lists them, in quotes, e.g. '0-3,8'")

    @property
    def limits(self) -> Container:
        """The part of the section that decides how a cell runs."""
        return Container(self.gpus, self.shm_size, self.memory, self.cpus, self.cpuset)


@dataclasses.dataclass(frozen=True)
class LimitParams:
    """The `limits` section: when training or evaluating a cell is given up. None: never."""

    stall_minutes: float | None  # without a step
    cell_minutes: float | None  # in all

    def __post_init__(self) -> None:
        for key, value in dataclasses.asdict(self).items():
            check(key, value, value is None or value > 0, "above 0, or null")


@dataclasses.dataclass(frozen=True)
class CompareParams:
    """The `compare` section."""

    baseline: str
    margin: float  # a ratio within 1 / (1 + margin) and 1 + margin is as good as equal
    looks: tuple[int, ...]  # how many repeats there were each time that they were judged and more added
    # How often a stage of a cell that was disturbed is measured once more.
    remeasure: int = dataclasses.field(metadata={"line": "remeasure: 1"})
    thresholds: dict[str, str] = dataclasses.field(default_factory=dict)  # metric: what --against lets pass

    def __post_init__(self) -> None:
        rising = all(before < after for before, after in zip((0, *self.looks), self.looks, strict=False))
        check("looks", list(self.looks), rising, "rising numbers of repeats, e.g. [3, 6]")
        check("remeasure", self.remeasure, 0 <= self.remeasure <= 3, "from 0 (never) to 3")
        check("margin", self.margin, 0 < self.margin < 1, "between 0 and 1, e.g. 0.02 for 2 %")
        for name, text in self.thresholds.items():
            check(f"thresholds.{name}", text, thresholds.parse(text) is not None, thresholds.EXPECTED)


@dataclasses.dataclass(frozen=True)
class ProfileParams:
    """The `profile` section."""

    measure_seconds: float  # that the measured part of an image's profile may take; 0: leave it out

    def __post_init__(self) -> None:
        good = 0 <= self.measure_seconds <= 60
        check("measure_seconds", self.measure_seconds, good, "from 0 (leave it out) to 60")


@dataclasses.dataclass(frozen=True)
class PriceParams:
    """The `provider.price` section: what the machine costs, as somebody has read it. No verdict knows of it."""

    amount: float
    currency: str  # of ISO 4217, e.g. USD
    per: str  # of PRICED_BY
    source: str  # address of the page that says it
    on: str  # the day on which it was read, ISO 8601

    def __post_init__(self) -> None:
        check("amount", self.amount, self.amount >= 0, "0 or more")
        good = CURRENCY.fullmatch(self.currency) is not None
        check("currency", self.currency, good, "its three letters, e.g. USD or EUR")
        check("per", self.per, self.per in PRICED_BY, "one of " + ", ".join(PRICED_BY))
        check("source", self.source, bool(self.source.strip()), "the address of the page that says so")
        check("on", self.on, _is_day(self.on), "the day on which it was read, e.g. 2026-11-27")

    @property
    def per_second(self) -> float:
        return self.amount / PRICED_BY[self.per]


@dataclasses.dataclass(frozen=True)
class ProviderParams:
    """The `provider` section: what whoever rents out the machine says that it has. None: not stated."""

    name: str | None  # None: nobody states anything
    source: str | None  # address of the page that says it
    cpus: float | None
    memory: str | None  # amounts with their unit: '30 GB' is 30e9 bytes, '12.7 GiB' is 12.7 * 2**30
    gpu: str | None  # e.g. 'Tesla T4'
    gpus: int | None  # how many
    gpu_memory: str | None  # of one
    disk: str | None
    price: PriceParams | None = None  # of the machine

    def __post_init__(self) -> None:
        for key in ("memory", "gpu_memory", "disk"):
            value = getattr(self, key)
            good = value is None or amount_bytes(value) is not None
            check(key, value, good, "an amount with its unit, '16 GB' (16e9 bytes) or '16 GiB' (16 * 2**30)")
        for key in ("cpus", "gpus"):
            value = getattr(self, key)
            check(key, value, value is None or value > 0, "above 0, or null: not stated")
        claims = {
            key: value for key, value in dataclasses.asdict(self).items() if key not in ("name", "source", "price")
        }
        stated = [key for key, value in claims.items() if value is not None]
        check("name", self.name, self.name is not None or not stated, f"a name, where {', '.join(stated)} is stated")
        check("source", self.source, self.source is not None or not self.name, "the address of the page that says so")


@dataclasses.dataclass(frozen=True)
class SessionParams:
    """The `session` section."""

    max_hours: float | None  # after which the provider ends the session; None: it does not end

    def __post_init__(self) -> None:
        check("max_hours", self.max_hours, self.max_hours is None or self.max_hours > 0, "above 0, or null")


@dataclasses.dataclass(frozen=True)
class Params:
    """The whole of params.yaml, the sections of jobs that are not run left out."""

    image: str
    images: tuple[str, ...]
    job: str
    variants: dict[str, Variant]
    repeats: tuple[int, ...]
    seed: int  # a repeat's own is this and its number
    # Environment variables of every image alike, below its own and the variant's.
    env: dict[str, Any] = dataclasses.field(metadata={"line": ENV_LINE})
    container: ContainerParams
    limits: LimitParams
    on_failure: str  # of ON_FAILURE: what a cell that fails does to the run
    profile: ProfileParams
    provider: ProviderParams
    session: SessionParams
    compare: CompareParams
    section: Any  # the job's own, under its name, as it is; None where there is none

    def __post_init__(self) -> None:
        for key in ("images", "repeats"):
            values = list(getattr(self, key))
            check(key, values, 0 < len(values) == len(set(values)), "at least one value, each once")
        check("variants", self.variants, bool(self.variants), "at least one, for example `plain: {}`")
        for repeat in self.repeats:
            check("repeats", repeat, repeat >= 1, "1 or more")
        check("seed", self.seed, 0 <= self.seed < 2**31, "between 0 and 2**31 - 1")
        check("image", self.image, self.image in self.images, "one of `images`: " + ", ".join(self.images))
        check_env(self.env)
        check("on_failure", self.on_failure, self.on_failure in ON_FAILURE, "one of " + ", ".join(ON_FAILURE))
        settings = list(dict.fromkeys(cell.setting for cell in self.cells()))
        baseline = self.compare.baseline
        check("compare.baseline", baseline, baseline in settings, "one of the settings: " + ", ".join(settings))

    def cells(self) -> list[Cell]:
        """Return the matrix in the order in which it runs: repeat first, so that repeats interleave."""
        return [
            Cell(image, variant, repeat)
            for repeat in self.repeats
            for image in self.images
            for variant in self.variants
        ]


def check_env(env: Mapping[str, Any]) -> None:
    """Raise RecordError unless these are environment variables that a job may be given."""
    for name, value in env.items():
        good = bool(VARIABLE_NAME.fullmatch(name)) and not name.startswith("FACEOFF_") and name not in NOT_FOR_ENV
        expected = "a variable's name, none that begins with FACEOFF_, and none that container.gpus sets"
        check("env", name, good, expected)
        check(f"env[{name!r:.80}]", value, isinstance(value, str), "text: put it in quotes")
        check(f"env[{name!r:.80}]", value, "\0" not in value, "text without a NUL")


def _is_day(text: str) -> bool:
    """Whether it is a day as '2026-11-27'."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _with_on(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the document with the key `on` of a price, which YAML 1.1 takes for true.

    Raises RecordError for a day that is not in quotes: it would be a date, and DVC refuses all of params.yaml for one.
    """
    provider = content.get("provider")
    price = provider.get("price") if isinstance(provider, dict) else None
    if not isinstance(provider, dict) or not isinstance(price, dict):
        return content
    price = {"on" if key is True else key: value for key, value in price.items()}
    if isinstance(price.get("on"), datetime.date):
        raise RecordError(f'{where}: provider.price.on: put it in quotes: "{price["on"]}"; DVC takes no date')
    return {**content, "provider": {**provider, "price": price}}


def _is_cpu_list(text: str) -> bool:
    """Whether it lists CPUs as the kernel does: each range rises."""
    ranges = [part.partition("-") for part in text.split(",")] if CPU_LIST.fullmatch(text) else []
    return bool(ranges) and all(int(first) <= int(last or first) for first, _, last in ranges)


def size_bytes(text: str) -> int:
    """'512m' in bytes, with Docker's binary units; 0 for what Docker would not take."""
    match = DOCKER_SIZE.fullmatch(text)
    return int(match[1]) * _UNIT_BYTES[match[2]] if match else 0


def amount_bytes(text: str) -> int | None:
    """'29 GB' and '29 GiB' in bytes, which are not the same; None without a number and such a unit."""
    match = AMOUNT.fullmatch(text)
    return round(float(match[1]) * _AMOUNT_BYTES[match[2]]) if match else None


def load(root: Path = Path()) -> Params:
    """Read and check params.yaml under `root`. Raises RecordError or FaceoffError with one line that names the key."""
    path = root / PARAMS_PATH
    return parse(read_text(path), str(path), root)


def parse(text: str, where: str, root: Path = Path()) -> Params:
    """Check the text of a params.yaml, which `where` names in messages, and that its job and images are there."""
    content = _with_on(document(text, where), where)
    job = content.get("job")
    _check_job_names(root)
    content.update({"env": {}} if content.get("env", ...) is None else {})  # `env:` with nothing
    sections = {name: content.pop(name) for name in jobs.names(root) if name in content}
    _refuse_unknown(content, jobs.names(root), where)
    content["variants"] = _split_variants(content, where)
    _check_images("images", content.get("images"), where, root)  # first: `image` is one of them
    params: Params = decode(Params, {**content, "section": sections.get(str(job))}, where)
    _check_images("container.base_images", [*params.container.base_images], where, root)
    definition = jobs.load(params.job, root)
    params = dataclasses.replace(params, variants=_with_gpus(params.variants, content["variants"], definition.gpus))
    jobs.check_variants(params.job, definition, params.variants)
    return params


def _with_gpus(variants: Mapping[str, Variant], said: Mapping[str, Any], gpus: int) -> dict[str, Variant]:
    """Give each variant that does not say its `gpus` those of job.yaml."""
    return {
        name: its if "gpus" in said[name] else dataclasses.replace(its, gpus=gpus) for name, its in variants.items()
    }


def _check_images(key: str, names: Any, where: str, root: Path) -> None:
    """Raise RecordError for a name, in a list of them, that is none of a folder of docker/."""
    known = sorted(each.parent.name for each in (root / DOCKER_DIR).glob("*/image.yaml"))
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str):
            good = IMAGE_NAME.fullmatch(name) is not None
            check(f"{where}: {key}", name, good, "lower-case letters, digits, '.', '_' and '-'")
            check(f"{where}: {key}", name, name in known, f"a folder of docker/ ({', '.join(known)})")


def _check_job_names(root: Path) -> None:
    """Raise RecordError for a job whose section would stand under the name of another key of params.yaml."""
    taken = [field.name for field in dataclasses.fields(Params) if field.name != "section"]
    for name in jobs.names(root):
        check(f"{jobs.JOBS_DIR / name}", name, name not in taken, "a name that is no key of params.yaml: rename it")


def _refuse_unknown(content: dict[str, Any], sections: list[str], where: str) -> None:
    """Name the nearest key, of the sections that jobs have too."""
    known = [field.name for field in dataclasses.fields(Params) if field.name != "section"]
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), [*known, *sections], n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise RecordError(f"{where}: unknown key {str(key)!r:.80}{hint}; expected {', '.join([*known, *sections])}")


def _split_variants(content: Mapping[str, Any], where: str) -> Any:
    """Set `env` and `gpus` apart from the parameters, which stand beside them."""
    if "variants" not in content:
        raise RecordError(f"{where}: key 'variants' is missing")
    variants = content["variants"]
    if not isinstance(variants, dict):
        raise RecordError(f"{where}: variants: expected names with their parameters, found {variants!r:.80}")
    found = {}
    for name, its in variants.items():
        check(f"{where}: variants", name, isinstance(name, str), "a name in letters, for example bs16")
        expected = "a name of lower-case letters, digits, '_' and '-'; DVC takes no dot"
        check(f"{where}: variants", name, VARIANT_NAME.fullmatch(name) is not None, expected)
        if not isinstance(its, dict):
            raise RecordError(f"{where}: variants.{name}: expected parameters, or {{}} for none, found {its!r:.80}")
        parameters = {str(key): value for key, value in its.items() if key not in ("env", "gpus")}
        _check_env(its.get("env"), f"{where}: variants.{name}.env")
        gpus = {"gpus": its["gpus"]} if "gpus" in its else {}
        found[name] = {"parameters": parameters, "env": its.get("env") or {}, **gpus}
    return found


def _check_env(env: Any, where: str) -> None:
    """Raise RecordError for a value that YAML takes for something else than text."""
    for variable, value in env.items() if isinstance(env, dict) else ():
        if isinstance(value, int | float):  # true and false too
            raise RecordError(f"{where}[{variable!r:.80}]: expected text, found {value!r:.80}: put it in quotes")


def with_preset(name: str, root: Path = Path()) -> str:
    """Return the text of params.yaml with presets/<name>.yaml laid over it, checked.

    Raises as `load` does; writes nothing.
    """
    known = sorted(path.stem for path in (root / PRESETS_DIR).glob("*.yaml"))
    if name not in known:
        raise FaceoffError(f"no preset {name!r}; presets/ has {', '.join(known)}")
    params_path, preset_path = root / PARAMS_PATH, root / PRESETS_DIR / f"{name}.yaml"
    text, preset = read_text(params_path), read_text(preset_path)
    document(text, str(params_path))
    document(preset, str(preset_path))
    result = merged(text, round_trip().load(preset))
    parse(result, f"{params_path} with {preset_path}", root)
    return result
