"""The history of a face-off over commits: what is on one line, what changed, and the page of it."""

import dataclasses
import subprocess

import pytest

from stages import codec, records
from stages.harness.comparison import history, regression
from stages.harness.comparison.history import Measured
from stages.harness.pipeline.revisions import Commit
from stages.harness.report import history as report
from tests import comparisons, faceoffs, project, results

HOST, CPU = "host/fp32-bs16", "cpu/fp32-bs16"
HOSTILE = "<script>document.title='gone'</script> & \"'"


def commit(place, subject="a change"):
    return Commit(f"{place:040x}", f"{place:07x}", f"2026-01-{1 + place:02d}T03:04:05+00:00", subject)


def measured(place, found, profiles=None, **changes):
    """The results of a commit; `found`: of faceoffs, made on a day of its own."""
    day = f"2026-01-{1 + place:02d}"
    dated = [
        dataclasses.replace(each, train=dataclasses.replace(each.train, started_at=day + each.train.started_at[10:]))
        if each.train
        else each
        for each in found
    ]
    plain = regression.Run(f"{place:07x}", results.machine(), results.DATA_SHA256, results.JOB, profiles or {}, dated)
    return Measured(commit(place), dataclasses.replace(plain, **changes))


def runs(*levels, **changes):
    """A commit for each level: what an epoch takes on the host, where another image takes 12 s throughout."""
    return [
        measured(
            place,
            faceoffs.face_off(
                host=faceoffs.noisy(level, 3, 0.004, seed=place), cpu=faceoffs.noisy(12, 3, 0.004, seed=100 + place)
            ),
            **changes,
        )
        for place, level in enumerate(levels)
    ]


def line(found, setting=HOST, metric="total_seconds"):
    return next(each for each in found.lines if (each.setting, each.metric) == (setting, metric))


def test_a_slower_setting_is_found_with_its_commit_and_the_other_is_left_alone():
    found = history.history(runs(*[10] * 8, *[11] * 6))
    [change] = line(found).changes
    assert (change.place, change.verdict) == (8, "slower")
    assert change.low < 1.1 < change.high
    assert [each.place for each in line(found, metric="samples_per_second").changes] == [8]
    assert line(found, metric="samples_per_second").changes[0].verdict == "slower"  # fewer a second
    assert line(found, CPU).changes == () and not found.borders
    assert report.headline(found).startswith("14 commits with results: host/fp32-bs16 is slower since 0000008, 1.10")


def test_energy_is_called_less_or_more_and_costs_times_no_certainty():
    plain = runs(*[10] * 8, *[11] * 6)
    found = history.history([plugged(each, 300.0 if place < 8 else 500.0) for place, each in enumerate(plain)])
    [energy] = line(found, metric="cpu_joules").changes
    assert energy.place == 8 and report.called(energy) == "more"
    assert line(found).changes == line(history.history(plain)).changes


def plugged(one, joules):
    """Return the commit with what the processors took, which differs from one repeat to the next."""
    found = [
        dataclasses.replace(
            each,
            train=dataclasses.replace(
                each.train,
                cpu_joules=joules * (1 + each.cell.repeat / 1000),
                absent={name: why for name, why in each.train.absent.items() if name != "cpu_joules"},
            ),
        )
        for each in one.run.results
    ]
    return Measured(one.commit, dataclasses.replace(one.run, results=found))


def test_another_machine_is_marked_and_never_compared_across():
    there = results.machine(
        hardware=dataclasses.replace(
            results.HARDWARE, cpu=dataclasses.replace(results.HARDWARE.cpu, model="Xeon Gold 6130")
        )
    )
    every = runs(*[10] * 8, *[15] * 8)
    moved = [each if n < 8 else Measured(each.commit, dataclasses.replace(each.run, machine=there)) for n, each in
             enumerate(every)]  # fmt: skip
    found = history.history(moved)
    assert [change for each in found.lines for change in each.changes] == []
    assert found.borders == {
        8: "the results before were measured on another machine (AMD EPYC 7B12; here Xeon Gold 6130)"
    }
    assert {point.place >= 8: point.group for point in line(found).points} == {False: 0, True: 1}


def test_machines_in_turn_are_two_lines_each_of_which_is_judged():
    other = results.machine("two")
    every = runs(*[value for _ in range(8) for value in (10, 20)], *[value for _ in range(5) for value in (11, 20)])
    turns = [each if n % 2 == 0 else Measured(each.commit, dataclasses.replace(each.run, machine=other)) for n, each in
             enumerate(every)]  # fmt: skip
    [change] = line(history.history(turns)).changes
    assert (change.place, change.verdict) == (16, "slower")


def test_results_that_a_commit_only_carries_on_are_not_counted_twice():
    first, *_ = runs(10)
    again = [Measured(commit(place), first.run) for place in range(20)]
    assert [point.place for point in line(history.history(again)).points] == [0]


def test_repeats_that_were_added_are_a_run_of_their_own():
    three = measured(0, faceoffs.face_off(host=[10.0, 10.1, 10.2]))
    five = measured(0, faceoffs.face_off(host=[10.0, 10.1, 10.2, 10.3, 10.4]))
    points = line(history.history([three, Measured(commit(1), five.run)])).points
    assert [len(point.samples) for point in points] == [3, 2]


def test_what_load_could_have_made_and_what_failed_is_shown_and_not_judged():
    every = runs(*[10] * 8, *[14] * 5)
    for place in range(8, 13):
        loaded = faceoffs.beside(every[place].run.results, "host", range(1, 4), others_share=0.4)
        every[place] = Measured(every[place].commit, dataclasses.replace(every[place].run, results=loaded))
    failed = faceoffs.face_off(host=[10.0, 10.0, "failed"])
    found = history.history([*every, measured(13, failed)])
    points = line(found).points
    assert line(found).changes == () and len(points) == 14
    assert points[8].doubt == "in 3 of 3 repeats other processes took 40% of the CPUs' time"
    assert points[13].doubt == "1 of 3 repeats failed"


def test_steps_beside_load_are_not_judged_against_quiet_ones_though_threads_sleep():
    host = results.profile("host")
    facts = dataclasses.replace(host.facts, variables={"OMP_WAIT_POLICY": "PASSIVE"})
    asleep, every = {"host": dataclasses.replace(host, facts=facts)}, []
    for place, each in enumerate(runs(*[10] * 8, *[14] * 5, profiles=asleep)):
        found = faceoffs.with_steps(each.run.results, seed=place)
        loaded = faceoffs.beside(found, "host", range(1, 4), others_share=0.4) if place >= 8 else found
        every.append(Measured(each.commit, dataclasses.replace(each.run, results=loaded)))
    steps = line(history.history(every), metric="undisturbed_seconds")
    assert [point.place for point in steps.points if point.doubt] == [8, 9, 10, 11, 12] and steps.changes == ()


def test_what_differs_since_the_change_is_named():
    old, new = {"host": results.older("host", torch="2.13.0")}, {"host": results.profile("host")}
    found = history.history([*runs(*[10] * 7, profiles=old), *runs(*[10] * 7, *[8] * 6, profiles=new)[7:]])
    [change] = line(found).changes
    assert change.verdict == "faster"
    assert any(each.startswith("torch 2.14.1, not 2.13.0") for each in change.differences)


def test_all_settings_at_once_may_be_the_machine_and_small_changes_are_called_so():
    every = []
    for place, level in enumerate([10.0] * 10 + [10.15] * 10):
        host, cpu = (faceoffs.noisy(level, 3, 0.001, seed) for seed in (place, 50 + place))
        every.append(measured(place, faceoffs.face_off(host=host, cpu=cpu)))
    text = report.html(history.history(every), 0.02)
    assert ">all settings changed here at once" in text and "; less than the margin of 2%" in text


def test_the_page_escapes_what_a_commit_or_a_job_says_and_shows_what_cannot_be_read():
    every = runs(*[10] * 8, *[11] * 6)
    every = [Measured(dataclasses.replace(each.commit, subject=HOSTILE), each.run) for each in every]
    every.append(Measured(commit(14, HOSTILE), None, f"metrics/job.json: {HOSTILE}"))
    text = report.html(history.history(every), 0.02)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "not shown: metrics/job.json: " in text
    assert text.count("<svg") == 2 * sum(1 for _ in history.history(every).lines)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project in git, whose results are not committed yet."""
    made = project.make_project(
        tmp_path / "project",
        ["host"],
        job="toy",
        variants={"fp32-bs16": {"precision": "fp32", "batch_size": 16}},
        repeats=[1, 2],
        toy={"size": 96},
    )
    project.write_job(made, "toy", results.TOY)
    (made / ".gitignore").write_text("/data\n/reports\n")
    monkeypatch.chdir(made)
    git("init", "-q")
    return made


def git(*arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def test_commits_are_read_from_git_and_those_of_another_schema_are_named(folder):
    for seconds in (10.0, 11.0):
        results.measure(host=seconds)
        compared = dataclasses.replace(comparisons.pair(), margin=seconds / 1000)
        codec.write(records.COMPARISON_PATH, compared)
        git("add", "--all")
        git("commit", "-q", "-m", f"{seconds}; with | and \0"[:-2])
    now, older = codec.SCHEMA_VERSION, codec.SCHEMA_VERSION - 1
    text = records.MACHINE_PATH.read_text().replace(f'"schema_version": {now}', f'"schema_version": {older}')
    records.MACHINE_PATH.write_text(text)
    records.COMPARISON_PATH.write_text(records.COMPARISON_PATH.read_text() + "\n")
    git("commit", "-q", "--all", "-m", "older")
    first, second, last = history.read(10)
    assert [each.commit.subject for each in (first, second, last)] == ["10.0; with | and", "11.0; with | and", "older"]
    assert first.run and second.run and last.run is None
    said = f"the results in {last.commit.short} are of an older faceoff (schema {older}, not {now}): "
    assert last.reason.startswith(said)
    assert [each.commit.subject for each in history.read(1)] == ["older"]


@pytest.mark.parametrize("subject", ["a\u2028b", "a\x0cb", "a\x85b", "a\x1eb", "a\rb"])
def test_a_commits_subject_may_hold_what_python_takes_for_the_end_of_a_line(folder, subject):
    results.measure(host=10.0)
    codec.write(records.COMPARISON_PATH, comparisons.pair())
    git("add", "--all")
    git("commit", "-q", "-m", subject)
    assert [each.commit.subject for each in history.read(10)] == [subject]


def test_no_commit_with_results_is_one_line_and_a_shallow_clone_another(folder, tmp_path):
    for message in ("none", "none either"):
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", message)
    git("clone", "-q", "--depth=1", folder.as_uri(), str(tmp_path / "clone"))
    done = project.run_stage(tmp_path / "clone", "history")
    assert done.returncode == 2
    assert done.stderr == (
        "faceoff: this clone is shallow, so earlier commits are not in it: `git fetch --unshallow` brings them\n"
        "faceoff: no commit has results that can be read; run `make repro` and commit metrics/\n"
    )
