"""The learner for fastai 2 (tested with 2.8.12 on torch 2.14.1)."""

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import torch

from jobs.dogs_cats import decoding, imports, learners, networks
from jobs.dogs_cats.clocks import EpochTimer, synchronised_clock
from jobs.dogs_cats.learners import AfterEpoch, Learner, Prediction
from jobs.dogs_cats.photos import Input
from jobs.dogs_cats.split import Splitter, copies_marked
from stages.contract import Span


class Fastai2(Learner):
    module = "fastai.learner"

    def unsupported(self, precision: str) -> Optional[str]:
        return None  # fp16 on a GPU, bfloat16 on a CPU

    def import_fastai(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # fastai's use of torch.jit.script is not the user's affair
            imports.load("fastai.vision.all")

    def prepare(self, taken: Input) -> None:
        from fastai.vision import all as vision

        learners.seed_everything(taken.seed)
        decoding.silence()
        body = networks.body(taken.recipe.arch, taken.weights)
        block = vision.DataBlock(
            blocks=(
                vision.TransformBlock(type_tfms=_opened, batch_tfms=vision.IntToFloatTensor),  # an ImageBlock
                vision.CategoryBlock(vocab=taken.classes),
            ),
            splitter=lambda items: (taken.train, taken.valid),
            get_y=taken.label_of,
            item_tfms=vision.Resize(taken.recipe.size),
            batch_tfms=[*vision.aug_transforms(), vision.Normalize.from_stats(*body.stats)],
        )
        loaders = block.dataloaders(
            taken.photos, bs=taken.batch_size, num_workers=taken.recipe.workers, device=vision.default_device()
        )
        self._input = taken
        # What vision_learner does, which takes architectures by name only and ignores `cut` (2.8.12).
        features = vision.num_features_model(body.layers)
        self._learner = vision.Learner(
            loaders,
            vision.add_head(body.layers, features, len(taken.classes)),
            splitter=lambda model: [
                vision.params(part) for part in (model[0][: body.split], model[0][body.split :], model[1])
            ],
            metrics=vision.accuracy,
        )
        if taken.recipe.channels_last:
            self._learner.model.to(memory_format=torch.channels_last)
        if not sys.stdout.isatty():  # in a log, progress bars are thousands of lines; the timer prints one per epoch
            self._learner.remove_cb(vision.ProgressCallback)
            self._learner.logger = vision.noop

    @property
    def network(self) -> torch.nn.Module:
        return self._learner.model

    def algorithm(self) -> str:
        if self._input.precision == "fp32":
            return "fp32"
        if torch.cuda.is_available():
            return "autocast to float16, dynamic loss scale"
        return "autocast to bfloat16"

    def number_format(self) -> str:
        if self._input.precision == "fp32":
            return "fp32"
        return "fp16" if torch.cuda.is_available() else "bf16"

    def memory_format(self) -> str:
        return "channels_last" if self._input.recipe.channels_last else "contiguous"

    def device(self) -> str:
        return learners.device_name()

    def run_phase(
        self,
        phase: str,
        done: int = 0,
        state: Optional[dict] = None,
        after_epoch: Optional[AfterEpoch] = None,
    ) -> List[Span]:
        from fastai.data import load

        timer = EpochTimer(phase, done)
        self._learner.freeze() if phase == "frozen" else self._learner.unfreeze()
        resuming = [_resuming(state)] if state else []
        keeping = [_keeping(timer, done, after_epoch)] if after_epoch else []
        with copies_marked(load, timer.splitter):
            self._learner.fit_one_cycle(
                self._input.epochs(phase),
                self._input.learning_rates(phase),
                div=learners.DIV_FACTOR,
                div_final=learners.FINAL_DIV,
                pct_start=self._input.warm_up_share(phase),
                moms=(learners.MOMENTUMS[0], learners.MOMENTUMS[1], learners.MOMENTUMS[0]),
                start_epoch=done,
                cbs=[
                    _timing(timer, done),
                    *_step_marks(timer.splitter),
                    *self._precision_callbacks(),
                    *resuming,
                    *keeping,
                ],
            )
        return timer.spans

    def fetch_batches(self) -> Iterator[int]:
        train = self._learner.dls.train
        for images, _ in train.new(after_batch=[], device=None):
            yield len(images)

    def repeat_steps(self, goes_on: Callable[[], bool]) -> None:
        from fastai.torch_core import to_device

        learner, train = self._learner, self._learner.dls.train
        batch = to_device(next(iter(train.new(after_batch=[], device=None, num_workers=0))), train.device)
        learner.dls.train = _Repeated(train, batch, goes_on)
        try:
            with learner.no_bar(), learner.no_logging():
                learner.fit(1, cbs=[_no_validation(), *self._precision_callbacks()])
        finally:
            learner.dls.train = train

    def _precision_callbacks(self) -> list:
        if self._input.precision == "fp32":
            return []
        if torch.cuda.is_available():
            from fastai.callback.fp16 import MixedPrecision

            return [MixedPrecision()]
        return [_cpu_mixed_precision()]

    def predict(self, tta: bool) -> Prediction:
        began = synchronised_clock()
        if tta:
            probabilities, labels = self._learner.tta(n=learners.TTA_PASSES, beta=learners.TTA_BETA)
        else:
            probabilities, labels = self._learner.get_preds()
        return Prediction(probabilities.tolist(), labels.tolist(), synchronised_clock() - began)

    def save(self, path: Path) -> None:
        torch.save(self._learner.model.state_dict(), str(path))

    def load(self, path: Path) -> None:
        self._learner.model.load_state_dict(torch.load(str(path), map_location=self._learner.dls.device))


def _opened(path):
    from fastai.vision.core import PILImage

    with decoding.named(path):
        return PILImage.create(path)


class _Repeated:
    """Stands in for a loader: gives the same batch, through the loader's own batch transforms, as long as asked."""

    def __init__(self, loader, batch, goes_on: Callable[[], bool]) -> None:
        self._loader, self._batch, self._goes_on = loader, batch, goes_on

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self):
        while self._goes_on():
            yield self._loader.after_batch(self._batch)


def _no_validation():
    from fastai.callback.core import Callback, CancelValidException

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    return NoValidation()


def _timing(timer: EpochTimer, first: int):
    from fastai.callback.core import Callback

    class Timing(Callback):
        """Times epochs just after fastai's own recorder (order 50), so that both see the same epoch."""

        order = 51

        def before_epoch(self) -> None:
            timer.begin()

        def after_train(self) -> None:
            timer.trained()

        def after_epoch(self) -> None:
            if self.epoch >= first:  # what lies before it is skipped: an earlier process trained it
                images = len(self.dls.train) * self.dls.train.bs
                train_loss, valid_loss, accuracy = self.recorder.values[-1]
                timer.end(images, float(train_loss), float(valid_loss), float(accuracy))

    return Timing()


def _resuming(state: dict):
    from fastai.callback.core import Callback
    from fastai.torch_core import to_device

    class Resuming(Callback):
        """Resumes when all others have made themselves ready for the first epoch."""

        order = 1000

        def before_fit(self) -> None:
            self.model.load_state_dict(state["model"])
            # The schedule sets the hyperparameters anew at each step.
            optimiser = to_device(state["optimiser"], self.dls.device)
            self.opt.load_state_dict({"state": optimiser, "hypers": self.opt.hypers})
            smooth_loss = self.recorder.smooth_loss
            smooth_loss.count, smooth_loss.val = state["smooth_loss"][0], torch.tensor(state["smooth_loss"][1])
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
            for loader, random_state in zip(self.dls.loaders, state["loaders"]):
                loader.rng.setstate(random_state)
            learners.set_random_state(state["random"])
            state.clear()

    return Resuming()


def _keeping(timer: EpochTimer, first: int, keep: AfterEpoch):
    from fastai.callback.core import Callback, CancelFitException

    class Keeping(Callback):
        order = 1000

        def after_epoch(self) -> None:
            if self.epoch >= first and not keep(timer.spans[-1], _state(self.learn)):
                raise CancelFitException

    return Keeping()


def _state(learner) -> dict:
    smooth_loss, scaler = learner.recorder.smooth_loss, getattr(learner, "scaler", None)
    return {
        "model": learner.model.state_dict(),
        "optimiser": learner.opt.state_dict()["state"],
        "smooth_loss": (smooth_loss.count, float(smooth_loss.val)),
        "scaler": scaler.state_dict() if scaler else None,
        "loaders": [loader.rng.getstate() for loader in learner.dls.loaders],
        "random": learners.random_state(),
    }


def _step_marks(splitter: Splitter) -> list:
    from fastai.callback.core import Callback

    class First(Callback):
        order = -1000

        def after_pred(self) -> None:
            if self.training:
                splitter.passes()

        def after_backward(self) -> None:  # before the loss scale is looked at, for which the host waits
            splitter.passes()

        def after_batch(self) -> None:
            if self.training:
                splitter.computed()

    class Last(Callback):
        order = 1000

        def after_batch(self) -> None:
            if self.training:
                splitter.asks()

    return [First(), Last()]


def _cpu_mixed_precision():
    """fastai's MixedPrecision names 'cuda' and would leave a CPU at fp32 without a word."""
    from fastai.callback.core import Callback
    from fastai.torch_core import to_float

    class CpuMixedPrecision(Callback):
        """Forward pass and loss under bfloat16 autocast; no loss scale, since bfloat16 has the range of fp32."""

        order = 10

        def before_batch(self) -> None:
            self.contexts = ExitStack()
            self.contexts.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))

        def after_pred(self) -> None:
            self.learn.pred = to_float(self.pred)

        def after_loss(self) -> None:
            self.contexts.close()

    return CpuMixedPrecision()
