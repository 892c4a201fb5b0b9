"""Loops of unusual kinds, by name: seen in part, or not at all, or wholly."""

import sys
import threading
import time

import torch
from common import data, net, optimiser, tell, work
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Pipeline:
    """As DALI's iterator for PyTorch: no DataLoader, dictionaries in a list, begun again by hand."""

    def __init__(self, batches):
        self.batches, self.at = batches, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at == self.batches:
            raise StopIteration
        self.at += 1
        time.sleep(0.003)
        return [{"data": torch.randn(16, 3, 8, 8), "label": torch.randint(0, 2, (16, 1))}]

    def reset(self):
        self.at = 0


def pipeline():
    """Steps are torch's; nobody sees where an epoch ends, nor where the first step begins."""
    batches, model = Pipeline(20), net()
    opt, began = optimiser(model), None
    for _ in range(2):
        for (batch,) in batches:
            work(model, opt, batch["data"], batch["label"].squeeze(1))
            ended = time.perf_counter()
            began = began or ended
        batches.reset()
    tell(train=1, steps=40, samples=None, validation=0, seconds=ended - began)


def functional():
    """The gradient is torch.func's, the step the script's own."""
    weights, loader = torch.zeros(192), DataLoader(data(64), batch_size=16)
    slope = torch.func.grad(lambda weights, x, y: ((x.reshape(len(x), -1) @ weights - y) ** 2).mean())
    for x, y in loader:
        weights = weights - 0.01 * slope(weights, x, y)
    tell(train=0, steps=0, samples=0, validation=0, seconds=0.0)


class Again(torch.autograd.Function):
    """Computes activations again: a backward pass within one, which on a GPU is run by a thread of autograd's."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * 1.0

    @staticmethod
    def backward(context, gradient):
        x = context.saved_tensors[0].detach().requires_grad_(True)

        def again():
            with torch.enable_grad():
                torch.autograd.backward(x * 1.0, gradient)

        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        return x.grad


class Stream(IterableDataset):
    """A data set without a length."""

    def __iter__(self):
        return iter(data(170))


def whole():
    """All of it is seen: LBFGS, which asks for several backward passes a step; an epoch that is left early; Again."""
    model = net()
    again = nn.Sequential(model[0], model[1], nn.ReLU())
    seconds = 0.0
    for layers, opt, source, most in (
        (model, torch.optim.LBFGS(model.parameters(), max_iter=3), data(320), 10),
        (model, optimiser(model), Stream(), 99),
        (lambda x: model[3](Again.apply(again(x))), optimiser(model), data(170), 99),
    ):
        began = time.perf_counter()
        for index, (x, y) in enumerate(DataLoader(source, batch_size=16)):
            opt.step(lambda: work(layers, Zero, x, y)) if most == 10 else work(layers, opt, x, y)  # noqa: B023
            if index + 1 == most:
                break
        seconds += time.perf_counter() - began
    tell(train=3, steps=32, samples=500, validation=0, seconds=seconds)


class Zero:
    """Leaves the step to who asks."""

    zero_grad = step = staticmethod(lambda: None)


globals()[sys.argv[1]]()
