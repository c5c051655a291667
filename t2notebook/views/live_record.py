"""Parts of a record from which a live view of a job is drawn; each is sent when it has changed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..model.reducer import JobView
from .snapshot import snapshot
from .table import agent_sums, worker_table

#: Parts that are small and sent at once; the others are as large as the job and its output.
AT_ONCE = ("snapshot", "why")
#: Bytes a second that a page is sent of the large ones.
RATE = 30_000


def live_record(view: JobView, **details: Any) -> dict[str, Any]:
    """Return the parts that tell how a job is: ``snapshot``, ``table``, ``grid`` and ``agents``.

    Parameters
    ----------
    view : JobView
        Not changed.
    **details
        As of `snapshot`.
    """
    agents, grid = agent_sums(view)
    return {
        "snapshot": snapshot(view, rows=False, **details),
        "table": worker_table(view),
        "grid": grid,
        "agents": agents,
    }


class Allowance:
    """Bytes that a page may be sent: after something large comes a pause.

    Parameters
    ----------
    rate : float
        Bytes a second.
    burst : float
        Bytes that may be sent at once before that.
    """

    def __init__(self, rate: float = RATE, burst: float = 0.0) -> None:
        self._rate = rate
        self._burst = burst / rate
        self.due = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether more may be sent at `now`, in seconds by a steady clock."""
        return now >= self.due

    def spend(self, parts: Any, now: float) -> None:
        """Note that `parts`, JSON-ready, are sent."""
        size = len(json.dumps(parts, separators=(",", ":")))
        self.due = max(now - self._burst, self.due) + size / self._rate


class Changes:
    """Chooses of a record's parts those that a page does not have yet, as far as its allowance goes.

    Attributes
    ----------
    is_behind : bool
        Whether some parts had to wait, so that it is to be asked again.
    """

    def __init__(self) -> None:
        self.is_behind = False
        self._allowance = Allowance()
        self._sent: dict[str, Any] = {}

    def may_send_all(self, now: float) -> bool:
        """Whether the large parts are worth making: they would be chosen at `now`."""
        return self._allowance.is_due(now)

    def also(self, content: Any, now: float) -> None:
        """Note that the page was sent something else, JSON-ready."""
        self._allowance.spend(content, now)

    def of(self, parts: Mapping[str, Any], now: float, *, last: bool = False) -> dict[str, Any]:
        """Return what is to be sent now; what has to wait is chosen another time, as it is then.

        Parameters
        ----------
        parts : mapping
        now : float
            Seconds, by a steady clock.
        last : bool
            All that is new is sent, as nothing follows, or something has happened.
        """
        may = last or self._allowance.is_due(now)
        self.is_behind = not may
        chosen = {
            name: part
            for name, part in parts.items()
            if (may or name in AT_ONCE) and (name not in self._sent or self._sent[name] != part)
        }
        self._sent.update(chosen)
        if chosen:
            self._allowance.spend(chosen, now)
        return chosen
