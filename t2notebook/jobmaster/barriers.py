"""Barriers of a job: who has come, and when all that are awaited have, or never will. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .actions import Action, Answer, Barrier, BarrierResult, DropBarrier, PutBarrier
from .members import Members

#: Seconds that workers have to come back to a barrier after a job master has taken the last one's place.
RETURN_TIME = 10.0


@dataclass(slots=True)
class _OpenBarrier:
    deadline: float
    arrivals: dict[int, int] = field(default_factory=dict)  # worker -> request


class Barriers:
    """The barriers that have begun.

    Parameters
    ----------
    members : Members
        Of the same job; their answers are kept there.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._open: dict[Barrier, _OpenBarrier] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def restore(self, barriers: Mapping[Barrier, tuple[int, float, int]], now: float) -> None:
        """Go on with barriers that had begun.

        Parameters
        ----------
        barriers : mapping
            As of `Kept`.
        now : float
            Seconds.
        """
        for barrier, (_, left, faults) in barriers.items():
            if barrier is Barrier.INIT or faults == self._members.faults:
                self._open[barrier] = _OpenBarrier(now + max(RETURN_TIME, left))

    def arrive(
        self, worker_id: int, request: int, name: Barrier, faults: int, timeout: float, now: float
    ) -> list[Action]:
        """Take in that a worker has come to a barrier.

        Parameters
        ----------
        worker_id, request : int
        name : Barrier
        faults : int
            How many faults it knows of.
        timeout : float
            Seconds that the barrier has, if it is the first.
        now : float
        """
        members = self._members
        if name is Barrier.DEFAULT and faults < members.faults:
            # Each hears once of what happened since it last was at a barrier; so nobody waits for one who began anew.
            return self._verdict({worker_id: request}, BarrierResult.JOB_FAULTY, members.last_fault)
        if (why := members.broken()) is not None:
            return self._verdict({worker_id: request}, *why)
        if name is Barrier.INIT and not members[worker_id].meets_at_init:
            # The others began together before it came, or wait for each other to.
            return self._verdict({worker_id: request}, BarrierResult.SUCCESS, "")
        actions: list[Action] = []
        barrier = self._open.get(name)
        if barrier is None:
            barrier = self._open[name] = _OpenBarrier(now + timeout)
            actions.append(PutBarrier(name, self._expected(name), timeout, members.faults))
        barrier.arrivals[worker_id] = request
        return actions + self.pass_complete(name)

    def withdraw(self, worker_id: int) -> bool:
        """Forget that a worker has come; return whether it had."""
        came = [barrier.arrivals.pop(worker_id, None) for barrier in self._open.values()]
        return any(request is not None for request in came)

    def pass_complete(self, *names: Barrier) -> list[Action]:
        """Let pass those who are at a barrier, of these or of all, to which all have come that are awaited."""
        actions: list[Action] = []
        for name in names or list(self._open):
            arrivals = self._open[name].arrivals
            if arrivals and len(arrivals) >= self._expected(name):
                actions += self._decide(name, BarrierResult.SUCCESS, "")
        return actions

    def fault(self) -> list[Action]:
        """Break the barrier that a fault breaks."""
        if Barrier.DEFAULT not in self._open:
            return []
        return self._decide(Barrier.DEFAULT, BarrierResult.JOB_FAULTY, self._members.last_fault)

    def give_up(self, result: BarrierResult, why: str) -> list[Action]:
        """End all."""
        return [action for name in list(self._open) for action in self._decide(name, result, why)]

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()

    # Time.

    @property
    def next_deadline(self) -> float:
        """The time by which `tick` is to be called."""
        return min((barrier.deadline for barrier in self._open.values()), default=math.inf)

    def tick(self, now: float) -> list[Action]:
        """End those whose time is over."""
        actions: list[Action] = []
        for name, barrier in list(self._open.items()):
            if barrier.deadline <= now:
                came = len(barrier.arrivals)
                missing = self._members.named(
                    [
                        number
                        for number, one in enumerate(self._members.now)
                        if number not in barrier.arrivals and (name is Barrier.DEFAULT or one.meets_at_init)
                    ]
                )
                why = f"{came} of {self._expected(name)} workers came in time; missing: {missing}"
                actions += self._decide(name, BarrierResult.TIMED_OUT, why)
        return actions

    def put_off(self, seconds: float) -> None:
        """Give all so much more time."""
        for barrier in self._open.values():
            barrier.deadline += seconds

    def _expected(self, name: Barrier) -> int:
        """Return how many workers a barrier waits for."""
        if name is Barrier.DEFAULT:
            return self._members.number_of_workers
        return sum(member.meets_at_init for member in self._members.now)

    def _decide(self, name: Barrier, result: BarrierResult, why: str) -> list[Action]:
        barrier = self._open.pop(name)
        return [DropBarrier(name), *self._verdict(barrier.arrivals, result, why)]

    def _verdict(self, arrivals: Mapping[int, int], result: BarrierResult, why: str) -> list[Action]:
        record: Mapping[str, Any] = {
            "result": result.value,
            "why": why,
            "faults": self._members.faults,
            "number_of_workers": self._members.number_of_workers,
        }
        kept = [self._members.keep_answer(who, request, record) for who, request in arrivals.items()]
        return [*kept, *(Answer(worker_id, request, record) for worker_id, request in arrivals.items())]
