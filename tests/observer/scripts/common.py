"""What the scripts share. Each prints, as its last line, the truth as it knows it by counters and timers of its own."""

import json
import time

import torch
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
torch.set_num_threads(1)


class Slow(TensorDataset):
    """Each sample takes a little, so that a training waits."""

    def __getitem__(self, index):
        time.sleep(0.0002)
        return super().__getitem__(index)


def data(count):
    return Slow(torch.randn(count, 3, 8, 8), torch.randint(0, 2, (count,)))


class Flat(nn.Module):  # torch 1.2 has nn.Flatten, 1.0 has not
    def forward(self, x):
        return x.reshape(x.shape[0], -1)


def net():
    return nn.Sequential(Flat(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 2))


def optimiser(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def work(model, steps, x, y):
    """One step of the usual kind, of some milliseconds."""
    steps.zero_grad()
    time.sleep(0.001)
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    steps.step()
    return loss


def validate(model, loader):
    """Return its seconds."""
    began = time.perf_counter()
    with torch.no_grad():
        for x, _ in loader:
            model(x)
    return time.perf_counter() - began


def tell(**truth):
    print(json.dumps(truth), flush=True)
