"""Four batches a step, the last one of fewer; the rest of the data is dropped."""

import time

import torch
from common import data, net, tell
from torch import nn
from torch.utils.data import DataLoader

loader = DataLoader(data(340), batch_size=16, shuffle=True, drop_last=True)
model = net()
opt = torch.optim.Adam(model.parameters())
rate = torch.optim.lr_scheduler.StepLR(opt, 1, 0.99)
steps = 0
seconds = 0.0
for _ in range(2):
    began = time.perf_counter()
    for index, (x, y) in enumerate(loader):
        (nn.functional.cross_entropy(model(x), y) / 4).backward()
        if (index + 1) % 4 == 0 or index + 1 == len(loader):
            opt.step()
            rate.step()
            opt.zero_grad()
            steps += 1
    seconds += time.perf_counter() - began
tell(train=2, steps=steps, samples=672, validation=0, seconds=seconds, step_samples=[64] * 5 + [16])
