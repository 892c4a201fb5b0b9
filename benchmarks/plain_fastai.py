"""What a person writes without faceoff: the recipe in plain fastai 1 or 2, timed by fastai's own recorder.

Run inside an image by benchmarks/overhead.py, from a folder with data/dogs_cats/photos. Writes a JSON list of the
seconds that the recorder reports for each epoch, before it rounds them. Python 3.7 syntax.

python plain_fastai.py OUTPUT SIZE BATCH_SIZE FROZEN_EPOCHS UNFROZEN_EPOCHS
"""

import json
import sys
from pathlib import Path

import torch


def recorded_seconds(module):
    """Hand the recorder, which formats whole seconds, a formatter that keeps what it was given."""
    seconds = []
    module.format_time = lambda value: seconds.append(value) or str(value)
    return seconds


def learner_of_fastai1(size, batch_size):
    torch.gesv = torch.solve
    from fastai import basic_train, vision

    data = vision.ImageDataBunch.from_folder(
        Path("data/dogs_cats/photos").resolve(),
        ds_tfms=vision.get_transforms(),
        size=size,
        bs=batch_size,
        num_workers=2,
    ).normalize(vision.imagenet_stats)
    learn = vision.cnn_learner(
        data,
        vision.models.resnet18,
        pretrained=False,
        metrics=vision.accuracy,
        path="/tmp",  # noqa: S108
    )
    return learn, recorded_seconds(basic_train)


def learner_of_fastai2(size, batch_size):
    import fastai.learner
    from fastai.vision import all as vision

    loaders = vision.ImageDataLoaders.from_folder(
        Path("data/dogs_cats/photos"),
        train="train",
        valid="valid",
        item_tfms=vision.Resize(size),
        batch_tfms=[*vision.aug_transforms(), vision.Normalize.from_stats(*vision.imagenet_stats)],
        bs=batch_size,
        num_workers=2,
    )
    learn = vision.vision_learner(loaders, vision.resnet18, pretrained=False, metrics=vision.accuracy)
    return learn, recorded_seconds(fastai.learner)


def main():
    import fastai

    output = Path(sys.argv[1])
    size, batch_size, frozen_epochs, unfrozen_epochs = map(int, sys.argv[2:])
    make = learner_of_fastai1 if fastai.__version__.startswith("1.") else learner_of_fastai2
    learn, seconds = make(size, batch_size)
    learn.freeze()
    learn.fit_one_cycle(frozen_epochs, slice(3e-3))
    learn.unfreeze()
    learn.fit_one_cycle(unfrozen_epochs, slice(1e-5, 3e-4))
    output.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
