"""The codec: what goes in comes out, and anything else is a RecordError in one line; under Python 3.7 too."""

import dataclasses
import json
import math
import os
import subprocess
import sys
import types
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import codec, records
from stages.codec import RecordError
from stages.errors import FaceoffError
from stages.records import Cell, Job, Manifest, Result, Task
from stages.workload.supervisor.progress import Arrival, Part, Progress
from stages.workload.supervisor.sampling import Sampled, Until
from tests import comparisons, environments, results

ROOT = Path(__file__).resolve().parents[2]
CELL = Cell("host", "fp32-bs16", 1)
MANIFEST = Manifest("toy", "b" * 64, 416, 9_000_000)
TASK = Task(
    CELL, "train", ("python", "train.py"), results.JOB, results.belongs(CELL), (), None, True, 1, "/usr/lib64-nvidia", 2
)
PART = Part(
    0,
    True,
    False,
    (
        Arrival.packed(
            results.span("head", 1.0, step_seconds=(0.1, 0.2)),
            Until(results.LOAD, 90.0),
            80.0,
            results.card("GPU-1", 345e6).spans,
        ),
    ),
    None,
    results.CONDITIONS,
    Sampled(("GPU-1",), "counted", 31.0, None, None, (results.card("GPU-1", 345e6),)),
    "now",
    1.0,
)

EXAMPLES = [
    results.JOB,
    MANIFEST,
    TASK,
    records.ImageTask("host", results.JOB, (TASK,), {"a": 1}, "auto", (), None, 20.0, None, {"a": 2}, True, None),
    Progress(TASK.belongs, (PART,), 1, ()),
    results.CONTENTS,
    results.image("host"),
    results.machine(hardware=environments.hardware(environments.gpu(), environments.gpu("A100", mig=True))),
    results.profile("host"),
    results.trained(CELL),
    results.trained(CELL, energy=results.energy(900.0), cards=(results.card("GPU-1", 345e6),)),
    results.not_run(results.trained(CELL), "unsupported", "why"),
    results.evaluated(CELL),
    comparisons.pair(),
]
KINDS = {type(example).__name__: type(example) for example in EXAMPLES}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def values(kind, name=""):
    """Values of a type of a record's field of this name."""
    if kind in (int, float) and (codec.AMOUNT.fullmatch(name) or codec.SHARE.fullmatch(name)):
        return st.floats(0, 1) if kind is float else st.integers(min_value=0)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return st.fixed_dictionaries(
            {name: values(hint, name) for name, hint in typing.get_type_hints(kind).items() if name != "absent"}
        ).flatmap(lambda fields: st.just(with_reasons(kind, fields)))
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(each, name) for each in arguments])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if origin is dict:
        return st.dictionaries(st.text(), values(arguments[1]), max_size=2)
    return {
        str: st.text(),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


def with_reasons(kind, fields):
    """The record of these fields; where it has a field `absent`, a reason for each that is null."""
    if "absent" in kind.__dataclass_fields__:
        fields = {**fields, "absent": {name: "why" for name, value in fields.items() if value is None}}
    return kind(**fields)


def document_of(record):
    return json.loads(json.dumps(dataclasses.asdict(record)))


def places(value, place=()):
    """Every place in a JSON value, as keys and indices from its top."""
    yield place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*place, key))


def with_value(document, place, value):
    """A copy of the document with another value at the place."""
    if not place:
        return value
    copied = json.loads(json.dumps(document))
    target = copied
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return copied


def message_of(kind, document):
    """The refusal of a document; None where it is taken. Anything but a RecordError fails the test."""
    try:
        codec.decode(kind, document, "x.json")
    except RecordError as error:
        return str(error)
    return None


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_what_is_written_is_read(record, tmp_path):
    path = tmp_path / "folder" / "record.json"
    codec.write(path, record)
    assert codec.read(path, type(record)) == record
    assert path.read_text().endswith("}\n") and path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


UNCHECKED = [
    Manifest,
    records.Cpu,
    records.Gpu,
    records.GpuState,
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(UNCHECKED).flatmap(values))
def test_any_record_comes_back_as_it_was(record):
    assert codec.decode(type(record), document_of(record), "x.json") == record


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), JSON_VALUES)
def test_no_json_value_makes_anything_but_a_record_or_a_record_error(kind, value):
    message_of(KINDS[kind], value)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_no_change_of_a_valid_document_makes_anything_but_a_record_or_a_record_error(data):
    example = data.draw(st.sampled_from(EXAMPLES))
    document = document_of(example)
    place = data.draw(st.sampled_from(list(places(document))))
    changed = with_value(document, place, data.draw(JSON_VALUES))
    message = message_of(type(example), changed)
    assert message is None or (message.startswith("x.json") and "\n" not in message and len(message) < 700)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_bytes_in_a_file_make_anything_but_a_record_or_a_record_error(tmp_path_factory, data):
    """Any, and those of a true file with a slip of the hand or of the disk in it."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    example = data.draw(st.sampled_from(EXAMPLES))
    codec.write(path, example)
    whole = path.read_bytes()
    begin, cut = data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, 40))
    slip = data.draw(st.binary(max_size=8) | st.sampled_from([b"\\ud800", b"1e999", b"-0", b"{", b'"', b"9" * 5000]))
    slipped = whole[:begin] + slip + whole[begin + cut :]
    path.write_bytes(data.draw(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(slipped)))
    try:
        assert codec.read(path, type(example)) == example
    except RecordError as error:
        line = str(error)
        assert line.startswith(f"{path}: ") and line.isprintable() and len(line) < 900, repr(line)


LATER = ("peak_job_memory_bytes",)


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_every_missing_and_every_unknown_key_is_named(record):
    document = document_of(record)
    for place in places(document):
        if place and isinstance(place[-1], str) and dataclasses.is_dataclass(type(record)) and len(place) == 1:
            without = {key: value for key, value in document.items() if key != place[0]}
            later = place[0] in LATER  # files of this version may be without it
            assert message_of(type(record), without) == (None if later else f"x.json: key '{place[0]}' is missing")
    assert "unknown key 'surplus'" in message_of(type(record), {**document, "surplus": 1})


def test_a_misspelled_key_gets_the_nearest_one():
    document = document_of(results.JOB)
    document["resume"] = document.pop("resumes")
    assert "unknown key 'resume' (did you mean 'resumes'?); expected name, " in message_of(Job, document)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("seed",), "96", "x.json: seed: expected a whole number, found '96'"),
        (("seed",), True, "x.json: seed: expected a whole number, found True"),
        (("seed",), 96.0, "x.json: seed: expected a whole number, found 96.0"),
        (("resumes",), 1, "x.json: resumes: expected true or false, found 1"),
        (("name",), 3, "x.json: name: expected text, found 3"),
        (("total",), "wall", "x.json: total: expected a list, found 'wall'"),
        (("metrics", "accuracy", "better"), "more", "better: expected one of higher, lower, found 'more'"),
        (("metrics", "accuracy", "unit"), " ", "unit: expected a unit in words, "),
        (("files", "job.yaml"), None, "x.json: files['job.yaml']: expected text, found None"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(place, value, expected):
    assert expected in message_of(Job, with_value(document_of(results.JOB), place, value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ", found None"), (math.nan, ", found nan"), ("1e-5", ", with a point before its exponent as in 1.0e-5")],
)
def test_a_wrong_number_is_named_with_what_was_expected(value, expected):
    document = with_value(document_of(results.trained(CELL)), ("wall_seconds",), value)
    assert f"x.json: wall_seconds: expected a finite number{expected}" in message_of(Result, document)


def test_a_number_without_a_point_is_taken_for_a_float():
    document = with_value(document_of(results.evaluated(CELL)), ("wall_seconds",), 3)
    assert isinstance(codec.decode(Result, document, "x").wall_seconds, float)


@pytest.mark.parametrize(("status", "reason"), [("ok", "but"), ("failed", None), ("done", None)])
def test_status_and_reason_must_agree(status, reason):
    document = {**document_of(results.evaluated(CELL)), "status": status, "reason": reason}
    assert message_of(Result, document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema_version": 5, "job": "toy", "sha256": "a", "files": 1, "size_bytes": 12}',
        '{"schema_version": 7, "job": "toy", "sha256": "a", "files": 1, "size_bytes": 12}',
        '{"schema_version": true}',
        '{"schema_version": 7.0}',
        "{}",
        '{"schema_version": 7, "job": NaN}',
        "[" * 100_000,
        '"\\ud800"',
        "\x00",
    ],
)
def test_a_file_that_is_no_record_is_refused_by_its_name(text, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        codec.read(path, Manifest)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_file_of_another_schema_says_what_to_do(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text('{"schema_version": 5}')
    with pytest.raises(
        RecordError, match=r"not of schema version \d+; .*: measure again with `.venv/bin/dvc repro -f`"
    ):
        codec.read(path, Manifest)


def test_bytes_that_are_no_text_and_a_folder_are_refused(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "bytes.json", tmp_path):
        with pytest.raises(RecordError, match="not readable as JSON"):
            codec.read(path, Manifest)


def numbers(document):
    """Every place in a document that holds a number."""
    for place in places(document):
        value = document
        for key in place:
            value = value[key]
        if type(value) in (int, float):
            yield place, value


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (("wall_seconds",), -1.0, "wall_seconds: expected 0 or more, found -1.0"),
        (("spans", 1, "seconds"), -0.1, "spans[1].seconds: expected 0 or more, found -0.1"),
        (("spans", 0, "split", "wait_seconds"), -1, "spans[0].split.wait_seconds: expected 0 or more, found -1"),
        (("attempts", 0, "load", "steal_share"), 1.01, "attempts[0].load.steal_share: expected 0 to 1, found 1.01"),
        (("attempts", 0, "after_spans"), -1, "attempts[0].after_spans: expected 0 or more, found -1"),
        (("stage",), "download", "stage: expected one of train, evaluate, found 'download'"),
        (
            ("ceilings",),
            None,
            "absent: expected a reason for each null field and no other (ceilings, cpu_joules, energy, predictions_",
        ),
    ],
)
def test_what_no_cell_can_have_measured_is_named(field, value, expected):
    assert expected in message_of(Result, with_value(document_of(results.trained(CELL)), field, value))


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_any_number_that_is_changed_by_hand_is_found(record, tmp_path):
    path = tmp_path / "record.json"
    codec.write(path, record)
    document = json.loads(path.read_text())
    changed = 0
    for place, value in numbers(document):
        path.write_text(json.dumps(with_value(document, place, value + 1 if value == 0 else value * 0.99)))
        with pytest.raises(RecordError, match="^" + str(path)):
            codec.read(path, type(record))
        changed += 1
    assert changed > 0
    path.write_text(json.dumps(document))  # other spacing, the same content
    assert codec.read(path, type(record)) == record


def test_another_digest_and_none_are_named(tmp_path):
    path = tmp_path / "manifest.json"
    codec.write(path, MANIFEST)
    document = json.loads(path.read_text())
    for digest in (None, 3, "0" * 64):
        path.write_text(json.dumps({**document, "digest": digest}))
        with pytest.raises(
            RecordError, match=r"manifest\.json: digest: .*it was changed after it was written; measure"
        ):
            codec.read(path, Manifest)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_named_by_file_and_key(text, tmp_path):
    path = tmp_path / "evaluate-1.json"
    codec.write(path, results.evaluated(CELL, wall_seconds=1234.5))
    path.write_text(path.read_text().replace("1234.5", text))
    with pytest.raises(RecordError, match=r"-1\.json: wall_seconds: expected a finite number, found -?(nan|inf)"):
        codec.read(path, Result)


def test_a_disk_that_is_full_or_not_writable_is_one_line_and_the_old_file_stays(tmp_path):
    (tmp_path / "in the way").touch()
    with pytest.raises(FaceoffError, match=r"in the way/manifest\.json: not written: .*: see to it that this user"):
        codec.write(tmp_path / "in the way/manifest.json", MANIFEST)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_have_is_not_written_and_the_old_file_stays(value, tmp_path):
    path = tmp_path / "evaluate-1.json"
    codec.write(path, results.evaluated(CELL))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        codec.write(path, results.evaluated(CELL, wall_seconds=value))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def python37():
    """A Python 3.7 of this machine; None where there is none."""
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.7.*/bin/python")
    return next((str(path) for path in sorted(roots)), None)


UNDER_37 = """
import json, sys
from stages import codec, records
from stages.workload.supervisor.progress import Progress
kinds = dict(vars(records), Progress=Progress)
for kind, document in json.load(open(sys.argv[1])):
    try:
        record = codec.decode(kinds[kind], document, "x.json")
        print(json.dumps("ok"))
    except codec.RecordError as error:
        print(json.dumps(str(error)))
"""


@pytest.mark.skipif(python37() is None, reason="no Python 3.7 below ~/.pyenv")
def test_python_37_says_the_same_of_every_change_of_every_document(tmp_path):
    wrong = [None, True, 0, -1, 1.5, "text", "1e-5", [], {}, {"surplus": 1}, 10**400]
    cases = []
    for name, kind in KINDS.items():
        example = next(each for each in EXAMPLES if type(each) is kind)
        document = document_of(example)
        cases.append((name, document))
        cases += [(name, with_value(document, place, each)) for place in places(document) for each in wrong]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [python37(), "-c", UNDER_37, str(tmp_path / "cases.json")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    old = [json.loads(line) for line in done.stdout.splitlines()]
    assert old == [message_of(KINDS[name], document) or "ok" for name, document in cases]
    assert sys.version_info[:2] > (3, 7) and len(old) > 1000 and "ok" in old
