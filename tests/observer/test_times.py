"""Times of the observer beside a script's own timers."""

from pathlib import Path

import pytest

from tests.observer.observing import observe

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("workers", ["0", "1"])
def test_times_are_those_of_timers_in_the_script(tmp_path: Path, workers: str) -> None:
    seen = observe(tmp_path, "plain.py", WORKERS=workers)
    truth, spans = seen.truth, seen.observation.spans
    splits = [span.split for span in spans if span.split is not None]
    assert seen.seconds("train") == pytest.approx(truth["seconds"], rel=0.02)
    assert seen.seconds("validation") == pytest.approx(truth["validated"], rel=0.04)
    assert sum(split.wait_seconds for split in splits) == pytest.approx(truth["waited"], rel=0.04)
    assert sum(split.compute_seconds for split in splits) == pytest.approx(truth["worked"], rel=0.04)
    assert sum(split.seconds for split in splits) == pytest.approx(seen.seconds("train"))
    if workers == "0":  # else their end is behind the last step
        assert sum(step.seconds for step in seen.observation.steps) == pytest.approx(truth["seconds"], rel=0.02)
