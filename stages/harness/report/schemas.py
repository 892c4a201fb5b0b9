"""JSON schemas of the records, made of their dataclasses: types, limits of numbers, and what comments say of fields."""

import ast
import dataclasses
import inspect
import io
import json
import re
import sys
import tokenize
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import codec, contract, records
from stages.harness.sites.names import Index
from stages.harness.sites.results import SitesComparison

SCHEMAS_DIR = Path("docs/schema")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Everything that is written as a record, by the name of its schema.
RECORDS = {
    "against": records.Against,
    "comparison": records.Comparison,
    "contents": records.Contents,
    "facts": records.Facts,
    "failed": records.Failed,
    "image": records.Image,
    "image-task": records.ImageTask,
    "job": records.Job,
    "machine": records.Machine,
    "manifest": records.Manifest,
    "pack": Index,
    "preflight": records.Preflight,
    "profile": records.Profile,
    "result": records.Result,
    "session": records.Session,
    "setting": records.Belongs,
    "sites": SitesComparison,
    "task": records.Task,
}
# What stands beside a record's own fields in its file.
FRAME = {
    "schema_version": {"const": codec.SCHEMA_VERSION},
    "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "sha256 of all else, its keys sorted"},
}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
ONE_OF = re.compile(r"^of (?:contract\.)?([A-Z][A-Z_]+)\b")  # begin of a comment: the value is one of that tuple


def texts() -> dict[Path, str]:
    """Return what the files of docs/schema have to hold, by their paths."""
    return {
        SCHEMAS_DIR / f"{name}.json": json.dumps(schema(name, kind), indent=2, ensure_ascii=False) + "\n"
        for name, kind in RECORDS.items()
    }


def schema(name: str, kind: type) -> dict[str, Any]:
    """Return the JSON schema of a file that holds such a record."""
    definitions: dict[str, Any] = {}
    whole = _record(kind, definitions)
    frame = {**FRAME, **whole["properties"]}
    found = {
        "$schema": DIALECT,
        "title": name,
        **whole,
        "properties": frame,
        "required": [*FRAME, *whole["required"]],
    }
    return found | ({"$defs": dict(sorted(definitions.items()))} if definitions else {})


def _record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a dataclass; those that it holds go to the definitions."""
    comments, hints = _comments(kind), typing.get_type_hints(kind)
    properties: dict[str, Any] = {}
    required = []
    for field in dataclasses.fields(kind):
        said = comments.get(field.name, "")
        found = _limited(field.name, _one_of(kind, said, _value(hints[field.name], definitions)))
        said = ONE_OF.sub("", said).lstrip("; :,") if "enum" in found else said
        properties[field.name] = found | ({"description": said} if said else {})
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return {
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _value(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field's type: what codec.decode takes."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # it may hold itself
            definitions[hint.__name__] = _record(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if each is type(None) else _value(each, definitions) for each in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(inner[1], definitions)}
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return {"type": "array", "items": _value(inner[0], definitions)}
    if origin is tuple:
        parts = [_value(each, definitions) for each in inner]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    raise TypeError(f"no schema for {hint!r}: stages/codec.py does not read it either")


def _limited(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Say of a number what its name says: no amount is below 0, no share outside of 0 to 1."""
    if codec.AMOUNT.fullmatch(name):
        limits = {"minimum": 0}
    elif codec.SHARE.fullmatch(name):
        limits = {"minimum": 0, "maximum": 1}
    else:
        return found
    if "anyOf" in found:
        return {"anyOf": [_limited(name, each) for each in found["anyOf"]]}
    return {**found, **limits} if found.get("type") in ("number", "integer") else found


def _one_of(kind: type, said: str, found: dict[str, Any]) -> dict[str, Any]:
    """Say which texts there may be, where the comment names a tuple of them."""
    match = ONE_OF.match(said)
    module = sys.modules[kind.__module__]
    known = getattr(module, match[1], getattr(contract, match[1], None)) if match else None
    if not isinstance(known, tuple):
        return found
    if found.get("type") == "string":
        return {"enum": [*known]}
    if "anyOf" in found and {"type": "string"} in found["anyOf"]:
        return {"enum": [*known, None]}
    return found


def _comments(kind: type) -> Mapping[str, str]:
    """Return what comments above a field and beside it say."""
    source = inspect.getsource(kind)
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {number for number, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith("#")}
    [tree] = ast.parse(source).body
    found = {}
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = node.lineno - 1
            while above in alone:
                above -= 1
            lines = [by_line[number] for number in range(above + 1, node.lineno)]
            lines += [by_line[node.end_lineno]] if node.end_lineno in by_line else []
            found[node.target.id] = " ".join(lines)
    return found
