"""What a batch, a loader and this process are: asked without an effect on the program, its random numbers included."""

import os
import sys
from collections.abc import Mapping


def samples_in(batch, tensors=1):
    """Return the first dimension that the batch's first tensors share, so many at least; None if there is none."""
    sizes = []
    first_dimensions(batch, sizes, 0)
    return sizes[0] if len(sizes) >= tensors and len(set(sizes)) == 1 else None


def first_dimensions(batch, sizes, depth):
    """Gather those of the first two tensors. An iterator is not touched: reading would use it up."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        if len(shape):
            sizes.append(int(shape[0]))
    elif isinstance(getattr(batch, "num_graphs", None), int):  # torch_geometric
        sizes.append(batch.num_graphs)
    elif depth < 5 and isinstance(batch, (tuple, list, Mapping)):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            first_dimensions(part, sizes, depth + 1)
            if len(sizes) > 1:
                return


def is_on_gpu(batch, depth=0):
    """Return whether the batch's first tensor lies on a GPU already."""
    found = getattr(batch, "is_cuda", None)
    if found is None and depth < 5 and isinstance(batch, (tuple, list, Mapping)) and len(batch):
        return is_on_gpu(next(iter(batch.values() if isinstance(batch, Mapping) else batch)), depth + 1)
    return found is True


def facts_of(loader):
    """Return what is known of a torch DataLoader. Its length is asked for only where torch's own code answers."""
    batches = getattr(loader, "batch_sampler", None) is not None  # else a sample each, or what the data set calls one
    sampler = getattr(loader, "sampler", None)
    size = getattr(loader, "batch_size", None)
    return {
        "dataset": type(getattr(loader, "dataset", None)).__name__,
        "sampler": type(sampler).__name__,
        "length": length_of(sampler) if batches else None,
        "batches": batches,
        "batch_size": size if isinstance(size, int) and size > 0 else None,
        "drop_last": bool(getattr(loader, "drop_last", False)),
        "workers": getattr(loader, "num_workers", None),
    }


def length_of(sampler):
    """Return how many samples torch's samplers give. One that the program wrote might draw random numbers to tell."""
    asks = getattr(type(sampler), "__len__", None)
    if not str(getattr(asks, "__module__", "")).startswith("torch."):
        return None
    try:
        found = len(sampler)
    except Exception:
        return None
    return found if found < 2**31 else None  # torch 1.2's sampler of iterable data is endless


def graphs_compiled():
    """Return how many graphs torch.compile has made so far: a step in which that rises is no steady one."""
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", None)
    return counters["stats"]["unique_graphs"] if counters is not None and "stats" in counters else 0


def cuda_is_running():
    """Return whether the program has started CUDA, by torch's own note: is_available() would start the driver."""
    cuda = sys.modules.get("torch.cuda")
    if hasattr(cuda, "is_initialized"):
        return bool(cuda.is_initialized())
    return bool(getattr(cuda, "_initialized", False))  # torch 1.2


def rank_and_world():
    """Return which of how many processes this is: as torch.distributed knows, else as its launchers say."""
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
    except Exception:  # noqa: S110 (a torch without it, or another backend)
        pass
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    world = os.environ.get("WORLD_SIZE") or "1"
    return int(rank) if rank.isdigit() else 0, int(world) if world.isdigit() else 1
