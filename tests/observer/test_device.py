"""What marks in a GPU's queue tell, on a stand-in for the queue below torch.cuda: no GPU was here."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.contract import Span, Split
from stages.harness.comparison.bottlenecks import bottleneck
from stages.harness.results.read import CellResult
from stages.records import Cell
from stages.workload.observer.read import Observation
from tests import results
from tests.observer.observing import Seen, observe

PARTS = ("wait", "copy", "compute", "other")
SEEDS = 20


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return observe(tmp_path_factory.mktemp("card"), "on_card.py", SEEDS=str(SEEDS))


def trained(observation: Observation) -> list[Span]:
    return [span for span in observation.spans if span.name == "train"]


def pairs(seen: Seen) -> list[tuple[dict[str, Any], Span]]:
    """Each second epoch with the card's own truth."""
    return list(zip(seen.truth["found"], trained(seen.observation)[1::2], strict=True))


def kind(span: Span) -> str:
    cell = Cell("host", next(iter(results.VARIANTS)), 1)
    train = results.trained(cell, spans=(span,), ceilings=None, facts={"device": "a stand-in"})
    found = bottleneck([CellResult(cell, "ok", None, train, results.evaluated(cell))])
    assert found is not None
    return found.last.kind


def shares(split: Split) -> dict[str, float]:
    return {part: getattr(split, f"{part}_seconds") / split.seconds for part in PARTS}


def test_counts_are_exact_and_all_is_known_by_the_cards_clock(planted: Seen) -> None:
    assert planted.counts == {key: planted.truth[key] for key in planted.counts}
    assert planted.observation.cuda and not planted.observation.queued
    assert all(note.startswith("steps take ") for note in planted.observation.notes)  # the observer's own share of them
    assert all(len(span.step_seconds) == span.steps for span in trained(planted.observation))


def test_planted_kinds_are_told_right_in_19_of_20(planted: Seen) -> None:
    right: Counter[str] = Counter()
    for truth, span in pairs(planted):
        right[truth["name"]] += kind(span) == truth["name"].split(",")[0]
    assert len(right) >= 15 and all(count >= 0.95 * SEEDS for count in right.values()), right


def test_parts_of_a_step_are_those_that_were_planted(planted: Seen) -> None:
    for truth, span in pairs(planted):
        assert span.split is not None
        whole = sum(truth[part] for part in PARTS)
        assert shares(span.split) == pytest.approx({part: truth[part] / whole for part in PARTS}, abs=0.01), truth
        assert span.split.seconds == pytest.approx(span.seconds, rel=0.001)


def test_launching_is_nearly_all_of_compute_or_nearly_nothing(planted: Seen) -> None:
    """Or what an optimiser of many small launches takes, of which the card is idle for the most part."""
    for truth, span in pairs(planted):
        assert span.split is not None and span.split.launch_seconds is not None
        share = span.split.launch_seconds / span.split.compute_seconds
        if "slow optimiser" in truth["name"]:
            assert share == pytest.approx(truth["idle_in_compute"] / truth["compute"], abs=0.1), truth
        elif truth["name"].startswith(("launch-bound", "compute-bound")):
            launches = truth["name"].startswith("launch-bound")
            assert (share > 0.95) if launches else (share < 0.05), (share, truth)


def test_steps_are_told_as_the_card_ends_them(planted: Seen) -> None:
    """Of a host that runs ahead, the times at which it queues its steps say nothing of what they take."""
    for truth, span in pairs(planted):
        if truth["name"] == "compute-bound, many kernels":
            usual = sum(truth[part] for part in PARTS) / (span.steps or 1)
            assert all(each == pytest.approx(usual, rel=0.25) for each in span.step_seconds[1:-1]), span.step_seconds


def test_marks_wait_for_nothing_and_leave_random_numbers_alone(tmp_path: Path, planted: Seen) -> None:
    """A stand-in's event that is waited for, or read before it has passed, ends the marks, which would be said."""
    alone = observe(tmp_path, "on_card.py", FACEOFF_OBSERVE="", SEEDS="1")
    once = observe(tmp_path, "on_card.py", SEEDS="1")
    assert alone.files == once.files[:0] and alone.truth["card"]["events"] == 0
    assert alone.truth["random"] == once.truth["random"]
    assert alone.truth["card"]["synchronised"] == once.truth["card"]["synchronised"]
    card = once.truth["card"]
    assert card["events"] < 200 and card["records"] / once.truth["steps"] < 7  # used again; a first look at copies too
    assert (card["queries"] + card["reads"]) / once.truth["steps"] < 18


def test_a_program_that_does_not_start_cuda_gets_no_marks(tmp_path: Path) -> None:
    seen = observe(tmp_path, "on_card.py", CASES="launch-bound", START="0")
    assert seen.truth["card"]["events"] == 0 and not seen.observation.cuda
    assert seen.counts["steps"] == seen.truth["steps"]


def test_an_error_of_the_programs_own_ends_the_marks_and_not_the_program(tmp_path: Path) -> None:
    seen = observe(tmp_path, "on_card.py", CASES="compute-bound;launch-bound;launch-bound, mixed", FAILS_AFTER="400")
    assert seen.counts == {key: seen.truth[key] for key in seen.counts}
    assert seen.done.stderr == "" and seen.observation.queued
    assert any("CUDA error: device-side assert triggered" in note for note in seen.observation.notes)
    first, *_, last = trained(seen.observation)
    assert first.split is not None and last.split is None


def test_nothing_is_asked_of_the_card_while_a_graph_is_captured(tmp_path: Path) -> None:
    """The stand-in takes any question meanwhile for an error, which would end the marks."""
    seen = observe(tmp_path, "on_card.py", CASES="launch-bound", CAPTURE="1")
    assert seen.counts["steps"] == seen.truth["steps"] and seen.truth["captures"] > 0
    assert not any("clock was not read" in note for note in seen.observation.notes)
    assert kind(trained(seen.observation)[1]) == "launch-bound"


@pytest.mark.parametrize("device", ["other", "loss"])
def test_where_copies_do_not_show_they_are_said_to_be_in_compute(tmp_path: Path, device: str) -> None:
    """No module is called before the loss; launching is told all the same, by the backward pass."""
    seen = observe(tmp_path, "on_card.py", CASES="launch-bound;compute-bound;copy-bound, waiting", FUNCTIONAL=device)
    told = {truth["name"]: span.split for truth, span in pairs(seen)}
    assert any("copies to the GPU are not told apart" in note for note in seen.observation.notes)
    for name, split in told.items():
        assert split is not None and split.copy_seconds == 0 and split.launch_seconds is not None
        assert (split.launch_seconds / split.compute_seconds > 0.9) == (name == "launch-bound"), (name, split)


@pytest.mark.parametrize("late", ["", "10"])
def test_what_is_compiled_late_is_compiled_as_ever(tmp_path: Path, late: str) -> None:
    """A hook for the first call of a module, if the compiler met it, would keep it from making a graph."""
    seen, alone = (
        observe(tmp_path, "compiled_on_card.py", FACEOFF_OBSERVE=path, LATE=late)
        for path in (str(tmp_path / "observed"), "")
    )
    assert seen.truth["graphs"] == alone.truth["graphs"] == {"calls_captured": 3, "unique_graphs": 1}
    assert seen.truth["breaks"] == alone.truth["breaks"] == {} and seen.truth["records"] > 150


def test_forked_workers_and_children_leave_the_parents_marks_alone(tmp_path: Path) -> None:
    seen = observe(tmp_path, "on_card.py", CASES="compute-bound", WORKERS="1", FORK="1")
    assert seen.counts["steps"] == seen.truth["steps"] and len(seen.files) == 1
    assert not seen.observation.queued and seen.done.stderr == ""


def test_the_file_holds_marks_as_whole_numbers(planted: Seen) -> None:
    lines = [json.loads(line) for line in planted.files[0].read_text().splitlines()]
    marks = [line for line in lines if line["event"] == "marks"]
    assert len(marks) > 10 and all(len({len(line[key]) for key in line if key != "event"}) == 1 for line in marks)
    assert all(type(each) is int for line in marks for each in line["at"])
