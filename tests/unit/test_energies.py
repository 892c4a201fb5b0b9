"""Energy that was counted on one side and sampled on the other gets a ratio and no verdict, here and since a commit."""

import dataclasses

from stages.harness.comparison import compare, regression
from stages.harness.params.schema import CompareParams
from stages.harness.results.read import CellResult
from stages.records import COUNTED, SAMPLED, Result
from tests import faceoffs, results

METRIC = "joules_per_sample"


def powered(found: list[CellResult], image: str, how: str, joules: float) -> list[CellResult]:
    def change(train: Result) -> Result:
        took = joules * (1 + train.cell.repeat / 1000)
        energy = dataclasses.replace(results.energy(took, body=took), how=how)
        absent = {name: why for name, why in train.absent.items() if name != "energy"}
        return dataclasses.replace(train, energy=energy, absent=absent)

    return faceoffs.changed(found, image, change)


def test_a_face_off_gives_no_verdict_on_energies_that_were_got_unlike() -> None:
    found = faceoffs.face_off(host=faceoffs.noisy(10.0, 5), other=faceoffs.noisy(10.0, 5, seed=1))
    said = {}
    for how in (COUNTED, SAMPLED):
        cells = powered(powered(found, "host", COUNTED, 900.0), "other", how, 600.0)
        said[how] = compare.compare(cells, CompareParams(faceoffs.BASELINE, 0.02, (), 0), {}, results.JOB)[1].ratios
    alike, unlike = (said[how][METRIC] for how in (COUNTED, SAMPLED))
    assert alike.verdict == "faster" and alike.mean == unlike.mean and alike.low == unlike.low
    assert unlike.verdict == "cannot say" and unlike.reason is not None
    assert unlike.reason.startswith("its energy was sampled, that of the baseline counted, and repeats do not show")
    assert {**said[SAMPLED], METRIC: alike} == said[COUNTED]


def test_nor_does_a_comparison_with_an_earlier_commit() -> None:
    def run(name: str, how: str, seed: int) -> regression.Run:
        cells = powered(faceoffs.face_off(host=faceoffs.noisy(10.0, 5, seed=seed)), "host", how, 900.0)
        return regression.Run(name, results.machine(), results.DATA_SHA256, results.JOB, {}, cells)

    then = run("v1", COUNTED, 1)
    alike, unlike = (regression.changes(run("now", how, 2), then, 0.02) for how in (COUNTED, SAMPLED))
    [its] = [each for each in alike if each.metric == METRIC]
    assert its.verdict == "equivalent"
    [its] = [each for each in unlike if each.metric == METRIC]
    assert (its.verdict, its.ratio) == ("cannot say", None)
    assert its.words.startswith("cannot say: its energy was sampled, that in v1 counted, and ")
