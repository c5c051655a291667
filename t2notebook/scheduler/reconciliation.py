"""Reconciliation: questions to the master about this framework's tasks, and their times. Pure: the clock is given.

A round asks about each task by name until all have been answered, with a growing pause, then once about all
that the master knows of this framework, which brings up what we know nothing of. There is one round at a time:
after each subscription, and every 15 minutes (Mesos, ``docs/reconciliation.md``). A master that is waiting for
an agent to come back stays silent about its tasks, and one that knows neither agent nor task answers UNKNOWN:
both are asked about again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
PERIOD = 900.0


class Reconciliation:
    """Rounds of questions.

    Parameters
    ----------
    jitter : callable
        Returns a factor for each pause.
    """

    def __init__(self, jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.0)) -> None:
        self._jitter = jitter
        self._open: dict[str, str] = {}
        self._implicit_due = False
        self._pause = FIRST_PAUSE
        self.due: float | None = None

    @property
    def unanswered(self) -> Mapping[str, str]:
        """The tasks that this round still asks about: agents by task id."""
        return self._open

    def begin(self, tasks: Iterable[tuple[str, str]], now: float) -> None:
        """Begin a round, at once, about ``(task id, agent id)`` pairs; one under way is given up."""
        self._open = dict(tasks)
        self._implicit_due = True
        self._pause = FIRST_PAUSE
        self.due = now

    def rest(self, now: float) -> None:
        """Begin the first round when the period is over: there is nothing to ask about yet."""
        self._open.clear()
        self._implicit_due = False
        self.due = now + PERIOD * self._jitter()

    def stop(self) -> None:
        """Ask nothing until the next round: there is no master."""
        self._open.clear()
        self.due = None

    def answered(self, task_id: str) -> None:
        """Something certain was heard of a task."""
        self._open.pop(task_id, None)

    def doubtful(self, task_id: str, agent_id: str, now: float) -> None:
        """Note that the master does not know where a task is; it may know later.

        Parameters
        ----------
        task_id, agent_id : str
        now : float
            Seconds.
        """
        if self.due is None:
            return
        if not self._open:
            self.due = min(self.due, now + self._pause)
        self._open[task_id] = agent_id

    def is_over(self, now: float) -> bool:
        """Whether the period after the last round has passed, so that the next is to begin."""
        return self.due is not None and now >= self.due and not self._open and not self._implicit_due

    def ask(self, now: float) -> list[tuple[str, str]] | None:
        """Return what to ask about now: pairs, none of them for an implicit question; None for nothing.

        `due` then says when to come again.
        """
        if self.due is None or now < self.due or self.is_over(now):
            return None
        if self._open:
            self.due = now + self._pause * self._jitter()
            self._pause = min(LAST_PAUSE, 2 * self._pause)
            return list(self._open.items())
        self._implicit_due = False
        self._pause = FIRST_PAUSE
        self.due = now + PERIOD * self._jitter()
        return []
