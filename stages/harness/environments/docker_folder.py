"""Whether an engine sees the checkout: it may run on another machine, or see another folder at the same path.

Asked by the engine's own eyes, without a registry and without running anything: a container of an empty image, created
and never started, has a fresh folder of the checkout mounted, and the file in it is read back.
"""

import contextlib
import io
import re
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import docker.errors
from docker.types import Mount

from stages.errors import FaceoffError
from stages.harness.environments import docker_podman, labels
from stages.harness.environments.docker_advice import said
from stages.harness.environments.docker_connection import Endpoint

PLACE = "/faceoff"  # in the container
MARKER = "marker"
NOT_SEEN = ("does not exist", "could not find", "no such file", "not shared", "permission denied")


def check_sees(client: docker.DockerClient, checkout: Path, endpoint: Endpoint, is_podman: bool) -> None:
    """Raise FaceoffError, in a line that says what to do, unless the engine sees this very folder."""
    marker = uuid.uuid4().hex.encode()
    (checkout / "models").mkdir(exist_ok=True)  # which is not in git
    with tempfile.TemporaryDirectory(prefix=".seen-", dir=checkout / "models") as folder:
        Path(folder).chmod(0o755)  # an engine may be another user's
        Path(folder, MARKER).write_bytes(marker)
        Path(folder, MARKER).chmod(0o644)
        found, words = _read(client, folder, is_podman, labels.labels(checkout, "look", "none"))
    if found != marker:
        raise FaceoffError(
            f"this engine does not see this folder: to the Docker engine {endpoint}, {checkout} is another folder or "
            "none; run faceoff on the engine's machine, and in a dev container mount the checkout at the path that it "
            f"has outside{words and f' (Docker: {words})'}"
        )


def _read(
    client: docker.DockerClient, folder: str, is_podman: bool, marks: Mapping[str, str]
) -> tuple[bytes | None, str]:
    """Read the marker as the engine sees it; where it sees none, what it says of that."""
    with _empty_image(client) as image:
        mounts = [Mount(PLACE, str(Path(folder).resolve()), type="bind", read_only=True)]
        mounting = docker_podman.mounting(mounts) if is_podman else {"mounts": mounts}
        container = None
        try:
            container = client.containers.create(image, ["/none"], network_mode="none", labels=dict(marks), **mounting)
            chunks, _ = container.get_archive(f"{PLACE}/{MARKER}")
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                file = archive.extractfile(MARKER)
                return (file.read() if file else None), ""
        except docker.errors.APIError as error:
            if any(each in str(error).lower() for each in NOT_SEEN):
                return None, said(error)
            raise
        finally:
            if container is not None:
                container.remove(force=True)


@contextlib.contextmanager
def _empty_image(client: docker.DockerClient) -> Iterator[str]:
    """Give an image without a file. Each its own, so that nobody else's removal takes it away."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"faceoff-{uuid.uuid4().hex}"))
    answer = client.api.import_image_from_data(buffer.getvalue())
    image = re.findall("sha256:[0-9a-f]{64}", answer)[-1]
    try:
        yield image
    finally:
        with contextlib.suppress(docker.errors.APIError):
            client.images.remove(image, force=True)
