"""Trains in a child that is forked, or spawned by torch.multiprocessing; the loader forks once more."""

import sys
import time

import torch.multiprocessing as processes
from common import data, net, optimiser, tell, work
from torch.utils.data import DataLoader


def train(rank=0):
    loader = DataLoader(data(320), batch_size=16, num_workers=1)
    model = net()
    opt = optimiser(model)
    began = time.perf_counter()
    for x, y in loader:
        work(model, opt, x, y)
    tell(train=1, steps=20, samples=320, validation=0, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1] == "fork":
        child = processes.get_context("fork").Process(target=train)
        child.start()
        child.join()
    else:
        processes.spawn(train, nprocs=1)
