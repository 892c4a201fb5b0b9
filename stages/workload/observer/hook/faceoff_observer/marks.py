"""Marks in a GPU's queue of work: CUDA events at a step's moments, read once the device has passed them.

Recording a mark waits for nothing, and nothing is asked of the device within a graph's capture. Each mark is kept with
the host's time at its recording, the device's time since the mark before it, and when it was and was not yet passed.
"""

import collections
import sys
import threading
import time

from faceoff_observer.facts import graphs_compiled

ASKED, GOT, GOT_ON_DEVICE, CALLED, FORWARD, BACKWARD, STEP, END = "a", "g", "d", "c", "f", "b", "s", "e"
MOST_PENDING = 4096  # marks that the device has not passed: from then on none is added
MOST_MARKS = 500000  # of a process: 100,000 steps
MOST_OF_A_BATCH = 64  # where each parameter has an optimiser of its own, each would mark
COLD_BATCHES = 3  # after so many without a graph, torch.compile is not at work

clock = time.perf_counter
get_ident = threading.get_ident


def device_of(tensors):
    """Return the GPU on which a backward pass began, where CUDA is running for sure; None for another device."""
    first = tensors[0] if isinstance(tensors, (tuple, list)) and tensors else tensors
    return first.device if getattr(first, "is_cuda", False) else None


class Marks:
    """One process's marks on one device."""

    def __init__(self, device):
        cuda = sys.modules["torch.cuda"]
        self.device = device  # never the current one: that may be a card which the program does not use
        self.new_event, self.stream = cuda.Event, cuda.current_stream
        self.capturing = getattr(cuda, "is_current_stream_capturing", None)
        self.pending = collections.deque()  # [event, kind, host's time, when it was last seen not to be passed]
        self.passed = []
        self.last = None  # the event that was passed last
        self.free = []
        self.made = self.of_batch = self.batches = 0
        self.handle = None
        self.compiles = False
        self.uncalled = False  # since a batch came, no call of a module was marked
        self.ended = None  # why there are no more

    def mark(self, kind, at):
        """Put a mark behind all that is queued. An error here, the program's own for example, ends the marks."""
        self.look(kind, at)

    def look(self, kind=None, at=None):
        """Read what was passed since the last mark, then put one of the kind."""
        if self.ended is not None:
            return
        try:
            if self.capturing is None or not self.capturing():
                self.settle()
                if kind is not None:
                    self.put(kind, at)
        except Exception as error:
            self.end(error)

    def put(self, kind, at):
        """Record an event, or that of the mark before once more where it is of the same kind and still queued."""
        self.of_batch = 0 if kind in (ASKED, GOT, GOT_ON_DEVICE) else self.of_batch + 1
        if kind in (GOT, GOT_ON_DEVICE, CALLED, FORWARD):
            self.uncalled = kind == GOT
        newest = self.pending[-1] if self.pending else None
        if newest is not None and newest[1] == kind and kind in (BACKWARD, STEP):
            newest[2] = at
            newest[0].record(self.stream(self.device))
        elif self.made >= MOST_MARKS:
            self.ended = "the first {} marks are kept".format(MOST_MARKS)
            self.unwatch()
        elif len(self.pending) < MOST_PENDING and self.of_batch <= MOST_OF_A_BATCH:
            self.made += 1
            event = self.free.pop() if self.free else self.new_event(enable_timing=True)
            self.pending.append([event, kind, at, None])
            event.record(self.stream(self.device))

    def settle(self):
        """Read the marks that the device has passed. From one to the next: elapsed_time has 24 bits."""
        pending = self.pending
        while pending:
            asked = clock()
            mark = pending[0]
            event = mark[0]
            if not event.query():
                mark[3] = asked
                return
            now, last = clock(), self.last
            elapsed = None if last is None else round(last.elapsed_time(event) * 1e4)
            pending.popleft()
            self.passed.append((mark[1], mark[2], elapsed, mark[3], now))
            self.last = event
            if last is not None:
                self.free.append(last)

    def end(self, error):
        """Have no more marks."""
        self.ended = str(error).strip().split("\n")[0][:200] or type(error).__name__
        self.unwatch()

    def take(self):
        """Return the passed marks as an event for the file, in whole microseconds; None where there are none."""
        passed, self.passed = self.passed, []
        if not passed:
            return None
        return {
            "event": "marks",
            "kinds": "".join(mark[0] for mark in passed),
            "at": [micro(mark[1]) for mark in passed],
            "elapsed": [mark[2] for mark in passed],  # since the one before, in tenths of a microsecond
            "late": [None if mark[3] is None else micro(mark[3] - mark[1]) for mark in passed],
            "passed": [micro(mark[4] - mark[1]) for mark in passed],
        }

    # The end of the copies: where the program first calls a module with the batch.

    def watch(self):
        """Have the next call of a module marked: one alone, since all others are slower meanwhile."""
        self.batches += 1
        if self.ended is None and self.handle is None and self.batches > COLD_BATCHES and not self.may_compile():
            module = sys.modules.get("torch.nn.modules.module")
            if hasattr(module, "register_module_full_backward_pre_hook"):  # torch 2.0: hooks may go while they run
                self.thread = get_ident()
                self.handle = module.register_module_forward_pre_hook(self.called)

    def may_compile(self):
        """Return whether torch.compile is at work: a hook that it meets keeps it from compiling the module at all."""
        if not self.compiles:
            frames = sys.modules.get("torch._dynamo.eval_frame")
            backends = getattr(frames, "cached_backends", None)  # a callable for each compiler, False for what is none
            unknown = frames is not None and backends is None
            self.compiles = bool(unknown or graphs_compiled() or any(map(callable, (backends or {}).values())))
            self.look_at_compile()
        return self.compiles

    def look_at_compile(self):
        """Have no call marked any more as soon as the program turns to torch.compile, between two batches or within."""
        torch = sys.modules["torch"]
        original = getattr(torch, "compile", None)
        if original is None or getattr(original, "_faceoff", False):
            return

        def compile(*args, **kwargs):
            self.compiles = True
            self.unwatch()
            return original(*args, **kwargs)

        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            setattr(compile, name, getattr(original, name, None))
        compile._faceoff, compile.__wrapped__ = True, original
        torch.compile = compile

    def unwatch(self):
        """Have no call marked."""
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.remove()

    def called(self, module, args):
        """Mark the call; that of a loss tells that the model was called by another way."""
        if self.handle is not None and get_ident() == self.thread:
            try:
                self.unwatch()
                if not isinstance(module, sys.modules["torch.nn.modules.loss"]._Loss):
                    self.mark(CALLED, clock())
            except Exception as error:
                self.end(error)


def micro(seconds):
    """Return whole microseconds."""
    return round(seconds * 1e6)
