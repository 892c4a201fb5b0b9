"""The learner for fastai 1.0 (tested with 1.0.48 on torch 1.2.0), as the article used it."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import torch

from jobs.dogs_cats import decoding, imports, learners, networks
from jobs.dogs_cats.clocks import EpochTimer, synchronised_clock
from jobs.dogs_cats.learners import AfterEpoch, Learner, Prediction
from jobs.dogs_cats.photos import Input
from jobs.dogs_cats.split import Splitter, copies_marked
from stages.contract import Span


class Fastai1(Learner):
    module = "fastai.basic_train"

    def unsupported(self, precision: str) -> Optional[str]:
        if precision == "mixed" and not torch.cuda.is_available():
            return (
                "mixed precision of fastai 1 is fp16, and torch {} computes no fp16 convolution on a CPU; it needs "
                "a CUDA GPU".format(torch.__version__)
            )
        return None

    def import_fastai(self) -> None:
        if not hasattr(torch, "gesv"):
            torch.gesv = torch.solve  # fastai 1.0.48 calls it by the name that it had before torch 1.2
        imports.load("fastai.vision")

    def prepare(self, taken: Input) -> None:
        from fastai import vision

        class Named(vision.ImageList):
            def open(self, path):
                with decoding.named(path):
                    return super().open(path)

        learners.seed_everything(taken.seed)
        quiet_unless_terminal()
        decoding.silence()
        body = networks.body(taken.recipe.arch, taken.weights)
        data = (
            Named(taken.photos, path=Path("/"))
            .split_by_idxs(taken.train, taken.valid)
            .label_from_func(taken.label_of, classes=taken.classes)
            .transform(vision.get_transforms(), size=taken.recipe.size)
            .databunch(bs=taken.batch_size, num_workers=taken.recipe.workers, no_check=True)
            .normalize(tuple(torch.tensor(each) for each in body.stats))
        )
        self._input = taken
        self._learner = vision.cnn_learner(
            data,
            lambda pretrained: body.layers,
            cut=lambda layers: layers,
            pretrained=False,  # the weights are in the body already, and run_phase freezes
            split_on=lambda model: (model[0][body.split], model[1]),
            metrics=vision.accuracy,
            path="/tmp",  # noqa: S108 - it makes a folder for models there, which stays empty
        )
        if taken.precision == "mixed":
            self._learner.to_fp16()

    @property
    def network(self) -> torch.nn.Module:
        return self._learner.model

    def algorithm(self) -> str:
        if self._input.precision == "mixed":
            return "fp16 weights and inputs, fp32 master weights, static loss scale 512"
        return "fp32"

    def number_format(self) -> str:
        return "fp16" if self._input.precision == "mixed" else "fp32"

    def memory_format(self) -> str:
        return "contiguous"  # torch 1.2 has no other

    def device(self) -> str:
        return learners.device_name()

    def run_phase(
        self,
        phase: str,
        done: int = 0,
        state: Optional[dict] = None,
        after_epoch: Optional[AfterEpoch] = None,
    ) -> List[Span]:
        from fastai import basic_data
        from fastai.basic_train import LearnerCallback

        class Timing(LearnerCallback):
            """Times epochs beside fastai's own recorder (order -10), so that both see the same epoch."""

            _order = -9

            def on_epoch_begin(self, **kwargs) -> None:
                timer.begin()

            def on_batch_end(self, train, num_batch, **kwargs) -> None:
                if train and num_batch + 1 == len(self.learn.data.train_dl):
                    timer.trained()

            def on_epoch_end(self, smooth_loss, last_metrics, **kwargs) -> None:
                images = len(self.learn.data.train_dl) * self.learn.data.train_dl.batch_size
                timer.end(images, float(smooth_loss), float(last_metrics[0]), float(last_metrics[1]))

        timer = EpochTimer(phase, done)
        self._learner.freeze() if phase == "frozen" else self._learner.unfreeze()
        with copies_marked(basic_data, timer.splitter), _handler_shown(self._learner):
            self._learner.fit_one_cycle(
                self._input.epochs(phase) - done,
                self._input.learning_rates(phase),
                moms=learners.MOMENTUMS,
                div_factor=learners.DIV_FACTOR,
                final_div=learners.FINAL_DIV,
                pct_start=self._input.warm_up_share(phase),
                tot_epochs=self._input.epochs(phase),
                callbacks=[
                    Timing(self._learner),
                    *_step_marks(self._learner, timer.splitter),
                    _keeping(self._learner, timer, done, state, after_epoch),
                ],
            )
        return timer.spans

    def fetch_batches(self) -> Iterator[int]:
        for images, _ in self._learner.data.train_dl.dl:
            yield len(images)

    def repeat_steps(self, goes_on: Callable[[], bool]) -> None:
        from fastai.basic_train import loss_batch
        from fastai.callback import CallbackHandler
        from fastai.torch_core import to_device

        learner = self._learner
        loader = learner.data.train_dl
        batch = to_device(next(iter(loader.dl)), loader.device)
        handler = CallbackHandler(learner.callbacks, [])  # mixed precision among them, the recorder not
        handler.on_train_begin(1, pbar=None, metrics=[])
        handler.on_epoch_begin()
        learner.model.train()
        while goes_on():
            images, labels = handler.on_batch_begin(*loader.proc_batch(batch))
            handler.on_batch_end(loss_batch(learner.model, images, labels, learner.loss_func, learner.opt, handler))

    def predict(self, tta: bool) -> Prediction:
        began = synchronised_clock()
        if tta:  # eight fixed crops and flips at scale 1.35 is what this version's TTA is
            probabilities, labels = self._learner.TTA(beta=learners.TTA_BETA)
        else:
            probabilities, labels = self._learner.get_preds()
        return Prediction(probabilities.tolist(), labels.tolist(), synchronised_clock() - began)

    def save(self, path: Path) -> None:
        # Predicting in fp16 fails (torch.stack of TTA), so what is kept is fp32; the learner stays as it trained.
        weights = self._learner.model.state_dict().items()
        torch.save({name: each.float() if each.dtype == torch.half else each for name, each in weights}, str(path))

    def load(self, path: Path) -> None:
        self._learner.model.load_state_dict(torch.load(str(path), map_location=self._learner.data.device))


@contextmanager
def _handler_shown(learner) -> Iterator[None]:
    """Give the learner, for the block, what runs its fit as `handler`: callbacks are not told the smoothed loss."""
    from fastai.callback import CallbackHandler

    on_train_begin = CallbackHandler.on_train_begin

    def shown(handler, *args, **kwargs) -> None:
        learner.handler = handler
        on_train_begin(handler, *args, **kwargs)

    CallbackHandler.on_train_begin = shown
    try:
        yield
    finally:
        CallbackHandler.on_train_begin = on_train_begin


def _keeping(learner, timer: EpochTimer, done: int, state: Optional[dict], keep: Optional[AfterEpoch]):
    from fastai.basic_train import LearnerCallback

    class Keeping(LearnerCallback):
        """Resumes when all others are ready for the first epoch, and keeps the state when they are through with one."""

        _order = 2000

        def on_train_begin(self, **kwargs) -> None:
            # Not by fastai's own start_epoch: 1.0.48 corrects a progress bar by it that fastprogress has no more.
            self.learn.one_cycle_scheduler.jump_to_epoch(done)
            if state:
                _restore(self.learn, state)

        def on_epoch_end(self, **kwargs) -> Optional[dict]:
            if keep and not keep(timer.spans[-1], _state(self.learn)):
                return {"stop_training": True}
            return None

    return Keeping(learner)


def _state(learner) -> dict:
    smoothener = learner.handler.smoothener
    return {
        "model": learner.model.state_dict(),
        "optimiser": learner.opt.state_dict(),
        "masters": [parameter.data for parameter in _masters(learner)],
        "smooth_loss": (smoothener.n, float(smoothener.mov_avg)),
        "random": learners.random_state(),
    }


def _restore(learner, state: dict) -> None:
    learner.model.load_state_dict(state["model"])
    learner.opt.load_state_dict(state["optimiser"])
    for parameter, kept in zip(_masters(learner), state["masters"]):
        parameter.data.copy_(kept)
    smoothener, (count, average) = learner.handler.smoothener, state["smooth_loss"]
    smoothener.n, smoothener.mov_avg = count, torch.tensor(average)
    learners.set_random_state(state["random"])
    state.clear()


def _masters(learner) -> list:
    """Return the fp32 weights that the optimiser works on in mixed precision; none without it."""
    mixed = getattr(learner, "mixed_precision", None)
    return [parameter for group in mixed.master_params for parameter in group] if mixed else []


def _step_marks(learner, splitter: Splitter) -> list:
    from fastai.basic_train import LearnerCallback

    class First(LearnerCallback):
        _order = -1000

        def on_loss_begin(self, train, **kwargs) -> None:  # not later: fastai waits for the loss, and for it again
            if train:
                splitter.passes()

        def on_backward_end(self, train, **kwargs) -> None:
            if train:
                splitter.passes()

        def on_step_end(self, train, **kwargs) -> None:
            if train:
                splitter.passes()

        def on_batch_end(self, train, **kwargs) -> None:
            if train:
                splitter.computed()

    class Last(LearnerCallback):
        _order = 1000

        def on_batch_end(self, train, **kwargs) -> None:
            if train:
                splitter.asks()

    return [First(learner), Last(learner)]


def quiet_unless_terminal() -> None:
    """Progress bars belong on a terminal; in a log they are thousands of lines. The timer prints a line per epoch."""
    if not sys.stdout.isatty():
        from fastprogress import fastprogress

        # Its NO_BAR still prints a table and a character per bar; what it calls by these names prints everything.
        fastprogress.print = fastprogress.WRITER_FN = say_nothing


def say_nothing(*args: object, **kwargs: object) -> None:
    pass
