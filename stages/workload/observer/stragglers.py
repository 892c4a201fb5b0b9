"""Which rank of several waits for its loader the longest: where they join in each step, all wait for its batch.

A rank that computes slowly is not told: the others wait for it within the backward pass, as long as it computes.

Runs inside images: Python 3.7 syntax, standard library only.
"""

from typing import Dict, List

from stages.workload.observer.runs import Run

SHARE = 0.05  # of the training, by which the waiting of two ranks may differ


def stragglers(ranks: Dict[int, List[Run]]) -> List[str]:
    """Return a sentence where a rank's loader is clearly slower than another's."""
    training = {rank: [run for run in runs if run.training] for rank, runs in ranks.items()}
    waits = {rank: sum(run.wait_seconds or 0.0 for run in runs) for rank, runs in training.items()}
    if len(waits) < 2 or not all(runs for runs in training.values()):
        return []
    if any(run.wait_seconds is None for runs in training.values() for run in runs):
        return []
    last, first = max(waits, key=waits.__getitem__), min(waits, key=waits.__getitem__)
    seconds = max(sum(run.seconds for run in runs) for runs in training.values())
    if waits[last] - waits[first] <= SHARE * seconds:
        return []
    return [
        f"rank {last} waited {waits[last]:.1f} s for its loader, rank {first} {waits[first]:.1f} s: where they join in "
        "each step, all wait for the batch that comes last"
    ]
