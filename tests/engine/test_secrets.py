"""Kaggle's token, in its variables or its files: a canary that is searched for wherever faceoff writes."""

import base64
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from stages import records
from tests import real_engine
from tests.downloads import from_server, kaggle_environment
from tests.project import make_project, run_stage
from tests.unit.helper_http import Kaggle, serving
from tests.unit.helper_photos import photo_set, zip_of

pytestmark = pytest.mark.engine

CANARY = "KGAT_0123456789canary0123456789abcdef"
TOKENS = {
    "variables": ({"KAGGLE_USERNAME": "somebody", "KAGGLE_KEY": CANARY}, {}),
    "variable": ({"KAGGLE_API_TOKEN": CANARY}, {}),
    "kaggle.json": ({}, {"kaggle.json": json.dumps({"username": "somebody", "key": CANARY})}),
    "access_token": ({}, {"access_token": CANARY}),
}


@pytest.mark.parametrize(("variables", "files"), TOKENS.values(), ids=TOKENS)
def test_the_token_goes_to_kaggle_and_nowhere_else(tmp_path: Path, variables: dict, files: dict) -> None:
    engine = real_engine.connect()
    folder = make_project(tmp_path / "project", ["host"], dataset={"source": "kaggle"}, recipe={"pretrained": False})
    build = {"base": real_engine.base(engine), "packages": "docker/bare/none.txt", "torch": "docker/bare/none.txt"}
    (folder / "docker/bare").mkdir()
    (folder / "docker/bare/none.txt").write_text(f"# nothing, for {tmp_path}\n")
    (folder / "docker/bare/image.yaml").write_text(yaml.safe_dump({"build": build, "expects": {"python": "3"}}))
    environment = kaggle_environment(tmp_path) | variables
    for name, content in files.items():
        (tmp_path / "home/.kaggle").mkdir(exist_ok=True)
        (tmp_path / "home/.kaggle" / name).write_text(content)
        (tmp_path / "home/.kaggle" / name).chmod(0o600)
    said: list[str] = []

    archive = zip_of(photo_set())
    with serving(Kaggle()) as server:
        server.offer(archive)
        command = [sys.executable, *shlex.split(from_server(server, folder, archive))]
        for status in (401, 500, None):
            server.status = status
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
            )
            said += done.stdout, done.stderr
            assert done.returncode == (0 if status is None else 1), done.stderr
    shown = server.authorizations | {
        base64.b64decode(each.partition(" ")[2] + "==").decode(errors="replace") for each in server.authorizations
    }
    assert CANARY in str(shown), "the token was never used, so that this test says nothing"

    for stage in ("machine", "image host", "image bare", "inside host -- true"):
        done = run_stage(folder, *stage.split(), **environment)
        said += done.stdout, done.stderr
        assert done.returncode == 0, done.stderr
    reference = json.loads((folder / records.image_path("bare")).read_text())["reference"]
    try:
        look = "env; tr '\\0' '\\n' </proc/1/environ; cat /proc/*/cmdline; ls -a $HOME; sleep 2"
        arguments = [sys.executable, "-m", "stages.inside", "bare", "--", "sh", "-c", look]
        process = subprocess.Popen(
            arguments, cwd=folder, env={**os.environ, **environment}, stdout=-1, stderr=-1, text=True
        )
        running = []
        while not running and process.poll() is None:
            running = real_engine.containers(engine, f"faceoff.pid={process.pid}")
            time.sleep(0.05)
        said += [json.dumps(each.attrs) for each in running]
        said += process.communicate()
        assert running and "HOME=/tmp" in said[-2]
        saved = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
        history = subprocess.run(["docker", "history", "--no-trunc", reference], capture_output=True, check=True).stdout
    finally:
        real_engine.remove_image(engine, reference)
    assert len(saved) > 10**8
    written = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    written |= {str(path): path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    everything = written | {"output": "".join(said).encode(), "image": saved, "history": history}
    assert len(written) > 50
    forms = [CANARY.encode(), base64.b64encode(f"somebody:{CANARY}".encode())]
    assert [place for place, content in everything.items() if any(form in content for form in forms)] == []
