"""The one file that is pushed: a script with this checkout in it, so that nothing is cloned or has to be public."""

import base64
from pathlib import Path

from reach import checkout
from stages.errors import FaceoffError
from stages.units import amount

WIDTH = 120
MOST_BYTES = 1_000_000  # of a kernel's source, by Kaggle
HEAD = '''\
"""A face-off in one file, made by reach.kaggle: unpacks its checkout, runs it, and leaves pack.zip."""

import base64
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

CHECKOUT = """
'''
TAIL = """\
output = pathlib.Path("/kaggle/working")  # what lies there afterwards is fetched; elsewhere, this folder
if not output.is_dir():
    output = pathlib.Path.cwd()
folder = pathlib.Path(tempfile.mkdtemp(prefix="faceoff-"))
content = base64.b85decode("".join(CHECKOUT.split()))
with tarfile.open(fileobj=io.BytesIO(content), mode="r:xz") as archive:
    archive.extractall(folder)
wheels = next(pathlib.Path("/kaggle/input").rglob("dvc-[0-9]*.whl"), None)  # a data set
if wheels is not None:
    os.environ["FACEOFF_WHEELS"] = str(wheels.parent)
command = [sys.executable, str(folder / "reach/session.py"), "--pack", str(output / "pack.zip")]
command += ["--state", str(output / "state.json"), *PRESET]
sys.exit(subprocess.run(command).returncode)
"""


def render(root: Path, preset: str | None) -> str:
    """Write the script. Raises FaceoffError where the checkout is too large to be carried so."""
    payload = base64.b85encode(checkout.packed(root)).decode()
    lines = (payload[place : place + WIDTH] for place in range(0, len(payload), WIDTH))
    chosen = ["--preset", preset] if preset else []
    text = HEAD + "\n".join(lines) + f'\n"""\nPRESET = {chosen}\n' + TAIL
    if len(text) > MOST_BYTES:
        raise FaceoffError(
            f"the script with this checkout takes {amount(len(text))}, and Kaggle's take at most {amount(MOST_BYTES)}: "
            "move data out of jobs/ and docker/, or have git ignore it"
        )
    return text
