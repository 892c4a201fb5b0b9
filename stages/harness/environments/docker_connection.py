"""Which engine is used, by the rules of Docker's command line, and with which credentials it pulls."""

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.utils
from docker.auth import AuthConfig
from docker.credentials.errors import StoreError
from docker.tls import TLSConfig

from stages.errors import FaceoffError
from stages.harness.environments.launch import Mount

DEFAULT_HOST = "unix:///var/run/docker.sock"
RUN = (Path("/run"), Path("/var/run"))
CONTAINERD = Path("/run/containerd/containerd.sock")  # which the engine itself is made of
CREDENTIALS = ("auths", "credsStore", "credHelpers")  # keys of config.json
PROGRAM_PREFIX = "docker-credential-"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where an engine answers."""

    url: str
    said_by: str  # what names it
    tls: TLSConfig | None = None

    @property
    def socket(self) -> Path | None:
        """The socket of this machine that leads to it; None: a network does."""
        return Path("/" + self.url.removeprefix("unix://").lstrip("/")) if self.url.startswith("unix://") else None

    def __str__(self) -> str:
        return f"{self.url} ({self.said_by})"


@dataclasses.dataclass(frozen=True)
class Config:
    """Docker's config.json."""

    path: Path
    content: Mapping[str, Any]
    problem: str | None  # why nothing of it is known

    @classmethod
    def read(cls) -> "Config":
        """Read it; one that is not there says nothing."""
        folder = os.environ.get("DOCKER_CONFIG") or Path(os.environ.get("HOME") or "/", ".docker")
        path = Path(folder, "config.json")
        try:
            content = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return cls(path, {}, None)
        except OSError as error:
            return cls(path, {}, f"{path}: not readable ({error.strerror}): it must belong to you")
        except ValueError as error:
            return cls(path, {}, f"{path}: not JSON ({error}): mend it")
        if not isinstance(content, dict):
            return cls(path, {}, f"{path}: holds {content!r:.40}, and an object of JSON was expected: mend it")
        return cls(path, content, None)


def find(config: Config) -> Endpoint:
    """Find the engine: DOCKER_HOST names it, or else a context: DOCKER_CONTEXT's, or the current one's."""
    host = os.environ.get("DOCKER_HOST")
    if host:
        endpoint = Endpoint(host, "DOCKER_HOST", docker.utils.kwargs_from_env().get("tls"))
    elif os.environ.get("DOCKER_CONTEXT"):
        endpoint = _of_context(os.environ["DOCKER_CONTEXT"], "DOCKER_CONTEXT", config.path.parent)
    elif config.problem is None:
        current = str(config.content.get("currentContext") or "default")
        endpoint = _of_context(current, f"currentContext of {config.path}", config.path.parent)
    else:
        raise FaceoffError(f"{config.problem}, or name the engine by DOCKER_HOST")
    if endpoint.url.startswith("ssh://"):
        raise FaceoffError(
            f"the Docker engine {endpoint} is on another machine and does not see this folder: run faceoff there, or "
            "choose an engine of this machine by DOCKER_HOST"
        )
    return endpoint


def _of_context(name: str, said_by: str, folder: Path) -> Endpoint:
    """Read where the engine of a context answers; `folder` holds config.json."""
    if name == "default":
        return Endpoint(DEFAULT_HOST, "Docker's default")
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts/meta" / digest / "meta.json"
    try:
        said = json.loads(path.read_text())["Endpoints"]["docker"]
        host, verify = str(said["Host"]), not said.get("SkipTLSVerify", False)
    except FileNotFoundError:
        raise FaceoffError(
            f"there is no Docker context '{name}' ({said_by}): `docker context ls` shows those that there are"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FaceoffError(f"Docker context '{name}' ({said_by}): {path} does not say where it is: {error!r}") from None
    keys = folder / "contexts/tls" / digest / "docker"
    tls = None
    if keys.is_dir():
        certificate, key, authority = (str(keys / each) for each in ("cert.pem", "key.pem", "ca.pem"))
        tls = TLSConfig(client_cert=(certificate, key), ca_cert=authority, verify=verify)
    return Endpoint(host, f"context '{name}'", tls)


class Credentials(AuthConfig):
    """Those of config.json, looked up for a pull alone: a build's base is pulled before it.

    The SDK would ask for all of them before each build, and fail where one program of them does.
    """

    def __init__(self, config: Config) -> None:
        known = {key: config.content[key] for key in CREDENTIALS if config.content.get(key)}
        try:
            known["auths"] = AuthConfig.parse_auth(known.get("auths", {}), raise_on_error=True)
        except (docker.errors.InvalidConfigFile, ValueError, AttributeError) as error:
            raise FaceoffError(f"{config.path}: auths is not as `docker login` writes it: {error}; mend it") from None
        super().__init__(known)
        self._path = config.path
        self.problem = config.problem  # why the last pull went without

    @property
    def is_empty(self) -> bool:
        """Say no: else the SDK reads the file again."""
        return False

    def get_all_credentials(self) -> dict[str, Any]:
        """Return those for a build: none."""
        return {}

    def resolve_authconfig(self, registry: str | None = None) -> Any:
        """Return the registry's, or None, for an anonymous pull."""
        store = self.get_credential_store(registry)
        if store is None:
            return super().resolve_authconfig(registry)
        program = f"{PROGRAM_PREFIX}{store}"
        why = "is not on PATH"
        if shutil.which(program) is not None:
            try:
                return super().resolve_authconfig(registry)
            except (docker.errors.DockerException, StoreError, ValueError, KeyError) as error:
                cause = error.__cause__ or error
                why = f"gave none: {' '.join(str(cause).split())}"
        key = "credsStore" if store == self.creds_store else "credHelpers"
        self.problem = f"{self._path}: {key} names the program {program}, which {why}"
        return None


def connect(endpoint: Endpoint, credentials: Credentials, patience_seconds: int) -> docker.DockerClient:
    """Return a client of the engine, which has answered by then."""
    if endpoint.socket and not endpoint.socket.exists():
        for other in known_sockets():
            if other.exists():
                advice = f"export DOCKER_HOST={shlex.quote(f'unix://{other}')}"
                raise FaceoffError(f"no Docker engine answers at {endpoint}, but {other} is there: {advice}")
    try:
        client = docker.DockerClient(base_url=endpoint.url, tls=endpoint.tls or False, timeout=patience_seconds)
    except (docker.errors.InvalidConfigFile, AttributeError, TypeError) as error:
        raise FaceoffError(f"Docker's config.json is not as Docker writes it: {error}; mend it") from None
    client.api._auth_configs = credentials  # type: ignore[attr-defined]
    return client


def check_no_socket(mounts: Iterable[Mount], socket: Path | None) -> None:
    """Raise FaceoffError where an engine's socket would be in the container: whoever may write to it is root here.

    `socket`: the one by which the engine was reached. That a mount is read-only would not help: one talks to a socket
    without changing it.
    """
    for each in (*([socket] if socket else []), *known_sockets(), CONTAINERD):
        place = each.resolve()
        for mount in mounts:
            if mount.source == place or mount.source in place.parents:
                raise FaceoffError(
                    f"{mount.target}: would be mounted, as {mount.source}, which holds {each}, and no container may "
                    "have that: put the data elsewhere"
                )


def known_sockets() -> list[Path]:
    """Return where engines answer, rootless ones too."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    folders = (*([Path(own)] if own else []), Path(f"/run/user/{os.getuid()}"), *RUN)
    return [folder / name for folder in folders for name in ("docker.sock", "podman/podman.sock")]
