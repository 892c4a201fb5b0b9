"""What casts doubt on times is named: a drift, a first repeat unlike the others, outliers, a loaded machine."""

import dataclasses

import pytest

from stages import records
from stages.harness.results import metrics
from stages.harness.statistics import stability
from tests import results
from tests.faceoffs import compared, face_off, noisy

EVEN = {"host": noisy(10.0, 6, 0.002, 1), "other": noisy(12.0, 6, 0.002, 2)}


def of_run(found):
    return stability.of_run(found, results.JOB)


def test_even_times_leave_no_warning():
    found = face_off(**EVEN)
    assert of_run(found) == ()
    assert [said.warnings for said in compared(found).values()] == [(), ()]


def test_a_drift_is_named_with_its_size_and_way():
    (warning,) = of_run(face_off(drift=0.01, **EVEN))
    assert warning.startswith("drift: from the first run to the last, they took 11.") and "longer" in warning
    (warning,) = of_run(face_off(drift=-0.01, **EVEN))
    assert "shorter" in warning


def test_a_drift_too_small_to_matter_is_not_named():
    assert of_run(face_off(drift=0.0005, host=[10.0] * 6, other=[10.0] * 6)) == ()


def test_a_first_repeat_unlike_the_others_is_named():
    warnings = of_run(face_off(**{image: [1.1 * times[0], *times[1:]] for image, times in EVEN.items()}))
    assert [warning for warning in warnings if warning.startswith("warm-up: the first repeat took ")]


def test_a_first_repeat_is_named_among_three_too():
    """Two settings together: three repeats of one would name every second."""
    named = 0
    for seed in range(20):
        times = {image: noisy(10.0, 3, 0.005, 2 * seed + side) for side, image in enumerate(("host", "other"))}
        times = {image: [1.15 * first, *others] for image, (first, *others) in times.items()}
        named += any(warning.startswith("warm-up") for warning in of_run(face_off(**times)))
    assert named == 20


def test_another_pace_on_another_day_is_no_drift():
    found = face_off(host=[*noisy(10.0, 4), *noisy(11.0, 4, seed=2)])
    days = [
        dataclasses.replace(
            each,
            train=dataclasses.replace(each.train, started_at=each.train.started_at.replace("01-02", "01-03")),
            evaluate=dataclasses.replace(each.evaluate, started_at=each.evaluate.started_at.replace("01-02", "01-03")),
        )
        if each.cell.repeat > 4
        else each
        for each in found
    ]
    assert [warning for warning in of_run(found) if warning.startswith("drift")]
    assert not [warning for warning in of_run(days) if warning.startswith("drift")]


def test_the_first_repeat_is_the_one_that_ran_first():
    """Repeat 1 measured again at the end, slow: the first that ran is repeat 2 by then."""
    host, *others = face_off(host=[11.0, *noisy(10.0, 5, 0.002)])
    again = dataclasses.replace(host, train=dataclasses.replace(host.train, started_at="2026-01-03T00:00:00+00:00"))
    assert not [warning for warning in of_run([again, *others]) if warning.startswith("warm-up")]


def test_an_outlier_is_named_and_counts():
    times = [*EVEN["other"][:3], 15.0, *EVEN["other"][4:]]
    said = compared(face_off(host=EVEN["host"], other=times))["other"]
    assert said.warnings == ("outlier: repeat 4 took 24.8% longer than its median; it counts all the same",)
    assert "4" in said.ratios["total_seconds"].pairs


def test_two_repeats_that_are_close_by_chance_make_no_outlier_of_the_third():
    said = compared(face_off(host=[10.0, 10.0, 10.0], other=[10.0, 10.001, 10.3]))["other"]
    assert said.warnings == ()


def test_what_cells_say_of_the_machine_is_told_once_with_their_repeats():
    found = [
        dataclasses.replace(
            each, train=dataclasses.replace(each.train, warnings=(f"CPU busy for {90 + each.cell.repeat}%", "no turbo"))
        )
        if each.cell.image == "other" and each.cell.repeat in (2, 5)
        else each
        for each in face_off(**EVEN)
    ]
    assert compared(found)["other"].warnings == ("repeats 2, 5: CPU busy for 92% to 95%", "repeats 2, 5: no turbo")
    assert compared(found)["host"].warnings == ()
    first, *others = found
    first = dataclasses.replace(first, evaluate=dataclasses.replace(first.evaluate, warnings=("card hot",)))
    assert compared([first, *others])["host"].warnings == ("repeat 1: card hot",)


def test_what_was_measured_once_more_is_told_with_both_times_and_which_counts():
    first, *others = face_off(**EVEN)
    because, load = ("other processes took 41% of the CPUs' time",), first.train.attempts[0].load
    earlier, later = (
        records.Discarded(day + "T00:00:00+00:00", 99.94, (), load, because) for day in ("2026-01-01", "2026-01-03")
    )
    counts = f"{first.train.command_seconds:.1f} s"
    for run, expected in (
        (earlier, f"99.9 s then, {counts} now; the later counts, as the less disturbed"),
        (later, f"{counts} then, 99.9 s now; the earlier counts, as the less disturbed"),
    ):
        train = dataclasses.replace(first.train, discarded=(run,))
        said = compared([dataclasses.replace(first, train=train), *others])["host"].warnings
        assert said == (f"repeat 1: training measured once more: {because[0]}; {expected}",)


def test_runs_that_were_measured_once_more_for_the_same_are_told_in_one_line():
    found = face_off(**EVEN)
    of_host = [place for place, each in enumerate(found) if each.cell.image == "host"][:2]
    for place, share, seconds in zip(of_host, (3, 6), (99.94, 31.0), strict=True):
        train, because = found[place].train, (f"the hypervisor gave {share}% of the CPUs' time",)
        run = records.Discarded("2026-01-01T00:00:00+00:00", seconds, (), train.attempts[0].load, because)
        train = dataclasses.replace(train, discarded=(run,), command_seconds=20.0 + share)
        found[place] = dataclasses.replace(found[place], train=train)
    assert compared(found)["host"].warnings == (
        "repeats 1, 2: training measured once more: the hypervisor gave 3% to 6% of the CPUs' time; 31.0 s to 99.9 s "
        "then, 23.0 s to 26.0 s now; the later counts, as the less disturbed",
    )


@pytest.mark.parametrize("anew", [False, True])
def test_what_counts_for_the_other_was_lost_is_not_called_less_disturbed(anew):
    """The repetition was interrupted: the next run went on with it, or began it anew, however disturbed that was."""
    first, *others = face_off(**EVEN)
    (attempt,) = first.train.attempts
    because, load = (
        ("other processes took 41% of the CPUs' time",),
        dataclasses.replace(attempt.load, others_share=0.41),
    )
    again = dataclasses.replace(attempt, after_spans=1)
    changed = {"notes": (records.BEGAN_ANEW + "1 attempt that does not count",)} if anew else {}
    changed |= {"discarded": (records.Discarded("2026-01-01T00:00:00+00:00", 99.94, (), load, because),)}
    train = dataclasses.replace(first.train, attempts=(attempt,) if anew else (attempt, again), **changed)
    (said,) = compared([dataclasses.replace(first, train=train), *others])["host"].warnings
    assert said.endswith("the later counts, for the earlier was lost when the later was interrupted")


def test_a_cooler_run_beside_more_load_is_not_called_less_disturbed():
    first, *others = face_off(**EVEN)
    (attempt,) = first.train.attempts
    quiet = dataclasses.replace(attempt.load, others_share=0.0)
    run = records.Discarded("2026-01-01T00:00:00+00:00", 99.94, (), quiet, ("GPU-1: it is 90 °C hot",))
    loaded = dataclasses.replace(attempt, load=dataclasses.replace(quiet, others_share=0.09))
    train = dataclasses.replace(first.train, attempts=(loaded,), discarded=(run,))
    (said,) = compared([dataclasses.replace(first, train=train), *others])["host"].warnings
    assert said.endswith(" s now; the later counts")


def test_a_repeat_takes_as_long_as_its_runs_that_are_discarded_too():
    first, second = face_off(host=[10.0] * 2)
    run = records.Discarded(second.train.started_at, 50.0, (), second.train.attempts[0].load, ("load",))
    once_more = dataclasses.replace(second, train=dataclasses.replace(second.train, discarded=(run,)))
    plain, found = metrics.repeat_seconds([first, second]), [first, once_more]
    assert metrics.repeat_seconds(found) == plain + 25 and metrics.repeat_seconds(found, discarded=False) == plain


def test_a_run_that_was_discarded_is_no_pause_between_two_blocks():
    first, second, *_ = face_off(host=[10.0] * 2)
    late = dataclasses.replace(second, train=dataclasses.replace(second.train, started_at="2026-01-03T03:06:05+00:00"))
    assert [*metrics.blocks([first, late]).values()] == [0, 1]
    run = records.Discarded(second.train.started_at, 86400.0, (), second.train.attempts[0].load, ("load",))
    late = dataclasses.replace(late, train=dataclasses.replace(late.train, discarded=(run,)))
    assert [*metrics.blocks([first, late]).values()] == [0, 0]
