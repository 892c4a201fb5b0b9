"""Counters and timers of a script that hands its loop to a framework: a span for each pass, in the order they begin."""

import time


class Spans:
    """Passes that begin, count and end where a framework calls back. One within another is not the outer's time."""

    def __init__(self):
        self.all, self.open = [], []

    def begin(self, name):
        span = {"name": name, "steps": 0, "samples": 0, "seconds": -time.perf_counter(), "around": 0.0}
        self.all.append(span)
        self.open.append(span)

    def count(self, steps=0, samples=0):
        self.open[-1]["steps"] += steps
        self.open[-1]["samples"] += samples

    def end(self, at=None):
        span = self.open.pop()
        span["seconds"] += time.perf_counter() if at is None else at
        if self.open:
            self.open[-1]["seconds"] -= span["seconds"]
            self.open[-1]["around"] += span["seconds"] / span["steps"]
