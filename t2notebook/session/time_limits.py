"""Time limits of jobs: one that runs for longer than it was given is ended, also by the session that took it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ..journal.job_store import AllJobs, JobRecord
from ..model.events import Event, EventKind
from ..model.states import TaskState

REASON = "TIME_LIMIT"


class TimeLimits:
    """The jobs that run and have a limit.

    Parameters
    ----------
    jobs : AllJobs
    kill : callable
        ``kill(job, reason, message)`` ends a job.
    """

    def __init__(self, jobs: AllJobs, kill: Callable[[JobRecord, str, str], None]) -> None:
        self._jobs, self._kill = jobs, kill
        self._timers: dict[str, asyncio.TimerHandle] = {}
        jobs.listen(self._on_event)

    def watch(self, job: JobRecord) -> None:
        """Watch a job from now on, if it has a limit and has begun to run."""
        if not job.spec.time_limit or job.job_id in self._timers or job.view.state.is_final:
            return
        begun = next((event.time for event in job.events if _is_running(event)), None)
        if begun is not None and not any(worker.held for worker in job.view.workers):
            left = begun + held_seconds(job.events) + job.spec.time_limit - self._jobs.clock()
            loop = asyncio.get_running_loop()
            self._timers[job.job_id] = loop.call_later(max(0.0, left), self._end, job)

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if job.view.state.is_final:
            if (timer := self._timers.pop(job.job_id, None)) is not None:
                timer.cancel()
        elif job.spec.time_limit and event.kind is EventKind.HELD:
            # While a worker waits in the debugger, the time does not count.
            if (timer := self._timers.pop(job.job_id, None)) is not None:
                timer.cancel()
            self.watch(job)
        elif job.spec.time_limit and _is_running(event):
            self.watch(job)

    def _end(self, job: JobRecord) -> None:
        del self._timers[job.job_id]
        if not job.view.state.is_final and not job.view.kill_reason:
            self._kill(job, REASON, f"it ran for its time limit of {job.spec.time_limit:g} s")


def held_seconds(events: Iterable[Event]) -> float:
    """Return for how many seconds, of those that are over, any worker of a job has waited in the debugger.

    Parameters
    ----------
    events : iterable of Event
        All of the job's, in order.
    """
    held: set[int | None] = set()
    since, total = 0.0, 0.0
    for event in events:
        if event.kind is EventKind.HELD and event.data.get("held"):
            since = since if held else event.time
            held.add(event.worker_id)
        elif event.worker_id in held and (
            event.kind is EventKind.HELD
            or (event.kind is EventKind.STATUS and TaskState(event.state).is_terminal)
        ):
            held.discard(event.worker_id)
            total += 0.0 if held else event.time - since
    return total


def _is_running(event: Event) -> bool:
    return event.kind is EventKind.STATUS and event.state == TaskState.RUNNING
