"""Retirement of idle executors: after their time, or sooner where they are in a worker's way. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .actions import ShutdownExecutor
from .executor_pool import Executors
from .placement.diagnosis import Diagnosis
from .turn import Timers, Turn


class Retirement:
    """Lets executors go.

    Parameters
    ----------
    turn : Turn
    timers : Timers
    executors : Executors
    linger : float
        Seconds that an idle executor is kept for the next job.
    """

    def __init__(self, turn: Turn, timers: Timers, executors: Executors, linger: float) -> None:
        self._turn, self._timers = turn, timers
        self._executors = executors
        self._linger = linger

    def expect(self) -> None:
        """An executor may have become idle just now."""
        self._timers.later("retire", self._linger, self._retire)

    def make_room(self, waiting: Iterable[Diagnosis]) -> None:
        """Let idle executors go where a worker does not fit beside them, but for the one that it could use."""
        spare: dict[str, list[str]] = {}
        for executor_id, agent, _ in self._executors.idle():
            spare.setdefault(agent, []).append(executor_id)
        several = {agent for agent, executor_ids in spare.items() if len(executor_ids) > 1}
        short_of: set[str] = set()
        for diagnosis in waiting:
            if several <= short_of:
                break
            short_of |= diagnosis.short_of(several)
        for agent in short_of:
            for executor_id in spare[agent][1:]:
                self._shut_down(agent, executor_id)

    def _retire(self) -> None:
        """Shut executors down that have waited for their time; come again for the next."""
        for executor_id, agent, since in self._executors.idle():
            remaining = since + self._linger - self._turn.now
            if remaining > 0.01:
                self._timers.later("retire", remaining, self._retire)
            else:
                self._shut_down(agent, executor_id)

    def _shut_down(self, agent: str, executor_id: str) -> None:
        self._turn.do(ShutdownExecutor(agent, executor_id))
        self._executors.lost(executor_id)
