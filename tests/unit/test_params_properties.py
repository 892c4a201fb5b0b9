"""Whatever stands in params.yaml, a preset or an image.yaml: it is taken, or refused in one line; never a traceback."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.errors import FaceoffError
from stages.harness.environments import definition
from stages.harness.params import jobs, schema
from tests.project import PARAMS, ROOT, copy_shipped

TEXT = yaml.safe_dump(
    {**PARAMS, "image": "host", "images": ["host"], "job": "bash_timer", "variants": {"small": {"level": 1}}}
    | {"compare": {"baseline": "host/small", "margin": 0.02, "looks": [], "remeasure": 1}},
    sort_keys=False,
)
DOCUMENT = yaml.safe_load(TEXT)
IMAGE_TEXT = (ROOT / "docker/cuda-10.0/image.yaml").read_text(encoding="utf-8")
JOB_TEXT = (ROOT / "jobs/says_more/job.yaml").read_text(encoding="utf-8")
SCALARS = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
ODD_LINES = """
&a [*a] | &a {a: *a} | {[1]: 2} | !!python/name:os.system | !!binary aGk= | !!binary é | !!set {a} | !!omap [a]
!!pairs [a: 1, a: 2] | !!int x | !!float x | !!timestamp x | !!null x | !!bool x | 2026-13-45 | 2026-01-01T25:00:00
0x | 0x1F | 0b | 1_000 | 1:30:00 | .inf | -.nan | <<: {a: 1} | ' | " | * | % | @
"""
ODD_TEXT = st.sampled_from(
    [each.strip() for line in ODD_LINES.strip().splitlines() for each in line.split("|")]
    + ["? {a: b}\n: c", "--- a\n--- b", "%YAML 9.9\n---\na: 1", "[" * 3000, "\x00", "\ufeff", "\x1b[2J", "\u202e"]
)
SLOW = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkout's images and presets, for a params.yaml of any content."""
    copy_shipped(tmp_path, "docker", "presets", "jobs")
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def refusal(read, *arguments) -> str | None:
    """The one line by which it is refused; None where it is taken. Any other exception fails the test."""
    try:
        read(*arguments)
    except FaceoffError as error:
        line = str(error)
        assert line and line.isprintable() and len(line) < 1000, repr(line)
        line.encode("utf-8")
        return line
    return None


def places(value, place=()):
    yield place
    for key, child in value.items() if isinstance(value, dict) else ():
        yield from places(child, (*place, key))


def with_value(document, place, value):
    if not place:
        return value
    return {**document, place[0]: with_value(document[place[0]], place[1:], value)}


def test_it_is_taken_as_it_is():
    assert refusal(schema.parse, TEXT, "params.yaml", ROOT) is None


@SLOW
@given(st.sampled_from(list(places(DOCUMENT))), VALUES)
def test_any_value_anywhere(place, value):
    text = yaml.safe_dump(with_value(DOCUMENT, place, value), allow_unicode=True)
    line = refusal(schema.parse, text, "params.yaml", ROOT)
    assert line is None or line.startswith(("params.yaml: ", "jobs/"))


@SLOW
@given(st.data())
def test_any_odd_yaml_anywhere(data):
    lines = TEXT.splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[index].partition(":")
    lines[index] = f"{key}{colon} {data.draw(ODD_TEXT)}\n"
    refusal(schema.parse, "".join(lines), "params.yaml", ROOT)


@SLOW
@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.text(max_size=5) | ODD_TEXT)
def test_any_slip_of_the_hand(begin, cut, instead):
    refusal(schema.parse, TEXT[:begin] + instead + TEXT[begin + cut :], "params.yaml", ROOT)


@SLOW
@given(
    content=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8"))
    | ODD_TEXT.map(str.encode)
)
def test_any_bytes_as_params_as_preset_and_as_image(folder, content):
    (folder / "presets/mine.yaml").write_bytes(content)
    (folder / "docker/cuda-10.0/image.yaml").write_bytes(content)
    refusal(schema.with_preset, "mine", folder)
    refusal(definition.load, "cuda-10.0", folder)
    (folder / "other").mkdir(exist_ok=True)
    (folder / "other/params.yaml").write_bytes(content)
    assert refusal(schema.load, folder / "other")


@SLOW
@given(place=st.sampled_from(list(places(DOCUMENT))), value=VALUES)
def test_any_preset(folder, place, value):
    overrides = value
    for key in reversed(place):
        overrides = {key: overrides}
    (folder / "presets/mine.yaml").write_text(yaml.safe_dump(overrides, allow_unicode=True), encoding="utf-8")
    refusal(schema.with_preset, "mine", folder)


@SLOW
@given(place=st.sampled_from(list(places(yaml.safe_load(JOB_TEXT)))), value=VALUES)
def test_any_job_yaml(folder, place, value):
    text = yaml.safe_dump(with_value(yaml.safe_load(JOB_TEXT), place, value), allow_unicode=True)
    (folder / "jobs/says_more/job.yaml").write_text(text, encoding="utf-8")
    line = refusal(jobs.load, "says_more", folder)
    assert line is None or line.startswith("jobs/says_more/job.yaml: ")


@SLOW
@given(place=st.sampled_from(list(places(yaml.safe_load(IMAGE_TEXT)))), value=VALUES)
def test_any_image_yaml(folder, place, value):
    document = with_value(yaml.safe_load(IMAGE_TEXT), place, value)
    text = yaml.safe_dump(document, allow_unicode=True)
    (folder / "docker/cuda-10.0/image.yaml").write_text(text, encoding="utf-8")
    refusal(definition.load, "cuda-10.0", folder)
