"""Two processes of torchrun, each with its half of the data."""

import time

import torch.distributed as dist
from common import data, net, optimiser, tell, work
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
numbers = data(320)
halves = DistributedSampler(numbers)
loader = DataLoader(numbers, batch_size=16, sampler=halves)
model = nn.parallel.DistributedDataParallel(net())
opt = optimiser(model)
seconds = 0.0
for epoch in range(2):
    halves.set_epoch(epoch)
    began = time.perf_counter()
    for x, y in loader:
        work(model, opt, x, y)
    seconds += time.perf_counter() - began
if dist.get_rank() == 0:
    tell(train=2, steps=20, samples=640, validation=0, seconds=seconds)
dist.destroy_process_group()
