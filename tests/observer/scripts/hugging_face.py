"""Hugging Face's Trainer three times: plainly; with accumulation, and validation within epochs; with two workers."""

import tempfile
import time

import torch
from common import tell
from own import Spans
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

spans = Spans()
losses, times = [], {}


class Texts(Dataset):
    """Its first question begins a pass: what Trainer does around it is no part of one."""

    def __init__(self, count, name):
        self.count, self.name = count, name

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not spans.open or spans.open[-1]["name"] != self.name:
            spans.begin(self.name)
        time.sleep(0.0005)
        return {"input_ids": torch.full((8,), index % 100), "labels": index % 2}


class Net(BertForSequenceClassification):
    def forward(self, input_ids, labels, **others):
        time.sleep(0.005)
        spans.count(samples=len(input_ids), steps=not self.training)
        return super().forward(input_ids, labels=labels, **others)


class Timed(Trainer):
    def evaluation_loop(self, *args, **kwargs):
        if spans.open and self.state.global_step == self.state.max_steps:  # after the last step, though in its epoch
            spans.end(at=times["stepped"])
        found = super().evaluation_loop(*args, **kwargs)
        spans.end(at=times["worked"])
        losses.append(found.metrics["eval_loss"])
        return found


class Own(TrainerCallback):
    def on_epoch_begin(self, arguments, *args, **kwargs):
        if arguments.dataloader_num_workers:  # they ask elsewhere
            spans.begin("train")

    def on_optimizer_step(self, *args, **kwargs):
        times["stepped"] = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        spans.count(steps=1)

    def on_epoch_end(self, *args, **kwargs):
        if spans.open:
            spans.end(at=times["stepped"])

    def on_prediction_step(self, *args, **kwargs):
        times["worked"] = time.perf_counter()


def train(**changes):
    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    arguments = TrainingArguments(
        tempfile.gettempdir(),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **{"eval_strategy": "epoch", **changes},
    )
    trainer = Timed(
        Net(config),
        arguments,
        train_dataset=Texts(170, "train"),
        eval_dataset=Texts(40, "validation"),
        callbacks=[Own()],
    )
    trainer.train()


train()
train(gradient_accumulation_steps=4, eval_strategy="steps", eval_steps=5)
train(dataloader_num_workers=2, eval_strategy="no")
tell(spans=spans.all, kept=[losses, torch.rand(3).tolist()])
