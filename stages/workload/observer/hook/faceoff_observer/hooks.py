"""Where torch is hooked: its loaders' iterators, its backward pass, its optimisers. Any torch from 1.2 on.

The classes are hooked, not what a program holds: subclasses and wrappers are met as well, and nothing changes its type.
"""

import os
import sys

from faceoff_observer import facts, marks, recorder
from faceoff_observer.recorder import Recorder, clock, get_ident

RECORDER = Recorder(os.environ["FACEOFF_OBSERVE"])


def hook(module):
    """Put the hooks into a module of torch, or into a framework's own optimisers, just after its import."""
    if module.__name__ == "torch.autograd":  # the first of them
        for part in (facts, marks, recorder, sys.modules[__name__]):
            skip_frames_in(part)
    HOOKS.get(module.__name__, hook_others)(module)


def observe(note, *args):
    """Note something. An error here ends the observation, never the program."""
    if not RECORDER.failed:
        try:
            note(*args)
        except Exception as error:
            RECORDER.give_up(error)


def hook_autograd(autograd):
    """Note backward passes: where optimisers hide (compiled ones, skipped steps), these tell the steps."""
    original = autograd.backward

    def backward(*args, **kwargs):
        if not BACKWARDS_WITHIN:
            observe(RECORDER.forward_ended)
        BACKWARDS_WITHIN.append(None)
        try:
            result = original(*args, **kwargs)
        finally:
            BACKWARDS_WITHIN.pop()
        if not BACKWARDS_WITHIN:
            observe(RECORDER.backward, args[0] if args else kwargs.get("tensors"))
        return result

    autograd.backward = like(original, backward)
    backward.__wrapped__ = original  # for inspect; an optimiser's `step` must not have it


def hook_optimiser(module):
    """Note the steps of torch's optimisers."""
    register = getattr(module, "register_optimizer_step_post_hook", None)
    if register is None:  # before torch 2.0
        hook_classes_of(module)
    else:
        register(after_step)


def after_step(optimiser, args, kwargs):
    """Note a step. The compiler of a whole step reads this too, and must find nothing to break its graph for."""
    compiler = getattr(sys.modules["torch"], "compiler", None)
    if hasattr(compiler, "is_compiling") and compiler.is_compiling():
        return
    observe(RECORDER.step, optimiser)


def hook_others(module):
    """Note the steps of a framework's own optimisers, which are none of torch's."""
    kind = getattr(module, "Optimizer", None)
    if isinstance(kind, type) and hasattr(kind, "step") and not issubclass(kind, sys.modules["torch"].optim.Optimizer):
        hook_classes_of(module)


def hook_classes_of(module):
    """Wrap `step` of each optimiser's class, once, when one is made: its instances stay as they are."""
    base = module.Optimizer
    original = base.__init__

    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if not hasattr(type(self).step, "_faceoff"):
            type(self).step = noted_step(type(self).step)

    base.__init__ = like(original, __init__)


def noted_step(original):
    """Return an optimiser's `step` with a note; one note where a subclass calls its base."""

    def step(self, *args, **kwargs):
        STEPS_WITHIN.append(None)
        try:
            result = original(self, *args, **kwargs)
        finally:
            STEPS_WITHIN.pop()
        if not STEPS_WITHIN:
            observe(RECORDER.step, self)
        return result

    step._faceoff = True
    return like(original, step)


def hook_loader(module):
    """Note what iterators of torch's loaders do, which loaders of frameworks use too."""
    base = module._BaseDataLoaderIter
    for kind in (base, module._SingleProcessDataLoaderIter, module._MultiProcessingDataLoaderIter):
        if "__next__" in vars(kind):
            kind.__next__ = noted_next(kind.__next__)
            if "next" in vars(kind):  # torch 1.2
                kind.next = kind.__next__
        if kind is not base:
            kind.__init__ = noted_init(kind.__init__)
            if "_reset" in vars(kind):
                kind._reset = noted_reset(kind._reset)


def noted_next(original):
    """Return a loader's `__next__` with notes of the question for a batch and of its arrival."""
    inside = RECORDER.inside

    def __next__(self):
        ident = get_ident()
        if ident in inside:  # a loader within a loader
            return original(self)
        asked = clock()
        observe(RECORDER.asks, asked)
        inside.add(ident)
        try:
            batch = original(self)
        except StopIteration:
            observe(RECORDER.run_ends, self, asked, clock())
            raise
        finally:
            inside.discard(ident)
        observe(RECORDER.got, self, asked, clock(), batch)
        return batch

    return like(original, __next__)


def noted_init(original):
    """Return an iterator's `__init__`, which starts a loader's workers, with a note."""
    inside = RECORDER.inside

    def __init__(self, loader, *args, **kwargs):
        ident, began = get_ident(), clock()
        nested = ident in inside
        inside.add(ident)
        try:
            original(self, loader, *args, **kwargs)
        finally:
            if not nested:
                inside.discard(ident)
        if not nested:
            observe(RECORDER.run_begins, self, loader, began, clock())

    return like(original, __init__)


def noted_reset(original):
    """Return an iterator's `_reset`, by which workers that persist begin another pass, with a note."""

    def _reset(self, loader, *args, **kwargs):
        began = clock()
        result = original(self, loader, *args, **kwargs)
        if get_ident() not in RECORDER.inside:  # else it is part of __init__
            observe(RECORDER.run_begins, self, loader, began, clock())
        return result

    return like(original, _reset)


def like(original, function):
    """Return the function named as the original, without `__wrapped__`: torch 2's compiler unwraps optimisers by it."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(function, name, getattr(original, name, None))
    function._torchdynamo_disable = True  # as torch._dynamo.disable does, without its import of a second
    function._torchdynamo_disable_msg = "observed by faceoff"
    skip_frame(function)
    return function


def skip_frames_in(module):
    """Keep torch.compile out of all functions of ours."""
    for value in list(vars(module).values()):
        for each in [value, *vars(value).values()] if isinstance(value, type) else [value]:
            if getattr(each, "__module__", "").startswith("faceoff_observer"):
                skip_frame(each)


def skip_frame(function):
    """Keep torch.compile from compiling calls of it. Elsewhere a compiled whole step has a graph break more."""
    frames = getattr(getattr(sys.modules.get("torch._C"), "_dynamo", None), "eval_frame", None)
    code = getattr(function, "__code__", None)
    try:
        if code is None or frames is None:
            return
        if hasattr(frames, "skip_code"):
            frames.skip_code(code)
        else:
            action = frames._FrameAction
            frames.set_code_exec_strategy(code, frames._FrameExecStrategy(action.SKIP, action.DEFAULT))
    except (AttributeError, TypeError):
        pass


STEPS_WITHIN = []  # of optimisers, one within the other
BACKWARDS_WITHIN = []  # of activations that are computed again, on a GPU by a thread of autograd's
HOOKS = {
    "torch.autograd": hook_autograd,
    "torch.optim.optimizer": hook_optimiser,
    "torch.utils.data.dataloader": hook_loader,
}
