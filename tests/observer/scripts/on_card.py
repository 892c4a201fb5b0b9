"""Trainings on the stand-in's card, each of a planted kind, with jitter. Tells the card's own truth of each."""
# ruff: noqa: I001, S311

import card  # before torch
import collections
import json
import os
import random
import sys

import torch
from card import CARD, HOST, on_card, start
from torch import nn
from torch.utils.data import DataLoader, Dataset

MICRO = 1e-6
STEPS, KERNELS, BATCH = 30, 60, 8
PLANTED = {  # seconds of: the loader a batch, copies, the host a launch, the card a kernel; where the script waits
    "input-bound": (9e-3, 2e-4, 10 * MICRO, 30 * MICRO, ""),
    "input-bound, item": (9e-3, 2e-4, 10 * MICRO, 30 * MICRO, "item"),
    "copy-bound": (2e-4, 6e-3, 5 * MICRO, 20 * MICRO, ""),
    "copy-bound, waiting": (2e-4, 6e-3, 5 * MICRO, 20 * MICRO, "copy item"),
    "launch-bound": (5e-4, 2e-4, 90 * MICRO, 12 * MICRO, ""),
    "launch-bound, item": (5e-4, 2e-4, 90 * MICRO, 12 * MICRO, "item"),
    "launch-bound, scaler": (5e-4, 2e-4, 90 * MICRO, 12 * MICRO, "scaler"),
    "compute-bound": (5e-4, 2e-4, 10 * MICRO, 90 * MICRO, ""),
    "compute-bound, item": (5e-4, 2e-4, 10 * MICRO, 90 * MICRO, "item"),
    "compute-bound, early item": (5e-4, 2e-4, 10 * MICRO, 90 * MICRO, "early"),
    "compute-bound, scaler": (5e-4, 2e-4, 10 * MICRO, 90 * MICRO, "scaler"),
    "compute-bound, hidden loader": (3e-3, 2e-4, 10 * MICRO, 90 * MICRO, ""),
    "compute-bound, many kernels": (5e-4, 2e-4, 8 * MICRO, 12 * MICRO, "many"),
    "balanced": (5.2e-3, 2e-4, 10 * MICRO, 85 * MICRO, "item"),
    "compute-bound, slow optimiser": (5e-4, 2e-4, 10 * MICRO, 90 * MICRO, "scaler slow"),
    "launch-bound, mixed": (2.5e-3, 2e-4, 70 * MICRO, 12 * MICRO, ""),
}


class Photos(Dataset):
    seconds = 0.0

    def __len__(self):
        return STEPS * BATCH - 3

    def __getitem__(self, index):
        HOST.spend(self.seconds / BATCH * NOISE.uniform(0.6, 1.5))
        return torch.zeros(2), torch.zeros(1)


class Work(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        run(KERNELS // 3)
        return x + 0

    @staticmethod
    def backward(ctx, gradient):
        run(KERNELS // 2)
        return gradient


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x):
        return Work.apply(nn.functional.linear(x, self.linear.weight, self.linear.bias))


def run(kernels, slower=1):
    if "many" in waits:
        kernels *= 8
    slow = 2e-3 if NOISE.random() < 0.003 else 0.0  # the machine has other things to do
    for _ in range(kernels):
        HOST.spend(slower * host * NOISE.uniform(0.7, 1.4))
        CARD.launch(device / slower * NOISE.uniform(0.9, 1.1))
    HOST.spend(slow)


def copy(x, y):
    CARD.turns_to("copy")
    HOST.spend(20 * MICRO)
    CARD.launch(copies * NOISE.uniform(0.9, 1.1))
    if "copy" in waits:  # memory that is not pinned
        CARD.synchronize()
    return on_card(x), y


def epoch(model, optimiser, loader):
    CARD.turns_to("wait")
    for x, y in loader:
        x, y = copy(x, y)
        CARD.turns_to("compute")
        optimiser.zero_grad()
        if functional:  # the loss is a module, the model is not called
            loss = CRITERION(model.forward(x), y) if functional == "loss" else model.forward(x).mean()
        else:
            loss = model(x).mean()
        if "early" in waits:
            CARD.synchronize()
        on_card(loss).backward()
        if "scaler" in waits:
            CARD.synchronize()
        run(KERNELS // 6, 18 if "slow" in waits else 1)
        optimiser.step()
        CARD.turns_to("other")
        HOST.spend(30 * MICRO)
        if "item" in waits:
            CARD.synchronize()
        if os.environ.get("CAPTURE") and NOISE.random() < 0.03:
            capture(model)
        CARD.turns_to("wait")


def capture(model):
    """A backward pass becomes part of a graph."""
    CARD.capturing = True
    loss = model.linear(torch.zeros(1, 2)).mean()
    HOST.spend(1e-3)
    on_card(loss).backward()
    HOST.spend(1e-3)
    CARD.capturing = False
    COUNTS["captures"] += 1


def validate(model, loader):
    CARD.turns_to("validation")
    with torch.no_grad():
        for x, _ in loader:
            model(x)
    CARD.synchronize()


def parts():
    return {each: CARD.idle[each] + CARD.busy[each] for each in ("wait", "copy", "compute", "other")}


random.seed(1)
torch.manual_seed(1)
if os.environ.get("START") != "0":
    start()
CARD.fails_after = int(os.environ.get("FAILS_AFTER", "0")) or None
COUNTS = collections.Counter()
functional, CRITERION = os.environ.get("FUNCTIONAL"), nn.MSELoss()
found = []
for name in os.environ.get("CASES", ";".join(PLANTED)).split(";"):
    for seed in range(int(os.environ.get("SEEDS", "1"))):
        NOISE = random.Random("{} {}".format(name, seed))
        card.NOISE.seed(seed)
        model = Net()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        Photos.seconds, copies, host, device, waits = PLANTED[name]
        loader = DataLoader(Photos(), batch_size=BATCH, num_workers=int(os.environ.get("WORKERS", "0")))
        epoch(model, optimiser, loader)  # warms up
        before, idle = parts(), CARD.idle["compute"]
        epoch(model, optimiser, loader)
        CARD.turns_to("validation")
        after = parts()
        truth = {each: after[each] - before[each] for each in after}
        found.append(dict(truth, name=name, seed=seed, idle_in_compute=CARD.idle["compute"] - idle))
        Photos.seconds = 1e-3
        validate(model, loader)
if os.environ.get("FORK"):
    next(iter(DataLoader(Photos(), batch_size=BATCH)))  # the next call of a module is to be marked
if os.environ.get("FORK") and not os.fork():
    records = CARD.records
    model.linear(torch.zeros(1, 2)).sum().backward()
    sys.stderr.write("the child marks its parent's queue\n" * (CARD.records - records))
    os._exit(0)
counts = {each: getattr(CARD, each) for each in ("events", "records", "queries", "reads", "synchronised")}
runs, numbers = 2 * len(found), [random.random(), torch.rand(1).item()]
counted = {"train": runs, "steps": runs * STEPS, "samples": runs * (STEPS * BATCH - 3), "validation": len(found)}
print(json.dumps(dict(counted, found=found, card=counts, captures=COUNTS["captures"], random=numbers)))
