"""Durations of simulated tasks: `fixed:1`, `normal:30,10`, `exp:5`, `uniform:1,3` (seconds). Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

Draw = Callable[[random.Random], float]


def _fixed(seconds: float) -> Draw:
    return lambda _: seconds


def _normal(mean: float, deviation: float) -> Draw:
    return lambda source: max(0.0, source.gauss(mean, deviation))


def _exponential(mean: float) -> Draw:
    return lambda source: source.expovariate(1.0 / mean) if mean else 0.0


def _uniform(least: float, most: float) -> Draw:
    return lambda source: source.uniform(least, most)


KINDS: dict[str, tuple[int, Callable[..., Draw]]] = {
    "fixed": (1, _fixed),
    "normal": (2, _normal),
    "exp": (1, _exponential),
    "uniform": (2, _uniform),
}
"""Name -> (how many numbers, what draws); what a normal distribution gives below zero is zero."""


def parse(text: str) -> Draw:
    """Read a distribution.

    Raises
    ------
    ValueError
        It is none; the text says what would be.
    """
    name, _, rest = text.partition(":")
    count, make = KINDS.get(name, (0, _fixed))
    try:
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        numbers = []
    if not count or len(numbers) != count or not all(math.isfinite(n) and n >= 0 for n in numbers):
        raise ValueError(
            f"'{text}' is none of fixed:SECONDS, normal:MEAN,DEVIATION, exp:MEAN, uniform:LEAST,MOST"
        )
    return make(*numbers)
