"""Calls that a master refused, made again after a pause that grows, as long as there is a reason to. Pure.

While the framework is subscribed nothing else would repeat them: a KILL that was refused leaves its worker running, a
REVIVE that was refused leaves the job waiting, a DECLINE that was refused leaves its offers with us.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .actions import Repeat
from .turn import Timers, Turn

#: Seconds before the first repetition, doubling up to the cap.
FIRST, CAP = 1.0, 30.0
#: What nobody waits for is repeated so often.
ATTEMPTS = 5
#: What somebody waits for, and is repeated until it is taken or pointless.
AWAITED = ("KILL", "REVIVE")
#: What the master, the agent or a timer of ours makes good by itself, or what must not be sent twice, is not here.
REPEATED = (*AWAITED, "DECLINE", "SUPPRESS")


class Repeats:
    """Repeats refused calls.

    Parameters
    ----------
    turn : Turn
    timers : Timers
    is_wanted : callable
        Whether there still is a reason for a call.
    """

    def __init__(self, turn: Turn, timers: Timers, is_wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        self._turn, self._timers, self._is_wanted = turn, timers, is_wanted
        self._attempts: dict[str, tuple[int, float]] = {}  # by call: how often, and when the last one failed
        self._generation = 0

    def refused(self, call: Mapping[str, Any]) -> float | None:
        """Have a call repeated; return in how many seconds, None if it is not to be."""
        if call["type"] not in REPEATED or not self._is_wanted(call):
            return None
        now, key = self._turn.now, json.dumps(call, sort_keys=True)
        times, last = self._attempts.get(key, (0, now))
        if now - last > 2 * CAP:
            times = 0  # it was taken in between
        if call["type"] not in AWAITED and times >= ATTEMPTS:
            self._attempts.pop(key, None)
            return None
        pause = min(CAP, FIRST * 2.0 ** min(times, 10))
        self._attempts = {k: one for k, one in self._attempts.items() if now - one[1] <= 2 * CAP}
        self._attempts[key] = (times + 1, now)
        generation = self._generation

        def again() -> None:
            if generation == self._generation and self._turn.connected and self._is_wanted(call):
                self._turn.do(Repeat(call))

        self._timers.later(f"again {generation} {key}", pause, again)
        return pause

    def forget(self) -> None:
        """Repeat nothing of what was refused: another subscription begins with what is to be done then."""
        self._attempts.clear()
        self._generation += 1
