"""The reconciler: what the master is asked, and when it is asked again; what its answers do is `test_restarts`'."""

from __future__ import annotations

from typing import Any

from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.job_table import JobRecord, JobTable
from t2notebook.model.reducer import JobView
from t2notebook.scheduler.actions import Reconcile, SetTimer
from t2notebook.scheduler.reconciler import Reconciler
from t2notebook.scheduler.reconciliation import FIRST_PAUSE, PERIOD
from t2notebook.scheduler.turn import Timers, Turn


class Play:
    """A framework with one job of two workers, one of which is on Mesos."""

    def __init__(self) -> None:
        table = JobTable()
        spec = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")
        table.add(JobRecord("ada-pi-1", spec, "secret", "k", JobView("ada-pi-1")))
        data: dict[str, Any] = {"number_of_workers": 2, "name": "pi"}
        table.fold(Event(EventKind.SUBMITTED, "ada-pi-1", 1.0, data=data))
        agent = {"agent": "S0", "host": "h1", "executor_id": "t2-1"}
        table.fold(Event(EventKind.LAUNCHED, "ada-pi-1", 1.0, 0, "pi-0", "STAGING", data=agent))
        self.turn = Turn(table)
        self.turn.connected = True
        self.timers = Timers(self.turn)
        self.reconciler = Reconciler(self.turn, self.timers)

    def asked(self, now: float | None = None) -> list[tuple[tuple[str, str], ...]]:
        """Let the time come, and return the questions since the last call."""
        if now is not None:
            self.turn.begin(now, now)
            self.timers.fired("reconcile")
        return [action.tasks for action in self.turn.end() if isinstance(action, Reconcile)]


def test_each_task_is_asked_about_again_until_it_is_answered_and_then_all_at_once() -> None:
    play = Play()
    play.reconciler.resume(has_tasks=True)
    assert play.asked() == [(("pi-0", "S0"),)], "the worker that waits has no task"
    assert play.asked(FIRST_PAUSE) == [(("pi-0", "S0"),)]
    play.reconciler.answered("pi-0")
    assert play.asked(3 * FIRST_PAUSE) == [()], "what else does the master know?"
    assert play.asked(3 * FIRST_PAUSE + PERIOD)[0] == (("pi-0", "S0"),), "and all of it from time to time"


def test_who_has_nothing_asks_later() -> None:
    play = Play()
    play.reconciler.resume(has_tasks=False)
    (timer,) = play.turn.end()
    assert isinstance(timer, SetTimer) and timer.due > PERIOD / 2
    assert play.asked(PERIOD) == [(("pi-0", "S0"),)], "what was launched meanwhile"


def test_a_doubtful_task_is_asked_about_when_it_is_time() -> None:
    play = Play()
    play.reconciler.resume(has_tasks=False)
    play.asked()
    play.reconciler.doubtful("pi-0", "S0")
    play.reconciler.ask()
    assert play.asked() == [], "the master may know in a moment"
    assert play.asked(FIRST_PAUSE) == [(("pi-0", "S0"),)]


def test_without_a_master_nothing_is_asked() -> None:
    play = Play()
    play.reconciler.resume(has_tasks=True)
    play.asked()
    play.reconciler.stop()
    play.reconciler.doubtful("pi-0", "S0")
    assert play.asked(100 * FIRST_PAUSE) == []
    play.turn.connected = False
    play.reconciler.resume(has_tasks=True)
    assert play.asked() == []
