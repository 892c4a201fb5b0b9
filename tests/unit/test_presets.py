"""Laying overrides over YAML text: comments, order and spelling stay; the presets that there are."""

from pathlib import Path

import pytest
import yaml

from stages.harness.environments import definition
from stages.harness.params import schema
from stages.harness.params.overrides import merged
from tests.project import DOGS_CATS, PARAMS, PRESETS, ROOT

TEXT = """\
# What it is for.
image: host                 # whose metrics
images: [host]              # folders
recipe:
  size: 96                  # pixels
  rates: [1.0e-5, 3.0e-4]   # two
  name: "quoted"
limit: null                 # none

extra: {}                   # free
"""


def test_nothing_to_lay_over_leaves_every_byte():
    assert merged(TEXT, {}) == TEXT
    assert merged(TEXT, {"image": "host", "images": ["host"], "recipe": {"size": 96, "rates": [1e-5, 3e-4]}}) == TEXT


def test_only_the_lines_of_changed_values_change():
    old, new = TEXT.splitlines(), merged(TEXT, {"recipe": {"size": 224}}).splitlines()
    assert [line for line in new if line not in old] == ["  size: 224                 # pixels"]
    assert len(old) == len(new)


def test_a_null_stays_null():
    assert "limit: null                 # none" in merged(TEXT, {"image": "cpu"})


def test_lists_are_replaced_as_a_whole_and_stay_in_one_line():
    assert "images: [cpu, gpu]" in merged(TEXT, {"images": ["cpu", "gpu"]})


@pytest.mark.parametrize("overrides", [{"limit": "8g"}, {"extra": {"a": "b"}}, {"new": 1}, {"recipe": {"new": None}}])
def test_comments_survive(overrides):
    comments = [line.split("#")[1] for line in TEXT.splitlines() if "#" in line]
    result = merged(TEXT, overrides)
    assert [line.split("#")[1] for line in result.splitlines() if "#" in line] == comments


def test_laying_over_twice_is_laying_over_once():
    overrides = {"image": "cpu", "images": ["cpu"], "recipe": {"size": 1}, "limit": 3, "extra": {"a": "b"}}
    once = merged(TEXT, overrides)
    assert merged(once, overrides) == once


def test_variants_are_replaced_whole():
    text = "variants: # named sets\n  fp32: {size: 1}\n  mixed: {size: 2}\nseed: 1\n"
    assert merged(text, {"variants": {"fp32": {"rate": 2}}}).splitlines()[1:] == ["  fp32:", "    rate: 2", "seed: 1"]


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_names_what_is_there(tmp_path: Path, preset: str) -> None:
    for folder in ("docker", "jobs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    overrides = yaml.safe_load((ROOT / f"presets/{preset}.yaml").read_text())
    text = merged(yaml.safe_dump({**PARAMS, "dogs_cats": DOGS_CATS}), overrides)
    (tmp_path / "params.yaml").write_text(text)
    params = schema.load(tmp_path)
    assert all(definition.load(image, tmp_path) for image in params.images)
    assert params.compare.baseline.partition("/")[0] in params.images
