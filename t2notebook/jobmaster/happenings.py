"""Events of the workers of a job that other workers listen to: numbered, each told once to each who asks. Pure.

They follow from the job's journal, so a job master that takes another's place numbers them alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .actions import Action, Answer

#: How many are remembered, for workers who were away.
MOST = 10_000


class Happenings:
    """All joined, scaled up and down, failed, restarted (Twister2's listeners).

    Attributes
    ----------
    last : int
        The number of the last one.
    """

    def __init__(self) -> None:
        self.last = 0
        self._told: list[Mapping[str, Any]] = []
        self._waiting: dict[int, tuple[int, int]] = {}  # worker -> request, the last one that it knows

    def add(self, kind: str, worker_id: int, number_of_workers: int, restart_count: int) -> list[Action]:
        """Note an event, and tell those who wait.

        Parameters
        ----------
        kind : str
        worker_id : int
            -1 for what concerns them all.
        number_of_workers, restart_count : int
        """
        self.last += 1
        self._told.append(
            {
                "kind": kind,
                "worker_id": worker_id,
                "number_of_workers": number_of_workers,
                "restart_count": restart_count,
            }
        )
        if len(self._told) > 2 * MOST:
            del self._told[:MOST]
        return [action for worker in list(self._waiting) for action in self._answer(worker)]

    def begin(self, *kinds: str) -> Mapping[str, Any]:
        """Return what a worker is told that begins to listen: the last event of each of some kinds."""
        latest = {one["kind"]: one for one in self._told if one["kind"] in kinds}
        return {"happened": list(latest.values()), "last": self.last}

    def ask(self, worker_id: int, request: int, after: int) -> list[Action]:
        """Tell a worker what follows the event `after`, as soon as there is any.

        Parameters
        ----------
        worker_id, request, after : int
        """
        self._waiting[worker_id] = request, after
        return self._answer(worker_id)

    def forget(self, worker_id: int) -> None:
        """A worker waits no more: it has gone, or begun anew."""
        self._waiting.pop(worker_id, None)

    def _answer(self, worker_id: int) -> list[Action]:
        request, after = self._waiting[worker_id]
        if after >= self.last:
            return []
        del self._waiting[worker_id]
        first = self.last - len(self._told)
        return [
            Answer(worker_id, request, {"happened": self._told[max(0, after - first) :], "last": self.last})
        ]
