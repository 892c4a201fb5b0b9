"""A cell that fails, in a real `dvc repro` with the real stages.inside: what on_failure does, and how to try again."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.records import Cell
from tests.pipeline.test_pipeline import Checkout
from tests.project import ROOT

FAILING, OTHER = Cell("host", "fp32", 16, 1), Cell("host", "fp32", 16, 2)
REASON = "it ended with exit code 1; its own words are above"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Two repeats on image host, whose cells fail."""
    made = Checkout(tmp_path / "project")
    shutil.copy(ROOT / "stages/inside.py", made.path / "stages")
    (made.path / "docker/host/image.yaml").write_text("run: host\n")
    text = (made.path / "params.yaml").read_text()
    for key, value in {"images": "[host]", "precisions": "[fp32]", "repeats": "[1, 2]"}.items():
        text = re.sub(f"^{key}: .*$", f"{key}: {value}", text, flags=re.MULTILINE)
    (made.path / "params.yaml").write_text(text)
    (made.path / "fail").write_text("host")
    return made


def test_stop_ends_the_run_at_the_cell(checkout: Checkout) -> None:
    ran = checkout.repro(code=255)
    assert ran[-1] == f"train@{FAILING.matrix_name}"
    assert not (checkout.path / OTHER.train_path).exists()
    (checkout.path / "fail").unlink()
    assert f"train@{FAILING.matrix_name}" in checkout.repro()  # DVC takes no failed cell for done
    assert checkout.comparison()[FAILING.setting]["status"] == "ok"


def test_record_goes_on_and_compare_says_so_until_the_cell_is_tried_again(checkout: Checkout) -> None:
    params = checkout.path / "params.yaml"
    params.write_text(params.read_text().replace("on_failure: stop ", "on_failure: record "))
    assert f"train@{OTHER.matrix_name}" in checkout.repro()
    setting = checkout.comparison()[FAILING.setting]
    assert (setting["status"], setting["reasons"]) == (
        "failed",
        {"1": f"failed: {REASON}", "2": f"failed: {REASON}"},
    )
    (checkout.path / "fail").unlink()
    assert not any(name.startswith("train") for name in checkout.repro())  # it is done, as DVC sees it
    checkout.repro("-s", "-f", f"train@{FAILING.matrix_name}")
    assert f"evaluate@{FAILING.matrix_name}" in checkout.repro()
    setting = checkout.comparison()[FAILING.setting]
    assert (setting["status"], setting["reasons"]) == ("partial", {"2": f"failed: {REASON}"})


LATER = """
from stages.errors import TRY_LATER, FaceoffError, run_entry
def main():
    raise FaceoffError("session.max_hours: run `make repro` again to go on", TRY_LATER)
run_entry(main)
"""


def test_a_session_that_ends_is_one_line(checkout: Checkout) -> None:
    """Not DVC's as well, for which the stage has failed."""
    (checkout.path / "stages/train.py").write_text(LATER)
    command = [sys.executable, "-m", "stages.repro"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING: 'data/weights' is empty")]
    assert (done.returncode, said) == (75, ["faceoff: session.max_hours: run `make repro` again to go on"])
    (checkout.path / "stages/train.py").write_text("raise SystemExit('why')")
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    assert done.returncode == 255
    assert "\nwhy\n" in done.stderr and f"failed to reproduce 'train@{FAILING.matrix_name}'" in done.stderr


def test_other_limits_measure_nothing_again(checkout: Checkout) -> None:
    (checkout.path / "fail").unlink()
    checkout.repro()
    params = checkout.path / "params.yaml"
    text = params.read_text().replace("on_failure: stop ", "on_failure: record ")
    params.write_text(text.replace("cell_minutes: null", "cell_minutes: 60"))
    assert checkout.repro() == ["machine", "compare", "scorecard"]
