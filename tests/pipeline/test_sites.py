"""Packs of six sessions by the real commands, with real DVC and git: what is told, and `dvc metrics diff`.

One checkout serves all tests, in the order in which they stand.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from stages import codec, records
from stages.harness.sites import collect
from stages.harness.sites.results import SITES_PAGE_PATH, SITES_PATH, SitesComparison
from tests import project, results, sites


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A git checkout into which five sessions were collected, and the pack of a sixth."""
    made = sites.make_project(tmp_path_factory.mktemp("checkout") / "project")
    sites.priced(made)
    (made / ".dvc").mkdir()
    for file in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(project.ROOT / file, made / file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setenv("HOME", str(made.parent))
        author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        for command in (("init", "-q"), ("add", "--all"), (*author, "commit", "-qm", "x")):
            subprocess.run(["git", *command], check=True)
        for number in range(6):
            older = {"profile": results.older("host", torch="1.2.0")} if number % 2 else {}
            sites.measure(made, number, **older, host=10 + number % 2)
            records.DATASET_PATH.write_text('{"train_items": 320}\n')
            if number == 5:
                project.stage(made, "compare")
            pack = sites.packed(made.parent / f"{number}.zip")
            if number < 5:
                collect.collect(pack, "ab"[number % 2])
        shutil.rmtree(made / "metrics")
        yield made


def test_the_last_session_is_collected_and_its_report_is_made_anew(checkout):
    said = project.stage(checkout, "collect", str(checkout.parent / "5.zip"), "--as", "b")
    first, *_ = said.splitlines()
    assert re.search(r"^sites/b/20260107-030405-\w+: 3 of 3 cells whole, .*; site b has 3 sessions now.$", first)
    (page,) = (checkout / "sites/b").glob("20260107-*/reports/faceoff.html")
    assert "host/fp32-bs16" in page.read_text() and "python -m stages" not in page.read_text()[:100]


def test_the_sites_are_compared_on_the_terminal_in_a_record_and_on_a_page(checkout):
    said = project.stage(checkout, "compare", "--sites", "a", "b")
    line = next(each for each in said.splitlines() if each.startswith("b, host/fp32-bs16, total time: "))
    assert line.startswith("b, host/fp32-bs16, total time: slower: 1.10")
    assert line.endswith("3 against 3 sessions); one cause differs: torch")
    assert "a: 0.36 USD per hour, by https://cloud.example/prices on 2026-11-27" in said and "SEC/STEP" in said
    found = codec.read(checkout / SITES_PATH, SitesComparison)
    assert found.sites == ("a", "b") and len(found.sessions) == 6
    assert "<title>Sites: a, b</title>" in (checkout / SITES_PAGE_PATH).read_text()


def test_dvc_tells_the_sites_apart_by_their_names(checkout):
    command = [sys.executable, "-m", "dvc", "metrics", "diff", "a", "b", "--all", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
    card = json.loads(done.stdout)["metrics/scorecard.json"]
    assert card["host/fp32-bs16.total_seconds"]["diff"] == pytest.approx(3.3, abs=0.1)
    assert card["host/fp32-bs16.accuracy"]["new"] == pytest.approx(0.97)
    assert card["host/fp32-bs16.total_seconds_sessions"]["old"].endswith("3 sessions")


def test_a_site_that_is_named_as_an_image_is_one_line(checkout):
    done = project.run_stage(checkout, "compare", "--sites", "a", "host")
    line = (
        "faceoff: host is an image (docker/host), and `dvc metrics diff` knows images and sites by their names: call "
    )
    assert (done.returncode, done.stderr) == (1, line + "the site otherwise, for example host-1\n")
