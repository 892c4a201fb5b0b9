"""A cell that fails, in a real `dvc repro`: what on_failure does, and how to try again.

One checkout serves all tests, in the order in which they stand: a run of the pipeline takes many seconds.
"""

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import codec, records
from stages.records import Cell, Result
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


def test_an_image_that_cannot_be_made_is_left_out_and_the_others_are_measured(checkout: Checkout) -> None:
    """With what it measured before, which counts for nothing until it can be made again."""
    checkout.change(on_failure="record", images=["host", "cuda-10.0"], repeats=[1])
    checkout.repro()
    assert checkout.comparison()["cuda-10.0/fp32"]["status"] == "ok"
    (checkout.path / "docker/cuda-10.0/image.yaml").write_text("python: /nowhere/python\n")
    checkout.change(repeats=[1, 2, 3])
    ran = checkout.repro()
    assert "train@3-host-fp32" in ran and "train@1-cuda-10.0-fp32" not in ran
    settings = checkout.comparison()
    assert settings["host/fp32"]["reasons"].keys() <= {"2"}  # which failed in a test before
    reason = "image cuda-10.0: no Python at /nowhere/python"
    assert all(each.startswith(f"failed: {reason}") for each in settings["cuda-10.0/fp32"]["reasons"].values())
    assert settings["cuda-10.0/fp32"]["reasons"].keys() == {"1", "2", "3"}
    assert reason in (checkout.path / records.PAGE_PATH).read_text()
    kept, left_out = (Cell("cuda-10.0", "fp32", repeat).result_path("train") for repeat in (1, 2))
    assert codec.read(checkout.path / kept, Result).status == "ok", "no result is lost"
    assert codec.read(checkout.path / left_out, Result).status == "failed"


BREAKS = "import sys\nif 'stages.profile' in sys.orig_argv:\n    sys.exit(1)\n"


def test_a_watched_run_that_is_killed_in_an_evaluation_leaves_what_is_shown(checkout: Checkout) -> None:
    """The run says so, and goes on though the profile of an image fails."""
    (checkout.path / "docker/cuda-10.0/image.yaml").write_text(
        f"python: {sys.executable}\nenv: {{PYTHONPATH: {checkout.path / 'broken'}}}\n"
    )
    (checkout.path / "broken").mkdir()
    (checkout.path / "broken/sitecustomize.py").write_text(BREAKS)
    checkout.change(repeats=[1, 2, 3, 4])
    script = checkout.path / "jobs/paced/evaluate.py"
    waits = "if json.loads(os.environ['FACEOFF_CELL'])['repeat'] == 4: time.sleep(600)"
    script.write_text(f"import json, os, time\n{waits}\n{script.read_text()}")
    seen, (terminal, its_end) = bytearray(), pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "90"}
    command = [sys.executable, "-m", "stages.repro"]
    with subprocess.Popen(command, cwd=checkout.path, env=environment, stdout=its_end, stderr=its_end) as run:
        os.close(its_end)
        reader = threading.Thread(target=read_all_of, args=(terminal, seen))
        reader.start()
        try:
            while run.poll() is None and b"evaluation, cell 7 of 8: host/fp32, repeat 4: " not in seen:
                time.sleep(0.05)
        finally:
            run.terminate()
    reader.join()
    assert run.returncode == 143
    *above, end = seen.decode().split("\x1b[J")  # after which the two lines below are gone
    assert re.search(r"━\x1b\[0m stage \d+ of 27, about \d+ s left", "".join(above))
    assert not [line for line in above if line.startswith(DVCS_OWN)]
    assert end.strip() == "faceoff: 3 of 8 cells are measured: `make show` shows them, `make repro` goes on"
    shown = checkout.run(sys.executable, "-m", "stages.show")
    assert "host/fp32" in shown and "failed: image cuda-10.0: its profile ended with exit code 1" in shown


DVCS_OWN = ("Running stage", "> exec", "Stage '", "To track", "\tgit add", "Use `dvc", "Updating", "ERROR: failed")


def read_all_of(terminal: int, into: bytearray) -> None:
    with contextlib.suppress(OSError):  # at its end
        while True:
            into += os.read(terminal, 4096)


def test_a_session_that_ends_is_one_line(checkout: Checkout, failing: Path) -> None:
    """Not DVC's as well, for which the stage has failed."""
    checkout.change(on_failure="stop", images=["host"], repeats=[1, 2])
    script = checkout.path / "jobs/paced/train.py"
    text = script.read_text()
    script.write_text("import sys; sys.exit(75)")
    command = [sys.executable, "-m", "stages.repro"]
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    assert not [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(DVCS_OWN)]
    said = [line for line in done.stderr.splitlines() if line.startswith(("faceoff: ", "ERROR"))]
    assert done.returncode == 75 and len(said) <= 1, said
    script.write_text(text)
    done = subprocess.run(command, cwd=checkout.path, capture_output=True, text=True)
    assert done.returncode == 255
    assert "a cell fails" in done.stderr
    assert f"faceoff: stage train@{FAILING.matrix_name} failed with exit code 1; why is above\n" in done.stderr
