"""Batches cut from an array, two backward passes a step. LOOK: after a look at a loader's first batch."""

import os
import time

import torch
from common import data, net, tell
from torch import nn
from torch.utils.data import DataLoader

loader = DataLoader(data(320), batch_size=64)
everything = next(iter(loader))[0] if os.environ.get("LOOK") else torch.cat([x for x, _ in loader])
model = net()
opt = torch.optim.Adam(model.parameters())
seconds = 0.0
for step in range(50):
    began = time.perf_counter()
    x = everything[torch.randint(0, len(everything), (16,))]
    for _ in range(2):
        nn.functional.cross_entropy(model(x), torch.zeros(16, dtype=torch.long)).backward()
    time.sleep(0.002)
    opt.step()
    opt.zero_grad()
    seconds += time.perf_counter() - began if step else 0.0
tell(train=1, steps=50, samples=None, validation=0 if os.environ.get("LOOK") else 1, seconds=seconds)
