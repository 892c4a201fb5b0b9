"""The small jobs of jobs/, each run for real through the whole pipeline: what they give, and what they do not.

tests/unit/test_readme.py runs unchanged_script on image host, as README says.
"""

import pytest

from stages import records
from tests import real_engine
from tests.jobs import checkout
from tests.project import JOBS, ROOT

EXAMPLES = sorted({*JOBS} - {"dogs_cats"})


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_at_most_40_lines(name):
    sources = [path for path in (ROOT / "jobs" / name).iterdir() if path.suffix in (".py", ".sh")]
    assert sources and sum(len(path.read_text().splitlines()) for path in sources) <= 40
    assert (ROOT / "jobs" / name / "job.yaml").read_text().startswith("# ")


@pytest.mark.slow
def test_five_lines_of_bash_are_faced_off(tmp_path):
    variants = {"fast": {"level": 1}, "small": {"level": 9}}
    folder = checkout.make(tmp_path / "project", ["host"], job="bash_timer", variants=variants)
    checkout.repro(folder)
    assert (ROOT / "jobs/bash_timer/train.sh").read_text().count("\n") == 5
    fast, small = checkout.settings(folder).values()
    assert (fast.status, fast.verdict, small.status) == ("ok", "baseline", "ok")
    assert small.verdict in records.VERDICTS and small.ratios["total_seconds"].mean > 1  # gzip -9 takes twice as long
    assert small.metrics["compressed_bytes"].mean < fast.metrics["compressed_bytes"].mean
    assert "compressed_bytes" not in small.ratios  # it is no time
    for name in ("total_seconds", "compress_seconds", "peak_process_memory_bytes"):
        assert fast.metrics[name].mean > 0
    # Nothing is invented that five lines do not tell.
    assert "samples_per_second" not in fast.metrics
    assert (fast.curve, fast.bottleneck, small.predictions, fast.facts) == ((), None, None, {})
    said = " ".join(fast.not_given)
    for word in ("evaluate", "split", "values", "samples", "predictions"):
        assert word in said, (word, said)
    trained = checkout.result(folder, "train", "host", "fast")
    assert trained.absent["ceilings"] == "the job gives none"
    evaluated = checkout.result(folder, "evaluate", "host", "fast")
    assert evaluated.command_seconds is None and "no `evaluate`" in evaluated.absent["command_seconds"]
    predictions = folder / records.Cell("host", "fast", 1).predictions_path
    assert predictions.read_text() == "item,label,predicted\n"
    checks = checkout.preflight(folder)
    for name in ("shared memory", "disk of the checkout"):
        assert checks[name].status == "not checked" and "jobs/bash_timer/job.yaml has no `estimate`" in str(
            checks[name]
        )
    inside = checkout.preflight(folder, "host")
    assert [each.found for each in inside.values() if each.name.startswith("dry-run")] and "failed" not in {
        each.status for each in inside.values()
    }
    assert checkout.run(folder, "python", "-m", "stages.publish")


@pytest.mark.slow
def test_plain_python_has_a_timed_metric_of_its_own(tmp_path):
    variants = {"sha": {"algorithm": "sha512"}, "md5": {"algorithm": "md5"}}
    folder = checkout.make(tmp_path / "project", ["host"], job="plain_python", variants=variants)
    checkout.repro(folder)
    sha, md5 = checkout.settings(folder).values()
    metric = checkout.comparison(folder).metrics["hashes_per_second"]
    assert (metric.unit, metric.better, metric.timed) == ("hashes/s", "higher", True)
    ratio = md5.ratios["hashes_per_second"]
    assert ratio.low < ratio.mean < ratio.high and ratio.verdict in records.VERDICTS
    assert set(sha.metrics) == {
        "total_seconds",
        "hashing_seconds",
        "samples_per_second",
        "hashes_per_second",
        "peak_process_memory_bytes",
    }
    assert sha.metrics["total_seconds"].mean == pytest.approx(sha.metrics["hashing_seconds"].mean)
    assert sha.facts["openssl"] and sha.curve == () and sha.bottleneck is None


@pytest.mark.slow
def test_a_job_that_says_more_gets_more(tmp_path):
    variants = {"few": {"epochs": 2, "learning_rate": 0.01}, "backwards": {"epochs": 2, "learning_rate": -0.0005}}
    folder = checkout.make(tmp_path / "project", ["host"], job="says_more", variants=variants)
    checkout.repro(folder)
    few, backwards = checkout.settings(folder).values()
    assert {"total_seconds", "epoch_seconds", "samples_per_second", "accuracy"} <= set(few.metrics)
    assert [point.epoch for point in few.curve] == [1, 2] and few.curve[1].values["train_loss"] > 0
    assert few.bottleneck.spans["epoch"].steps == 3 * 2 * 6000
    assert few.facts == {"number_format": ("fp64",)}
    assert (backwards.predictions.items, backwards.predictions.verdict) == (2000, "worse")
    assert "predictions" not in " ".join(few.not_given)
    rows = (folder / records.Cell("host", "few", 1).predictions_path).read_text().splitlines()
    assert rows[0] == "item,label,predicted" and len(rows) == 2001
    curves = (folder / records.CURVES_PATH).read_text().splitlines()
    assert curves[0].startswith("image,setting,epoch") and len(curves) == 5


STRANGER = {"job": "unchanged_script", "variants": {"bs16": {"batch_size": 16}, "bs64": {"batch_size": 64}}}


@pytest.mark.slow
def test_two_processes_are_faced_off_with_one(tmp_path):
    """On a machine without a GPU: what is started, noted and told is the same as on one with two, but for NCCL."""
    variants = {"one": {"batch_size": 32}, "weak": {"batch_size": 32, "gpus": 2}}
    container = {"gpus": "none"}
    folder = checkout.make(
        tmp_path / "project", ["host"], repeats=[1], job="data_parallel", variants=variants, container=container
    )
    checkout.repro(folder)
    one, weak = checkout.settings(folder).values()
    assert (one.status, weak.status) == ("ok", "ok")
    assert weak.explanation[0] == "Weak scaling: 2 processes in place of 1, and 64 samples a step in place of 32."
    alone, both = (checkout.result(folder, "train", "host", name) for name in variants)
    assert [(span.samples, span.steps) for span in alone.spans] == [(1024, 32)] * 3
    assert [(span.samples, span.steps) for span in both.spans] == [(1024, 16)] * 3
    assert "gpus is 2, and there is no card: 2 processes on the CPU" in both.notes and both.belongs.variant.gpus == 2
    assert "GPUs of weak" in checkout.preflight(folder)


@pytest.mark.slow
@pytest.mark.engine
def test_a_strangers_script_in_an_image_of_its_own_python(tmp_path):
    """Python 3.7 and torch 1.2 beside today's: the same script, and a comparison across both."""
    real_engine.connect()
    folder = checkout.make(
        tmp_path / "project", ["host", "cuda-10.0"], repeats=[1], container={"gpus": "none"}, **STRANGER
    )
    checkout.repro(folder)
    found = checkout.settings(folder)
    assert list(found) == ["host/bs16", "host/bs64", "cuda-10.0/bs16", "cuda-10.0/bs64"]
    assert {each.status for each in found.values()} == {"ok"}
    assert found["cuda-10.0/bs16"].metrics["total_seconds"].mean > 0
    assert any("torch 1.2.0" in each for each in found["cuda-10.0/bs16"].differences)


@pytest.mark.slow
@pytest.mark.engine
def test_bash_in_an_image_that_holds_no_torch(tmp_path):
    """An image with Python 3.7 and nothing else; profile and preflight say what they could not look at."""
    engine = real_engine.connect()
    variants = {"fast": {"level": 1}, "small": {"level": 9}}
    folder = checkout.make(
        tmp_path / "project",
        ["bare"],
        job="bash_timer",
        variants=variants,
        repeats=[1],
        container={"gpus": "none"},
        image_files={"bare": f"pull: {real_engine.base(engine)}\nexpects: {{python: '3.7', torch: none}}\n"},
    )
    checkout.repro(folder)
    found = checkout.settings(folder)
    assert {each.status for each in found.values()} == {"ok"}
    assert found["bare/fast"].metrics["peak_process_memory_bytes"].mean > 0
    profile = checkout.profile(folder, "bare")
    assert profile.facts.contents.torch is None and "torch" in profile.facts.contents.absent["torch"]
    assert profile.facts.device is None and profile.facts.absent["device"]
    checks = checkout.preflight(folder, "bare")
    assert "failed" not in {each.status for each in checks.values()}
    assert [each for each in checks.values() if each.status == "not checked"]
