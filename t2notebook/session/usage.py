"""Use of workers on its way: each look to whoever watches, and few into the journal, so that a day stays small."""

from __future__ import annotations

from typing import Any

from ..journal.job_store import AllJobs, JobRecord
from ..model.events import Event, EventKind
from ..model.use import Thinning, Use, workers_use


class UsageRecorder:
    """Takes what executors measure.

    Parameters
    ----------
    jobs : AllJobs
    """

    def __init__(self, jobs: AllJobs) -> None:
        self._jobs = jobs
        self._thinnings: dict[str, Thinning] = {}
        jobs.listen(self._on_event)

    def take(self, job_id: str, workers: Any) -> None:
        """Take the use of some workers of a job.

        Parameters
        ----------
        job_id : str
        workers : list
            As in the data of an event.
        """
        home = self._jobs.home(job_id)
        if home is None or home[job_id].view.state.is_final:
            return
        job, now = home[job_id], home.clock()
        uses = [
            (worker_id, restarts, use)
            for worker_id, restarts, use in workers_use({"workers": workers})
            if worker_id < len(job.view.workers) and job.view.workers[worker_id].restarts == restarts
        ]
        if not uses:
            return
        home.tell(Event(EventKind.USE, job_id, now, source="SOURCE_EXECUTOR", data=_data(uses)))
        thinning = self._thinnings.get(job_id)
        if thinning is None:
            thinning = self._thinnings[job_id] = Thinning(_began(job, now))
        if kept := thinning.add(now, uses):
            home.record(Event(EventKind.USAGE, job_id, now, source="SOURCE_EXECUTOR", data=_data(kept)))

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if job.view.state.is_final:
            self._thinnings.pop(job.job_id, None)


def _began(job: JobRecord, now: float) -> float:
    started = [worker.started for worker in job.view.workers if worker.started is not None]
    return min(started, default=now)


def _data(uses: list[tuple[int, int, Use]]) -> dict[str, Any]:
    return {"workers": [[worker_id, restarts, *use.to_list()] for worker_id, restarts, use in uses]}
