"""The seam's events: what a line may say, and everything else refused by file and line; under Python 3.7 too."""

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import contract
from stages.codec import RecordError
from stages.contract import Ceilings, Estimate, Events, JobMeasurement, Span, Split, read_events
from stages.predictions import read_predictions
from tests.project import ROOT
from tests.supervised import LEGACY

SPLIT = {"wait_seconds": 0.8, "copy_seconds": 0, "compute_seconds": 10.9, "other_seconds": 0.6}
LINES: list[dict[str, Any]] = [
    {"resumed_after_spans": 0},
    {"span": "head", "seconds": 12.5, "samples": 320, "steps": 20, "values": {"loss": 0.5}, "split": SPLIT},
    {"span": "head", "seconds": 3},
    {"span": "body", "seconds": 2.0, "steps": 3, "step_seconds": [0.7, 0, 0.652]},
    {"metric": "accuracy", "value": 0.937},
    {"fact": "number_format", "value": "bf16"},
    {"fact": "compiled", "value": True},
    {"ceilings": {"loader_samples_per_second": 410.0, "compute_samples_per_second": 95.5}},
    {"measurement": "reads", "unit": "bytes/s", "samples": [1.0e9], "explains": "wait", "applies": {"size": 3}},
    {"estimate": {"shm_bytes": 65536, "elsewhere_bytes": {"/cache": 7}}},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def write(path: Path, *lines: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def refusal(path: Path, line: str | bytes, declared: Mapping[str, Any] | None = None) -> str:
    """Why the line is refused, behind the file's name."""
    path.write_bytes(line if isinstance(line, bytes) else line.encode())
    with pytest.raises(RecordError) as caught:
        read_events(path, dict(declared) if declared is not None else None)
    message = str(caught.value)
    assert message.startswith(str(path)) and message.isprintable() and len(message) < 600
    return message[len(str(path)) :].lstrip(", ")


def test_every_kind_of_line_is_taken(path: Path) -> None:
    found = read_events(write(path, *LINES), {"accuracy": None})
    assert found == Events(
        spans=(
            Span("head", 12.5, 320, 20, {"loss": 0.5}, Split(0.8, 0.0, 10.9, 0.6)),
            Span("head", 3.0),
            Span("body", 2.0, steps=3, step_seconds=(0.7, 0.0, 0.652)),
        ),
        metrics={"accuracy": 0.937},
        facts={"number_format": "bf16", "compiled": True},
        resumed_after_spans=0,
        ceilings=Ceilings(410.0, 95.5),
        measurements=(JobMeasurement("reads", "bytes/s", (1e9,), "", "wait", {"size": 3}),),
        estimate=Estimate(shm_bytes=65536, elsewhere_bytes={"/cache": 7}),
    )
    assert found.spans[0].stepping_seconds == pytest.approx(12.3) and found.spans[1].stepping_seconds == 3.0


def test_no_file_an_empty_one_and_blank_lines_say_nothing(path: Path) -> None:
    assert read_events(path) == Events()
    path.write_text("\n  \n")
    assert read_events(path) == Events()


def test_the_last_word_on_a_metric_and_a_fact_counts_and_an_error_is_one_line(path: Path) -> None:
    twice = ({"metric": "a", "value": 1}, {"metric": "a", "value": 2}, {"error": "one\n  two"}, {"unsupported": "x"})
    found = read_events(write(path, *twice))
    assert (found.metrics, found.error, found.unsupported) == ({"a": 2.0}, "one two", "x")


def test_what_would_move_a_terminals_cursor_is_left_out_of_words(path: Path) -> None:
    reason = "\x1b[1;31mno room\x1b[0m:\x07 \x1b]0;title\x07see\u202e \x1b[2Jlogs\x1b"
    found = read_events(write(path, {"error": reason}, {"unsupported": reason}, {"fact": "a", "value": reason}))
    assert found.error == found.unsupported == found.facts["a"] == "no room: see logs"


def test_half_a_character_becomes_one_that_can_be_written(path: Path) -> None:
    halves = {
        "measurement": "a",
        "unit": "x",
        "samples": [],
        "detail": "no \udcff, \U0001f600",
        "applies": {"b\ud800": "\ud83d"},
    }
    found = read_events(write(path, halves, {"error": "no \udcff"}))
    assert found.measurements == (JobMeasurement("a", "x", (), "no ?, \U0001f600", None, {"b?": "?"}),)
    assert found.error == "no ?"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("half", "line 1: not JSON ("),
        ('{"span": "a", "sec', "line 1: not JSON (Unterminated string starting at: line 1 column 15 (char 14)): '{\""),
        ('{"error": "\\u001b[31m\\n"}', "line 1: error: expected a sentence, found '\\x1b[31m\\n'"),
        ("[" * 100_000, "line 1: not JSON ("),
        (b'{"span": "\xff", "seconds": 1}', "line 1: bytes that are no UTF-8"),
        ("[1]", "line 1: expected an object, {...}, found [1]"),
        ("{}", "line 1: unknown key ''; expected span, metric, fact, unsupported, "),
        ('{"sapn": "a"}', "line 1: unknown key 'sapn' (did you mean 'span'?); a line has one of span, metric, "),
        ('{"span": "a", "metric": "b"}', "line 1: span and metric in one line; expected one of them"),
        ('{"span": "a", "second": 1}', "line 1: unknown key 'second' (did you mean 'seconds'?)"),
        ('{"span": "a"}', "line 1: key 'seconds' is missing"),
        ('{"span": "a", "seconds": "1"}', "line 1.seconds: expected a finite number, found '1'"),
        ('{"span": "a", "seconds": true}', "line 1.seconds: expected a finite number, found True"),
        ('{"span": "a", "seconds": NaN}', "line 1: not JSON (NaN is no number)"),
        ('{"span": "a", "seconds": -Infinity}', "line 1: not JSON (-Infinity is no number)"),
        ('{"span": "a", "seconds": 1e999}', "line 1.seconds: expected a finite number, found inf"),
        ('{"span": "a", "seconds": -1}', "line 1.seconds: expected 0 or more, found -1.0"),
        ('{"span": "a", "seconds": 1, "samples": 1.5}', "line 1.samples: expected a whole number, found 1.5"),
        ('{"span": "a", "seconds": 1, "split": {"wait": 1}}', "line 1.split: unknown key 'wait'"),
        ('{"span": "a", "seconds": 1, "step_seconds": 1}', "line 1.step_seconds: expected a list, found 1"),
        (
            '{"span": "a", "seconds": 1, "step_seconds": [0.1, -0.1]}',
            "line 1.step_seconds[1]: expected a finite number, 0 or more, found -0.1",
        ),
        ('{"span": "a", "seconds": 1, "step_seconds": ["0.1"]}', "line 1.step_seconds[0]: expected a finite number, "),
        ('{"span": "a", "seconds": 1, "step_seconds": [true]}', "line 1.step_seconds[0]: expected a finite number, "),
        ('{"span": "a", "seconds": 1, "step_seconds": [1e999]}', "line 1.step_seconds[0]: expected a finite number, "),
        (
            '{"span": "a", "seconds": 1, "step_seconds": [1' + "0" * 400 + "]}",
            "line 1.step_seconds[0]: expected a finite number, 0 or more, found 1000",
        ),
        ('{"span": "a", "seconds": 1, "step_seconds": [NaN]}', "line 1: not JSON (NaN is no number)"),
        (
            '{"span": "a", "seconds": 1, "steps": 3, "step_seconds": [0.1, 0.1]}',
            "line 1.step_seconds: expected one for each of 3 steps, found 2",
        ),
        ('{"span": "", "seconds": 1}', "line 1: span: expected a name in one line, found ''"),
        ('{"span": "a\\nb", "seconds": 1}', "line 1: span: expected a name in one line, found 'a\\nb'"),
        (
            '{"span": "total", "seconds": 1}',
            "line 1: span 'total': total_seconds is there by itself: name it otherwise",
        ),
        (
            '{"span": "a", "seconds": 1, "values": {"a\\u001bb": 1}}',
            "line 1: values: expected a name in one line, found ",
        ),
        ('{"span": "a", "seconds": 1, "values": {"": 1}}', "line 1: values: expected a name in one line, found ''"),
        ('{"fact": "a", "value": 1, "value": 2}', "line 1: not JSON (key 'value' stands there twice)"),
        ('{"span": "a", "seconds": 1, "values": {"b": 1, "b": 2}}', "line 1: not JSON (key 'b' stands there twice)"),
        ('{"metric": "a"}', "line 1: key 'value' is missing"),
        ('{"metric": "a", "value": null}', "line 1: value: expected a finite number, found None"),
        ('{"fact": "a", "value": [1]}', "line 1: value: expected text, a number, true or false, found [1]"),
        ('{"error": 3}', "line 1: error: expected a sentence, found 3"),
        ('{"resumed_after_spans": -1}', "line 1: resumed_after_spans: expected 0 or more, before the first span"),
        ('{"measurement": "a", "unit": "x", "samples": [], "explains": "luck"}', "line 1.explains: expected one of "),
        ('{"span": "a", "seconds": 1}\n{"fact": "a", "value": 1}', "line 2: 'a' is a fact here and was a span before"),
        ('{"span": "a", "seconds": 1}\n{"resumed_after_spans": 1}', "line 2: resumed_after_spans: expected 0 or more"),
    ],
)
def test_everything_else_is_refused_by_file_and_line(path: Path, line: str | bytes, expected: str) -> None:
    assert refusal(path, line).startswith(expected)


def test_a_metric_that_is_not_declared_is_refused_with_the_nearest(path: Path) -> None:
    said = refusal(path, '{"metric": "acuracy", "value": 1}', {"accuracy": None})
    assert said == "line 1: metric 'acuracy' is not in `metrics` of job.yaml (did you mean 'accuracy'?)"


def test_a_split_of_more_than_its_span_is_refused(path: Path) -> None:
    line = '{{"span": "a", "seconds": {}, "split": {}}}'
    said = refusal(path, line.format(12.1, json.dumps(SPLIT)))
    assert said == "line 1.split: expected parts that make up 12.1 s at most, found 12.3 s"
    path.write_text(line.format(12.2, json.dumps(SPLIT)))  # two clocks
    assert read_events(path).spans[0].split is not None


def test_steps_of_more_than_their_span_are_refused(path: Path) -> None:
    line = '{{"span": "a", "seconds": {}, "step_seconds": [0.75, 0.25]}}'
    said = refusal(path, line.format(0.98))
    assert said == "line 1.step_seconds: expected steps that make up 0.98 s at most, found 1 s"
    path.write_text(line.format(0.991))  # two clocks
    assert read_events(path).spans[0].step_seconds == (0.75, 0.25)


def test_steps_may_be_told_without_their_number_and_their_number_without_them(path: Path) -> None:
    shared = {"span": "a", "seconds": 1}
    found = read_events(write(path, {**shared, "step_seconds": [0.5]}, {**shared, "steps": 3, "step_seconds": []}))
    assert [(span.steps, span.step_seconds) for span in found.spans] == [(None, (0.5,)), (3, ())]


def test_a_span_whose_time_is_a_declared_metric_is_refused(path: Path) -> None:
    line = '{"span": "zip", "seconds": 1}'
    said = refusal(path, line, {"zip_seconds": None})
    assert said == "line 1: span 'zip': its time is zip_seconds, which `metrics` of job.yaml has too: rename one"
    assert read_events(path, {"unzip_seconds": None}).spans == (Span("zip", 1.0),)


def test_too_much_is_refused_before_it_is_read(path: Path) -> None:
    assert refusal(path, b"\n" * (contract.MOST_BYTES + 1)).startswith(": 8388609 bytes, at most 8388608 are read: ")
    path.unlink()
    path.mkdir()
    with pytest.raises(RecordError, match="not readable: "):
        read_events(path)


GOOD = "item,label,predicted,p\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": expected the columns item,label,predicted first, found nothing"),
        ("item, label, predicted\n", ", line 1: expected the columns item,label,predicted first, found 'item, label, "),
        (GOOD + "a,1,0,.5\nb,1\n", ", line 3: expected an item, its label and what was predicted, found 'b,1'"),
        (GOOD + "a,,0,.5\n", ", line 2: expected an item, its label and what was predicted, found 'a,,0,.5'"),
        (GOOD + "a,1,0,\ufffd\n", ", line 2: expected an item, its label and what was predicted, found 'a,1,0,"),
        (GOOD + "a,1,0,.5\n\na,1,1,.5\n", ", line 4: expected each item once, found 'a,1,1,.5'"),
        (GOOD + 'a,1,"0\n', ", line 2: unexpected end of data"),
    ],
)
def test_a_row_that_is_no_prediction_is_refused_by_its_line(path: Path, text: str, expected: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_predictions(text, path)
    assert str(caught.value).startswith(str(path) + expected) and str(caught.value).isprintable()


def test_predictions_are_right_where_the_label_is_what_was_predicted(path: Path) -> None:
    assert read_predictions(GOOD + 'a,1,0\r\n"b,c",1,1,.5\n', path) == {"a": False, "b,c": True}
    assert read_predictions("item,label,predicted", path) == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_line_makes_anything_but_events_or_one_line_of_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any bytes, any JSON, and true lines with a value changed."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    line = dict(data.draw(st.sampled_from(LINES)))
    line[data.draw(st.sampled_from(sorted(line)) | st.text(max_size=9))] = data.draw(VALUES)
    drawn = (
        st.just(json.dumps(line).encode()) | st.binary(max_size=50) | VALUES.map(lambda each: json.dumps(each).encode())
    )
    path.write_bytes(data.draw(drawn))
    try:
        read_events(path)
    except RecordError as error:
        assert str(error).startswith(str(path)) and str(error).isprintable() and len(str(error)) < 2500


UNDER_37 = """
import dataclasses, json, sys
from pathlib import Path
from stages import contract
print(json.dumps(dataclasses.asdict(contract.read_events(Path(sys.argv[1])))))
"""


@pytest.mark.skipif(not LEGACY, reason="no Python 3.7 below ~/.pyenv")
def test_python_37_reads_the_same(path: Path) -> None:
    write(path, *LINES)
    done = subprocess.run([LEGACY[0], "-c", UNDER_37, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(dataclasses.asdict(read_events(path))))
