"""A compiled model; the last batch is smaller, and compiled anew. STEP: forward, backward and optimiser in one."""

import os
import time

import torch
from common import data, net, optimiser, tell
from torch import nn
from torch.utils.data import DataLoader

loader = DataLoader(data(330), batch_size=16)
model = torch.compile(net(), backend="eager")
opt = optimiser(model)


def whole(x, y):
    opt.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    opt.step()


if os.environ.get("STEP"):
    whole = torch.compile(whole, backend="eager")
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
    steps=42,
    samples=660,
    validation=0,
    seconds=seconds,
    graphs=counters["stats"]["unique_graphs"],
    breaks=breaks,
)
