"""docs/schema: what is there is what the records are, and says what the codec holds."""

import ast
import dataclasses
import json

import pytest

from stages import codec, records
from stages.harness.report import schemas
from tests import comparisons, results
from tests.project import ROOT

CELL = records.Cell("host", "fp32-bs16", 1)
WRITTEN = {
    "comparison": comparisons.measured,
    "facts": lambda: results.facts("host"),
    "image": lambda: results.image("host"),
    "job": lambda: results.JOB,
    "machine": results.machine,
    "profile": lambda: results.profile("host"),
    "result": lambda: results.trained(CELL),
    "session": lambda: records.Session("2026-01-02T03:04:05+00:00"),
}


def test_the_files_are_those_of_the_records():
    there = {
        path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in (ROOT / schemas.SCHEMAS_DIR).iterdir()
    }
    assert there == schemas.texts(), "run `.venv/bin/python -m stages.schemas`, and commit docs/schema"


def test_whatever_is_read_as_a_record_has_a_schema():
    known = {kind.__name__ for kind in schemas.RECORDS.values()}
    found = set()
    for path in (ROOT / "stages").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("codec.read", "codec.parse"):
                found.add(ast.unparse(node.args[1]).removeprefix("records."))
    assert len(found) > 8 and found - {"kind"} <= known


def misfits(schema, value, whole, where=""):
    """Places where a document is not as the schema says, of the words that our schemas use."""
    if "$ref" in schema:
        yield from misfits(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, whole, where)
    elif "anyOf" in schema:
        if all([*misfits(each, value, whole, where)] for each in schema["anyOf"]):
            yield where
    elif "const" in schema or "enum" in schema:
        if value not in schema.get("enum", [schema.get("const")]):
            yield where
    elif schema.get("type") == "object":
        of_keys = schema.get("properties", {})
        if not isinstance(value, dict) or any(name not in value for name in schema.get("required", ())):
            yield where
            return
        for name, each in value.items():
            of_name = of_keys.get(name, schema["additionalProperties"])
            yield from misfits(of_name, each, whole, f"{where}/{name}") if of_name is not False else [f"{where}/{name}"]
    elif schema.get("type") == "array":
        if not isinstance(value, list):
            yield where
            return
        parts = schema.get("prefixItems") or [schema["items"]] * len(value)
        for index, (part, each) in enumerate(zip(parts, value, strict=True)):
            yield from misfits(part, each, whole, f"{where}/{index}")
    elif schema.get("type") == "null":
        if value is not None:
            yield where
    elif "type" in schema:
        kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
        is_kind = isinstance(value, kinds[schema["type"]]) and (schema["type"] == "boolean" or value is not True)
        if (
            not is_kind
            or (value is None and schema["type"] != "null")
            or ("minimum" in schema and value < schema["minimum"])
        ):
            yield where


@pytest.mark.parametrize("name", WRITTEN)
def test_a_record_fits_its_schema_and_a_changed_one_does_not(name):
    schema = schemas.schema(name, schemas.RECORDS[name])
    document = json.loads(codec.text(WRITTEN[name]()))
    assert [*misfits(schema, document, schema)] == []
    field = dataclasses.fields(schemas.RECORDS[name])[0].name
    assert [*misfits(schema, {**document, field: 17.5 if name != "session" else None}, schema)]
    assert [*misfits(schema, {**document, "more": 1}, schema)] == ["/more"]
    assert [*misfits(schema, {key: document[key] for key in document if key != field}, schema)] == [""]


def test_a_schema_says_what_numbers_and_words_there_may_be():
    result = schemas.schema("result", records.Result)
    assert result["properties"]["status"]["enum"] == list(records.STATUSES)
    seconds = result["properties"]["wall_seconds"]
    assert (seconds["type"], seconds["minimum"]) == ("number", 0)
    assert seconds["description"].startswith("of the supervisor, all attempts together")
    load = result["$defs"]["Load"]["properties"]["others_share"]
    assert load["anyOf"] == [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]
    ratio = schemas.schema("comparison", records.Comparison)["$defs"]["Ratio"]["properties"]["p_value"]
    assert ratio["description"].startswith("That there is no difference; corrected for how many settings")
    assert ratio["description"].endswith("None where nothing is tested.")
