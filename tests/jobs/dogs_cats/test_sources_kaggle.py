"""The kaggle source: the real kagglehub against a stand-in for Kaggle on 127.0.0.1."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import kagglesdk.kaggle_env
import pytest

from jobs.dogs_cats.sources import kaggle, photos
from stages.errors import FaceoffError
from tests.jobs.dogs_cats.helper_http import Kaggle, refused_url, serving
from tests.jobs.dogs_cats.helper_photos import jpeg, photo_set, tree, zip_of

TOKEN = "KGAT_do_not_print_me"
SOURCE = kaggle.Kaggle(promised={"train": 6, "valid": 6})
WHOLE = photo_set()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    with serving(Kaggle()) as server:
        assert isinstance(server, Kaggle)
        server.offer(zip_of({**WHOLE, "test1/1.jpg": jpeg(), "sample/train/cats/cat.0.jpg": jpeg()}))
        # kagglehub 1.0 ignores KAGGLE_API_ENDPOINT, so its environment LOCAL is pointed here.
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setitem(kagglesdk.kaggle_env._env_to_endpoint, kagglesdk.kaggle_env.KaggleEnv.LOCAL, server.url)
        monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("TQDM_MININTERVAL", "10")  # which the source sets for its process where it is not set
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
            monkeypatch.delenv(name, raising=False)
        yield server


def place(tmp_path: Path, source: photos.Source = SOURCE) -> dict[str, bytes]:
    """The run: what lies in data/photos after it."""
    photos.place(source, tmp_path / "data/photos")
    return tree(tmp_path / "data/photos")


def failure(tmp_path: Path, source: photos.Source = SOURCE) -> str:
    """The one line that the run ends with; nothing may lie in data/photos then."""
    with pytest.raises(FaceoffError) as caught:
        photos.place(source, tmp_path / "data/photos")
    assert not (tmp_path / "data/photos").exists()
    line = str(caught.value)
    assert "\n" not in line
    assert Kaggle.SIGNATURE not in line
    return line


def test_complete(server: Kaggle, tmp_path: Path) -> None:
    manifest = photos.place(SOURCE, tmp_path / "data/photos")
    assert tree(tmp_path / "data/photos") == WHOLE
    assert manifest.source == "kaggle lingjin525/dogs-and-cats-fastai version 3"
    assert not list((tmp_path / "cache").rglob("*.archive"))


def test_a_second_run_needs_no_network(server: Kaggle, tmp_path: Path) -> None:
    place(tmp_path)
    server.asked.clear()
    server.status = 503
    assert place(tmp_path) == WHOLE
    assert server.asked == []


@pytest.mark.parametrize("nested", ["dogscats/", "dogscats/dogscats/"])
def test_the_nested_copy_does_not_count_twice(server: Kaggle, tmp_path: Path, nested: str) -> None:
    server.offer(zip_of({**WHOLE, **photo_set(prefix=nested)}))
    assert place(tmp_path) == WHOLE


def test_a_set_that_lies_one_folder_down(server: Kaggle, tmp_path: Path) -> None:
    sample = photo_set(each=1, prefix="a-sample/")
    server.offer(zip_of({**photo_set(prefix="dogscats/"), **sample}))
    assert place(tmp_path) == WHOLE


def test_interrupted(server: Kaggle, tmp_path: Path) -> None:
    server.offer(zip_of({**WHOLE, "test1/1.bin": os.urandom(4 << 20)}))
    server.cut_after = 5 << 19  # 2.5 MiB; kagglehub writes whole MiB
    assert "the connection broke off; what arrived is kept: run again to go on" in failure(tmp_path)
    server.cut_after = None
    assert place(tmp_path) == WHOLE
    assert (Kaggle.ARCHIVE, f"bytes={2 << 20}-") in server.asked


def test_missing(server: Kaggle, tmp_path: Path) -> None:
    server.status = 404
    line = failure(tmp_path)
    assert "it is not there (404): Kaggle may have moved or deleted it: take dogs_cats.dataset.source: fastai" in line


@pytest.mark.parametrize("status", [401, 403])
def test_refused_does_not_print_the_token(
    server: Kaggle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    server.status = status
    with caplog.at_level(logging.DEBUG):
        line = failure(tmp_path)
    assert f"the server refuses it ({status}): a public set needs no account, but a token that is set must be" in line
    assert TOKEN not in line + "".join(capfd.readouterr()) + caplog.text


def test_a_broken_credentials_file(server: Kaggle, tmp_path: Path) -> None:
    file = tmp_path / "kaggle.json"
    file.write_text("{")
    assert f"Invalid Kaggle credentials file at {file}: mend or remove it" in failure(tmp_path)


def test_nobody_listening(server: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = kagglesdk.kaggle_env._env_to_endpoint
    monkeypatch.setitem(endpoints, kagglesdk.kaggle_env.KaggleEnv.LOCAL, refused_url())
    assert "no connection (Connection refused)" in failure(tmp_path)


def test_a_wrong_count_says_what_was_found(server: Kaggle, tmp_path: Path) -> None:
    lacking = dict(list(WHOLE.items())[1:])
    server.offer(zip_of(lacking))
    line = failure(tmp_path)
    assert "version 3: expected 6 train and 6 valid photos, found 5 train and 6 valid: delete" in line
    assert str(tmp_path / "cache/datasets/lingjin525/dogs-and-cats-fastai/versions/3") in line


def test_a_damaged_photo_counts_as_delivered_and_is_left_out(server: Kaggle, tmp_path: Path) -> None:
    server.offer(zip_of({**WHOLE, "train/cats/cat.0.jpg": jpeg()[:200], "train/cats/Thumbs.db": b"thumbs"}))
    manifest = photos.place(SOURCE, tmp_path / "data/photos")
    assert sorted(manifest.left_out) == ["train/cats/Thumbs.db", "train/cats/cat.0.jpg"]
    assert len(manifest.photos) == 11


def test_a_set_without_the_folders(server: Kaggle, tmp_path: Path) -> None:
    server.offer(zip_of({"train/cats/cat.0.jpg": jpeg(), "train/dogs/dog.0.jpg": jpeg()}))
    assert "lacks valid/cats, valid/dogs: delete" in failure(tmp_path)
