"""A compiled model; the last batch is smaller, and compiled anew, unless EVEN. STEP: the whole step in one. BACKEND."""

import os
import time

import torch
from common import data, net, optimiser, tell
from torch import nn
from torch.utils.data import DataLoader

even = bool(os.environ.get("EVEN"))
loader = DataLoader(data(330), batch_size=16, drop_last=even)
backend = os.environ.get("BACKEND", "eager")
model = torch.compile(net(), backend=backend)
opt = optimiser(model)


def whole(x, y):
    opt.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    opt.step()


if os.environ.get("STEP"):
    whole = torch.compile(whole, backend=backend)
seconds = 0.0
for _ in range(2):
    began = time.perf_counter()
    for x, y in loader:
        whole(x, y)
    seconds += time.perf_counter() - began
counters = torch._dynamo.utils.counters
breaks = sum(counters["graph_break"].values())
tell(
    train=2,
    steps=40 if even else 42,
    samples=640 if even else 660,
    validation=0,
    seconds=seconds,
    graphs=counters["stats"]["unique_graphs"],
    breaks=breaks,
)
