"""An image that an engine builds or pulls, and runs as a container."""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from stages import codec, records
from stages.errors import FaceoffError
from stages.harness.environments import contents as image_contents
from stages.harness.environments import labels, pip
from stages.harness.environments.definition import Build, Definition
from stages.harness.environments.launch import (
    DISK_FULL,
    BuildFailed,
    Engine,
    Mount,
    Outcome,
    ProgramForbidden,
    ProgramMissing,
    Show,
    Work,
    checkout_mounts,
    container_job,
    with_python,
)
from stages.harness.params.schema import DOCKER_DIR, ContainerParams
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
NOT_BUILT = "pulled as it is, not built here"
PYTHONS = ("python", "python3")  # as which an image may have it
CHECK_CONTAINER = ContainerParams(gpus="none", shm_size="64m", memory=None, cpus=None, cpuset=None, base_images={})


class Container:
    """launch.Environment over an engine."""

    isolated = True

    def __init__(
        self,
        name: str,
        definition: Definition,
        root: Path,
        params: ContainerParams,
        find_gpus: Callable[[], tuple[str, ...] | None],
        engine: Engine,
        readable: tuple[Path, ...] = (),
    ) -> None:
        """`root`: the checkout's absolute path. `readable`: what the job reads beside it."""
        self._name, self._definition, self._root = name, definition, root
        self._params, self._find_gpus, self._engine, self._readable = params, find_gpus, engine, readable

    def make(self, before: records.Image | None, show: Show) -> records.Image:
        """Build or pull the image unless the engine has it, check it, and say what it is.

        An image's id is a digest of what is in it: where it is that of `before`, nothing need be looked at.
        """
        definition, engine = self._definition, self._engine
        if before is not None and self._is_still(before):
            image_contents.check(self._name, definition.expects, before.contents)
            return before
        engine.check_sees(self._root)
        base = None if definition.build is None else self._base(definition.build)
        if definition.build is not None:
            reference = self._build(definition.build, show)
            no_digest = f"{base} came from no registry: it was built or imported here"
        else:
            reference, no_digest = str(definition.pull), NOT_BUILT
            if engine.find(reference) is None:
                engine.pull(reference, show)
        found = engine.find(reference)
        if found is None:
            raise FaceoffError(f"image {self._name}: the engine made {reference} and then lost it; run the stage again")
        python, contents = self._look_inside(reference)
        image_contents.check(self._name, definition.expects, contents)
        show(f"{reference} holds Python {contents.python}, torch {contents.torch or 'not at all'}")
        found_base = engine.find(base) if base else None
        digest = found_base.digest if found_base else None
        about = engine.about()
        absent = {} if found_base else {"base": NOT_BUILT, "base_id": NOT_BUILT}
        absent |= {} if digest else {"base_digest": no_digest}
        return records.Image(
            name=self._name,
            kind="pulled" if definition.build is None else "built",
            python=python,
            env=definition.env,
            reference=reference,
            image_id=found.image_id,
            size_bytes=found.size_bytes,
            base=base,
            base_id=found_base.image_id if found_base else None,
            base_digest=digest,
            engine=about.version if about.name == "Docker" else f"{about.name} {about.version}",
            runtime=about.runtime,
            contents=contents,
            absent=absent,
        )

    def run(self, work: Work, watch: Watch | None = None) -> Outcome:
        """Run the command, at the checkout's top, in the image that the image stage made."""
        name, path = self._name, self._root / records.image_path(self._name)
        made = codec.read(path, records.Image) if path.exists() else None
        if made is None or made.reference is None:
            raise FaceoffError(
                f"image {name} has not been made ({path} does not say which): .venv/bin/python -m stages.image {name}"
            )
        if self._engine.find(made.reference) is None:
            raise FaceoffError(
                f"image {name}: {made.reference} is not here any more; make it: .venv/bin/dvc repro -s -f image@{name}"
            )
        mounts = checkout_mounts(self._root, (*self._readable, *work.readable), work.setting)
        return self._run(made.reference, with_python(work.command, made.python), self._params, mounts, watch)

    def _run(
        self,
        reference: str,
        command: tuple[str, ...],
        params: ContainerParams,
        mounts: tuple[Mount, ...],
        watch: Watch | None = None,
    ) -> Outcome:
        kind = "check" if params is CHECK_CONTAINER else "inside"
        gpus = None if params is CHECK_CONTAINER else self._find_gpus()
        marks = labels.labels(self._root, kind, self._name)
        job = container_job(reference, command, self._root, mounts, params, gpus, self._definition.env, marks)
        return self._engine.run(job, watch)

    def _look_inside(self, reference: str) -> tuple[str, records.Contents]:
        """Find the image's Python, and read by it what the image holds."""
        stages, closed = self._root / "stages", ""
        with image_contents.scratch(self._root) as folder:
            output = folder / "contents.json"
            mounts = (Mount(stages.resolve(), stages, True), Mount(folder, folder, False))
            for python in PYTHONS:
                command = with_python(image_contents.command(output), python)
                try:
                    outcome = self._run(reference, command, CHECK_CONTAINER, mounts)
                except ProgramMissing as error:
                    closed = str(error) if isinstance(error, ProgramForbidden) and not closed else closed
                    continue
                if outcome.exit_code != 0 and self._is_too_old(reference, python, mounts):
                    continue
                return python, image_contents.read(outcome.exit_code, output)
        place = DOCKER_DIR / self._name / "image.yaml"
        raise FaceoffError(
            f"image {self._name}: "
            + (
                closed
                or f"{reference} has no {' and no '.join(PYTHONS)} of 3.7 or newer on its PATH, which faceoff needs; "
                f"set PATH under `env` in {place}, or choose another image"
            )
        )

    def _is_too_old(self, reference: str, python: str, mounts: tuple[Mount, ...]) -> bool:
        command = (python, "-c", "import sys; sys.exit(sys.version_info < (3, 7))")
        return self._run(reference, command, CHECK_CONTAINER, mounts).exit_code != 0

    def _is_still(self, before: records.Image) -> bool:
        """Whether the image is the one of `before`, made of what image.yaml names today; its base may be gone."""
        build, engine = self._definition.build, self._engine
        if build is None:
            reference, base = str(self._definition.pull), None
        else:
            base = self._base(build)
            found_base = engine.find(base)
            base_id = found_base.image_id if found_base else before.base_id
            reference = self._tag(self._files(build), base_id or base)
        found = engine.find(reference)
        now = (reference, base, self._definition.env, found.image_id if found else None, engine.about().runtime)
        return now == (before.reference, before.base, before.env, before.image_id, before.runtime)

    def _base(self, build: Build) -> str:
        """Return what the image is built from: what params.yaml says, the environment, or image.yaml."""
        return self._params.base_images.get(self._name) or os.environ.get(BASE_VARIABLE) or build.base

    def _files(self, build: Build) -> dict[str, bytes]:
        paths: dict[str, Path | str | None]
        paths = {"Dockerfile": DOCKERFILE, "packages.lock": build.packages, "torch.txt": build.torch}
        return {name: _read(self._root / path) if path else b"" for name, path in paths.items()}

    def _tag(self, files: Mapping[str, bytes], base_id: str) -> str:
        return f"faceoff/{self._name}:{_digest(files, base_id)}"

    def _build(self, build: Build, show: Show) -> str:
        """Build the image unless it is here; return its reference."""
        name, engine, base, contents = self._name, self._engine, self._base(build), self._files(build)
        if engine.find(base) is None:
            engine.pull(base, show)
        found = engine.find(base)
        tag = self._tag(contents, found.image_id if found else base)
        if engine.find(tag) is not None:
            show(f"{tag} is here already")
            return tag
        arguments = {"BASE": base, **{each: os.environ[each] for each in PASSED_ON if os.environ.get(each)}}
        if os.environ.get("PIP_CERT"):
            contents[CERTIFICATE] = _read(Path(os.environ["PIP_CERT"]), "PIP_CERT: ")
            arguments["PIP_CERT"] = f"/install/{CERTIFICATE}"
        try:
            engine.build(contents, tag, arguments, os.environ.get(NETWORK_VARIABLE), show)
        except BuildFailed as error:
            reason = pip.why_failed((*error.lines, str(error)), DISK_FULL, DOWNLOAD_ADVICE) or error
            raise FaceoffError(f"image {name} was not built: {reason}") from None
        return tag


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
