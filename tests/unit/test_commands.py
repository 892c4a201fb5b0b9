"""Commands of a job on the host (download, check, estimate), through the stages that run them: real processes."""

import json
from contextlib import chdir
from pathlib import Path

import pytest

from stages import codec, records
from stages.contract import Estimate
from stages.errors import FaceoffError
from stages.harness.environments import commands
from stages.harness.params import schema
from tests.project import make_project, run_stage, stage, write_job

VARIANTS = {"small": {"size": 1}, "large": {"size": 9}}
JOB = "train: python job.py {size}\n"
# Runs `tell(cell)`, which says a line.
PROLOGUE = """
import json, os, sys
cell = json.loads(os.environ["FACEOFF_CELL"])
def say(**line):
    open(os.environ["FACEOFF_EVENTS"], "a").write(json.dumps(line) + "\\n")
"""


def project(folder: Path, key: str, script: str, **overrides: object) -> Path:
    """A project whose job has this command."""
    settings = {"job": "mine", "variants": VARIANTS, "repeats": [1], **overrides}
    make_project(folder, ["host"], **settings)
    write_job(folder, "mine", {"job.yaml": f"{JOB}{key}: python job.py\n", "job.py": PROLOGUE + script})
    params = folder / "params.yaml"
    params.write_text(params.read_text() + "mine: {depth: 3}\n")
    return folder


def one_line(done: object) -> str:
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    return done.stderr.removeprefix("faceoff: ").rstrip()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("if cell['parameters']['size'] > 5: say(error='size: at most 5')", "check of variant large: size: at most 5"),
        (
            "if cell['section']['depth'] == 3: sys.exit('depth 3 will not do')",
            "small: ended with exit code 1: depth 3 will",
        ),
        ("if cell['variant'] == 'large': sys.exit(4)", "check of variant large: ended with exit code 4"),
        (
            "say(metrik='x')",
            "check of variant small: its events, line 1: unknown key 'metrik' (did you mean 'metric'?)",
        ),
        ("say(error='odd')\nsys.exit('odd')", "check of variant small: odd"),
    ],
)
@pytest.mark.parametrize("entry", ["params", "job"])
def test_what_the_check_refuses_is_one_line_before_anything_else(
    tmp_path: Path, entry: str, script: str, said: str
) -> None:
    root = project(tmp_path, "check", script)
    found = one_line(run_stage(root, entry))
    assert found.startswith("jobs/mine/job.yaml: check of variant ") and said in found
    assert not (root / records.JOB_PATH).exists()


def test_what_checks_tell_of_the_datas_source_and_what_lies_elsewhere_is_what_the_download_depends_on(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = project(tmp_path / "project", "check", "say(fact='source', value=cell['section']['depth'])")
    definition = root / "jobs/mine/job.yaml"
    definition.write_text(f"{definition.read_text()}data: [{elsewhere}]\n")
    found = []
    for name in (None, "more"):
        if name:
            (elsewhere / name).touch()
        stage(root, "job")
        found.append(json.loads((root / records.SOURCE_PATH).read_text()))
    assert [each["told"] for each in found] == [["3"], ["3"]]
    assert found[0]["folders"] != found[1]["folders"]


def test_a_check_that_is_content_says_nothing(tmp_path: Path) -> None:
    assert run_stage(project(tmp_path, "check", "print('fine', file=sys.stderr)"), "params").stderr == "fine\nfine\n"


def test_a_download_fills_the_jobs_folder_and_its_facts_are_numbers_of_the_data_set(tmp_path: Path) -> None:
    script = """
from pathlib import Path
data = Path(os.environ["FACEOFF_DATA"])
for name, text in {"a/x": "12", "b": "345", "downloads/archive": "not hashed"}.items():
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).write_text(text)
say(fact="items", value=2)
say(fact="source", value="here")
assert os.getcwd().endswith("jobs/mine") and cell["variants"] == [{"size": 1}, {"size": 9}] and cell["job"] == "mine"
"""
    root = project(tmp_path, "download", script)
    stage(root, "download")
    assert json.loads((root / records.DATASET_PATH).read_text()) == {"files": 2, "bytes": 5, "items": 2.0}
    first = codec.read(root / records.MANIFEST_PATH, records.Manifest)
    assert (first.job, first.files, first.size_bytes) == ("mine", 2, 5)
    stage(root, "download")
    assert codec.read(root / records.MANIFEST_PATH, records.Manifest) == first
    write_job(root, "mine", {"job.py": PROLOGUE + script.replace("345", "346")})
    stage(root, "download")
    assert codec.read(root / records.MANIFEST_PATH, records.Manifest).sha256 != first.sha256


def test_kaggles_token_is_for_the_download_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "canary")
    script = "sys.exit(os.environ.get('KAGGLE_API_TOKEN', 'none'))"
    assert one_line(run_stage(project(tmp_path / "a", "download", script), "download")).endswith(": canary")
    assert one_line(run_stage(project(tmp_path / "b", "check", script), "params")).endswith(": none")


def test_a_download_that_fails_leaves_no_manifest_and_what_it_leaves_running_is_ended(tmp_path: Path) -> None:
    root = project(tmp_path, "download", "import subprocess; subprocess.Popen(['sleep', '60'])\nsys.exit('no network')")
    (root / "data").mkdir()
    codec.write(root / records.MANIFEST_PATH, records.Manifest("mine", "0" * 64, 0, 0))
    said = one_line(run_stage(root, "download"))
    assert said == "jobs/mine/job.yaml: download: ended with exit code 1: no network"
    assert not (root / records.MANIFEST_PATH).exists()


def test_folders_elsewhere_are_listed_by_name_and_size(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "x").write_text("abc")
    (elsewhere / "loop").symlink_to(elsewhere)
    root = project(tmp_path / "project", "data", "")
    write_job(root, "mine", {"job.yaml": f"{JOB}data: [{elsewhere}]\n"})
    stage(root, "download")
    first = codec.read(root / records.MANIFEST_PATH, records.Manifest)
    assert (first.files, first.size_bytes) == (1, 3)
    (elsewhere / "deep" / "x").write_text("abcd")
    stage(root, "download")
    assert codec.read(root / records.MANIFEST_PATH, records.Manifest).sha256 != first.sha256


def test_a_link_to_nothing_among_the_data_is_named_as_one(tmp_path: Path) -> None:
    root = project(tmp_path, "check", "")
    (root / "data/mine").mkdir(parents=True)
    (root / "data/mine/x").symlink_to("/no/such/file")
    said = one_line(run_stage(root, "download"))
    assert said == "data/mine/x: a symbolic link to /no/such/file, which is not there: mend or remove it"


def test_an_estimate_is_asked_for_an_image_and_a_variant(tmp_path: Path) -> None:
    script = """
assert cell["gpus"] == 1 and cell["image"] == "cuda-10.0" and not cell["on_gpu"]
assert cell["packages"]["fastai"] == "1.0.48"
say(estimate={"shm_bytes": 1000 * cell["parameters"]["size"]})
"""
    root = project(tmp_path, "estimate", script)
    with chdir(root):
        wanted = schema.load()
        assert commands.estimate(wanted, "cuda-10.0", "large", root) == Estimate(shm_bytes=9000)
        with pytest.raises(FaceoffError, match=r"estimate of variant small: ended with exit code 1: AssertionError"):
            commands.estimate(wanted, "host", "small", root)
