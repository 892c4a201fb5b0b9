"""A real container whose workers are more than its CPU quota: that is told, with what to set."""

from pathlib import Path

import pytest

from stages import codec, records
from stages.records import Cell, Comparison, Preflight, Result, preflight_path
from tests import real_engine
from tests.project import cell_stage, make_project, run_stage, stage, write_job

pytestmark = pytest.mark.engine

JOB = {
    "job.yaml": "train: python train.py {workers}\n",
    "train.py": """import os, sys, time
began = time.time()
pids = []
for _ in range(int(sys.argv[1])):
    pids.append(os.fork())
    if pids[-1] == 0:
        while time.time() < began + 0.5:
            pass
        os._exit(0)
for pid in pids:
    os.waitpid(pid, 0)
""",
}
WORDS = "2 workers share a CPU quota of 1, which stops them all when it is used up"
ADVICE = "set fewer workers, or container.cpuset in place of container.cpus"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = real_engine.base(real_engine.connect())
    variants = {"two": {"workers": 2}, "one": {"workers": 1}}
    container = {"cpus": 1.0, "gpus": "none"}
    root = make_project(
        tmp_path_factory.mktemp("quota"), ["host"], job="busy", variants=variants, repeats=[1], container=container
    )
    write_job(root, "busy", JOB)
    (root / "docker/probe").mkdir()
    (root / "docker/probe/image.yaml").write_text(f"pull: {base}\nexpects: {{python: '3'}}\n")
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("- host", "- probe").replace("host", "probe"))
    for each in (["machine"], ["job"], ["download"], ["image", "probe"]):
        stage(root, *each)
    return root


def test_it_is_told_before_the_first_cell_and_beside_the_verdict(project: Path) -> None:
    done = run_stage(project, "inside", "probe", "--profile")
    assert done.returncode == 0, done.stderr
    checks = codec.read(project / preflight_path("probe"), Preflight).checks
    (found,) = [each for each in checks if "quota" in each.name]
    assert (found.name, found.status, found.found, found.advice) == ("CPU quota, two", "warning", WORDS, ADVICE)
    assert (
        f"warning: CPU quota, two: needs no more threads and workers than CPUs; found: {WORDS}; {ADVICE}" in done.stdout
    )
    for variant in ("two", "one"):
        for name in ("train", "evaluate"):
            cell_stage(project, name, "probe", variant)
    (attempt,) = codec.read(project / Cell("probe", "two", 1).result_path("train"), Result).attempts
    assert attempt.load.throttled_seconds is not None
    stage(project, "compare")
    compared = codec.read(project / records.COMPARISON_PATH, Comparison)
    assert [each for each in compared.warnings if "quota" in each] == [f"probe/two: {WORDS}: {ADVICE}"]
    assert f"- warning: probe/two: {WORDS}: {ADVICE}" in (project / records.REPORT_PATH).read_text()
