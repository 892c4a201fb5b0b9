"""Imports of torch and fastai: half a million objects that stay, and half of the time for what no training uses.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import gc
import importlib
import importlib.util
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Callable, Iterator

# What torchvision and fastai import and use in functions alone, none of which the job calls; and what is taken from a
# module by name, which are functions. By torch._dynamo comes sympy, by sklearn all of scipy.
LATER = {
    "torch._dynamo.utils": ("is_compile_supported",),
    "sklearn": (),
    "sklearn.metrics": (),
    "sklearn.model_selection": ("train_test_split",),
    "scipy.ndimage": (),
    "scipy.stats": (),
    "timm": (),
}


@contextmanager
def cheap() -> Iterator[None]:
    """Import for the block what LATER names when it is first used, and collect no garbage: there is none to find."""
    was_on = gc.isenabled()
    gc.disable()
    put_off = {name: _Later(name, functions) for name, functions in LATER.items() if _is_to_come(name)}
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

    def __init__(self, name: str, functions: tuple) -> None:
        super().__init__(name)
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by that name; of its functions, what calls it."""
        if name in self.__dict__.get("_functions", ()):
            return _calls(self.__name__, name)
        if name.startswith("__") or self.__name__ + "." + name in LATER:
            raise AttributeError(name)  # Python looks for a module of that name then
        return getattr(_real(self.__name__), name)


def _calls(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(_real(module), name)(*args, **kwargs)

    return call


def _real(name: str) -> ModuleType:
    """Import the module itself, and all that it needs."""
    for each in LATER:
        if isinstance(sys.modules.get(each), _Later):
            del sys.modules[each]
    return importlib.import_module(name)
