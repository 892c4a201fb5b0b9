"""Imports of torch and fastai: half a million objects that stay, and half of the time for what no training uses.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import gc
import importlib
import importlib.util
import sys
from contextlib import contextmanager, suppress
from operator import attrgetter
from types import ModuleType
from typing import Any, Iterator

# What torch, torchvision and fastai import and use in functions alone, none of which the job calls; and what is taken
# from a module by name, to be called there, or named in a signature. By torch._dynamo comes sympy, by sklearn all of
# scipy.
LATER = {
    "torch._dynamo.utils": ("is_compile_supported",),
    "cuda.bindings": (),
    "cuda.bindings.driver": (),
    "cuda.bindings.runtime": (),
    "torchvision.datasets": (),
    "sklearn": (),
    "sklearn.metrics": (),
    "sklearn.model_selection": ("train_test_split",),
    "scipy.ndimage": (),
    "scipy.stats": (),
    "timm": (),
    "requests": (),
    "matplotlib": (),
    "matplotlib.patches": (),
    "matplotlib.patheffects": (),
    "matplotlib.pyplot": ("Axes", "Figure", "subplots"),
}


def load(name: str) -> ModuleType:
    """Import a module cheaply; as it is where its version asks for more at once than LATER foresees."""
    with suppress(ImportError, AttributeError, TypeError), cheap():
        return importlib.import_module(name)
    return importlib.import_module(name)


@contextmanager
def cheap() -> Iterator[None]:
    """Import for the block what LATER names when it is first used, and collect no garbage: there is none to find."""
    was_on = gc.isenabled()
    gc.disable()
    put_off = {name: _Later(name) for name in LATER if _is_to_come(name)}
    sys.modules.update(put_off)
    try:
        yield
    finally:
        for name, module in put_off.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        if was_on:
            gc.enable()


def _is_to_come(name: str) -> bool:
    """Whether the module is installed, and not imported yet; torch is asked for nothing, its own parts are there."""
    top, _, _ = name.partition(".")
    return name not in sys.modules and importlib.util.find_spec(top) is not None


class _Later(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by that name; of the names in LATER, what stands for it."""
        if name.startswith("__") or self.__name__ + "." + name in LATER:
            raise AttributeError(name)  # Python looks for a module of that name then
        return _Name(self.__name__, name) if name in LATER[self.__name__] else getattr(_real(self.__name__), name)


class _Name:
    """Stands for a function or a class of such a module, named in a signature for example, until it is called."""

    def __init__(self, module: str, path: str) -> None:
        self.__name__ = path
        self._module = module

    def __getattr__(self, name: str) -> Any:
        """Return what stands for a part of it."""
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self._module, self.__name__ + "." + name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return attrgetter(self.__name__)(_real(self._module))(*args, **kwargs)


def _real(name: str) -> ModuleType:
    """Import the module itself, and with it the others of its package, should it need them."""
    for each in LATER:
        if each.partition(".")[0] == name.partition(".")[0] and isinstance(sys.modules.get(each), _Later):
            del sys.modules[each]
    return importlib.import_module(name)
