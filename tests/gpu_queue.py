"""A stand-in for a GPU: a queue of work, on a clock that the test moves. It shows bookkeeping, and nothing of CUDA."""


class Card:
    """A host that queues work and a GPU that does it later, in order; its clock may go faster than the host's."""

    def __init__(self, drift=0.0):
        self.host = self.idle_from = 0.0
        self.synchronisations = 0
        self.reads_before_the_end = 0
        card = self

        class Event:  # what torch.cuda has by this name
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = max(card.host, card.idle_from)  # when the GPU comes to it

            def query(self):
                return self.at <= card.host

            def synchronize(self):
                card.host = max(card.host, self.at)

            def elapsed_time(self, later):
                card.reads_before_the_end += later.at > card.host
                return 1000.0 * (later.at - self.at) * (1.0 + drift)

        self.Event = Event

    def waits(self, seconds):
        """The host does something that the GPU need not be ready for."""
        self.host += seconds

    def queues(self, seconds):
        """Work for the GPU; the host goes on at once."""
        self.idle_from = max(self.host, self.idle_from) + seconds

    def launches(self, kernels, host_seconds, device_seconds):
        """Kernels, one after the other."""
        for _ in range(kernels):
            self.waits(host_seconds)
            self.queues(device_seconds)

    def synchronises(self):
        self.synchronisations += 1
        self.host = max(self.host, self.idle_from)
        return self.host
