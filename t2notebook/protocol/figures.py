"""Figures that pyplot keeps: those of a call, or of a result, are let go, as a notebook's are at the end of a cell.

One that pyplot has is pickled so that it is pyplot's again where it arrives: it would be shown there once more at the
end of the cell, and a worker that makes one in each call would hold them all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def let_go() -> Iterator[None]:
    """Have pyplot keep no figure that is made meanwhile; it stays a figure."""
    before = _numbers()
    try:
        yield
    finally:
        if new := _numbers() - before:
            pyplot: Any = sys.modules["matplotlib.pyplot"]
            for number in new:
                pyplot.close(number)


def _numbers() -> set[int]:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    try:
        return set() if pyplot is None else set(pyplot.get_fignums())
    except AttributeError:  # it is just being imported
        return set()
