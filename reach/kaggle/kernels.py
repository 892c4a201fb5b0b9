"""Kaggle by its own client, kagglesdk: kernels pushed, looked at, fetched and deleted. The one file that imports it."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from kagglesdk import KaggleClient
from kagglesdk.kernels.types import kernels_api_service as api
from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus

from reach import session
from stages.errors import FaceoffError
from stages.units import amount

QUEUED, CANCELLED, ENDED, MISSING = "queued", "cancelled", "ended", "missing"
STATES = {
    KernelWorkerStatus.QUEUED: QUEUED,
    KernelWorkerStatus.NEW_SCRIPT: QUEUED,
    KernelWorkerStatus.RUNNING: session.RUNNING,
    KernelWorkerStatus.CANCEL_REQUESTED: session.RUNNING,
    KernelWorkerStatus.CANCEL_ACKNOWLEDGED: CANCELLED,
    KernelWorkerStatus.COMPLETE: ENDED,
    KernelWorkerStatus.ERROR: session.FAILED,
}
UNDERWAY = (QUEUED, session.RUNNING)
FETCHED = ("pack.zip", "state.json")
MOST_BYTES = 256 * 2**20
TIMEOUT = (10, 120)  # seconds, of a connection and of each answer


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of ours, kept before it is pushed: whoever was killed meanwhile finds it again."""

    user: str
    slug: str
    site: str
    accelerator: str  # asked for, as Kaggle names it; "none"


class Kaggle:
    """The account whose token this shell or ~/.kaggle has."""

    def __init__(self) -> None:
        """Take the token as Kaggle's own programs do."""
        name, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
        self._kernels: Any = KaggleClient(username=name, password=key).kernels.kernels_api_client

    def push(self, kernel: Kernel, text: str, hours: float | None, wheels: str | None) -> str:
        """Push the script, which starts it. Returns its page's address."""
        wanted = api.ApiSaveKernelRequest()
        wanted.slug, wanted.new_title, wanted.text = f"{kernel.user}/{kernel.slug}", kernel.slug, text
        wanted.language, wanted.kernel_type, wanted.is_private = "python", "script", True
        wanted.enable_internet = wheels is None
        if wheels is not None:
            wanted.dataset_data_sources = [wheels]
        wanted.enable_gpu = kernel.accelerator.startswith("Nvidia")
        wanted.enable_tpu = kernel.accelerator.startswith("Tpu")
        if kernel.accelerator != "none":
            wanted.machine_shape = kernel.accelerator
        if hours is not None:
            wanted.session_timeout_seconds = round(hours * 3600)
        with _one_line(kernel):
            answer = self._kernels.save_kernel(wanted)
        if answer.error or answer.invalid_dataset_sources:
            why = answer.error or f"no data set {', '.join(answer.invalid_dataset_sources)}"
            raise FaceoffError(f"Kaggle refused {kernel.slug}: {why}")
        return str(answer.url)

    def state(self, kernel: Kernel) -> tuple[str, str]:
        """Return how the kernel stands, and Kaggle's word on a failure; MISSING where there is none."""
        try:
            with _one_line(kernel):
                answer = self._kernels.get_kernel_session_status(_named(api.ApiGetKernelSessionStatusRequest(), kernel))
        except _NotThereError:
            return MISSING, "it was not pushed, or was deleted"
        return STATES[answer.status], str(answer.failure_message)

    def machine(self, kernel: Kernel) -> str:
        """Return the machine shape that the last session had, as Kaggle says; empty where it does not."""
        with _one_line(kernel):
            answer = self._kernels.get_kernel(_named(api.ApiGetKernelRequest(), kernel))
        return str(answer.metadata.machine_shape) if answer.metadata else ""

    def fetch(self, kernel: Kernel, folder: Path) -> None:
        """Fetch the pack, the state and the log, those that there are."""
        folder.mkdir(parents=True, exist_ok=True)
        page = ""
        while True:
            wanted = _named(api.ApiListKernelSessionOutputRequest(), kernel)
            wanted.page_token = page
            with _one_line(kernel):
                answer = self._kernels.list_kernel_session_output(wanted)
                (folder / "log.json").write_text(answer.log, encoding="utf-8")
                for each in answer.files:
                    if each.file_name in FETCHED:
                        _download(each.url, folder / each.file_name)
            page = answer.next_page_token
            if not page:
                return

    def delete(self, kernel: Kernel) -> bool:
        """Delete it, which ends its session; False where it was not there."""
        wanted = _named(api.ApiDeleteKernelRequest(), kernel)
        try:
            with _one_line(kernel):
                answer = self._kernels.delete_kernel(wanted)
        except _NotThereError:
            return False
        if answer.error_message:
            raise FaceoffError(f"Kaggle did not delete {kernel.slug}: {answer.error_message}")
        return True


class _NotThereError(FaceoffError):
    """Kaggle knows no such kernel."""


def _named(wanted: Any, kernel: Kernel) -> Any:
    wanted.user_name, wanted.kernel_slug = kernel.user, kernel.slug
    return wanted


def _download(address: str, path: Path) -> None:
    """Download a file, whole or not at all. The address is signed, and so a secret."""
    half = path.with_name(f".{path.name}.half")
    with requests.get(address, stream=True, timeout=TIMEOUT) as answer, half.open("wb") as target:
        answer.raise_for_status()
        for block in answer.iter_content(2**20):
            target.write(block)
            if target.tell() > MOST_BYTES:
                raise FaceoffError(f"{path.name} of Kaggle is larger than {amount(MOST_BYTES)}, which no pack is")
    half.replace(path)


@contextmanager
def _one_line(kernel: Kernel) -> Iterator[None]:
    """Turn what Kaggle or the network answers into one line, without an address."""
    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        if code == requests.codes.not_found:
            raise _NotThereError(f"Kaggle has no kernel {kernel.user}/{kernel.slug}") from None
        if code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise FaceoffError(
                f"Kaggle refuses {kernel.user}/{kernel.slug} ({code}): expected a valid token of {kernel.user} in "
                "KAGGLE_API_TOKEN or ~/.kaggle; the kernel, if there is one, goes on"
            ) from None
        raise FaceoffError(f"Kaggle answers {code} for {kernel.slug}: again later; the kernel goes on") from None
    except requests.RequestException as error:
        name = type(error).__name__
        raise FaceoffError(f"Kaggle does not answer ({name}): again later; a kernel there goes on") from None
