"""fastai 2: its optimisers and its loader are no torch.optim.Optimizer and no DataLoader of torch."""

import time

import torch
from common import net, tell
from fastai.basics import Callback, DataLoaders, Learner, noop
from torch import nn

numbers = [(torch.randn(3, 8, 8), index % 2) for index in range(170)]
dls = DataLoaders.from_dsets(numbers[:130], numbers[130:], bs=16, device=torch.device("cpu"))
spent = [0.0, 0.0, 0]


class Timer(Callback):
    order = 60

    def before_train(self):
        spent[1] = time.perf_counter()

    def after_batch(self):
        spent[2] += self.training

    def after_train(self):
        spent[0] += time.perf_counter() - spent[1]


learn = Learner(dls, net(), loss_func=nn.functional.cross_entropy, cbs=[Timer()])
learn.logger = noop
learn.fit(2, 1e-3)
learn.get_preds()
tell(train=2, steps=spent[2], samples=256, validation=3, seconds=spent[0])
