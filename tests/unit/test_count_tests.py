"""`.ci/count_tests.py` on the reports of real pytest runs: what CI takes for a pass."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "count_tests.py"
HEAD = "import pytest\nengine = pytest.mark.engine\nparametrize = pytest.mark.parametrize\n"
PASSES = "@engine\n@parametrize('image', ['a::b.py/c', 'cuda-9.2'])\ndef test_engine(image): pass\n"


def count(folder: Path, tests: str) -> "subprocess.CompletedProcess[str]":
    """Run these tests in a project of their own, and the script on the outcome."""
    (folder / "tests" / "engine").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = engine\n")
    (folder / "tests" / "engine" / "test_it.py").write_text(HEAD + tests)
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--disable-plugin-autoload"]
    subprocess.run([*run, "--junitxml=tests.xml"], cwd=folder, capture_output=True)
    collected = subprocess.run(
        [*run, "--collect-only", "-q", "-m", "engine"], cwd=folder, capture_output=True, text=True
    )
    (folder / "engine.txt").write_text(collected.stdout)
    return subprocess.run(
        [sys.executable, SCRIPT, "tests.xml", "engine.txt"], cwd=folder, capture_output=True, text=True
    )


def test_passes_and_failures_are_counted(tmp_path: Path) -> None:
    tests = PASSES + "def test_plain(): pass\ndef test_bad(): assert False\n"
    tests += "@pytest.fixture\ndef broken(): 1 / 0\ndef test_error(broken): pass\n"
    run = count(tmp_path, tests)
    assert run.stdout.split() == ["3", "2"]
    assert run.stderr == ""
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("tests", "complaint"),
    [
        (
            PASSES + "@engine\ndef test_b(): pytest.skip('no engine here')\n",
            "test_b was skipped: no engine here",
        ),
        (PASSES + "def test_page(): pytest.skip('no Chromium')\n", "test_page was skipped: no Chromium"),
        ("def test_plain(): pass\n", "no test needs the engine"),
        ("", "no test ran"),
    ],
)
def test_a_run_that_proves_nothing_is_refused(tmp_path: Path, tests: str, complaint: str) -> None:
    run = count(tmp_path, tests)
    assert run.returncode == 1
    assert complaint in run.stderr


def test_an_engine_test_that_did_not_run_is_refused(tmp_path: Path) -> None:
    count(tmp_path, PASSES)
    (tmp_path / "engine.txt").write_text("tests/engine/test_it.py::TestImages::test_other[cuda-9.2]\n")
    arguments = [sys.executable, SCRIPT, "tests.xml", "engine.txt"]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1
    assert "tests.engine.test_it.TestImages.test_other[cuda-9.2] needs the engine and was not run" in run.stderr


def test_a_missing_gpu_is_an_excuse_and_the_skip_is_no_pass(tmp_path: Path) -> None:
    run = count(tmp_path, PASSES + "@engine\ndef test_gpu(): pytest.skip('no GPU here')\n")
    assert run.stdout.split() == ["2", "0"]
    assert run.returncode == 0


def test_a_failure_that_is_foreseen_is_neither_a_pass_nor_a_failure(tmp_path: Path) -> None:
    foreseen = "@engine\n@pytest.mark.xfail(strict=True, reason='Podman 4.3 drops it')\ndef test_gpu(): assert False\n"
    run = count(tmp_path, PASSES + foreseen)
    assert (run.stdout.split(), run.stderr, run.returncode) == (["2", "0"], "", 0)
    (tmp_path / "again").mkdir()
    assert count(tmp_path / "again", PASSES + foreseen.replace("False", "True")).stdout.split() == ["2", "1"]
