"""What a job will need of the machine, told from its parameters.

Runs on the host and inside images: Python 3.7 syntax, standard library only.
"""

from stages.records import Recipe

LEARNERS = ("fastai1", "fastai2")  # which hand over batches differently

# Each worker of torch's loader has two batches ahead: in 1.2 (2 * num_workers in _DataLoaderIter) as today
# (prefetch_factor).
PREFETCH = 2
# fastai 1 augments and scales in the workers, and hands over float32; fastai 2 hands over the photos' bytes, and does
# that after the copy to the device.
CHANNEL_BYTES = {"fastai1": 4, "fastai2": 1}
CHANNELS = 3
LABEL_BYTES = 8
# Without a GPU there is no copy, and what is in /dev/shm stays there while anything refers to it. In fastai 2 that is
# more than the batch at hand: each failed dispatch of a transform on the labels leaves a cycle (exception, traceback,
# frames) that holds the batch until Python collects it. Up to 6 were seen, in 600 steps with and without training.
UNCOLLECTED_BATCHES = 7
PAGE_BYTES = 4096  # each tensor is a file of its own in /dev/shm
QUEUES_BYTES = 2**17  # semaphores of the queues between the processes, a page each


def shared_memory_bytes(learner: str, on_gpu: bool, batch_size: int, recipe: Recipe) -> int:
    """What the loader's processes have in /dev/shm at most: the batches ahead, and those that are still held.

    So much where the loader is ahead of the training; where it lags, less. `learner` is one of LEARNERS.
    """
    if recipe.workers == 0:
        return 0
    batches = batches_at_once(learner, on_gpu, recipe)
    return batches * batch_bytes(learner, batch_size, recipe) + QUEUES_BYTES


def batches_at_once(learner: str, on_gpu: bool, recipe: Recipe) -> int:
    """Batches that are in memory together, from the loader's processes to the one that trains."""
    batches = PREFETCH * recipe.workers + 1
    return batches + UNCOLLECTED_BATCHES if learner == "fastai2" and not on_gpu else batches


def batch_bytes(learner: str, batch_size: int, recipe: Recipe) -> int:
    """What one batch takes, as the loader hands it over."""
    photos = batch_size * CHANNELS * recipe.size**2 * CHANNEL_BYTES[learner]
    return _whole_pages(photos) + _whole_pages(batch_size * LABEL_BYTES)


def learner_kind(fastai: str) -> str:
    """The learner that drives this version of fastai: 'fastai1' for '1.0.48'."""
    return "fastai" + fastai.split(".")[0]


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
