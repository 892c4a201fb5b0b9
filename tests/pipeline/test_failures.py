"""A cell that fails, in a real `dvc repro`: what on_failure does, and how to try again.

One checkout serves all tests, in the order in which they stand: a run of the pipeline takes many seconds.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.records import Cell
from tests.pipeline.test_pipeline import ALWAYS, Checkout

FAILING, OTHER = Cell("host", "fp32", 1), Cell("host", "fp32", 2)
REASON = "the command ended with exit code 1; its own words are above"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two repeats on image host."""
    variants = {"fp32": {"precision": "fp32"}}
    return Checkout(tmp_path_factory.mktemp("checkout") / "project", images=["host"], variants=variants, repeats=[1, 2])


@pytest.fixture
def failing(checkout: Checkout) -> Iterator[Path]:
    """The file whose being there makes cells fail; both are to be trained."""
    for cell in (FAILING, OTHER):
        (checkout.path / cell.result_path("train")).unlink(missing_ok=True)
    path = checkout.path / "fail"
    path.write_text("host")
    yield path
    path.unlink(missing_ok=True)


def test_stop_ends_the_run_at_the_cell(checkout: Checkout, failing: Path) -> None:
    ran = checkout.repro(code=255)
    assert ran[-1] == f"train@{FAILING.matrix_name}"
    assert not (checkout.path / OTHER.result_path("train")).exists()
    failing.unlink()
    assert f"train@{FAILING.matrix_name}" in checkout.repro()  # DVC takes no failed cell for done
    assert checkout.comparison()[FAILING.setting]["status"] == "ok"


def test_other_limits_measure_nothing_again(checkout: Checkout) -> None:
    checkout.change(on_failure="record", limits={"stall_minutes": 10, "cell_minutes": 60})
    assert checkout.repro() == [each for each in ALWAYS if each != "image@cuda-10.0"]


def test_record_goes_on_and_compare_says_so_until_the_cell_is_tried_again(checkout: Checkout, failing: Path) -> None:
    checkout.change(on_failure="record")
    assert f"train@{OTHER.matrix_name}" in checkout.repro()
    setting = checkout.comparison()[FAILING.setting]
    assert (setting["status"], setting["reasons"]) == (
        "failed",
        {"1": f"failed: {REASON}", "2": f"failed: {REASON}"},
    )
    failing.unlink()
    assert not any(name.startswith("train") for name in checkout.repro())  # it is done, as DVC sees it
    checkout.repro("-s", "-f", f"train@{FAILING.matrix_name}")
    assert f"evaluate@{FAILING.matrix_name}" in checkout.repro()
    setting = checkout.comparison()[FAILING.setting]
    assert (setting["status"], setting["reasons"]) == ("partial", {"2": f"failed: {REASON}"})


def test_a_session_that_ends_is_one_line(checkout: Checkout, failing: Path) -> None:
    """Not DVC's as well, for which the stage has failed."""
    checkout.change(on_failure="stop")
    script = checkout.path / "jobs/paced/train.py"
    text = script.read_text()
    script.write_text("import sys; sys.exit(75)")
    command = [sys.executable, "-m", "stages.repro"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if line.startswith(("faceoff: ", "ERROR"))]
    assert done.returncode == 75 and len(said) <= 1, said
    script.write_text(text)
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    assert done.returncode == 255
    assert "a cell fails" in done.stderr and f"failed to reproduce 'train@{FAILING.matrix_name}'" in done.stderr
