"""Number of calls that a worker is sent ahead: by what they cost, and how long the way there and back takes. Pure.

One at a time until both are known, and more only where the way takes a part of a call's time that counts.
"""

from __future__ import annotations

import math

from ...protocol.calls import LEASE

#: The most calls that are sent to one worker ahead.
MOST_AHEAD = 32
#: Parts of a call's time that the way to the worker and back has to take, for another call to be sent ahead.
WORTH = 0.02
#: Seconds of work that a worker is sent ahead, at the least, where calls are sent ahead: short ones then go several in
#: a message, and no worker waits for a kernel or a session that is busy for a moment, or that gathers results.
AHEAD = 0.01


class Lookahead:
    """Costs of a pool's functions, and the way to its workers, each as a mean in which the latest counts most.

    Parameters
    ----------
    deepest : int
        The most calls that are sent to a worker ahead.

    Attributes
    ----------
    last : int
        Number of calls that was returned last.
    """

    def __init__(self, deepest: int = MOST_AHEAD) -> None:
        self.last = 0
        self._deepest = deepest
        self._costs: dict[int, float] = {}
        self._way = math.nan

    def took(self, function: int, seconds: float) -> None:
        """A call of a function took so many seconds."""
        self._costs[function] = 0.7 * self._costs.get(function, seconds) + 0.3 * seconds

    def way_took(self, seconds: float) -> None:
        """The way to a worker and back took so many seconds."""
        self._way = seconds if math.isnan(self._way) else 0.8 * self._way + 0.2 * seconds

    def forget(self, function: int) -> None:
        """A function will not be called again."""
        self._costs.pop(function, None)

    def of(self, function: int) -> int:
        """Return how many calls a worker is to be sent ahead, when the next one is a function's."""
        cost = self._costs.get(function, math.nan)
        if math.isnan(cost) or math.isnan(self._way) or self._way < WORTH * cost or cost > LEASE:
            self.last = 0
        else:
            self.last = min(self._deepest, math.ceil(max(self._way, AHEAD) / max(cost, 1e-9)))
        return self.last
