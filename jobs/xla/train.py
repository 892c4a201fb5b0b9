"""Train a small network on random images with torch_xla; what XLA compiles once is a span of its own."""

import json
import os
import sys
import time

import torch
import torch_xla
from torch import nn
from torch_xla import runtime

IMAGES, EPOCHS = 2048, 3
batch_size, seed = int(sys.argv[1]), int(sys.argv[2])


def tell(**line):
    with open(os.environ["FACEOFF_EVENTS"], "a") as events:  # noqa: PTH123 - as plain as can be
        events.write(json.dumps(line) + "\n")


torch.manual_seed(seed)
kind, device = runtime.device_type(), torch_xla.device()
tell(fact="device", value="cpu" if kind == "CPU" else kind)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 2)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
images = torch.randn(IMAGES // batch_size, batch_size, 1, 28, 28)
for epoch in range(EPOCHS):
    began = time.perf_counter()
    for batch in images[:1] if epoch == 0 else images:
        batch = batch.to(device)
        loss = nn.functional.cross_entropy(model(batch), (batch.mean(dim=(1, 2, 3)) > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch_xla.sync()
    value = loss.item()  # waits for the device
    span = {"span": "compile" if epoch == 0 else "epoch", "seconds": time.perf_counter() - began}
    tell(**span, samples=batch_size * (1 if epoch == 0 else len(images)), values={"train_loss": value})
