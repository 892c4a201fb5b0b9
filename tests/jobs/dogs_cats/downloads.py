"""The stage `download` with an archive of a test's own server, in place of the source's own."""

import hashlib
from pathlib import Path

from tests.jobs.dogs_cats.helper_http import FileServer

FROM_SERVER = """
import hashlib, sys
import kagglesdk.kaggle_env as env
from pathlib import Path
from stages import download
from stages.errors import run_entry
from jobs.dogs_cats import sources
from jobs.dogs_cats.sources.fastai_archive import FastaiArchive
from jobs.dogs_cats.sources.kaggle import Kaggle

url, size, md5 = sys.argv[1:]
env._env_to_endpoint[env.KaggleEnv.LOCAL] = url
promised = {"train": 6, "valid": 6}
fastai = FastaiArchive(Path("data/downloads"), url + "/dogscats.tgz", int(size), md5, promised)
kaggle = Kaggle(promised=promised)
sources.pick = lambda dataset, _: {"fastai": fastai, "kaggle": kaggle}[dataset.source]
run_entry(download.main)
"""


def from_server(server: FileServer, folder: Path, archive: bytes) -> str:
    """Arguments of the Python that runs it in this folder; params.yaml says whether it is fastai's or Kaggle's."""
    (folder / "from_server.py").write_text(FROM_SERVER)
    md5 = hashlib.md5(archive[: 1 << 20], usedforsecurity=False).hexdigest()
    return f"from_server.py {server.url} {len(archive)} {md5}"


def kaggle_environment(folder: Path) -> dict[str, str]:
    """That makes kagglehub use this server, and a home and a cache in the folder."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    place = {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home / ".kaggle"), "KAGGLEHUB_CACHE": str(folder / "cache")}
    return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", **place}
