"""Runs git: what it prints, or its refusal in one line."""

import os
import subprocess

from stages.errors import FaceoffError


def run(*arguments: str, stdin: str = "", refusal: str | None = None, **environment: str) -> bytes:
    """Give what git prints. Raises FaceoffError with git's own words, or with `refusal` where it has none."""
    try:
        done = subprocess.run(
            ["git", *arguments], input=stdin.encode(), env={**os.environ, **environment}, capture_output=True
        )
    except FileNotFoundError:
        raise FaceoffError("git is not installed") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()).removeprefix("fatal: ")
        raise FaceoffError(said or refusal or f"git {arguments[0]} failed")
    return done.stdout


def text(*arguments: str, stdin: str = "", refusal: str | None = None, **environment: str) -> str:
    """Give what git prints as text that names files as Python does, without the white space at its ends."""
    return os.fsdecode(run(*arguments, stdin=stdin, refusal=refusal, **environment)).strip()


def is_commit(revision: str) -> bool:
    """Whether git knows a commit by that name here."""
    try:
        run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except FaceoffError:
        return False
    return True
