"""metrics/results.csv and Bencher's JSON: what other programs read."""

import csv
import dataclasses
import io
import json
import math

import pandas
import pytest

from stages.harness import formatting
from stages.harness.report import bmf, tidy
from stages.harness.results.metrics import values
from tests import comparisons, faceoffs, results

VARIANTS = {"fp32-bs16": dataclasses.replace(results.VARIANTS["fp32-bs16"], env={"OMP_NUM_THREADS": "2"})}
HOSTILE = '=HYPERLINK("http://evil.example","a,b")\n\''


def text(found, **changes):
    given = {"job": results.JOB, "machine": results.machine(), "variants": VARIANTS, "profiles": {}, "images": {}}
    return tidy.text(results=found, **{**given, **changes})


def rows(*given, **changes):
    return list(csv.DictReader(io.StringIO(text(*given, **changes))))


def test_a_row_for_each_cell_and_metric_with_what_it_is_of():
    found = faceoffs.face_off(host=[10.0, 11.0], cpu=[12.0])
    profiles, images = {"host": results.profile("host")}, {"host": results.image("host")}
    read = rows(found, profiles=profiles, images=images)
    assert len(read) == sum(len(values(each, results.JOB)) for each in found)
    first = read[0]
    assert (first["setting"], first["repeat"], first["metric"]) == ("host/fp32-bs16", "1", "total_seconds")
    assert (first["unit"], first["better"], first["timed"], first["disturbed"]) == ("seconds", "lower", "True", "False")
    assert float(first["value"]) == values(found[0], results.JOB)["total_seconds"]
    assert (first["parameter.batch_size"], first["env.OMP_NUM_THREADS"]) == ("16", "2")
    assert (first["image.torch"], first["image.kind"], first["fact.device"]) == ("2.14.1", "python", "cpu")
    assert (first["job"], first["machine"], first["cpu"]) == ("toy", "one", "AMD EPYC 7B12")
    assert {each["image.torch"] for each in read if each["image"] == "cpu"} == {""}  # it was not profiled


def test_pandas_reads_it_as_it_was():
    table = pandas.read_csv(io.StringIO(text(faceoffs.face_off(host=[10.0, 11.0, 12.0]))))
    total = table[table.metric == "total_seconds"]
    assert total.value.tolist() == [pytest.approx(33.0), pytest.approx(36.3), pytest.approx(39.6)]
    assert total.repeat.tolist() == [1, 2, 3]


def test_what_was_disturbed_is_marked():
    found = faceoffs.beside(faceoffs.face_off(host=[10.0, 11.0]), "host", [2], others_share=0.4)
    assert {(each["repeat"], each["disturbed"]) for each in rows(found)} == {("1", "False"), ("2", "True")}


def test_a_cell_without_metrics_has_a_row_that_says_why():
    [row] = rows(faceoffs.face_off(host=["failed"]))
    assert (row["status"], row["reason"], row["metric"], row["value"]) == ("failed", "the reason", "", "")


def test_a_run_without_any_cell_has_its_head():
    assert text([]).splitlines() == [",".join(tidy.COLUMNS)]


def test_no_cell_is_a_formula_and_numbers_are_numbers():
    job = dataclasses.replace(results.JOB, name=HOSTILE)
    found = faceoffs.with_facts(faceoffs.face_off(host=[10.0, "failed"]), "host", device=HOSTILE, **{HOSTILE: "@x"})
    found[1] = dataclasses.replace(found[1], reason="+1")
    variants = {"fp32-bs16": dataclasses.replace(VARIANTS["fp32-bs16"], parameters={"lr": -0.5, "mode": "-x"})}
    read = rows(found, job=job, variants=variants)
    assert read[0]["job"] == "'" + HOSTILE and read[0]["fact.device"] == "'" + HOSTILE
    assert (read[0]["parameter.lr"], read[0]["parameter.mode"]) == ("-0.5", "'-x")
    assert read[-1]["reason"] == "'+1"
    cells = [cell for row in csv.reader(io.StringIO(text(found, job=job, variants=variants))) for cell in row]
    assert [cell for cell in cells if cell.lstrip().startswith(("=", "+", "@")) or cell == "-x"] == []


@pytest.mark.parametrize("cell", ["=1", "+1", "-a", "@a", "\t=1", "\r=1", " =1", "＝1"])  # noqa: RUF001
def test_what_a_spreadsheet_takes_for_a_formula_begins_with_a_quote(cell):
    assert formatting.harmless(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["a=1", "1-2", "", "fp32", -1.5, None, True])
def test_all_else_is_left_as_it_is(cell):
    assert formatting.harmless(cell) is cell


def test_bencher_takes_means_and_their_intervals():
    compared = comparisons.pair()
    document = json.loads(bmf.text(compared))
    assert list(document) == ["host/fp32-bs16", "cuda-10.0/fp32-bs16"]
    total = compared.settings[0].metrics["total_seconds"]
    measure = document["host/fp32-bs16"]["total_seconds"]
    assert measure["value"] == total.mean
    reach = 4.302653 * total.spread / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert measure["upper_value"] - total.mean == pytest.approx(reach) == total.mean - measure["lower_value"]
    assert measure.keys() == {"value", "lower_value", "upper_value"}
    assert json.loads(bmf.text(comparisons.pair("cannot say", 1.1, 1)))["host/fp32-bs16"]["total_seconds"].keys() == {
        "value"
    }


def test_a_setting_that_did_not_run_is_no_benchmark():
    assert "cuda-9.2/fp32-bs16" not in json.loads(bmf.text(comparisons.with_failures()))
