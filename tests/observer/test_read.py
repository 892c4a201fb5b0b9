"""What the reader makes of lines, written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.workload.observer.read import Observation, observed

Line = dict[str, Any]


def process(rank: int = 0, world: int = 1, unix: float = 1000.0) -> Line:
    return {"event": "process", "format": 1, "rank": rank, "world": world, "clock": 0.0, "unix": unix, "torch": "2.0"}


def loader(run: int, began: float, length: int = 64, size: int = 16) -> Line:
    facts = {"length": length, "batch_size": size, "drop_last": False, "workers": 0}
    return {"event": "loader", "run": run, "began": began, "seconds": 0.0, **facts}


def batch(run: int | None, asked: float | None, at: float | None, **changes: Any) -> Line:
    """A batch that was there after 0.1 s and worked on until `at`."""
    count = 0 if at is None else 1
    line = {"event": "batch", "run": run, "asked": asked, "wait": 0.1, "samples": 16, "thread": True, "graphs": 0}
    return {**line, "backwards": count, "backward_at": at, "steps": count, "step_at": at, **changes}


def end(run: int, asked: float) -> Line:
    return {"event": "exhausted", "run": run, "asked": asked, "seconds": 0.05}


def epoch(run: int, began: float, count: int = 4) -> list[Line]:
    """Batches of a second each."""
    rows = [batch(run, began + index, began + index + 0.8) for index in range(count)]
    return [loader(run, began, 16 * count), *rows, end(run, began + count)]


def write(folder: Path, *lines: Line, rank: int = 0, pid: int = 1, tail: str = "") -> Observation:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with (folder / f"o.{rank}.{pid}.jsonl").open("a") as file:
        file.write(text + tail)
    return observed(folder / "o")


def test_a_split_makes_up_the_whole_of_a_training_on_a_cpu(tmp_path: Path) -> None:
    found = write(tmp_path, process(), *epoch(1, 1.0))
    (span,) = found.spans
    assert (span.name, span.samples, span.steps) == ("train", 64, 4)
    assert span.seconds == pytest.approx(4.05)
    assert span.split is not None
    parts = (span.split.wait_seconds, span.split.copy_seconds, span.split.compute_seconds, span.split.other_seconds)
    assert parts == pytest.approx((0.45, 0.0, 2.8, 0.8))


def test_each_step_of_a_training_is_told_and_none_of_a_validation(tmp_path: Path) -> None:
    looked = [loader(2, 6.0), batch(2, 6.0, None), batch(2, 7.0, None), end(2, 8.0)]
    train, validation = write(tmp_path, process(), *epoch(1, 1.0), *looked).spans
    assert train.steps == 4 and train.step_seconds == pytest.approx((0.8, 1.0, 1.0, 1.0))
    assert (validation.name, validation.step_seconds) == ("validation", ())


def test_without_a_loader_the_first_step_has_no_begin_and_is_not_timed(tmp_path: Path) -> None:
    """Its row holds the next one's backward pass, as the hook notes it."""
    rows = [batch(None, None, None, wait=0.0, backwards=2, backward_at=2.0, steps=1, step_at=1.25)]
    for at in (2.25, 3.25, 4.25):
        rows.append(batch(None, None, None, wait=0.0, backwards=1, backward_at=at + 0.75, steps=1, step_at=at))
    rows.append(batch(None, None, None, wait=0.0, backwards=0, steps=1, step_at=5.25))
    [span] = write(tmp_path, process(), *rows).spans
    assert (span.name, span.steps, span.seconds, span.step_seconds) == ("train", 5, 4.0, (1.0,) * 4)


def test_cuda_leaves_whole_spans_and_waits_alone_and_says_so(tmp_path: Path) -> None:
    found = write(tmp_path, process(), *epoch(1, 1.0), {"event": "cuda"})
    assert found.cuda and found.spans[0].split is None
    assert found.spans[0].seconds == pytest.approx(4.05) and found.waits == (pytest.approx(0.45),)
    assert any(note.startswith("CUDA is used") for note in found.notes)


def test_a_broken_last_line_and_an_event_of_tomorrow_are_passed_over(tmp_path: Path) -> None:
    found = write(tmp_path, process(), *epoch(1, 1.0), {"event": "new"}, tail='{"event": "batch", "run": 1, "ask')
    assert (len(found.spans), len(found.steps)) == (1, 4)


def test_a_file_of_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    assert write(tmp_path, {**process(), "format": 2}, *epoch(1, 1.0)).spans == ()


def test_processes_one_after_the_other_add_up_though_they_share_a_number(tmp_path: Path) -> None:
    write(tmp_path, process(unix=2000.0), *epoch(1, 1.0, 3), pid=7)
    found = write(tmp_path, process(unix=1000.0), *epoch(1, 1.0, 5), pid=7)
    assert [span.steps for span in found.spans] == [5, 3]


def test_processes_side_by_side_without_ranks_are_not_added(tmp_path: Path) -> None:
    write(tmp_path, process(), *epoch(1, 1.0, 3), pid=7)
    found = write(tmp_path, process(unix=1000.5), *epoch(1, 1.0, 5), pid=8)
    assert [span.steps for span in found.spans] == [5]
    assert "2 processes trained at the same time without a rank of their own" in found.notes[0]


def test_a_rank_that_left_no_file_is_missed(tmp_path: Path) -> None:
    write(tmp_path, process(0, 3), *epoch(1, 1.0), rank=0)
    found = write(tmp_path, process(1, 3), *epoch(1, 1.0), rank=1)
    assert found.spans[0].samples == 128
    assert "2 of 3 ranks were seen: samples are theirs alone" in found.notes


def test_a_loader_that_is_only_read_is_no_training(tmp_path: Path) -> None:
    found = write(tmp_path, process(), loader(1, 1.0), batch(1, 1.0, None), batch(1, 2.0, None), end(1, 3.0))
    assert found.spans == () and "no training was seen" in found.notes[0]


def test_a_validation_iterator_that_gives_one_batch_now_and_then_is_no_loader_of_the_training(tmp_path: Path) -> None:
    lines = [process(), loader(9, 0.5, 640)]
    for run in (1, 2):
        rows = epoch(run, 10.0 * run, 8)
        lines += [*rows[:5], batch(9, 10.0 * run + 3.9, None), *rows[5:]]
    found = write(tmp_path, *lines)
    assert [(span.name, span.steps, span.samples) for span in found.spans] == [("train", 8, 128), ("train", 8, 128)]


@pytest.mark.parametrize(("following", "seconds"), [(20.0, 3.0), (7.5, 2.5)])
def test_a_loader_whose_end_nobody_asks_for_has_its_last_batch_all_the_same(
    tmp_path: Path, following: float, seconds: float
) -> None:
    """Lightning knows the length. The work on it, 8 samples, lasts as that on others or until something is seen."""
    looked = [loader(2, 5.0, 40), *(batch(2, 5.0 + index, None) for index in range(3))]
    found = write(tmp_path, process(), *epoch(1, 0.5)[:-1], *looked, *epoch(3, following)[:-1])
    assert [(span.name, span.samples) for span in found.spans] == [("train", 64), ("validation", 40), ("train", 64)]
    assert found.spans[1].seconds == pytest.approx(seconds)


@pytest.mark.parametrize(("first_work", "seconds"), [(0.01, 2.86 + 0.8), (0.8, 3.65)])
def test_a_validation_that_fetches_ahead_has_its_last_batch_too(
    tmp_path: Path, first_work: float, seconds: float
) -> None:
    second = 5.1 + first_work
    looked = [loader(2, 5.0), *(batch(2, at, None) for at in (5.0, second, second + 0.9, second + 1.8))]
    found = write(tmp_path, process(), *epoch(1, 0.5), *looked, end(2, second + 2.7), *epoch(3, 20.0))
    assert found.spans[1].seconds == pytest.approx(seconds)


def steps(folder: Path, *seconds: float, compiled: tuple[int, ...] = ()) -> Observation:
    at, lines = 1.0, [process(), loader(1, 1.0, 16 * len(seconds))]
    for index, each in enumerate(seconds):
        lines.append(batch(1, at, at + each, graphs=int(index in compiled)))
        at += each
    return write(folder, *lines, end(1, at))


def test_the_warm_up_ends_where_five_steps_are_near_the_later_ones(tmp_path: Path) -> None:
    assert steps(tmp_path, 5.0, 4.0, 3.0, 2.0, *[1.0] * 30).warm_up == 2


def test_the_warm_up_takes_in_what_was_compiled_at_its_end(tmp_path: Path) -> None:
    found = steps(tmp_path, 9.0, 1.0, 1.0, 9.0, *[1.0] * 30, 8.0, compiled=(0, 3, 34))
    assert found.warm_up == 4 and len(found.steady) == 30


def test_few_steps_have_one_for_a_warm_up(tmp_path: Path) -> None:
    assert steps(tmp_path, 9.0, 1.0, 1.0).warm_up == 1


def test_short_steps_say_what_the_observer_takes_of_them(tmp_path: Path) -> None:
    assert "25 microseconds are 5% of them" in steps(tmp_path, *[0.0005] * 30).notes[-1]


def mark(kind: str, at: float, on: float, passed: float, late: float | None = None) -> tuple[Any, ...]:
    """One that the GPU passed at the time `on`, which nobody but its own clock knows."""
    return kind, at, on, late, passed


def marks(*given: tuple[Any, ...]) -> Line:
    def micro(seconds: float) -> int:
        return round(seconds * 1e6)

    ons = [each[2] for each in given]
    return {
        "event": "marks",
        "kinds": "".join(each[0] for each in given),
        "at": [micro(each[1]) for each in given],
        "elapsed": [None, *(micro(10 * (after - before)) for before, after in zip(ons, ons[1:], strict=False))],
        "late": [None if each[3] is None else micro(each[3] - each[1]) for each in given],
        "passed": [micro(each[4] - each[1]) for each in given],
    }


def on_gpu(behind: float, seen_within: float, count: int = 10) -> list[Line]:
    """An epoch whose GPU passes all marks `behind` the host, which looks after each so much later.

    The first mark is that of the first backward pass, as the hook has it.
    """
    given = []
    for index in range(count):
        at = 1.0 + index
        for kind, after in (("a", 0.0), ("g", 0.1), ("c", 0.2), ("b", 0.7), ("s", 0.8)):
            when = at + after
            seen = max(behind, 1e-4) + seen_within
            given.append(mark(kind, when, when + behind, when + seen, when + behind - seen_within if behind else None))
    rows = [batch(1, 1.0 + index, 1.8 + index, backward_at=1.7 + index) for index in range(count)]
    closing = [mark("a", 11.0, 11.0 + behind, 12.0 + behind), mark("e", 11.05, 11.05 + behind, 12.0 + behind)]
    return [loader(1, 1.0, 16 * count), *rows, {"event": "cuda"}, marks(*given[3:], *closing), end(1, 11.0)]


def test_a_gpu_that_is_seen_to_have_passed_everything_at_once_waits_for_launches(tmp_path: Path) -> None:
    found = write(tmp_path, process(), *on_gpu(0.0, 1e-4))
    split = found.spans[0].split
    assert split is not None and not found.queued and found.notes == ()
    parts = (split.wait_seconds, split.copy_seconds, split.compute_seconds, split.other_seconds, split.launch_seconds)
    assert parts == pytest.approx((1.05, 1.0, 6.0, 2.0, 5.4), abs=0.02)  # not in the first step, in which all starts


def test_a_gpu_that_is_seen_to_be_behind_all_the_time_computes(tmp_path: Path) -> None:
    """Its clock alone shows a lag that never changes, as that of an idle one: what was seen late tells them apart."""
    found = write(tmp_path, process(), *on_gpu(0.4, 0.05))
    split = found.spans[0].split
    assert split is not None and split.launch_seconds == pytest.approx(0.0)
    assert found.spans[0].seconds == pytest.approx(10.05 + 0.4, abs=0.1)


def test_where_the_host_looks_too_seldom_launches_are_not_told(tmp_path: Path) -> None:
    found = write(tmp_path, process(), *on_gpu(0.0, 0.35))
    split = found.spans[0].split
    assert split is not None and split.launch_seconds is None
    assert any("whether the GPU waits for launches is not certain" in note for note in found.notes)


def test_marks_that_end_before_the_training_leave_its_steps_queued(tmp_path: Path) -> None:
    lines = on_gpu(0.0, 1e-4, 20)
    given = next(line for line in lines if line["event"] == "marks")
    for key in ("kinds", "at", "elapsed", "late", "passed"):
        given[key] = given[key][:50]
    found = write(tmp_path, process(), *lines, {"event": "marks ended", "why": "no reason"})
    assert found.queued and found.spans[0].split is None and found.spans[0].steps == 20
    assert "the GPU's clock was not read to the end of the training: no reason" in found.notes


def test_the_rank_that_waits_for_its_loader_longest_is_noted(tmp_path: Path) -> None:
    said = (
        "rank 1 waited 2.5 s for its loader, rank 0 0.5 s: where they join in each step, all wait for the batch that "
    )
    slow = [{**line, "wait": 0.6125} if line["event"] == "batch" else line for line in epoch(1, 1.0)]
    write(tmp_path, process(0, 2), *epoch(1, 1.0), rank=0)
    assert said + "comes last" in write(tmp_path, process(1, 2), *slow, rank=1).notes
    even = tmp_path / "even"
    even.mkdir()
    write(even, process(0, 2), *epoch(1, 1.0), rank=0)
    assert not any("its loader" in note for note in write(even, process(1, 2), *epoch(1, 1.0), rank=1).notes)
