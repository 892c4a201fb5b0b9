"""Batches whose first tensor does not tell their size (tuples of pictures), then a sampler of batches of any size."""

import time

import torch
from common import data, net, optimiser, tell, work
from torch.utils.data import DataLoader, Sampler


class Drawn(Sampler):
    """Notes that it was asked for its length: some draw random numbers to tell."""

    asked = 0

    def __init__(self):
        pass

    def __iter__(self):
        return iter([[0, 1, 2], [3, 4, 5, 6], [7]])

    def __len__(self):
        Drawn.asked += 1
        return 3


model = net()
opt = optimiser(model)
began = time.perf_counter()
pictures = DataLoader(data(100), batch_size=16, collate_fn=lambda items: tuple(zip(*items)))
for images, labels in pictures:
    work(model, opt, torch.stack(images), torch.stack(labels))
for x, y in DataLoader(data(10), batch_sampler=Drawn()):
    work(model, opt, x, y)
tell(train=2, steps=10, samples=108, validation=0, seconds=time.perf_counter() - began, asked=Drawn.asked)
