"""Figures that pyplot keeps: those of a call, or of a result, are let go, as a notebook's are at the end of a cell.

One that pyplot has is pickled so that it is pyplot's again where it arrives: it would be shown there once more at the
end of the cell, and a worker that makes one in each call would hold them all.
"""

from __future__ import annotations

import sys
from collections.abc import Set
from typing import Any


class LetGo:
    """A context in which pyplot keeps no figure that is made; it stays a figure."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _numbers()

    def __exit__(self, *_: object) -> None:
        if new := _numbers() - self._before:
            pyplot: Any = sys.modules["matplotlib.pyplot"]
            for number in new:
                pyplot.close(number)


_NONE: Set[int] = frozenset()


def _numbers() -> Set[int]:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return _NONE
    try:
        return set(pyplot.get_fignums())
    except AttributeError:  # it is just being imported
        return _NONE
