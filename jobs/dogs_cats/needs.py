"""What a variant needs of disks and of /dev/shm, told from its parameters.

Runs on the host and inside images: Python 3.7 syntax, standard library only.
"""

from jobs.dogs_cats.parameters import Recipe

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
# A trained model's file, as torch.save writes the parameters of body and head, for two classes.
MODEL_BYTES = {
    "resnet18": 46_911_543,
    "resnet34": 87_403_639,
    "resnet50": 102_813_355,
    "resnet101": 179_085_703,
    "resnet152": 241_939_491,
    "tf_efficientnet_lite0": 19_044_187,
}
HEAD_FEATURES = 512  # of the head's last layer, in both versions of fastai
# What a checkpoint takes: the weights and Adam's two moments of each; twice, while one file replaces the other.
CHECKPOINT_MODELS = 6


def model_bytes(arch: str, classes: int) -> int:
    """Return the size of a trained model's file."""
    return MODEL_BYTES[arch] + (classes - 2) * (HEAD_FEATURES + 1) * 4


def shared_memory_bytes(fastai: str, on_gpu: bool, batch_size: int, recipe: Recipe) -> int:
    """Return what the loader's processes have in /dev/shm at most: the batches ahead, and those that are still held.

    So much where the loader is ahead of the training; where it lags, less. `fastai`: its version.
    """
    if recipe.workers == 0:
        return 0
    return batches_at_once(fastai, on_gpu, recipe) * batch_bytes(fastai, batch_size, recipe) + QUEUES_BYTES


def batches_at_once(fastai: str, on_gpu: bool, recipe: Recipe) -> int:
    """Return how many batches are in memory together, from the loader's processes to the one that trains."""
    batches = PREFETCH * recipe.workers + 1
    return batches + UNCOLLECTED_BATCHES if learner_kind(fastai) == "fastai2" and not on_gpu else batches


def batch_bytes(fastai: str, batch_size: int, recipe: Recipe) -> int:
    """Return what one batch takes, as the loader hands it over."""
    photos = batch_size * CHANNELS * recipe.size**2 * CHANNEL_BYTES[learner_kind(fastai)]
    return _whole_pages(photos) + _whole_pages(batch_size * LABEL_BYTES)


def learner_kind(fastai: str) -> str:
    """Return the learner that drives this version of fastai: 'fastai1' for '1.0.48'."""
    return "fastai1" if fastai.split(".")[0] == "1" else "fastai2"


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
