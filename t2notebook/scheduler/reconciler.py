"""The reconciler: it asks the master what became of this framework's tasks, when `Reconciliation` says so. Pure."""

from __future__ import annotations

from .actions import Reconcile
from .reconciliation import Reconciliation
from .turn import Timers, Turn


class Reconciler:
    """Questions to the master about tasks.

    Parameters
    ----------
    turn : Turn
    timers : Timers

    Attributes
    ----------
    rounds : Reconciliation
        Which tasks are asked about, and when.
    """

    def __init__(self, turn: Turn, timers: Timers) -> None:
        self._turn, self._timers = turn, timers
        self.rounds = Reconciliation()

    def resume(self, *, has_tasks: bool) -> None:
        """Ask what became of the tasks: the framework has just been subscribed.

        Parameters
        ----------
        has_tasks : bool
            Whether there may be any; else the first question can wait.
        """
        if has_tasks:
            self._begin()
        else:
            self.rounds.rest(self._turn.now)
        self.ask()

    def stop(self) -> None:
        """Ask nothing: there is no master."""
        self.rounds.stop()

    def answered(self, task_id: str) -> None:
        """Ask no more about a task of which something certain was heard."""
        self.rounds.answered(task_id)

    def doubtful(self, task_id: str, agent: str) -> None:
        """Have a task asked about of which the master does not know where it is; `ask` does that when it is time.

        Parameters
        ----------
        task_id, agent : str
        """
        self.rounds.doubtful(task_id, agent, self._turn.now)

    def ask(self) -> None:
        """Ask what is due."""
        if not self._turn.connected:
            return
        now = self._turn.now
        if self.rounds.is_over(now):
            self._begin()
        while (tasks := self.rounds.ask(now)) is not None:
            self._turn.do(Reconcile(tuple(tasks)))
        if self.rounds.due is not None:
            self._timers.later("reconcile", max(0.0, self.rounds.due - now), self.ask, sooner=True)

    def _begin(self) -> None:
        tasks = [
            (worker.task_id, worker.agent)
            for job in self._turn.jobs.active
            for worker in job.view.workers
            if worker.is_on_mesos
        ]
        self.rounds.begin(tasks, self._turn.now)
