"""Writes what the hooks note as JSON lines: $FACEOFF_OBSERVE.<rank>.<pid>.jsonl, one file a process that trains.

Whole lines, about once a second, so that the file's time of change is a heartbeat. Nothing here starts a thread,
handles a signal, draws a random number, waits for a device or keeps a tensor. Python 3.6, standard library.
"""

import atexit
import collections
import contextlib
import json
import os
import sys
import threading
import time

from faceoff_observer import marks
from faceoff_observer.facts import cuda_is_running, facts_of, graphs_compiled, is_on_gpu, rank_and_world, samples_in

FORMAT = 1
FLUSH_SECONDS = 1.0
MOST_ROWS = 4096  # kept until they are written, whatever the clock says
MOST_BYTES = (
    256 * 2**20
)  # of a file, some 1.5 million batches, half of that on a GPU; from then on only its time of change tells

LINE = (
    '{{"event": "batch", "run": {}, "asked": {}, "wait": {:.6f}, "samples": {}, "backwards": {}, "backward_at": {}, '
    '"steps": {}, "step_at": {}, "thread": {}, "graphs": {}}}\n'
)

clock = time.perf_counter
get_ident = threading.get_ident


class Row:
    """What happened between two questions for a batch or, without a loader, between two optimiser steps."""

    __slots__ = (
        "asked",
        "backward_at",
        "backwards",
        "graphs",
        "optimiser",
        "run",
        "samples",
        "step_at",
        "steps",
        "thread",
        "wait",
    )

    def __init__(self, run, asked, wait, samples):
        self.run, self.asked, self.wait, self.samples = run, asked, wait, samples
        self.backwards = self.steps = 0
        self.backward_at = self.step_at = self.optimiser = None  # optimiser: the first that stepped
        self.thread = get_ident()  # None once another one than the loader's worked on it
        self.graphs = graphs_compiled()

    def line(self):
        """Return a row as an event's line. By hand: json takes three times as long."""
        return LINE.format(
            "null" if self.run is None else self.run,
            seconds(self.asked),
            self.wait,
            "null" if self.samples is None else self.samples,
            self.backwards,
            seconds(self.backward_at),
            self.steps,
            seconds(self.step_at),
            "false" if self.thread is None else "true",
            self.graphs,
        )


class Recorder:
    """One process's rows and loaders, until they are written."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.marks = None
        self.inherited = []  # of a parent: a process that was forked must not destroy them
        self.inside = set()  # threads that are within a loader's next()
        self.failed = False
        self.begin()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin)

    def begin(self):
        """Begin a process. What a forked one inherits is its parent's to write."""
        self.rows, self.row = collections.deque(), None
        self.file, self.written = None, 0
        self.runs = 0
        self.loaders = {}
        self.started = self.on_cuda = False
        if self.marks is not None:
            self.marks.unwatch()
            self.inherited.append(self.marks)
        self.marks = None  # once the program has computed on a GPU
        self.trainer = None  # the thread that works on the batches, once known
        self.flushed = clock()
        self.inside.clear()

    def start(self):
        """Take a process's first event."""
        self.started = True
        rank, world = rank_and_world()
        self.path = "{}.{}.{}.jsonl".format(self.prefix, rank, os.getpid())
        self.note(
            event="process",
            format=FORMAT,
            pid=os.getpid(),
            rank=rank,
            world=world,
            clock=clock(),
            unix=time.time(),
            python=sys.version.split()[0],
            torch=str(getattr(sys.modules.get("torch"), "__version__", "")),
        )
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.current_process().name != "MainProcess":
            from multiprocessing import util  # Python 3.7's children end without atexit

            util.Finalize(None, self.close, exitpriority=100)

    # What the hooks call, some microseconds each.

    def asks(self, now):
        """Note that a batch is asked for."""
        self.ends_row(now)
        self.mark(marks.ASKED, now)

    def ends_row(self, now):
        """Keep the row of the batch before, if this is the thread that works on it."""
        if self.row is not None and self.trainer in (None, get_ident()):
            row, self.row = self.row, None
            self.finish(row, now)

    def mark(self, kind, at):
        """Mark the device's queue, in the thread that trains alone."""
        if self.marks is not None and self.trainer == get_ident():
            if kind == marks.ASKED:
                self.marks.unwatch()
            self.marks.mark(kind, at)

    def got(self, iterator, asked, now, batch):
        """Note that the batch is there."""
        run, known, tensors = getattr(iterator, "_faceoff", None) or self.run_begins(iterator, None, asked, asked)
        samples = known or samples_in(batch, tensors)
        if self.trainer in (None, get_ident()):
            self.row = Row(run, asked, now - asked, samples)
            if self.marks is not None:
                on_gpu = is_on_gpu(batch)
                self.mark(marks.GOT_ON_DEVICE if on_gpu else marks.GOT, now)
                if not on_gpu:
                    self.marks.watch()
        else:  # a thread of the program's fetches ahead: no wait of the training
            self.note(event="fetched", run=run, asked=asked, samples=samples)

    def forward_ended(self):
        """Mark that a backward pass begins, where the forward pass has not shown where the copies end."""
        if self.marks is not None and self.marks.uncalled:
            self.mark(marks.FORWARD, clock())

    def backward(self, tensors):
        """Note that a backward pass has ended, which began at the tensors."""
        row = self.working()
        row.backwards += 1
        row.backward_at = clock()
        if self.marks is None:
            device = marks.device_of(tensors)
            self.marks = None if device is None else marks.Marks(device)
        self.mark(marks.BACKWARD, row.backward_at)

    def step(self, optimiser):
        """Note that an optimiser has stepped."""
        row = self.working()
        if row.optimiser == id(optimiser):  # again, and no batch in between
            self.finish(row, row.step_at)
            self.row = None
            row = self.working()
        if row.optimiser is None:
            row.optimiser = id(optimiser)
        row.steps += 1
        row.step_at = clock()
        self.mark(marks.STEP, row.step_at)

    def working(self):
        """Return the row that this thread works on."""
        self.trainer = get_ident()
        if self.row is None:
            if not self.started:
                self.start()
            self.row = Row(None, None, 0.0, None)
            if self.marks is not None:
                self.marks.of_batch = 0
        elif self.row.thread != self.trainer:
            self.row.thread = None
        return self.row

    def run_begins(self, iterator, loader, began, ended):
        """Note that a loader begins to be read: what follows the last batch of another is not work on that."""
        if not self.started:
            self.start()
        self.ends_row(began)
        self.runs += 1
        facts = facts_of(loader)
        known = facts["batch_size"] if facts["length"] is not None else None
        iterator._faceoff = self.runs, known, 1 if facts["batches"] else 2
        self.note(event="loader", run=self.runs, began=began, seconds=ended - began, **facts)
        return iterator._faceoff

    def run_ends(self, iterator, asked, now):
        """Note that a loader has no more batches."""
        run = getattr(iterator, "_faceoff", (None,))[0]
        self.note(event="exhausted", run=run, asked=asked, seconds=now - asked)
        self.mark(marks.END, now)

    def note(self, **line):
        """Keep a line for the file."""
        self.rows.append(line)

    def finish(self, row, now):
        """Keep a row, and write if it is time."""
        row.graphs = graphs_compiled() - row.graphs
        self.rows.append(row)
        if now - self.flushed > FLUSH_SECONDS or len(self.rows) >= MOST_ROWS:
            self.flush(now)

    # The file

    def flush(self, now):
        """Write all that is kept."""
        self.flushed = now
        if not self.on_cuda and cuda_is_running():
            self.on_cuda = True
            self.note(event="cuda")
        self.note_marks()
        lines = []
        while self.rows:
            row = self.rows.popleft()
            lines.append(row.line() if isinstance(row, Row) else json.dumps(row) + "\n")
        if lines:
            self.write("".join(lines).encode("ascii"))

    def note_marks(self):
        """Keep the marks that were passed, and why there are no more."""
        if self.marks is not None:
            line, ended = self.marks.take(), self.marks.ended
            if line is not None:
                self.note(**line)
            if ended:  # once: an empty reason goes on saying that there are none
                self.marks.ended = ""
                self.note(event="marks ended", why=ended)

    def write(self, data):
        """Append to the file, which is made now if it is not there."""
        if self.file is None:
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if self.written > MOST_BYTES:
            os.utime(self.file)
            return
        self.written += len(data)
        if self.written > MOST_BYTES:
            data += b'{"event": "full"}\n'
        while data:  # a disk that fills takes a part, and says so the next time
            data = data[os.write(self.file, data) :]

    def close(self):
        """Write the rest, at the process's end."""
        if not self.failed and (self.row is not None or self.rows):
            try:
                if self.row is not None:
                    self.finish(self.row, clock())
                    self.row = None
                if self.marks is not None:
                    self.marks.look()
                self.note(event="exit", at=clock())
                self.flush(clock())
            except Exception as error:
                self.give_up(error)

    def give_up(self, error):
        """Say once that no more is recorded. The program goes on."""
        if not self.failed:
            self.failed = True
            self.rows.clear()
            with contextlib.suppress(Exception):  # no stderr: nobody to tell
                sys.stderr.write("faceoff: steps are not recorded any more: {}\n".format(error))


def seconds(value):
    """Return a number of seconds to the microsecond, as JSON."""
    return "null" if value is None else "{:.6f}".format(value)
