"""Folders of classes as people have them: what is taken, what is left out by name, what is refused in one line."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from jobs.dogs_cats.evaluation import MOST_CLASSES, predictions_csv
from jobs.dogs_cats.learners import Prediction
from jobs.dogs_cats.photos import Input
from jobs.dogs_cats.sources import photos
from jobs.dogs_cats.sources.folder import Folder
from stages.errors import FaceoffError
from stages.predictions import read_predictions
from tests.jobs.dogs_cats.by_hand import by_hand
from tests.jobs.dogs_cats.helper_photos import jpeg, tree


def mine(root: Path, *names: str) -> Path:
    """A folder of these files, all with the same photo in them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg())
    return root


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(count)]


@pytest.mark.parametrize(
    ("train", "valid", "told"),
    [
        ("train", "valid", ""),
        ("Train", "val", ", val for validation"),
        ("training", "Validation", ", Validation for validation"),
        ("train", "test", ", test for validation"),
    ],
)
def test_a_split_by_any_of_its_names(tmp_path: Path, train: str, valid: str, told: str) -> None:
    names = [f"{split}/{label}/{split}.jpg" for split in (train, valid) for label in ("a", "b", "c")]
    source = Folder(mine(tmp_path / "mine", *names))
    receipt = photos.place(source, tmp_path / "photos")
    assert source.classes == ("a", "b", "c")
    assert receipt.source == f"folder {tmp_path}/mine{told}"
    assert {each.path for each in receipt.photos} == {
        f"{split}/{label}/{name}.jpg" for split, name in (("train", train), ("valid", valid)) for label in "abc"
    }


def drawn(source: Folder) -> set[str]:
    """The photos that validate."""
    return {name.removeprefix("valid/") for name in source.found.photos if name.startswith("valid/")}


@pytest.mark.parametrize("above", ["", "train/"], ids=["no split", "train alone"])
def test_without_a_split_a_fifth_of_each_class_validates_by_the_seed(tmp_path: Path, above: str) -> None:
    names = [*numbered(f"{above}cats", 50), *numbered(f"{above}Dogs", 10), *numbered(f"{above}big birds", 2)]
    root = mine(tmp_path / "mine", *names, f"{above}Dogs/Thumbs.db")
    source = Folder(root, seed=42)
    assert source.fetch(tmp_path / "taken").source.endswith(", 20% of each class drawn for validation, seed 42")
    assert sorted(Path(name).parent.name for name in drawn(source)) == ["Dogs"] * 2 + ["big birds"] + ["cats"] * 10
    assert len(tree(tmp_path / "taken")) == len(source.found.photos) == len(names) + 1
    assert drawn(Folder(root, seed=42)) == drawn(source) != drawn(Folder(root, seed=43))
    mine(root, f"{above}cats/one more.jpg")
    assert len(drawn(source) - drawn(Folder(root, seed=42))) <= 1


def test_photos_that_lie_deeper_are_of_the_class_and_links_lead_into_no_circle(tmp_path: Path) -> None:
    folders = ("train/cats", "train/cats/batch1", "train/cats/batch1/train", "train/dogs", "valid/cats", "valid/dogs")
    root = mine(tmp_path / "mine", *(f"{folder}/1.jpg" for folder in folders), "train/cats/.hidden/2.jpg")
    mine(tmp_path / "elsewhere", "3.jpg")
    (root / "train/dogs/linked").symlink_to(tmp_path / "elsewhere")
    (root / "train/dogs/circle").symlink_to(root / "train/dogs")
    receipt = photos.place(Folder(root), tmp_path / "photos")
    assert {each.path for each in receipt.photos} == {f"{folder}/1.jpg" for folder in folders} | {
        "train/dogs/linked/3.jpg"
    }
    assert photos.folder_counts(receipt) == {"train/cats": 3, "train/dogs": 2, "valid/cats": 1, "valid/dogs": 1}
    assert photos.place(Folder(root), tmp_path / "photos") == receipt


def test_what_is_not_taken_is_told_with_its_reason(tmp_path: Path) -> None:
    whole = [f"{split}/{label}/1.jpg" for split in ("train", "valid") for label in ("cats", "dogs")]
    more = ["train/loose.jpg", "train/notes/read.me", "test1/1.jpg", "test1/2.jpg", "val/cats/1.jpg", "models/m.pth"]
    root = mine(tmp_path / "mine", *whole, *more)
    (root / "train/cats/gone.jpg").symlink_to("/nowhere/1.jpg")
    receipt = photos.place(Folder(root), tmp_path / "photos")
    assert [each.path for each in receipt.photos] == whole
    assert receipt.left_out == {
        "test1/": "2 photos in neither split",
        "train/": "1 photo in no class's folder",
        "train/cats/gone.jpg": "a broken link",
        "train/notes/": "no photo, by the names in it",
        "val/": "1 photo in neither split",
    }


WHOLE = ["train/cats/1.jpg", "train/dogs/1.jpg", "valid/cats/1.jpg", "valid/dogs/1.jpg"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "has 0 folders of photos in ROOT (there: nothing), expected one for each class, 2 or more"),
        (["1.jpg"], "has 0 folders of photos in ROOT (there: 1.jpg), expected one for each class, 2 or more: give the"),
        (["Pets/Cat/1.jpg", "Pets/Dog/1.jpg"], "has 1 folder of photos in ROOT (there: Pets), expected one for each"),
        (["Pets/Cat/1.jpg", "Pets/Dog/1.jpg"], "2 or more: name ROOT/Pets instead?"),
        (["train/cat.1.jpg", "train/dog.1.jpg"], "has train with 2 photos and no folder for each class: sort them"),
        (["valid/cats/1.jpg", "valid/dogs/1.jpg"], "has valid and no train: put the photos to train on into train/CL"),
        (["a/1.jpg", "b/1.jpg", "b/2.jpg"], "has 1 photo of a, expected 2 or more: one to train on, one to validate"),
        ([*WHOLE, "train/birds/1.jpg"], "has birds to train and not to valid, where cats, dogs lie: each class"),
        (["train/Cats/1.jpg", "train/dogs/1.jpg", *WHOLE[2:]], "has Cats to train and not to valid, where cats, dogs"),
        (["cats/train/1.jpg", "dogs/train/1.jpg"], "has cats/train, expected the split above the classes: train/cats"),
        (["a\nb/1.jpg", "a\nb/2.jpg", "c/1.jpg"], "has a class 'a\\nb', whose name is not all UTF-8 and printable: re"),
    ],
)
def test_what_is_no_data_set_is_one_line_with_what_is_there(tmp_path: Path, names: Iterable[str], says: str) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    with pytest.raises(FaceoffError) as caught:
        Folder(mine(root, *names)).identity()
    line = str(caught.value)
    assert line.startswith(f"params.yaml: dogs_cats.dataset.folder: {root} has ") and "\n" not in line
    assert says.replace("ROOT", str(root)) in line


@pytest.mark.parametrize("link", ["train", "train/cats", "cats"])
def test_a_broken_link_in_place_of_a_folder_is_one_line(tmp_path: Path, link: str) -> None:
    root = mine(tmp_path / "mine", *(["dogs/1.jpg", "dogs/2.jpg", "birds/1.jpg"] if link == "cats" else WHOLE[1:]))
    (root / link).parent.mkdir(exist_ok=True)
    if link == "train":
        (root / "train").rename(tmp_path / "away")
    (root / link).symlink_to("/nowhere")
    with pytest.raises(FaceoffError, match=re.escape(f"mine has {link}, a link to /nowhere, which is not there: mend")):
        Folder(root).identity()


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mine(tmp_path / "mine", *WHOLE)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)  # root, who runs some tests, may read all
    with pytest.raises(FaceoffError, match=r"folder: .*/mine can't be read: .*/mine: Permission denied$"):
        Folder(root).identity()


def test_the_identity_is_that_of_the_photos(tmp_path: Path) -> None:
    root = mine(tmp_path / "mine", *numbered("cats", 5), *numbered("dogs", 5))
    identities = [Folder(root).identity(), Folder(root).identity(), Folder(root, seed=5).identity()]
    mine(root, "dogs/more.jpg")
    identities.append(Folder(root).identity())
    (root / "dogs/more.jpg").write_bytes(jpeg(1))
    identities.append(Folder(root).identity())
    assert identities[0] == identities[1] and len(set(identities)) == 4


def test_the_download_tells_of_a_hundred_classes_in_a_few_words(tmp_path: Path) -> None:
    labels = [f"class {number:03}" for number in range(100)]
    root = mine(tmp_path / "mine", *(f"{label}/{number}.jpg" for label in labels for number in range(2)))
    job = by_hand(tmp_path / "job", {"source": "folder", "folder": str(root)})
    code, printed, errors = job.run("download")
    assert (code, errors) == (0, "")
    assert re.search(r"^  train: 1 class 000, .*, 1 class 009 and 90 more classes$", printed, re.MULTILINE)
    facts = {name: value for name, value in job.events().facts.items() if name != "source"}
    assert facts == {"classes": 100, "train_photos": 100, "valid_photos": 100, "left_out": 0}


def test_the_download_names_photos_of_valid_that_train_holds_too(tmp_path: Path) -> None:
    root = mine(tmp_path / "mine", *(f"{split}/{label}/1.jpg" for split in ("train", "valid") for label in "ab"))
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        path.write_bytes(jpeg(number))
    (root / "valid/b/again.jpg").write_bytes((root / "train/a/1.jpg").read_bytes())
    code, printed, _ = by_hand(tmp_path / "job", {"source": "folder", "folder": str(root)}).run("download")
    line = "accuracy looks better than it is, for train holds photos of valid too, 1: valid/b/again.jpg (train/a/1.jpg)"
    assert code == 0 and line in printed.splitlines()


@pytest.mark.parametrize("count", [MOST_CLASSES, MOST_CLASSES + 1])
def test_predictions_of_many_classes_come_without_their_probabilities(count: int) -> None:
    classes = [f"{number:02}, a class" for number in range(count)]
    paths = [Path(f"/photos/valid/{name}/deep/1.jpg") for name in classes]
    rows = [[float(index == 3) for index in range(count)] for _ in classes]
    taken = Input(None, "fp32", 1, 1, paths, list(range(count)), classes, None, Path("/photos"))  # type: ignore[arg-type]
    prediction = Prediction(rows, list(range(count)), 1.0)
    text = predictions_csv(taken, prediction, prediction)
    assert len(text.splitlines()[0].split('","')) == (2 * count if count == MOST_CLASSES else 1)
    right = read_predictions(text, Path("predictions.csv"))
    assert right == {f"valid/{name}/deep/1.jpg": index == 3 for index, name in enumerate(classes)}
