"""Trains for more than a second, then is killed."""

import os
import signal
import time

from common import data, net, optimiser, work
from torch.utils.data import DataLoader

model = net()
opt = optimiser(model)
began = time.perf_counter()
while time.perf_counter() - began < 1.5:
    for x, y in DataLoader(data(64), batch_size=16):
        work(model, opt, x, y)
os.kill(os.getpid(), signal.SIGKILL)
