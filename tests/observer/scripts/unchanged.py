"""Prints all that an observer might change, and ends with a code of its own."""

import copy
import pickle
import random
import sys

import torch
from common import data, net, work
from torch.utils.data import DataLoader

random.seed(1)
loader = DataLoader(data(64), batch_size=16, shuffle=True)
model = net()
opt = torch.optim.Adam(model.parameters())
for x, y in loader:
    print(repr(work(model, opt, x, y).item()))
again = pickle.loads(pickle.dumps(copy.deepcopy(opt)))  # noqa: S301
print(type(again), type(iter(loader)), torch.optim.lr_scheduler.StepLR(opt, 1).get_last_lr())
print(
    torch.rand(2).tolist(),
    random.random(),  # noqa: S311
    opt.step.__name__,
    [entry for entry in sys.path if "observer/hook" in entry],
)
print(
    sorted(name for name in sys.modules if name == "stages" or name.startswith("stages.")),
    type(sys.modules["torch"].__spec__.loader),
)
sys.stderr.write("to stderr\n")
sys.exit(3)
