"""Why a setting takes longer than in an earlier commit: which parts of it do, and what changed since."""

import dataclasses

from stages.harness.comparison import regression, since
from stages.records import Variant
from tests import faceoffs, results


def run(name, seconds, torch="2.14.1", parameters=None):
    """A run whose epochs take about so long."""
    found = faceoffs.face_off(host=faceoffs.noisy(seconds, 4, seed=len(name)))
    if parameters:
        its = Variant(parameters, {})
        found = faceoffs.changed(
            found,
            "host",
            lambda train: dataclasses.replace(train, belongs=dataclasses.replace(train.belongs, variant=its)),
        )
    profiles = {"host": results.older("host", torch=torch)}
    return regression.Run(name, results.machine(), results.DATA_SHA256, results.JOB, profiles, found)


def why(now, then):
    return since.why(now, then, regression.changes(now, then, 0.02))


def test_slower_with_nothing_else_changed_names_the_parts_and_says_so():
    [of_host] = why(run("now", 11.0), run("v1", 10.0)).values()
    parts, rest = of_host
    assert "s a repeat more: compute takes 1." in parts and "(1.10 times as long), 50% of it" in parts
    assert rest == "Nothing that is known of its code, environment and parameters changed since v1."


def test_what_changed_is_told_whatever_the_verdict():
    then = run("v1", 10.0, torch="2.13.0", parameters={"batch_size": 16, "workers": 0})
    [[said]] = why(run("now", 10.0, parameters={"batch_size": 64}), then).values()
    assert said == "Changed since v1: torch 2.14.1, not 2.13.0; batch_size 64, not 16; workers left out, not 0."


def test_the_jobs_code_that_changed_is_named():
    """A pull request changes the very script that is measured."""
    files = {**results.JOB.files, "train.py": "0" * 64, "data.py": "1" * 64}
    job = dataclasses.replace(results.JOB, train="python old.py", files=files)
    [[said]] = why(run("now", 10.0), dataclasses.replace(run("v1", 10.0), job=job)).values()
    assert said == (
        f"Changed since v1: train {results.JOB.train}, not python old.py; jobs/toy/data.py (none, not sha256 "
        f"11111111); jobs/toy/train.py (sha256 {results.JOB.files['train.py'][:8]}, not sha256 00000000)."
    )


def test_where_nothing_is_shown_and_nothing_changed_nothing_is_said():
    assert why(run("now", 10.0), run("v1", 10.0)) == {}
