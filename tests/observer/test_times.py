"""Times of the observer beside a script's own timers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observer.observing import Seen, observe_times


@pytest.mark.parametrize("workers", ["0", "1"])
def test_times_are_those_of_timers_in_the_script(tmp_path: Path, workers: str) -> None:
    def off(seen: Seen) -> Iterator[str]:
        truth, observation = seen.truth, seen.observation
        splits = [span.split for span in observation.spans if span.split is not None]
        assert sum(split.seconds for split in splits) == pytest.approx(seen.seconds("train"))
        pairs = {
            "train": (seen.seconds("train"), truth["seconds"], 0.02),
            "validation": (seen.seconds("validation"), truth["validated"], 0.04),
            "wait": (sum(split.wait_seconds for split in splits), truth["waited"], 0.04),
            "compute": (sum(split.compute_seconds for split in splits), truth["worked"], 0.04),
        }
        if workers == "0":  # else their end is behind the last step
            pairs["steps"] = (sum(step.seconds for step in observation.steps), truth["seconds"], 0.02)
        return (name for name, (found, own, rel) in pairs.items() if found != pytest.approx(own, rel=rel))

    seen, wrong = observe_times(tmp_path, off, "plain.py", WORKERS=workers)
    assert not wrong, (wrong, seen.truth, seen.observation.spans)
