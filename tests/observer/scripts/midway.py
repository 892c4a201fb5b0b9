"""A first look at a batch; a loop that fetches one ahead; validation every 7 steps, within the epoch."""

import time

from common import data, net, optimiser, tell, validate, work
from torch.utils.data import DataLoader

loader, valid = DataLoader(data(330), batch_size=16, shuffle=True), DataLoader(data(64), batch_size=16)
model = net()
opt = optimiser(model)
model(next(iter(loader))[0])


def ahead(loader):
    batches = iter(loader)
    following = next(batches, None)
    while following is not None:
        batch, following = following, next(batches, None)
        yield batch


steps = 0
seconds = validated = 0.0
for _ in range(2):
    began = time.perf_counter()
    for x, y in ahead(loader):
        work(model, opt, x, y)
        steps += 1
        if steps % 7 == 0:
            spent = validate(model, valid)
            validated += spent
            began += spent
    seconds += time.perf_counter() - began
tell(train=2, steps=42, samples=660, validation=6, seconds=seconds, validated=validated)
