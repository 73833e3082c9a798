"""Imports of torch and transformers, in a process that keeps them to its end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Surround the imports that take seconds; nothing is different where torch has been imported before.

    They make a million objects that all stay. The garbage collector would look at them again and again, now, later and
    once more when the process ends: it rests meanwhile, and leaves them alone from then on.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
