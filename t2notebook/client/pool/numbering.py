"""Functions of a pool by the numbers under which its workers are sent them; those that nobody calls are let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...protocol.calls import MOST_FUNCTION_BYTES
from .functions import Function

#: How many functions that nobody calls just now are kept.
KEPT = 64


@dataclass(slots=True)
class _Known:
    function: Function
    calls: int = 0


class Numbering:
    """The functions of a pool.

    Parameters
    ----------
    know : callable
        ``know(number, size)`` hears of each new one, and the bytes of its package.
    forget : callable
        ``forget(number)`` hears of each that is let go.
    """

    def __init__(self, know: Callable[[int, int], object], forget: Callable[[int], object]) -> None:
        self._know, self._forget = know, forget
        self._known: dict[int, _Known] = {}
        self._numbers: dict[int, int] = {}  # by the id of the function
        self._last = 0

    def __getitem__(self, number: int) -> Function:
        return self._known[number].function

    def __len__(self) -> int:
        return len(self._known)

    def number_of(self, function: Function) -> int:
        """Return a function's number, a new one if it has none."""
        number = self._numbers.get(id(function))
        if number is None:
            held = sum(len(known.function.package) for known in self._known.values())
            if len(self._known) > KEPT or held > MOST_FUNCTION_BYTES:
                self._let_go()
            self._last += 1
            number = self._numbers[id(function)] = self._last
            self._known[number] = _Known(function)
            self._know(number, len(function.package))
        return number

    def count(self, number: int, calls: int) -> None:
        """Note that so many more calls of a function wait or run; fewer, if negative."""
        if (known := self._known.get(number)) is not None:
            known.calls += calls

    def _let_go(self) -> None:
        for number in [number for number, known in self._known.items() if not known.calls]:
            known = self._known.pop(number)
            del self._numbers[id(known.function)]
            self._forget(number)
