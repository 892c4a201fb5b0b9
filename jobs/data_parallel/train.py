"""Train a small network on random images in all processes that torchrun has started; alone where it has not."""

import argparse
import os
from pathlib import Path

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32, help="of each process")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default=".")
args = parser.parse_args()

rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
torch.manual_seed(args.seed)  # of all alike: the images and the first weights are the same
images = torch.randn(1024, 1, 28, 28)
data = TensorDataset(images, (images.mean(dim=(1, 2, 3)) > 0).long())
shares = DistributedSampler(data, num_replicas=world, rank=rank)
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 784, 2)).to(device)
if world > 1:
    distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    model = nn.parallel.DistributedDataParallel(model, None if device == "cpu" else [device])
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    shares.set_epoch(epoch)
    for batch, labels in DataLoader(data, args.batch_size, sampler=shares):
        loss = nn.functional.cross_entropy(model(batch.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"rank {rank} of {world} epoch {epoch + 1} loss {loss.item():.4f}\n", end="", flush=True)  # in one write
if rank == 0:
    torch.save(model.state_dict(), str(Path(args.out, "model.pt")))
if world > 1:
    distributed.destroy_process_group()
