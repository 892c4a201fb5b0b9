"""The pipeline with real DVC and git, on a job that ends at once and tells its times: which stages run, in which order,
when they run again, and what `dvc metrics diff` and `dvc plots diff` say of the images.

All stages are the real ones, but for the look at the machine; both images are this machine's own Python. One checkout
serves all tests, in the order in which they stand: a run of the pipeline takes many seconds.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import records
from stages.harness.params import schema
from stages.harness.pipeline.progress import Tracker
from stages.records import Cell
from tests.project import ROOT, copy_shipped, link_venv, make_project, write_job

STAND_INS = Path(__file__).parent / "stand_ins"
IMAGES = ("host", "cuda-10.0")
VARIANTS = {"fp32": {"precision": "fp32"}, "mixed": {"precision": "mixed"}}
ALWAYS = ["machine", "job", "image@host", "image@cuda-10.0", "compare", "scorecard"]
# Image cuda-10.0 is slower by a tenth, and each run of a cell takes a little longer than its last: an old timing shows.
# Fails where the file `fail` names the cell's image; `noise` says by how much its first two repeats scatter.
TRAIN = """
import json, os, sys, time
cell = json.loads(os.environ["FACEOFF_CELL"])
fail, noise, seconds = "../../fail", "../../noise", 11.0 if cell["image"] == "cuda-10.0" else 10.0
if os.path.exists(fail) and open(fail).read() == cell["image"]:
    sys.exit("a cell fails, as the file `fail` asks")
seconds += time.time() % 1e5 / 1e7
if os.path.exists(noise) and (cell["image"], cell["variant"]) == ("cuda-10.0", "fp32"):
    seconds *= 1 + float(open(noise).read()) * {1: 1, 2: -1}.get(cell["repeat"], 0)
with open(os.environ["FACEOFF_EVENTS"], "a") as events:
    for number, name in enumerate(["head", "body"]):
        values = {"train_loss": 0.5 / (1 + number), "accuracy": 0.9 + 0.01 * number}
        line = {"span": name, "seconds": seconds, "samples": 320, "steps": 20, "values": values}
        line["step_seconds"] = [seconds / 21] * 20  # by which a verdict stands beside load too
        events.write(json.dumps(line) + "\\n")
open(os.environ["FACEOFF_OUTPUT"] + "/model", "w").write("a model")
"""
EVALUATE = """
import os
open(os.environ["FACEOFF_EVENTS"], "a").write('{"metric": "accuracy", "value": 0.97}\\n')
open(os.environ["FACEOFF_OUTPUT"] + "/predictions.csv", "w").write("item,label,predicted\\na,x,x\\nb,y,x\\n")
"""
PACED = {
    "job.yaml": "train: python train.py {precision}\nevaluate: python evaluate.py\ntotal: [head, body]\n"
    "metrics: {accuracy: {unit: share, better: higher}}\n",
    "train.py": TRAIN,
    "evaluate.py": EVALUATE,
}


class Checkout:
    """A git checkout of this project with a job of its own."""

    def __init__(self, path: Path, **overrides: Any) -> None:
        self.path = path
        settings = {"images": list(IMAGES), "job": "paced", "variants": VARIANTS, **overrides}
        make_project(path, **settings)
        write_job(path, "paced", PACED)
        copy_shipped(path, "presets", ".dvc/plots")
        (path / "tests").mkdir()
        of_stand_ins = ("tests/__init__.py", "tests/results.py")
        for file in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", *of_stand_ins):
            shutil.copy(ROOT / file, path / file)
        for stand_in in STAND_INS.glob("*.py"):
            shutil.copy(stand_in, path / "stages")
        for image in IMAGES:
            (path / "docker" / image / "image.yaml").write_text(f"python: {sys.executable}\n")
        link_venv(path)
        self.is_machine("one")
        with (path / ".git-exclude").open("w") as exclude:
            exclude.write("/fail\n/noise\n/machine-name\n/.git-exclude\n/dvc_plots\n")
        self.run("git", "init", "-q", "-b", "main")
        shutil.move(path / ".git-exclude", path / ".git/info/exclude")
        self.commit("The project")

    def change(self, **params: Any) -> None:
        """Put these keys into params.yaml."""
        path = self.path / "params.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | params, sort_keys=False))

    def run(self, *command: str, code: int = 0) -> str:
        """Standard output of a command that must end with `code`; git knows no user here."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.path.parent),
        }
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", message)

    def repro(self, *options: str, code: int = 0) -> list[str]:
        """`dvc repro`; the names of the stages that ran, in order."""
        return re.findall(r"^Running stage '(.*)':$", self.run("dvc", "repro", *options, code=code), re.MULTILINE)

    def is_machine(self, name: str) -> None:
        (self.path / "machine-name").write_text(name)

    def trained_seconds(self, cell: Cell) -> float:
        document = json.loads((self.path / cell.result_path("train")).read_text())
        return float(sum(span["seconds"] for span in document["spans"]))

    def comparison(self) -> dict[str, Any]:
        document = json.loads((self.path / records.COMPARISON_PATH).read_text())
        return {each["setting"]: each for each in document["settings"]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, list[str]]:
    """A checkout whose pipeline ran once and whose experiments are published, and the stages that ran."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout") / "project")
    return checkout, checkout.repro()


@pytest.fixture(scope="module")
def published(measured: tuple[Checkout, list[str]]) -> tuple[Checkout, str]:
    """The same, and what publish printed; results are not committed yet, as after a first `make repro`."""
    checkout, _ = measured
    return checkout, checkout.run("python", "-m", "stages.publish")


def test_every_setting_runs_once_before_any_runs_again(measured):
    _, ran = measured
    cells = [f"{repeat}-{image}-{variant}" for repeat in (1, 2, 3) for image in IMAGES for variant in VARIANTS]
    assert [name for name in ran if re.match("train|evaluate", name)] == [
        f"{stage}@{cell}" for cell in cells for stage in ("train", "evaluate")
    ], "each cell is evaluated right after its training"


def test_what_reads_all_cells_runs_last(measured):
    _, ran = measured
    assert ran[-2:] == ["compare", "scorecard"]


def test_progress_counts_every_stage(measured):
    checkout, ran = measured
    assert len(ran) == Tracker(schema.load(checkout.path).cells(), ()).total


def test_metrics_diff_of_two_images_has_a_row_per_metric(published):
    checkout, _ = published
    diff = json.loads(checkout.run("dvc", "metrics", "diff", "host", "cuda-10.0", "--all", "--json"))
    metrics = diff["metrics/scorecard.json"]
    assert metrics["fp32.total_seconds"]["diff"] == pytest.approx(2.0, abs=0.1)  # two spans, one second each
    expected = {"fp32.samples_per_second", "mixed.head_seconds", "fp32.accuracy"}
    assert expected <= {*metrics}
    assert "fp32.peak_process_memory_bytes" in metrics


def test_publishing_leaves_the_workspace_and_the_index_alone(measured):
    checkout, _ = measured
    before = snapshot(checkout)
    checkout.run("python", "-m", "stages.publish")
    assert snapshot(checkout) == before


def snapshot(checkout: Checkout) -> tuple[str, dict[str, bytes]]:
    files = [*checkout.path.glob("metrics/**/*"), *checkout.path.glob("dvc.*"), checkout.path / "params.yaml"]
    return checkout.run("git", "status", "--porcelain"), {
        str(each): each.read_bytes() for each in files if each.is_file()
    }


def test_plots_diff_holds_the_curves_of_both_images(published):
    checkout, _ = published
    checkout.run("dvc", "plots", "diff", "host", "cuda-10.0")
    page = (checkout.path / "dvc_plots/index.html").read_text()
    held = {
        (point["rev"], point["image"], point["setting"], point["name"]) for point in plotted(page)["data"]["values"]
    }
    assert held == {(image, image, *panel) for image in IMAGES for panel in PANELS}


def test_plots_show_has_the_curves_of_all_images_in_one_plot_and_a_colour_for_each(published):
    checkout, _ = published
    checkout.run("dvc", "plots", "show")
    drawn = plotted((checkout.path / "dvc_plots/index.html").read_text())
    held = {(point["image"], point["setting"], point["name"]) for point in drawn["data"]["values"]}
    assert held == {(image, *panel) for image in IMAGES for panel in PANELS}
    assert drawn["spec"]["encoding"]["color"]["field"] == "image"


PANELS = [(variant, curve) for variant in VARIANTS for curve in ("train_loss", "accuracy")]


def plotted(page: str) -> dict[str, Any]:
    """The one plot of a page that DVC wrote."""
    (spec,) = re.findall(r"var spec = (\{.*?\});\s*vegaEmbed", page, re.DOTALL)
    return json.loads(spec)


def test_the_run_ends_with_the_faster_setting_and_where_results_lie(published):
    _, printed = published
    assert "host/fp32" in printed and "On CPU (" in printed
    assert "dvc metrics diff host cuda-10.0" in printed
    table, _, _ = printed.partition("\n\n")  # sentences are lines that a terminal alone wraps
    assert all(len(line) < 200 for line in table.splitlines())


def test_a_second_run_does_no_work(published):
    checkout, _ = published
    assert checkout.repro() == ALWAYS
    before = checkout.run("git", "for-each-ref", "refs/exps")
    checkout.run("python", "-m", "stages.publish")
    assert checkout.run("git", "for-each-ref", "refs/exps") == before


def test_what_moves_between_two_profiles_measures_no_cell_again_and_a_new_fact_does(measured):
    checkout, _ = measured
    moving, fixed = (checkout.path / path("host") for path in (records.profile_path, records.facts_path))
    before = moving.read_bytes(), fixed.read_bytes()
    assert checkout.repro("--single-item", "--force", "profile@host") == ["profile@host"]
    assert (moving.read_bytes() != before[0], fixed.read_bytes() == before[1]) == (True, True)
    assert checkout.repro() == ALWAYS
    fixed.write_bytes(before[1].replace(b'"glibc": "', b'"glibc": "9'))
    stale = json.loads(checkout.run("dvc", "status", "--json", "setting@host-fp32"))
    assert {"changed deps": {str(records.facts_path("host")): "modified"}} in stale["setting@host-fp32"]
    fixed.write_bytes(before[1])


@pytest.fixture(scope="module")
def clone(published: tuple[Checkout, str]) -> Checkout:
    """A fresh clone of the repository, in which the results were committed as the run's last line says."""
    checkout, printed = published
    said, _, command = printed.splitlines()[-1].partition(": ")
    assert (said, command) == ("To keep them in git", "git add metrics dvc.lock && git commit")
    author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    checkout.run(*command.partition(" && ")[0].split())
    checkout.run("git", *author, "commit", "-qm", "Results")
    found = copy.copy(checkout)
    found.path = checkout.path.parent / "clone"
    checkout.run("git", "clone", "-q", str(checkout.path), str(found.path))
    return found


def test_a_fresh_clone_shows_the_committed_results_and_measures_and_changes_nothing(clone):
    said = clone.run("python", "-m", "stages.show")
    assert "cuda-10.0/fp32" in said and said.splitlines()[-1] == "As a page: reports/faceoff.html."
    assert "cuda-10.0/fp32" in (clone.path / records.PAGE_PATH).read_text()
    assert clone.run("git", "status", "--porcelain") == ""
    clone.run("python", "-m", "stages.compare", "--against", "main", code=2)  # holds these very results


def test_a_fresh_clone_has_the_metrics_of_its_commits_for_dvc(clone):
    document = json.loads((clone.path / records.SCORECARD_PATH).read_text())
    document["fp32"]["total_seconds"] += 1.5
    (clone.path / records.SCORECARD_PATH).write_text(json.dumps(document))
    diff = json.loads(clone.run("dvc", "metrics", "diff", "main", "--json"))
    assert diff["metrics/scorecard.json"]["fp32.total_seconds"]["diff"] == pytest.approx(1.5)
    clone.run("dvc", "plots", "diff", "main")
    drawn = plotted((clone.path / "dvc_plots/index.html").read_text())["data"]["values"]
    assert {point["rev"] for point in drawn} == {"main", "workspace"}
    (_, commit) = json.loads(clone.run("dvc", "exp", "show", "--json"))
    data = commit["data"]["metrics"]["metrics/dataset.json"]["data"]
    assert data and all(isinstance(value, int) for value in data.values())


def test_after_a_commit_of_results_an_image_has_one_experiment_again(published, clone):
    checkout, _ = published
    checkout.run("python", "-m", "stages.publish")
    names = checkout.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    assert sorted(name.rsplit("/")[-1] for name in names) == sorted(IMAGES)
    checkout.run("dvc", "metrics", "diff", "host", "cuda-10.0")


def test_a_worktree_at_the_same_commit_has_experiments_of_its_own(published, clone):
    checkout, _ = published
    tree = copy.copy(checkout)
    tree.path = checkout.path.parent / "tree"
    checkout.run("git", "worktree", "add", "-q", "--detach", str(tree.path))
    (command,) = re.findall(r"\.venv/bin/(dvc metrics diff .*)", tree.run("python", "-m", "stages.publish"))
    assert command == "dvc metrics diff host@tree cuda-10.0@tree"
    assert "fp32.total_seconds" in tree.run(*command.split())
    assert "fp32.total_seconds" in checkout.run("dvc", "metrics", "diff", "host", "cuda-10.0")
    checkout.run("git", "worktree", "remove", "--force", str(tree.path))


def test_a_failing_cell_leaves_the_others_and_compare_says_why(measured):
    checkout, _ = measured
    failing = Cell("cuda-10.0", "fp32", 3)
    (checkout.path / failing.result_path("train")).unlink()
    (checkout.path / "fail").write_text(failing.image)
    ran = checkout.repro("--keep-going", code=255)
    (checkout.path / "fail").unlink()
    assert ran == [*ALWAYS[:-2], "train@3-cuda-10.0-fp32", "compare", "scorecard"]
    setting = checkout.comparison()[failing.setting]
    assert setting["status"] == "partial"
    assert setting["reasons"] == {"3": "failed: the command ended with exit code 1; its own words are above"}
    assert set(setting["metrics"]["total_seconds"]["samples"]) == {"1", "2"}


def test_another_machine_measures_again_and_so_does_the_first_one_on_return(measured):
    checkout, _ = measured
    cell = Cell("host", "fp32", 1)
    seconds = [checkout.trained_seconds(cell)]
    for machine in ("two", "one"):
        checkout.is_machine(machine)
        ran = checkout.repro("train@1-host-fp32")
        assert "train@1-host-fp32" in ran
        seconds.append(checkout.trained_seconds(cell))
    assert len(set(seconds)) == 3, "a timing came back from DVC's run-cache"


def test_repeats_are_added_until_verdicts_are_settled_and_only_new_ones_are_run(measured):
    checkout, _ = measured
    checkout.change(variants={"fp32": VARIANTS["fp32"]})
    (checkout.path / "noise").write_text("0.08")
    checkout.repro("--force", "--single-item", *(f"train@{repeat}-cuda-10.0-fp32" for repeat in (1, 2, 3)))
    said = checkout.run("python", "-m", "stages.until", "--hours", "0")
    assert "not settled" in said and "no time left" in said
    assert checkout.comparison()["cuda-10.0/fp32"]["verdict"] == "inconclusive"
    kept = {cell: checkout.trained_seconds(cell) for cell in wanted_cells(checkout) if cell.repeat <= 3}
    assert repeats(checkout) == [1, 2, 3]

    said = checkout.run("python", "-m", "stages.until", "--hours", "1")
    assert "faceoff: every verdict is settled" in said
    settled = checkout.comparison()["cuda-10.0/fp32"]
    by_load = settled["verdict"] == "cannot say" and "load could have made it" in settled["words"]  # a busy machine's
    assert settled["verdict"] == "slower" or by_load, settled["words"]
    assert repeats(checkout)[:4] == [1, 2, 3, 4]
    assert {cell: checkout.trained_seconds(cell) for cell in kept} == kept
    assert ": training, cell 7 of 12: host/fp32, repeat 4" in said, "as many again at most"
    assert list(schema.load(checkout.path).compare.looks)[:1] == [3]


def test_a_new_variant_and_a_changed_one_measure_their_own_cells_alone(tmp_path):
    checkout = Checkout(tmp_path / "project", images=["host"], repeats=[1])
    ran = checkout.repro()
    assert [name for name in ran if name.startswith("train")] == ["train@1-host-fp32", "train@1-host-mixed"]
    threads = {"precision": "fp32", "env": {"OMP_NUM_THREADS": "1"}}
    for variants, measured in (
        ({**VARIANTS, "threads": threads}, "threads"),
        ({"mixed": {"precision": "bf16"}, "fp32": VARIANTS["fp32"]}, "mixed"),  # in another order, and one less
    ):
        checkout.change(variants=variants)
        cells = [f"{stage}@1-host-{measured}" for stage in ("train", "evaluate")]
        assert [name for name in checkout.repro() if "@1-" in name] == cells


def wanted_cells(checkout):
    return schema.load(checkout.path).cells()


def repeats(checkout):
    return list(schema.load(checkout.path).repeats)
