"""A batch that a process of the loader cannot hand over is told of, where Python drops it and the training waits on.

A queue's thread pickles what it sends, and torch moves tensors into /dev/shm meanwhile: the labels that collation made
for one. Where that finds no room, the queue prints a traceback, forgets the batch, and the training waits for it for
ever. Here the error goes in the batch's place, as torch sends those of the dataset.

Runs inside images: Python 3.7 syntax.
"""

import multiprocessing.queues
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from torch._utils import ExceptionWrapper
from torch.utils.data import get_worker_info

HOOK = "_on_queue_feeder_error"  # which multiprocessing, from Python 3.7 on, has for the sake of being overridden


@contextmanager
def reported() -> Iterator[None]:
    """Report lost batches of the loader's processes that are forked in the block."""
    queue = multiprocessing.queues.Queue
    printed = vars(queue)[HOOK]

    def report(self: Any, error: Exception, lost: Any) -> None:
        worker = get_worker_info()
        if worker is None or not isinstance(lost, tuple):  # bytes: they were pickled, and who reads is gone
            printed.__func__(error, lost)
            return
        place = "in DataLoader worker process {}".format(worker.id)
        self.put((lost[0], ExceptionWrapper(sys.exc_info(), place)))

    setattr(queue, HOOK, report)
    try:
        yield
    finally:
        setattr(queue, HOOK, printed)
