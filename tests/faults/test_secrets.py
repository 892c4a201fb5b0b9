"""Kaggle's token, in its variables or its files: a canary that is searched for wherever faceoff writes."""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from stages import records
from tests import real_engine
from tests.jobs.dogs_cats.downloads import in_project, kaggle_environment
from tests.jobs.dogs_cats.helper_http import Kaggle, serving
from tests.jobs.dogs_cats.helper_photos import photo_set, zip_of
from tests.project import DOGS_CATS, make_project, run_stage

CANARY = "KGAT_0123456789canary0123456789abcdef"
TOKENS = {
    "variables": ({"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": CANARY}, {}),
    "variable": ({"KAGGLE_API_TOKEN": CANARY}, {}),
    "kaggle.json": ({}, {"kaggle.json": json.dumps({"username": "somebody", "key": CANARY})}),
    "access_token": ({}, {"access_token": CANARY}),
}


def credentials(folder: Path, variables: dict[str, str], files: dict[str, str]) -> dict[str, str]:
    """The environment of a user who has this token, and logs all that there is to log."""
    environment = kaggle_environment(folder) | variables
    for name, content in files.items():
        (folder / "home/.kaggle").mkdir(exist_ok=True)
        (folder / "home/.kaggle" / name).write_text(content)
        (folder / "home/.kaggle" / name).chmod(0o600)
    return environment | {"KAGGLEHUB_VERBOSITY": "debug"}


def holding_the_token(everything: dict[str, bytes]) -> list[str]:
    forms = [CANARY.encode(), base64.b64encode(f"somebody:{CANARY}".encode())]
    return [place for place, content in everything.items() if any(form in content for form in forms)]


def files_below(folder: Path) -> dict[str, bytes]:
    """All files but those that the user keeps the token in."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("kaggle.json", "access_token")]
    return {str(path): path.read_bytes() for path in paths}


@pytest.mark.parametrize(("variables", "files"), TOKENS.values(), ids=TOKENS)
def test_a_download_shows_the_token_to_kaggle_alone(tmp_path: Path, variables: dict, files: dict) -> None:
    environment = os.environ | credentials(tmp_path, variables, files)
    variants = {"plain": {"precision": "fp32", "batch_size": 16}}
    section = {"dataset": {**DOGS_CATS["dataset"], "source": "kaggle"}}
    folder = make_project(tmp_path / "project", ["host"], job="dogs_cats", variants=variants, dogs_cats=section)
    archive = zip_of(photo_set())
    said = b""
    with serving(Kaggle()) as server:
        server.offer(archive)
        in_project(server, folder, archive)
        command = [sys.executable, "-m", "stages.download"]
        for status in (401, 500, None):
            server.status = status
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
            said += done.stdout + done.stderr
            assert done.returncode == (0 if status is None else 1), done.stderr
    basic = [base64.b64decode(each.removeprefix("Basic ")) for each in server.authorizations if "Basic " in each]
    assert CANARY in f"{server.authorizations} {basic}", "the token was never used, so that this test says nothing"
    written = files_below(tmp_path)
    assert len(written) > 50
    assert holding_the_token(written | {"output": said}) == []


@pytest.mark.engine
def test_no_container_image_or_result_holds_the_token(tmp_path: Path) -> None:
    engine = real_engine.connect()
    everywhere = [dict[str, str](), dict[str, str]()]
    for each in TOKENS.values():
        everywhere = [one | more for one, more in zip(everywhere, each, strict=True)]
    environment = os.environ | credentials(tmp_path, *everywhere)
    folder = make_project(tmp_path / "project", ["host"])
    build = {"base": real_engine.base(engine), "packages": "docker/bare/none.txt", "torch": "docker/bare/none.txt"}
    (folder / "docker/bare").mkdir()
    (folder / "docker/bare/none.txt").write_text(f"# nothing, for {tmp_path}\n")
    (folder / "docker/bare/image.yaml").write_text(yaml.safe_dump({"build": build, "expects": {"python": "3"}}))
    found: dict[str, bytes] = {}
    for stage in ("machine", "image host", "image bare"):
        done = run_stage(folder, *stage.split(), **environment)
        found[stage] = (done.stdout + done.stderr).encode()
        assert done.returncode == 0, done.stderr
    reference = json.loads((folder / records.image_path("bare")).read_text())["reference"]
    try:
        look = "env; cat /proc/*/environ /proc/*/cmdline; ls -a $HOME; sleep 3"
        command = [sys.executable, "-m", "stages.inside", "bare", "--", "sh", "-c", look]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-1)
        running = []
        while not running and process.poll() is None:
            running = real_engine.containers(engine, f"faceoff.pid={process.pid}")
            time.sleep(0.05)
        found |= {"container": json.dumps([each.attrs for each in running]).encode()}
        found |= dict(zip(("printed", "errors"), process.communicate(), strict=True))
        assert running and b"HOME=/tmp" in found["printed"]
        found["image"] = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
        history = ["docker", "history", "--no-trunc", reference]
        found["history"] = subprocess.run(history, capture_output=True, check=True).stdout
    finally:
        real_engine.remove_image(engine, reference)
    assert len(found["image"]) > 10**8
    assert holding_the_token(found | files_below(folder)) == []
