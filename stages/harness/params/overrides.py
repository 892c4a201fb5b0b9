"""Lays overrides over the text of a YAML file and keeps its comments, its order and how its values are spelled."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

REPLACED = ("variants",)  # mappings that an override does not add to


class _Representer(RoundTripRepresenter):
    """Writes null as `null`: an empty value reads as if one had been forgotten."""


_Representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def merged(text: str, overrides: Mapping[str, Any]) -> str:
    """Return the text with mappings merged key by key, and all other values replaced.

    It is as it was where that changes nothing.
    """
    yaml = round_trip()
    document = yaml.load(text)
    if not _merge(document, overrides):
        return text
    result = io.StringIO()
    yaml.dump(document, result)
    return result.getvalue()


def round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096  # never breaks a line that its author did not break
    return yaml


def _merge(target: dict[str, Any], overrides: Mapping[str, Any]) -> bool:
    """Change `target` in place; True where anything was changed."""
    changed = False
    for key, value in overrides.items():
        present = target.get(key)
        if isinstance(value, Mapping) and isinstance(present, dict) and key not in REPLACED:
            changed |= _merge(present, value)
        elif key not in target or present != value:
            target[key] = _in_one_line(value) if isinstance(value, list) else value
            changed = True
    return changed


def _in_one_line(values: list[Any]) -> CommentedSeq:
    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence
