"""What the default network learns of real photos in one epoch: transfer learning on a bare machine.

python -m benchmarks.transfer FOLDER [--at-least SHARE]

FOLDER holds train/{cats,dogs} and valid/{cats,dogs}. One frozen epoch at 224 px, on this machine; prints the share of
validation photos told right with test-time augmentation, and exits 1 where it is below SHARE.
"""

import argparse
import tempfile
from pathlib import Path

from stages.codec import read
from stages.errors import run_entry
from stages.records import Cell, EvaluateResult
from tests.project import cell_stage, make_project, stage


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Accuracy on real photos after one frozen epoch of the default network."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faceoff-transfer-") as name:
        project = make_project(
            Path(name),
            ["host"],
            dataset={"source": "folder", "folder": str(arguments.folder.resolve())},
            recipe={"size": 224, "frozen_epochs": 1, "unfrozen_epochs": 0},
        )
        stage(project, "download")
        stage(project, "machine")
        stage(project, "image", "host")
        print(cell_stage(project, "train", "host", "fp32"), end="")
        cell_stage(project, "evaluate", "host", "fp32")
        result = read(project / Cell("host", "fp32", 16, 1).evaluate_path, EvaluateResult)
    share = result.accuracy_tta or 0.0
    print(
        f"{result.photos} validation photos, {share:.1%} told right with TTA, at least {arguments.at_least:.1%} wanted"
    )
    return 0 if share >= arguments.at_least else 1


if __name__ == "__main__":
    run_entry(main)
