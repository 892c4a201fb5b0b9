"""A stand-in for a GPU's queue below torch.cuda: torch's own Event and current_stream run on it. No GPU, no real time.

Import it before torch. time.perf_counter is a clock that only planted work moves: the host's, and the card's, which
runs a little faster and began at another time. Work is queued with `launch`; nothing of it is computed.
"""

import collections
import importlib.machinery
import random
import struct
import sys
import time

FASTER = 1 + 3e-5  # the card's clock
LATENCY = 4e-6  # until an idle card begins with what was launched
QUEUE = 256  # launches: with more, the host waits


class Host:
    now = 1000.0

    def spend(self, seconds):
        self.now += seconds

    def read(self):
        self.now += 5e-8
        return self.now


class Card:
    """One stream. `idle` and `busy`: the truth, by what the host was at."""

    def __init__(self):
        self.free = 0.0  # when all that is queued will be done
        self.ends = collections.deque()
        self.doing = None
        self.events = self.records = self.queries = self.reads = self.synchronised = 0
        self.capturing = False
        self.fails_after = None
        self.idle, self.busy = collections.Counter(), collections.Counter()

    def launch(self, seconds):
        while self.ends and self.ends[0] <= HOST.now:
            self.ends.popleft()
        if len(self.ends) >= QUEUE:
            HOST.now = self.ends.popleft()
        begins = max(self.free, HOST.now + LATENCY)
        self.idle[self.doing] += begins - max(self.free, LAST[0])
        self.free = LAST[0] = begins + seconds
        self.ends.append(self.free)
        self.busy[self.doing] += seconds

    def synchronize(self):
        self.synchronised += 1
        HOST.now = max(HOST.now, self.free) + 5e-6

    def turns_to(self, doing):
        """From here on the host is at something else; how long the card has been idle by now is the former's."""
        self.idle[self.doing] += max(0.0, HOST.now - max(self.free, LAST[0]))
        LAST[0] = max(LAST[0], HOST.now)
        self.doing = doing


HOST, CARD, LAST = Host(), Card(), [0.0]
NOISE = random.Random(0)  # noqa: S311


class Event:
    """As torch._C._CudaEventBase."""

    def __new__(cls, *args, **options):
        assert options.get("enable_timing"), options
        CARD.events += 1
        return super().__new__(cls)

    def record(self, stream):
        assert isinstance(stream, sys.modules["torch"].cuda.Stream) and not CARD.capturing
        CARD.records += 1
        if CARD.fails_after is not None and CARD.records > CARD.fails_after:
            raise RuntimeError("CUDA error: device-side assert triggered\nmore")
        HOST.spend(NOISE.uniform(1.5e-6, 4e-6))
        self.at = max(CARD.free, HOST.now + NOISE.uniform(1e-6, 4e-6))

    def query(self):
        assert not CARD.capturing, "it breaks a capture"
        CARD.queries += 1
        HOST.spend(1e-6)
        return HOST.now >= self.at

    def elapsed_time(self, end):
        CARD.reads += 1
        assert self.at <= HOST.now and end.at <= HOST.now, "an event that was not passed is read"
        milliseconds = (end.at - self.at) * FASTER * 1e3
        return struct.unpack("f", struct.pack("f", round(milliseconds / 5e-4) * 5e-4))[0]

    def synchronize(self):
        raise AssertionError("the observer waits for the card")


class Stream:
    """As torch._C._CudaStreamBase."""

    def __new__(cls, *args, **options):
        return super().__new__(cls)


class Finder:
    """Has torch._C changed as soon as it is there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "torch._C":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader, load = spec.loader, spec.loader.exec_module

        def exec_module(module):
            load(module)
            old = sys.version_info < (3, 8)  # with torch 1.2
            module._CudaEventBase, module._CudaStreamBase = Event, Stream
            module._cuda_getCurrentStream = lambda index: 0 if old else (0, index, 1)
            module._cuda_isCurrentStreamCapturing = lambda: CARD.capturing
            module._cuda_isInBadFork = lambda: False
            module._cuda_getDevice = lambda: 0
            module._cuda_setDevice = lambda index: None

        loader.exec_module = exec_module
        return spec


def start():
    """As a program's first use of CUDA."""
    torch = sys.modules["torch"]
    torch.cuda._initialized = True
    torch.backends.cuda.is_built = lambda: True
    device, is_cuda = torch.Tensor.device, torch.Tensor.is_cuda
    card = torch.device("cuda:0")
    torch.Tensor.device = property(lambda self: card if hasattr(self, "on_card") else device.__get__(self))
    torch.Tensor.is_cuda = property(lambda self: hasattr(self, "on_card") or is_cuda.__get__(self))


def on_card(tensor):
    """Have the tensor say that it lies on the card."""
    tensor.on_card = True
    return tensor


time.perf_counter = HOST.read
sys.meta_path.insert(0, Finder)
