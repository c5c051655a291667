"""Workers of which nothing is heard: neither from their executor, which tells every second what they use, nor from
themselves. So a worker that is busy, in C code for instance, is vouched for; one whose machine stands still is not.
"""

from __future__ import annotations

from collections.abc import Callable

from ..journal.job_store import AllJobs, JobRecord
from ..model.states import TaskState

#: Seconds between two looks; a look that comes much later than that finds that we stood still ourselves.
INTERVAL, STOOD_STILL = 1.0, 5.0

GiveUp = Callable[[JobRecord, tuple[int, ...], float], None]


class SilentWorkers:
    """The times at which executors and workers were last heard.

    Parameters
    ----------
    jobs : AllJobs
    give_up : callable
        ``give_up(job, worker_ids, seconds)`` has others take the places of some.
    """

    def __init__(self, jobs: AllJobs, give_up: GiveUp) -> None:
        self._jobs, self._give_up = jobs, give_up
        self._heard: dict[
            str, dict[str | int, float]
        ] = {}  # by job: of executors by id, of workers by number
        self._looked = 0.0

    def heard(self, job_id: str, who: str | int, now: float) -> None:
        """Note that an executor (its id) or a worker (its number) has said something.

        Parameters
        ----------
        job_id : str
        who : str or int
        now : float
            Seconds, by a clock that is never adjusted.
        """
        self._heard.setdefault(job_id, {})[who] = now

    def forget(self, job_id: str) -> None:
        """A job has ended."""
        self._heard.pop(job_id, None)

    def look(self, now: float) -> None:
        """Give up those of whom nothing has been heard for too long, whose executor had been heard before."""
        stood_still = now - self._looked > STOOD_STILL
        self._looked = now
        for job_id, heard in list(self._heard.items()):
            job = self._jobs.get(job_id)
            if job is None or job.view.state.is_final:
                self.forget(job_id)
                continue
            if stood_still:  # what was said meanwhile has yet to be read
                heard.update(dict.fromkeys(heard, now))
            limit = job.spec.faults.failure_timeout
            if not limit:
                continue
            silent: dict[str, list[int]] = {}
            for worker in job.view.workers:
                # One whose result is here has ended, and only the news of that is late.
                is_expected = worker.state is TaskState.RUNNING and not worker.result
                if is_expected and worker.executor_id in heard:
                    last = max(heard[worker.executor_id], heard.get(worker.worker_id, 0.0))
                    if now - last > limit:
                        silent.setdefault(worker.executor_id, []).append(worker.worker_id)
            for executor_id, worker_ids in silent.items():
                del heard[executor_id]
                self._give_up(job, tuple(worker_ids), limit)
