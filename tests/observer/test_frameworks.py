"""Trainings whose loop is a framework's, the real one: each pass as counters and timers of the script's own have it."""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.observer.observing import Seen, observe, observe_times

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
AROUND = 0.006  # s of a pass: what a framework does between its call back and its loader. 1 % of a pass of 0.6 s
TIMES = re.compile(r"\d+\.\d+|\d+(?=')")


@pytest.fixture(params=["hugging_face.py", "lightning_2.py", "timm_pieces.py"])
def script(request: pytest.FixtureRequest) -> str:
    script: str = request.param
    package = {"hugging_face.py": "transformers", "lightning_2.py": "lightning"}.get(script, "timm")
    if importlib.util.find_spec(package) is None and not os.environ.get("CI"):
        pytest.skip(f"{package} is not installed: `make test` adds it")
    return script


def test_each_pass_is_as_the_script_has_it_and_the_script_as_without(tmp_path: Path, script: str) -> None:
    without = observe(tmp_path / "without", script, **OFFLINE, FACEOFF_OBSERVE="", PYTHONPATH="")

    def off(seen: Seen) -> list[str]:
        assert said(seen) == said(without)
        return differences(seen)

    seen, wrong = observe_times(tmp_path, off, script, **OFFLINE)
    assert not wrong, (wrong, seen.truth, seen.observation.spans)


def differences(seen: Seen) -> list[str]:
    """Return whose times are not those of the script's timers; all counts must be the script's."""
    own, spans = seen.truth["spans"], seen.observation.spans
    assert [(each.name, each.steps, each.samples) for each in spans] == [
        (each["name"], each["steps"], each["samples"]) for each in own
    ]
    assert all(each.split is not None for each in spans if each.name == "train")
    assert [note for note in seen.observation.notes if "microseconds" not in note] == []
    # Of a validation that nothing ends, the last batch's work is taken to be as long as is usual, the rest training's.
    pairs = [
        (
            truth["name"],
            found.seconds,
            truth["seconds"],
            AROUND + truth["around"] if truth["name"] == "train" else truth["seconds"] / truth["steps"],
        )
        for found, truth in zip(spans, own, strict=True)
    ]
    pairs.append(("all", sum(each[1] for each in pairs), sum(each[2] for each in pairs), 0.0))
    return [
        f"{number}, {name}"
        for number, (name, found, truth, around) in enumerate(pairs)
        if found != pytest.approx(truth, rel=0.01, abs=around)
    ]


def said(seen: Seen) -> tuple[Any, ...]:
    """All that the script says, but times; what it kept are losses and the next random numbers."""
    *lines, _ = seen.done.stdout.splitlines()
    return (
        seen.done.returncode,
        [TIMES.sub("", each) for each in lines],
        seen.done.stderr,
        json.dumps(seen.truth["kept"]),
    )
