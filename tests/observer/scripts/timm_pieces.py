"""As timm's train.py, of its parts: create_loader with workers that persist, LAMB, NativeScaler, EMA; accumulates."""

import time

import numpy
import timm
import torch
from common import tell
from own import Spans
from PIL import Image
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, ModelEmaV3, NativeScaler
from torch import nn
from torch.utils.data import Dataset

spans = Spans()


class Pictures(Dataset):
    transform = None

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(0.002)
        picture = Image.fromarray(numpy.full((40, 40, 3), index, dtype="uint8"))
        return self.transform(picture), index % 2


def loader(count, training):
    return create_loader(
        Pictures(count),
        (3, 32, 32),
        8,
        is_training=training,
        use_prefetcher=False,
        num_workers=1,
        persistent_workers=True,
        device=torch.device("cpu"),
    )


train, valid = loader(102, True), loader(20, False)
model = timm.create_model("test_resnet", pretrained=False, num_classes=2)
optimizer = create_optimizer_v2(model, opt="lamb", lr=1e-3)
average, scaler, losses = ModelEmaV3(model), NativeScaler(device="cpu"), AverageMeter()
for _ in range(3):
    model.train()
    spans.begin("train")
    for index, (x, y) in enumerate(train):
        loss = nn.functional.cross_entropy(model(x), y)
        steps = index % 2 == 1
        scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters(), need_update=steps)
        if steps:
            optimizer.zero_grad()
            average.update(model)
        losses.update(loss.item(), len(x))
        spans.count(steps=steps, samples=len(x))
    spans.end()
    model.eval()
    spans.begin("validation")
    with torch.inference_mode():
        for x, _ in valid:
            average.module(x)
            spans.count(steps=1, samples=len(x))
    spans.end()
tell(spans=spans.all, kept=[losses.avg, torch.rand(3).tolist()])
