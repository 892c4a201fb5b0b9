"""What the default network learns of real photos in one epoch: transfer learning on a bare machine.

python -m benchmarks.transfer FOLDER [--at-least SHARE]

FOLDER holds train/{cats,dogs} and valid/{cats,dogs}. One frozen epoch at 224 px, on this machine; prints the share of
validation photos told right with test-time augmentation, and exits 1 where it is below SHARE.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.overhead import VARIANT, dogs_cats, prepare
from stages.codec import read
from stages.errors import run_entry
from stages.records import Cell, Result
from tests.project import cell_stage


def main() -> int:
    """Train, evaluate and judge."""
    parser = argparse.ArgumentParser(
        description="Accuracy on real photos after one frozen epoch of the default network."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceoff-transfer-") as name:
        dataset = {"source": "folder", "folder": str(arguments.folder.resolve())}
        network = {"arch": "tf_efficientnet_lite0", "pretrained": True, "channels_last": True}
        epochs = {"frozen_epochs": 1, "unfrozen_epochs": 0}
        project = dogs_cats(Path(name), "host", 16, dataset, size=224, workers=2, **network, **epochs)
        prepare(project, "host")
        print(cell_stage(project, "train", "host", VARIANT), end="")
        cell_stage(project, "evaluate", "host", VARIANT)
        result = read(project / Cell("host", VARIANT, 1).result_path("evaluate"), Result)
    share, photos = result.metrics["accuracy_tta"], result.spans[-1].samples
    print(f"{photos} validation photos, {share:.1%} told right with TTA, at least {arguments.at_least:.1%} wanted")
    return 0 if share >= arguments.at_least else 1


if __name__ == "__main__":
    run_entry(main)
