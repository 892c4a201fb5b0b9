"""docker/<image>/: what an image is made of, how it is made, and the check that it holds what it should."""

import dataclasses
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import labels as container_labels
from stages.harness.environments.host import run_on_host
from stages.harness.environments.launch import BuildFailed, Engine, Mount, Outcome, Show, container_job
from stages.harness.params.documents import document
from stages.harness.params.schema import DOCKER_DIR, IMAGE_NAME, ContainerParams, amount_bytes
from stages.harness.process.watchdog import Watch

DOCKERFILE = DOCKER_DIR / "Dockerfile"
BASE_VARIABLE = "FACEOFF_BASE_IMAGE"
NETWORK_VARIABLE = "FACEOFF_BUILD_NETWORK"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", *PROXIES)  # from the environment to the build, not to the image
CERTIFICATE = "ca.pem"  # in the Dockerfile too
DOWNLOAD_ADVICE = (
    "see that a build can reach it: HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT are passed on to it, "
    f"{NETWORK_VARIABLE}=host gives it the host's network; or name another source in the image's torch.txt"
)
NONE = "none"  # of `expects`: not there
SPECIAL = ("python", "torch", "cuda", "cudnn")  # of `expects`: not looked up among the packages
NOT_BUILT = "pulled as it is, not built here"
NO_CONTAINER = "image host runs without a container"
CHECK_CONTAINER = ContainerParams(gpus="none", shm_size="64m", memory=None, cpus=None, base_images={})


@dataclasses.dataclass(frozen=True)
class Build:
    """What docker/Dockerfile is built with. Files are named from the top of the checkout."""

    base: str
    packages: str  # lock of everything but torch
    torch: str  # requirements file with torch's wheels


@dataclasses.dataclass(frozen=True)
class Definition:
    """docker/<image>/image.yaml: exactly one of `build`, `pull` and `run`, and what is expected of it."""

    build: Build | None = None
    pull: str | None = None  # reference of a ready-made image
    run: str | None = None  # 'host': no container
    expects: dict[str, Any] = dataclasses.field(default_factory=dict)  # package: version, see `check`
    compute_capabilities: tuple[str, str] | None = None  # lowest and highest that its torch was compiled for
    size: str | None = None  # on Docker's disk, e.g. '2.3 GB'; preflight looks whether there is room for it

    def __post_init__(self) -> None:
        good = self.size is None or amount_bytes(self.size) is not None
        codec.check("size", self.size, good, "an amount with its unit, e.g. 2.3 GB")
        ways = [name for name in ("build", "pull", "run") if getattr(self, name) is not None]
        codec.check("build, pull, run", ways, len(ways) == 1, "exactly one of them")
        codec.check("run", self.run, self.run in (None, "host"), "'host'")
        for name, version in self.expects.items():
            good = isinstance(version, str | int) and not isinstance(version, bool)
            codec.check(f"expects[{name!r:.80}]", version, good, "a version in quotes, e.g. '3.12'")
        for each in self.compute_capabilities or ():
            good = re.fullmatch(r"\d+\.\d+", each) is not None
            codec.check("compute_capabilities", each, good, "as NVIDIA writes it, e.g. '7.5'")

    @property
    def on_host(self) -> bool:
        return self.run is not None


def load(name: str, root: Path) -> Definition:
    """Read docker/<name>/image.yaml. Raises FaceoffError or RecordError that names the file and the key."""
    path = DOCKER_DIR / name / "image.yaml"
    if not IMAGE_NAME.fullmatch(name) or not (root / path).is_file():
        known = sorted(each.parent.name for each in (root / DOCKER_DIR).glob("*/image.yaml"))
        raise FaceoffError(f"no image '{name}': expected a folder of docker/ ({', '.join(known)})")
    text = _read(root / path).decode("utf-8", errors="replace")
    definition: Definition = codec.decode(Definition, document(text, str(path)), str(path))
    return definition


def make(
    name: str, definition: Definition, root: Path, container: ContainerParams, engine: Engine, show: Show
) -> records.Image:
    """Build or pull the image unless the engine has it, check it, and say what it is."""
    engine.remove_left_over(root)
    if definition.build is not None:
        reference, base = _build(name, definition.build, root, container, engine, show)
        no_digest = f"{base} came from no registry: it was built or imported here"
    else:
        reference, base, no_digest = str(definition.pull), None, NOT_BUILT
        if engine.find(reference) is None:
            engine.pull(reference, show)
    found = engine.find(reference)
    if found is None:
        raise FaceoffError(f"image {name}: the engine made {reference} and then lost it; run the stage again")
    contents = read_contents(name, reference, root, engine)
    check(name, definition.expects, contents)
    show(f"{reference} holds Python {contents.python}, torch {contents.torch or 'not at all'}")
    found_base = engine.find(base) if base else None
    digest = found_base.digest if found_base else None
    about = engine.about()
    absent = ({} if base else {"base": NOT_BUILT}) | ({} if digest else {"base_digest": no_digest})
    return records.Image(
        name=name,
        reference=reference,
        image_id=found.image_id,
        size_bytes=found.size_bytes,
        base=base,
        base_digest=digest,
        engine=about.version,
        runtime=about.runtime,
        contents=contents,
        absent=absent,
    )


def find_host(name: str, definition: Definition, root: Path) -> records.Image:
    """Do the same for an image that runs without a container."""
    with _scratch(root) as folder:
        output = Path(folder) / "contents.json"
        outcome = run_on_host(_contents_command(output), gpus=False)
        contents = _contents(outcome.exit_code, output)
    check(name, definition.expects, contents)
    fields = ("reference", "image_id", "size_bytes", "base", "base_digest", "engine", "runtime")
    return records.Image(name, contents=contents, absent=dict.fromkeys(fields, NO_CONTAINER), **dict.fromkeys(fields))


def _build(
    name: str, build: Build, root: Path, container: ContainerParams, engine: Engine, show: Show
) -> tuple[str, str]:
    """Build the image unless it is here; return its reference and its base."""
    base = container.base_images.get(name) or os.environ.get(BASE_VARIABLE) or build.base
    if engine.find(base) is None:
        engine.pull(base, show)
    files = {"Dockerfile": DOCKERFILE, "packages.lock": Path(build.packages), "torch.txt": Path(build.torch)}
    contents = {each: _read(root / path) for each, path in files.items()}
    found = engine.find(base)
    tag = f"faceoff/{name}:{_digest(contents, found.image_id if found else base)}"
    if engine.find(tag) is not None:
        show(f"{tag} is here already")
    else:
        arguments = {"BASE": base, **{each: os.environ[each] for each in PASSED_ON if os.environ.get(each)}}
        if os.environ.get("PIP_CERT"):
            contents[CERTIFICATE] = _read(Path(os.environ["PIP_CERT"]), "PIP_CERT: ")
            arguments["PIP_CERT"] = f"/install/{CERTIFICATE}"
        try:
            engine.build(contents, tag, arguments, os.environ.get(NETWORK_VARIABLE), show)
        except BuildFailed as error:
            raise FaceoffError(
                f"image {name} was not built: {why_pip_failed((*error.lines, str(error))) or error}"
            ) from None
    return tag, base


def _digest(contents: Mapping[str, bytes], base_id: str) -> str:
    """12 hexadecimal digits for all that goes into an image."""
    digest = hashlib.sha256(base_id.encode())
    for name, content in sorted(contents.items()):
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def _read(path: Path, where: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FaceoffError(f"{where}{path}: not readable: {error.strerror}") from None


def why_pip_failed(lines: Sequence[str]) -> str | None:
    """Return what pip's last lines say went wrong and what to do, in one line; None where they say nothing."""
    text = "\n".join(lines)
    if "no space left on device" in text.lower():
        return "the disk that holds Docker's images is full; make room, e.g. with docker system prune"
    unreachable = re.search(r"host='([^']+)'.*? with url: (\S+) \(Caused by (.*)", text)
    refused = re.search(r"HTTP error (\d+) while getting (\S+)", text)
    if unreachable:
        reason = re.sub(r"\[Errno -?\d+\] ", "", unreachable[3].rstrip("')\"").rpartition(": ")[2])
        return f"https://{unreachable[1]}{unreachable[2]} cannot be downloaded ({reason}); {DOWNLOAD_ADVICE}"
    if refused:
        return f"{refused[2]} cannot be downloaded (HTTP {refused[1]}); {DOWNLOAD_ADVICE}"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if "after connection broken by" in text:
        return f"the package index cannot be reached ({errors[-1] if errors else 'no answer'}); {DOWNLOAD_ADVICE}"
    return f"pip says: {errors[-1]}" if errors else None


def run(
    name: str,
    command: tuple[str, ...],
    container: ContainerParams,
    mounts: tuple[Mount, ...],
    engine: Engine,
    watch: Watch | None = None,
) -> Outcome:
    """Run the command, at the checkout's top, in the image that the image stage made."""
    root, path = Path.cwd(), records.image_path(name)
    reference = codec.read(path, records.Image).reference if path.exists() else None
    if reference is None:
        raise FaceoffError(f"image {name} has not been made ({path} does not say which): python -m stages.image {name}")
    if engine.find(reference) is None:
        raise FaceoffError(f"image {name}: {reference} is not here any more; make it: dvc repro -s -f image@{name}")
    labels = container_labels.labels(root, "inside", name)
    return engine.run(container_job(reference, command, root, mounts, container, labels), watch)


def read_contents(name: str, reference: str, root: Path, engine: Engine) -> records.Contents:
    """Read inside the image what it holds."""
    with _scratch(root) as folder:
        output = Path(folder) / "contents.json"
        stages = root / "stages"
        mounts = (Mount(stages.resolve(), stages, True), Mount(Path(folder), Path(folder), False))
        labels = container_labels.labels(root, "check", name)
        job = container_job(reference, _contents_command(output), root, mounts, CHECK_CONTAINER, labels)
        return _contents(engine.run(job).exit_code, output)


def _scratch(root: Path) -> tempfile.TemporaryDirectory[str]:
    # In the checkout, since an engine may see another /tmp (Docker from snap does); models/ is not in git.
    (root / "models").mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".check-", dir=root / "models")


def _contents_command(output: Path) -> tuple[str, ...]:
    return ("python", "-m", "stages.workload.contents", "--output", str(output))


def _contents(exit_code: int, output: Path) -> records.Contents:
    if exit_code != 0:
        raise FaceoffError(f"the check inside the image ended with exit code {exit_code}; its own words are above")
    return codec.read(output, records.Contents)


def check(name: str, expects: Mapping[str, str | int], contents: records.Contents) -> None:
    """Raise FaceoffError, naming all that differs, unless the image holds what its image.yaml expects.

    python, torch, cuda and cudnn are what the environment says of itself; any other name is a package's. '10.0' is met
    by '10.0.130', '1.2.0' by '1.2.0+cu92', and 'none' by what is not there.
    """
    wrong = []
    for key, expected in expects.items():
        package = re.sub(r"[-_.]+", "-", key).lower()
        found = getattr(contents, key) if key in SPECIAL else contents.packages.get(package)
        if not _meets(str(found).lower(), str(expected).lower()):
            wrong.append(f"{key} {expected} expected, {'none' if found is None else found} found")
    if wrong:
        raise FaceoffError(
            f"image {name} does not hold what docker/{name}/image.yaml expects: {'; '.join(wrong)}; "
            "mend its torch.txt or packages, or what it expects"
        )


def _meets(found: str, expected: str) -> bool:
    return found == expected or found.startswith((expected + ".", expected + "+"))
