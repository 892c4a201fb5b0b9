"""A cell of the matrix, and where every stage's files lie.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import dataclasses
from pathlib import Path

DATA_DIR = Path("data")
MANIFEST_PATH = Path("data/manifest.json")
PHOTOS_DIR = Path("data/photos")
WEIGHTS_DIR = Path("data/weights")
MACHINE_PATH = Path("metrics/machine.json")
DATASET_PATH = Path("metrics/dataset.json")
COMPARISON_PATH = Path("metrics/comparison.json")
SCORECARD_PATH = Path("metrics/scorecard.json")
CURVES_PATH = Path("metrics/curves.csv")
REPORT_PATH = Path("reports/faceoff.md")
PAGE_PATH = Path("reports/faceoff.html")
PREFLIGHT_PATH = Path("metrics/preflight.json")
SESSION_PATH = Path("metrics/session.json")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of the matrix: a setting (image, precision, batch size) and which repeat of it."""

    image: str
    precision: str
    batch_size: int
    repeat: int

    @property
    def setting(self) -> str:
        """Name of what is compared, `image/precision-bsN`, e.g. 'cuda-10.0/fp32-bs16'."""
        return "{}/{}-bs{}".format(self.image, self.precision, self.batch_size)

    @property
    def train_path(self) -> Path:
        return Path("metrics") / self.setting / "train-{}.json".format(self.repeat)

    @property
    def evaluate_path(self) -> Path:
        return Path("metrics") / self.setting / "evaluate-{}.json".format(self.repeat)

    @property
    def predictions_path(self) -> Path:
        """CSV with a row per validation photo: photo, label, probability of each class with and without TTA."""
        return Path("metrics") / self.setting / "predictions-{}.csv".format(self.repeat)

    @property
    def model_dir(self) -> Path:
        """Folder that holds the trained model; empty where the cell did not end 'ok'."""
        return Path("models") / self.setting / str(self.repeat)

    @property
    def checkpoint_path(self) -> Path:
        """Where a training keeps its last whole epoch; gone some time after DVC has noted the result."""
        return Path("models") / self.setting / "{}.checkpoint".format(self.repeat)

    @property
    def running_path(self) -> Path:
        """There while the cell is trained or evaluated: the job touches it at every step, and why it fails goes in."""
        return Path("models") / self.setting / "{}.running".format(self.repeat)

    @property
    def matrix_name(self) -> str:
        """What dvc.yaml's matrix calls it: '1-cuda-10.0-fp32-16' of 'train@1-cuda-10.0-fp32-16'."""
        return "{}-{}-{}-{}".format(self.repeat, self.image, self.precision, self.batch_size)


def image_path(image: str) -> Path:
    """Where the `image` stage says what it built, pulled or found."""
    return Path("metrics") / image / "image.json"


def profile_path(image: str) -> Path:
    return Path("metrics") / image / "profile.json"


def facts_path(image: str) -> Path:
    """The part of the profile that cells depend on."""
    return Path("metrics") / image / "facts.json"


def preflight_path(image: str) -> Path:
    """What preflight found inside the image."""
    return Path("metrics") / image / "preflight.json"
