"""Lightning's Trainer twice: automatic, with accumulation and validation within epochs; two optimisers by hand."""

import time

import lightning
import torch
from common import data, net, tell
from own import Spans
from torch import nn
from torch.utils.data import DataLoader

spans = Spans()
kept = []


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net()

    def training_step(self, batch, index):
        time.sleep(0.003)
        spans.count(samples=len(batch[0]))
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        kept.append(loss.item())
        return loss

    def on_before_zero_grad(self, optimizer):  # once for each optimiser step
        spans.count(steps=1)

    def validation_step(self, batch, index):
        spans.count(samples=len(batch[0]), steps=1)
        self.log("loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters())
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class ByHand(Net):
    """Two optimisers, a step of each on every batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()
        spans.count(steps=1, samples=-len(batch[0]))

    def on_before_zero_grad(self, optimizer):
        pass

    def configure_optimizers(self):
        return [torch.optim.Adam(self.parameters()), torch.optim.SGD(self.parameters(), 0.01)]


class Own(lightning.Callback):
    def on_train_epoch_start(self, *args):
        spans.begin("train")

    def on_train_epoch_end(self, *args):
        spans.end()

    def on_validation_start(self, *args):
        spans.begin("validation")

    def on_validation_end(self, *args):
        spans.end()


def train(model, **changes):
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Own()],
        **changes,
    )
    trainer.fit(model, DataLoader(data(330), batch_size=16, shuffle=True), DataLoader(data(64), batch_size=16))


train(Net(), accumulate_grad_batches=2, val_check_interval=0.5)
train(ByHand(), num_sanity_val_steps=0)
tell(spans=spans.all, kept=[kept, torch.rand(3).tolist()])
