"""The loop of the tutorials, with timers; validation between epochs. WORKERS; STRIPPED: without torch's step hooks."""

import os
import time

import torch
from common import data, net, optimiser, tell, validate, work
from torch.utils.data import DataLoader

workers = int(os.environ.get("WORKERS", "0"))
train = DataLoader(data(330), batch_size=16, shuffle=True, num_workers=workers)
valid = DataLoader(data(70), batch_size=32)
model = net()
opt = optimiser(model)
if os.environ.get("STRIPPED"):  # as the first torch.compile of some torch 2 does
    torch.optim.SGD.step = torch.optim.SGD.step.__wrapped__
    torch.optim.SGD.step.hooked = True
seconds = waited = worked = validated = 0.0
for _ in range(3):
    began = time.perf_counter()
    batches = iter(train)
    waited += time.perf_counter() - began
    while True:
        asked = time.perf_counter()
        try:
            x, y = next(batches)
        except StopIteration:
            waited += time.perf_counter() - asked
            break
        got = time.perf_counter()
        work(model, opt, x, y)
        waited += got - asked
        worked += time.perf_counter() - got
        time.sleep(0.001)  # logs
    seconds += time.perf_counter() - began
    validated += validate(model, valid)
tell(train=3, steps=63, samples=990, validation=3, seconds=seconds, waited=waited, worked=worked, validated=validated)
