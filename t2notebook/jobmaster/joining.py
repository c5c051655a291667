"""Workers that wait until all have joined, and what each is told of the others. Pure."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

from ..model.text import dumps
from .actions import Action, Answer
from .members import HAS_JOINED, Members


class Joining:
    """The workers of a job that wait for all.

    Parameters
    ----------
    members : Members
        Of the same job.

    Attributes
    ----------
    had_all : bool
        Whether all have joined, since the last came to be.
    next_deadline : float
        When somebody who waits may have to be told that not all have come; not later than that.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._waiting: dict[int, tuple[int, float]] = {}  # worker -> request, deadline
        self._told = b""
        self.had_all = False
        self.next_deadline = math.inf

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self, worker_id: int, request: int, deadline: float) -> None:
        """Have a worker wait.

        Parameters
        ----------
        worker_id, request : int
        deadline : float
        """
        self._waiting[worker_id] = (request, deadline)
        self.next_deadline = min(self.next_deadline, deadline)

    def withdraw(self, worker_id: int) -> bool:
        """Have a worker wait no more; return whether it did."""
        return self._waiting.pop(worker_id, None) is not None

    def changed(self) -> None:
        """Note that what is told of workers is another thing now."""
        self._told = b""

    def ask(self, worker_id: int, request: int) -> Answer:
        """Return the answer to one who asks who has joined by now."""
        return Answer(worker_id, request, self._workers(), self._joined())

    def answer(self) -> list[Action]:
        """Answer those who wait, if all have joined."""
        if self.had_all and not self._waiting:
            return []
        if self._members.count(*HAS_JOINED) < self._members.number_of_workers:
            return []
        told = self._joined() if self._waiting else b""
        answers: list[Action] = [
            Answer(who, request, self._workers(), told) for who, (request, _) in self._waiting.items()
        ]
        self._waiting.clear()
        self.had_all = True
        return answers

    def give_up(self, why: str) -> list[Action]:
        """Answer those who wait for somebody that will never come."""
        answers: list[Action] = [
            Answer(who, request, {"never": why}) for who, (request, _) in self._waiting.items()
        ]
        self._waiting.clear()
        return answers

    def clear(self) -> None:
        """Forget who waits."""
        self._waiting.clear()

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Answer those whose time is over."""
        actions: list[Action] = []
        for worker_id, (request, deadline) in list(self._waiting.items()):
            if deadline <= now:
                del self._waiting[worker_id]
                awaited = [
                    number for number, one in enumerate(self._members.now) if one.presence not in HAS_JOINED
                ]
                number_of_workers = self._members.number_of_workers
                there = number_of_workers - len(awaited)
                missing = self._members.named(awaited)
                why = f"{there} of {number_of_workers} workers joined in time; missing: {missing}"
                actions.append(Answer(worker_id, request, {"timed_out": why}))
        self.next_deadline = min((deadline for _, deadline in self._waiting.values()), default=math.inf)
        return actions

    def put_off(self, seconds: float) -> None:
        """Have all wait so much longer."""
        self._waiting = {
            who: (request, deadline + seconds) for who, (request, deadline) in self._waiting.items()
        }
        self.next_deadline += seconds

    def _workers(self) -> Mapping[str, Any]:
        return {"workers": True, "number_of_workers": self._members.number_of_workers}

    def _joined(self) -> bytes:
        """Return what is told of those who have joined: made once for all who ask, since all of many workers do."""
        if not self._told:
            infos = [member.info for member in self._members.now if member.presence in HAS_JOINED]
            self._told = zlib.compress(dumps(infos).encode(), 1)
        return self._told
