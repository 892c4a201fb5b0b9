"""Two optimisers on one batch, one of them twice, and a gradient penalty by autograd.grad."""

import time

import torch
from common import Flat, data, tell
from torch import nn
from torch.utils.data import DataLoader

loader = DataLoader(data(320), batch_size=16, shuffle=True)
maker = nn.Linear(8, 192)
judge = nn.Sequential(Flat(), nn.Linear(192, 1))
makes, judges = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
seconds = 0.0
for _ in range(2):
    began = time.perf_counter()
    for x, _ in loader:
        for _ in range(2):
            made = maker(torch.randn(len(x), 8)).detach().reshape(x.shape)
            real = x.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
            judges.zero_grad()
            (judge(made).mean() - judge(x).mean() + slope.pow(2).mean()).backward()
            judges.step()
        makes.zero_grad()
        (-judge(maker(torch.randn(len(x), 8)).reshape(x.shape)).mean()).backward()
        makes.step()
    seconds += time.perf_counter() - began
tell(train=2, steps=40, samples=640, validation=0, seconds=seconds)
