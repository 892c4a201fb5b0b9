"""What pip's last lines mean, in one line."""

from pathlib import Path

import pytest

from stages import watched
from stages.harness.environments import pip
from stages.harness.environments.container import DOWNLOAD_ADVICE
from stages.harness.environments.launch import DISK_FULL

NEW_CONNECTION = (
    "NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7fb9f27ff610>: "
    "Failed to establish a new connection: [Errno -2] Name or service not known')"
)
RETRYING = "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by "
INSTALL_ERROR = "ERROR: Could not install packages due to an OSError: "
TORCH_PATH = "/whl/cu92/torch-1.2.0%2Bcu92-cp37-cp37m-manylinux1_x86_64.whl"
UNREACHABLE = (  # pip 22.0.4 and 24.0 alike
    "Collecting torch==1.2.0+cu92",
    f"  {RETRYING}'{NEW_CONNECTION}': {TORCH_PATH}",
    f"{INSTALL_ERROR}HTTPSConnectionPool(host='download.pytorch.org', port=443): "
    f"Max retries exceeded with url: {TORCH_PATH} (Caused by {NEW_CONNECTION})",
    "Removing intermediate container 79850254950b",
)
UNTRUSTED = (
    f"{INSTALL_ERROR}HTTPSConnectionPool(host='files.example', port=443): Max retries exceeded with url: /six.whl "
    "(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
    "unable to get local issuer certificate (_ssl.c:1091)')))",
)
MISSING = (
    "  ERROR: HTTP error 404 while getting https://download.pytorch.org/whl/cu92/torch.whl",
    "ERROR: Could not install requirement torch from https://download.pytorch.org/whl/cu92/torch.whl "
    "because of HTTP error 404 Client Error: Not Found for url: https://download.pytorch.org/whl/cu92/torch.whl",
)
NO_INDEX = (
    f"{RETRYING}'{NEW_CONNECTION}': /simple/six/",
    "ERROR: Could not find a version that satisfies the requirement six==1.17.0 (from versions: none)",
    "ERROR: No matching distribution found for six==1.17.0",
)
FULL = (f"{INSTALL_ERROR}[Errno 28] No space left on device",)
OTHER = ("Collecting six", "ERROR: six-1.17.0-cp39.whl is not a supported wheel on this platform.", "")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            UNREACHABLE,
            f"https://download.pytorch.org{TORCH_PATH} cannot be downloaded "
            "(Name or service not known); see that a build can reach it",
        ),
        (UNTRUSTED, "https://files.example/six.whl cannot be downloaded (unable to get local issuer certificate"),
        (MISSING, "https://download.pytorch.org/whl/cu92/torch.whl cannot be downloaded (HTTP 404); see that"),
        (NO_INDEX, "the package index cannot be reached (No matching distribution found for six==1.17.0); see that"),
        (FULL, "the disk that holds Docker's images is full; make room"),
        (OTHER, "pip says: six-1.17.0-cp39.whl is not a supported wheel on this platform."),
    ],
)
def test_pips_failure_in_one_line(lines: tuple[str, ...], said: str) -> None:
    assert str(pip.why_failed(lines, DISK_FULL, DOWNLOAD_ADVICE)).startswith(said)


def test_pip_says_which_package_it_is_at_and_how_much_of_it_has_come() -> None:
    steps, said = pip.Steps(), []
    for line in (
        "Looking in indexes: https://index.example/simple",
        "Collecting torch==2.14.0 (from -r docker/host/requirements.lock (line 3))",
        "  Downloading https://index.example/torch-2.14.0-cp311-cp311-manylinux_2_28_x86_64.whl (888.1 MB)",
        "Progress 104857600 of 931242393",
        "Requirement already satisfied: pip in ./lib",
        "Installing collected packages: pip, torch",
    ):
        steps.hear(line)
        said.append(steps.said)
    wheel = "torch-2.14.0"
    assert said == [
        "looking for packages",
        "package 1: torch==2.14.0",
        f"package 1: {wheel} (888.1 MB)",
        f"package 1: {wheel}: 100 MiB of 888.1 MiB",
        "package 2: pip",
        "installing 2 packages",
    ]


@pytest.mark.parametrize(("version", "bar"), [("24.0", "off"), ("24.1", "raw"), ("25.3.1", "raw"), (None, "off")])
def test_a_pip_that_can_is_asked_for_bytes_where_somebody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, bar: str
) -> None:
    packages = tmp_path / "lib/python3.12/site-packages"
    if version:
        (packages / f"pip-{version}.dist-info").mkdir(parents=True)
    python = tmp_path / "bin/python"
    assert pip.command(python)[-1] == "off"
    monkeypatch.setenv(watched.WATCHED, "1")
    assert pip.command(python)[-1] == bar
