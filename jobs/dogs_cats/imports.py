"""Imports of torch and fastai, which make half a million objects that stay.

Runs inside images: Python 3.7 syntax, standard library only.
"""

import gc
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without the garbage collector: it would look through all of it again and again, and find nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
