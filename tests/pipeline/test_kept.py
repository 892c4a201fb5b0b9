"""Results that are there, in real git and real DVC: kept by whatever accident dvc.lock is lost, and where they will be
measured again, the reason before the first cell runs.

All stages are the real ones, but for the look at the machine. One checkout serves all tests, in the order in which they
stand.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.records import Cell
from tests.faults.test_resume import NOTE
from tests.pipeline.test_pipeline import VARIANTS, Checkout
from tests.project import ROOT, link_venv

ALWAYS = ["a look at the machine", "a look at the job", "making image host", "comparison", "scorecard"]
CELLS = [Cell("host", variant, 1) for variant in VARIANTS]
LOCK = "dvc.lock"
REPRO = (sys.executable, "-m", "stages.repro")


class Kept(Checkout):
    """A checkout with one repeat on image host."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, images=["host"], repeats=[1])
        shutil.copy(ROOT / "stages/preflight.py", path / "stages")
        (path / "docker/host/image.yaml").write_text("python: .venv/bin/python\n")
        self.commit("With preflight")

    def clone(self, name: str) -> "Kept":
        """A fresh clone of it, set up, on the same machine."""
        made = object.__new__(Kept)
        made.path = self.path.parent / name
        self.run("git", "clone", "-q", str(self.path), str(made.path))
        link_venv(made.path)
        (made.path / ".git/info/exclude").write_text("/machine-name\n")
        made.is_machine("one")
        return made

    def make(self) -> tuple[list[str], str]:
        """What `make repro` runs: what its stages did, but for `setting`, and what it said."""
        said = self.run(*REPRO)
        return re.findall(r"^faceoff: stage \d+ of \d+: (.*?)(?:, about .* left)?$", said, re.MULTILINE), said

    def lock(self) -> dict[str, object]:
        found: dict[str, object] = yaml.safe_load((self.path / LOCK).read_text())["stages"]
        return found

    def results(self) -> dict[str, bytes]:
        found = [self.path / cell.result_path(stage) for cell in CELLS for stage in ("train", "evaluate")]
        return {str(each.relative_to(self.path)): each.read_bytes() for each in found}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """One whose results were measured and committed."""
    made = Kept(tmp_path_factory.mktemp("checkout") / "project")
    ran, said = made.make()
    assert [each.partition(":")[0] for each in ran if "cell" in each] == [
        f"{does}, cell {number} of 2" for number in (1, 2) for does in ("training", "evaluation")
    ]
    assert "measured again" not in said
    made.commit("Results")
    return made


def test_a_lost_dvc_lock_measures_nothing_again(checkout: Kept) -> None:
    results, lock = checkout.results(), checkout.lock()
    (checkout.path / LOCK).unlink()
    done = subprocess.run([".venv/bin/dvc", "repro"], cwd=checkout.path, capture_output=True, text=True)
    assert done.returncode != 0
    assert re.search(
        "^faceoff: results of 2 cells are whole, and dvc.lock does not have them, so that all would be measured again, "
        r"about [\d.]+ s: `make repro` keeps them; to measure anew, delete metrics/IMAGE/VARIANT$",
        done.stderr,
        re.MULTILINE,
    ), done.stderr
    assert checkout.run("git", "status", "--porcelain") == f" D {LOCK}\n", "nothing was written"

    ran, said = checkout.make()
    assert ran == ALWAYS and said.count("results of 2 cells are whole") == 1
    assert checkout.results() == results
    assert checkout.lock() == lock, "as DVC itself had noted it"


def test_a_cell_that_dvc_was_killed_before_it_noted_is_noted_and_one_that_is_not_whole_is_not(checkout: Kept) -> None:
    note = (sys.executable, "-c", NOTE)
    text, lock = (checkout.path / LOCK).read_text(), checkout.lock()
    for stage, expected in ((f"evaluate@{CELLS[0].matrix_name}", 1), (f"train@{CELLS[1].matrix_name}", 1)):
        changed = {**lock, stage: {**dict(lock[stage]), "outs": []}}  # of an earlier measurement
        (checkout.path / LOCK).write_text(yaml.safe_dump({"schema": "2.0", "stages": changed}, sort_keys=False))
        assert checkout.run(*note).count("results of 1 cell are whole") == expected
        assert checkout.lock() == lock
    (checkout.path / LOCK).unlink()
    steps = checkout.path / CELLS[0].steps_path
    steps.write_text(steps.read_text() + "more\n")
    assert "results of 1 cell are whole" in checkout.run(*note)
    assert not {*checkout.lock()} & {f"{stage}@{CELLS[0].matrix_name}" for stage in ("train", "evaluate")}
    (checkout.path / LOCK).write_text(text)
    checkout.run("git", "checkout", "-q", str(CELLS[0].steps_path))


def test_a_clone_on_this_machine_measures_nothing_again_and_one_on_another_says_why(checkout: Kept) -> None:
    clone = checkout.clone("clone")
    results = clone.results()
    ran, said = clone.make()
    assert ran == [*ALWAYS[:2], "data", *ALWAYS[2:]] and "again" not in said
    assert clone.results() == results

    clone.is_machine("two")
    said = clone.run("dvc", "repro", "machine")  # the first stage
    assert re.search(
        r"^faceoff: 2 cells with results will be measured again, about [\d.]+ s: they were measured on another machine "
        r"than that of metrics/machine.json \(machine_id was 'one', is 'two'\)$",
        said,
        re.MULTILINE,
    ), said


def test_what_was_changed_is_named_by_its_key_before_anything_is_built(checkout: Kept) -> None:
    def told() -> list[str]:
        lines = checkout.run(sys.executable, "-m", "stages.preflight").splitlines()
        return [re.sub(r", about [\d.]+ s", "", each) for each in lines if "will be measured again" in each]

    assert told() == []
    begin = "with results will be measured again: they were measured"
    checkout.change(variants={**VARIANTS, "fp32": {"precision": "tf32"}, "new": {"precision": "bf16"}}, repeats=[1, 2])
    assert told() == [f"faceoff: 1 cell {begin} with variant precision fp32, now tf32"]
    checkout.change(variants=VARIANTS, repeats=[1], paced={"size": {"photos": 3}})
    script = checkout.path / "jobs/paced/train.py"
    script.write_text(script.read_text() + "# more\n")
    code = checkout.path / "stages/workload/rank.py"
    code.write_text(code.read_text() + "# more\n")
    assert told() == [
        f"faceoff: 2 cells {begin} by another job, or another section of it, than that of metrics/job.json "
        "(paced.size was not there, is {'photos': 3}, jobs/paced/train.py changed); measured by other code than that "
        "of stages/workload"
    ]
    checkout.run("git", "checkout", "-q", ".")


def test_a_training_whose_model_is_gone_before_its_evaluation_is_made_again(checkout: Kept) -> None:
    """And of another model is none either; a cell that is whole needs none."""
    shutil.rmtree(checkout.path / "models")
    (checkout.path / CELLS[0].result_path("evaluate")).unlink()
    other = (checkout.path / CELLS[1].result_path("train")).read_bytes()
    ran, said = checkout.make()
    assert [each for each in ran if "cell" in each] == [
        f"{does}, cell 1 of 2: host/fp32, repeat 1" for does in ("training", "evaluation")
    ]
    line = "will be measured again, about .*: their evaluation is missing, and what the training left is not in models/"
    assert re.search(f"^faceoff: 1 cell with results {line}$", said.partition("training, cell")[0], re.MULTILINE)
    assert (checkout.path / CELLS[1].result_path("train")).read_bytes() == other
    checkout.commit("Measured again")


def test_the_results_of_two_branches_are_kept_by_whichever_dvc_lock_a_merge_takes(checkout: Kept) -> None:
    theirs = checkout.clone("theirs")
    theirs.change(variants={**VARIANTS, "third": {"precision": "bf16"}})
    ran, _ = theirs.make()
    assert [each for each in ran if "cell" in each] == [
        f"{does}, cell 3 of 3: host/third, repeat 1" for does in ("training", "evaluation")
    ]
    theirs.commit("A third variant")
    (checkout.path / "NOTES").touch()
    checkout.commit("Ours")
    checkout.run("git", "fetch", "-q", str(theirs.path))
    checkout.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "merge", "-q", "FETCH_HEAD", "-m", "Both")
    checkout.run("git", "checkout", "-q", "HEAD^", "--", LOCK)
    ran, said = checkout.make()
    assert not [each for each in ran if "cell" in each] and "results of 1 cell are whole" in said
    assert checkout.run("git", "status", "--porcelain", "metrics/host/*/") == ""
