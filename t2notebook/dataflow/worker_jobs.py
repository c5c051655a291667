"""The jobs whose workers are a cluster's: submitting, watching and ending them. Most of it blocks."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .. import client
from ..client.job import Job
from ..model.errors import Twister2Error
from ..model.job import Twister2Job
from ..model.reducer import JobView
from . import at_exit, certificates, settings
from .agent import dask_worker
from .requirements import versions

log = logging.getLogger("t2notebook.dataflow")

#: Modules that executors import ahead of Dask's workers.
PRELOAD = ("distributed", "t2notebook.dataflow.agent.ahead")
#: Seconds that a worker has to end after it has handed its data over: its tasks have some of them.
LEAVE = dask_worker.TASKS + 0.5
#: Seconds from SIGTERM to SIGKILL for a worker that has not ended by then; its agent is waited for for `CLOSE`.
GRACE, CLOSE = 1.0, 10.0
#: Seconds between two looks at a job that ends.
LOOK = 0.2
UNWANTED = "its Dask cluster does not want it any more"


class WorkerJobs:
    """Jobs by id, oldest first.

    Parameters
    ----------
    name : str
        The cluster's, which the jobs get.
    on_change : callable
        Called with a job that has changed, on any thread.
    """

    def __init__(self, name: str, on_change: Callable[[Job], None]) -> None:
        self._name, self._on_change = name, on_change
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def get(self, job_id: str) -> Job | None:
        """Return a job; None if it is not known."""
        return self._jobs.get(job_id)

    def views(self) -> dict[str, JobView]:
        """Return the present state of each job, by id."""
        return {job.job_id: job.view() for job in self}

    @property
    def unfinished(self) -> list[str]:
        """Ids of the jobs that go on."""
        return [job.job_id for job in self if not job.state.is_final]

    # Submitting.

    def submit(
        self, names: Sequence[str], kept: settings.Settings, scheduler: str, keys: Mapping[str, str] | None
    ) -> Job:
        """Submit a job whose workers are Dask workers of these names.

        Parameters
        ----------
        names : sequence of str
            By worker id.
        kept : Settings
        scheduler : str
            The Dask scheduler's address.
        keys : mapping or None
            The cluster's certificates and keys; without, there is no TLS.

        Raises
        ------
        SubmitError, SessionError
        """
        config = {
            "scheduler": scheduler,
            "names": list(names),
            "threads": kept.thread_count,
            "memory": kept.memory,
            "versions": versions(),
            "options": kept.worker_options,
            "dask": settings.dask_settings(),
        }
        resource = kept.resource(len(names))
        job = Twister2Job(self._name, dask_worker.run, [resource], config, kept.placement, kept.faults)
        files: list[str | Path] = [*settings.modules_beside(kept.memory), *kept.files]
        return client.submit(
            job,
            on_exit=kept.on_exit,
            files=files,
            preload=(*PRELOAD, *kept.preload),
            credentials={"tls": json.dumps(certificates.of_role(keys, "worker"))} if keys else None,
        )

    def know(self, job: Job) -> None:
        """Watch a job from now on."""
        at_exit.come_first()
        self._jobs[job.job_id] = job
        job.add_listener(self._on_change)

    def forget(self) -> None:
        """Watch no job any more."""
        for job in self:
            job.remove_listener(self._on_change)

    # Ending.

    def kill_waiting(self) -> None:
        """End the jobs of which a worker has not run yet: it would, in vain."""
        for job in self:
            if any(not one.started for one in job.view().workers):
                _kill(job)

    def end_workers(self, job_id: str, worker_ids: Sequence[int]) -> None:
        """End workers of a job for good; those that run are leaving by themselves, if they can."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        try:
            _end_workers(job, worker_ids)
        except Twister2Error as error:
            log.debug("job %s: %s", job.job_id, error)

    def see_off(self) -> None:
        """Wait for the end of all jobs, whose workers have no scheduler any more; end those that do not end."""
        left = _await_ends(list(self), LEAVE)
        for job in left:
            _kill(job)
        _await_ends(left, CLOSE)

    # What workers wrote.

    def logs(self, job_id: str, worker_id: int) -> str:
        """Return what a worker wrote."""
        job, texts = self._jobs[job_id], []
        for stream in ("stdout", "stderr"):
            try:
                texts.append(job.logs(worker_id, stream=stream))
            except Twister2Error as error:
                texts.append(f"({stream} cannot be read: {error})\n")
        return "".join(texts)


def _kill(job: Job) -> None:
    try:
        if not job.state.is_final:
            job.kill(message="its Dask cluster was closed", grace=GRACE)
    except Twister2Error as error:
        log.debug("job %s: %s", job.job_id, error)


def _await_ends(jobs: Sequence[Job], seconds: float) -> list[Job]:
    """Wait until jobs have ended or no worker of theirs has for so many seconds; return those that go on."""
    running, deadline = -1, 0.0
    while left := [job for job in jobs if not job.state.is_final]:
        now_running = sum(not worker.is_done for job in left for worker in job.view().workers)
        if now_running != running:
            running, deadline = now_running, time.monotonic() + seconds
        elif time.monotonic() > deadline:
            return left
        try:
            left[0].wait(LOOK)
        except TimeoutError:
            pass
        except Twister2Error as error:  # nothing more will be heard of it
            log.debug("job %s: %s", left[0].job_id, error)
            jobs = left[1:]
    return []


def _end_workers(job: Job, worker_ids: Sequence[int]) -> None:
    deadline = time.monotonic() + LEAVE
    pending = set(worker_ids)
    while pending:
        workers = job.view().workers
        pending = {one for one in pending if not (workers[one].is_done or job.state.is_final)}
        late = time.monotonic() > deadline
        others = any(not (one.is_done or one.worker_id in pending) for one in workers)
        if pending and not others and (late or all(workers[one].started is None for one in pending)):
            job.kill(message=UNWANTED, grace=GRACE)
            return
        for worker_id in list(pending):
            if late or workers[worker_id].started is None:
                job.kill(worker_id, UNWANTED, grace=GRACE)
                pending.discard(worker_id)
        if pending:
            time.sleep(0.05)
