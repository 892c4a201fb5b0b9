"""A module that is compiled in place, at once or within the pass at step LATE, with its loss on the stand-in's card."""

import json
import os

import card  # isort: skip  (before torch)
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.utils.data import DataLoader, TensorDataset

card.start()
late = int(os.environ["LATE"] or 0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for step, (x,) in enumerate(DataLoader(TensorDataset(torch.randn(320, 4)), batch_size=8)):
    if step == late:
        model.compile(backend="eager")
    optimiser.zero_grad()
    card.on_card(model(x).mean()).backward()
    optimiser.step()
found = {"graphs": dict(counters["stats"]), "breaks": dict(counters["graph_break"]), "records": card.CARD.records}
print(json.dumps(found))
