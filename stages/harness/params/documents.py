"""YAML files as people write them: read as text, refused in one line where they are none."""

from pathlib import Path
from typing import Any

import yaml

from stages import codec
from stages.errors import FaceoffError
from stages.harness.params.overrides import round_trip


def read_text(path: Path) -> str:
    """Return the file's text. Raises FaceoffError where it is missing or not to be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FaceoffError(f"{path}: missing; run from the top of the checkout") from None
    except (OSError, ValueError) as error:
        raise FaceoffError(f"{path}: not readable: {error}") from None
    codec.check_merged(text, str(path))
    return text


def document(text: str, where: str) -> dict[str, Any]:
    """Return the mapping that PyYAML reads; what ruamel refuses, as DVC does, is refused too: keys that occur twice."""
    try:
        round_trip().load(text)
        document = yaml.safe_load(text)
    except Exception as error:  # beside their own errors, what int() and date() say of '0x' and of 2026-13-45
        raise FaceoffError(f"{where}: not readable as YAML: {_first_words(error)}") from None
    if not isinstance(document, dict):
        raise FaceoffError(f"{where}: expected keys with values, found {document!r:.80}")
    return document


def _first_words(error: Exception) -> str:
    """Return the problem and its place: their own texts go over many lines."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return " ".join(str(problem or error).split()) + place
