"""Write the notebook of one cell that runs a session of this commit on Colab, and print the badge that opens it.

    python -m reach.colab [--repository URL] [--preset colab]

It writes reach/colab/faceoff.ipynb: commit and push that; the badge leads to it on the branch that is checked out.
"""

import argparse
import json
import re
import subprocess
from pathlib import Path

from stages import codec
from stages.errors import FaceoffError, run_entry

NOTEBOOK = Path("reach/colab/faceoff.ipynb")
GITHUB = re.compile(r"(?:https://github\.com/|(?:ssh://)?git@github\.com[:/])([\w.-]+/[\w.-]+?)(?:\.git)?/?")
LOGIN = re.compile(r"(?<=^https://)[^/@\s]+@")  # a token, mostly
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/{branch}/{notebook})"
)
CELL = """\
# A face-off by faceoff: clones its commit, runs it in this notebook's own Python, and downloads pack.zip.
# At home: .venv/bin/python -m stages.collect pack.zip --as colab-1. Run again, it goes on where it was.
import pathlib
import subprocess
import sys

REPOSITORY = {repository!r}
COMMIT = {commit!r}
PRESET = {preset!r}

folder, pack = pathlib.Path("faceoff"), pathlib.Path("pack.zip").absolute()
if not (folder / "reach/session.py").exists():
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", REPOSITORY, str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", COMMIT], check=True)
pack.unlink(missing_ok=True)  # an earlier one
command = [sys.executable, "reach/session.py", "--pack", str(pack), *(["--preset", PRESET] if PRESET else [])]
session = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
try:
    for line in session.stdout:
        print(line, end="")
except KeyboardInterrupt:
    session.terminate()
code = session.wait()
try:
    from google.colab import files
except ImportError:
    files = None  # another notebook: the pack lies beside it
if pack.exists() and files is not None:
    files.download(str(pack))
if code:
    raise RuntimeError(f"the session ended with exit code {{code}}; its words are above. Run again, it goes on")
"""


def main() -> int:
    """Write the notebook, and print its badge."""
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m reach.colab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repository", metavar="URL", help="if not given, that of the remote origin")
    parser.add_argument("--preset", metavar="NAME", default="colab", help="colab if not given; '' for none")
    parser.add_argument("--output", metavar="FILE", type=Path, default=NOTEBOOK)
    given = parser.parse_args()
    repository = given.repository or _git("config", "--get", "remote.origin.url", lacks="a remote origin: --repository")
    repository = LOGIN.sub("", repository)  # which everybody may read, once it is pushed
    on_github = GITHUB.fullmatch(repository)
    if on_github is not None:
        repository = f"https://github.com/{on_github[1]}"  # a notebook has no key for git@
    commit = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", lacks="a commit: make one")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    codec.write_text(given.output, notebook(cell(repository, commit, given.preset)))
    print(f"{given.output}: runs {commit[:12]} of {repository}")
    if on_github is None:
        print("Colab opens notebooks of github.com by a badge; this one is to be uploaded there by hand")
    else:
        branch = _git("rev-parse", "--abbrev-ref", "HEAD", lacks="a branch")
        print(BADGE.format(repository=on_github[1], branch=branch, notebook=given.output.as_posix()))
    return 0


def cell(repository: str, commit: str, preset: str) -> str:
    """Write the cell."""
    return CELL.format(repository=repository, commit=commit, preset=preset)


def notebook(source: str) -> str:
    """Write a notebook of that one cell, which asks Colab for a GPU."""
    code: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": "faceoff",
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }
    metadata = {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    }
    return json.dumps({"cells": [code], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _git(*arguments: str, lacks: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise FaceoffError(f"this checkout lacks {lacks}")
    return done.stdout.strip()


if __name__ == "__main__":
    run_entry(main)
