"""The job's download with an archive of a test's own server, in place of the source's own.

`from_server` writes a program beside run.py that takes its place; `in_project` has a project's job run it.
"""

import hashlib
from pathlib import Path

from tests.jobs.dogs_cats.helper_http import FileServer
from tests.project import ROOT

FROM_SERVER = """
import sys
from pathlib import Path

sys.path[0] = {root!r}
import kagglesdk.kaggle_env as env

from jobs.dogs_cats import run, seam, sources
from jobs.dogs_cats.sources.fastai_archive import FastaiArchive
from jobs.dogs_cats.sources.kaggle import Kaggle
from stages import contract
from stages.errors import run_entry

env._env_to_endpoint[env.KaggleEnv.LOCAL] = {url!r}
promised = {{"train": 6, "valid": 6}}
downloads = seam.folder(contract.DATA) / "downloads"
fastai = FastaiArchive(downloads, {url!r} + "/dogscats.tgz", {size}, {md5!r}, promised)
sources.pick = lambda dataset, _: {{"fastai": fastai, "kaggle": Kaggle(promised=promised)}}[dataset.source]
sys.argv = ["run.py", "download"]
run_entry(run.main)
"""


def in_project(server: FileServer, project: Path, archive: bytes) -> None:
    """Have `python -m stages.download` of the project ask the server."""
    job = project / "jobs/dogs_cats"
    from_server(server, job, archive, project)
    definition = (job / "job.yaml").read_text()
    (job / "job.yaml").write_text(definition.replace("run.py download", "from_server.py"))


def from_server(server: FileServer, folder: Path, archive: bytes, root: Path = ROOT) -> Path:
    """A program that does what `run.py download` does; the section says whether it is fastai's archive or Kaggle's."""
    md5 = hashlib.md5(archive[: 1 << 20], usedforsecurity=False).hexdigest()
    program = folder / "from_server.py"
    program.write_text(FROM_SERVER.format(root=str(root), url=server.url, size=len(archive), md5=md5))
    return program


def kaggle_environment(folder: Path) -> dict[str, str]:
    """That makes kagglehub use this server, and a home and a cache in the folder."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    place = {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home / ".kaggle"), "KAGGLEHUB_CACHE": str(folder / "cache")}
    return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", **place}
