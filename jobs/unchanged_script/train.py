"""Train a small network on random images, as any script would that was written for other ends."""

import argparse
from pathlib import Path

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--images", type=int, default=512)
parser.add_argument("--threads", type=int, default=torch.get_num_threads())
parser.add_argument("--out", default=".")
args = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(args.threads)
device = "cuda" if torch.cuda.is_available() else "cpu"
images = torch.randn(args.images, 1, 28, 28)
labels = (images.mean(dim=(1, 2, 3)) > 0).long()
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 14 * 14, 2)
).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for epoch in range(args.epochs):
    for batch in torch.randperm(args.images).split(args.batch_size):
        loss = nn.functional.cross_entropy(model(images[batch].to(device)), labels[batch].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print("epoch", epoch + 1, "loss", round(loss.item(), 4), flush=True)
torch.save(model.state_dict(), str(Path(args.out, "model.pt")))
