"""Job masters that run in a session: each is told the past of its job, woken in time, and its actions performed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..jobmaster.actions import Action, Answer, Hold, Scale, Stop
from ..jobmaster.job_feed import JobFeed
from ..jobmaster.job_master import JobMaster
from ..jobmaster.runner import Runner
from ..jobmaster.store import Store
from ..journal.job_store import AllJobs, JobRecord


class RunningJobMaster:
    """A job's master, and what belongs to it.

    Parameters
    ----------
    job : JobRecord
    runner : Runner

    Attributes
    ----------
    published : mapping or None
        The status that workers have been told in ZooKeeper.
    """

    def __init__(self, job: JobRecord, runner: Runner) -> None:
        self.job = job
        self.runner = runner
        self.feed = JobFeed(job.job_id, job.spec.resource_of)
        self.timer: asyncio.TimerHandle | None = None
        self.published: Mapping[str, Any] | None = {}

    @property
    def master(self) -> JobMaster:
        """The state machine."""
        return self.feed.master


class RunningJobMasters:
    """The job masters of a session that anybody has needed.

    Parameters
    ----------
    jobs : AllJobs
    carry : callable
        ``carry(job_id, action)`` brings an answer, or a word, to whom it is for.
    """

    def __init__(self, jobs: AllJobs, carry: Callable[[str, Answer | Stop | Scale | Hold], None]) -> None:
        self._jobs, self._carry = jobs, carry
        self._running: dict[str, RunningJobMaster] = {}
        self._runners: dict[Path, Runner] = {}

    def get(self, job_id: str) -> RunningJobMaster | None:
        """Return a job's master; None where nobody has needed it."""
        return self._running.get(job_id)

    def of(self, job: JobRecord) -> RunningJobMaster:
        """Return a job's master; a new one is told the past."""
        if (known := self._running.get(job.job_id)) is not None:
            return known
        home = self._jobs.home(job.job_id)
        assert home is not None
        directory = home.journal.directory
        if (runner := self._runners.get(directory)) is None:
            runner = self._runners[directory] = Runner(Store(directory), self._carry)
        running = RunningJobMaster(job, runner)
        for event in job.events:
            running.feed.take(event, is_past=True)
        for worker in running.feed.view.workers:
            running.feed.observe(worker.worker_id)
        running.master.restore(Store(directory).load(job.job_id), asyncio.get_running_loop().time())
        self._running[job.job_id] = running
        self._await_deadline(running)
        return running

    def perform(self, running: RunningJobMaster, actions: Iterable[Action]) -> None:
        """Have done what a job master decided."""
        running.runner.add(running.job.job_id, actions)
        self._await_deadline(running)

    def drop(self, running: RunningJobMaster) -> None:
        """Forget one that nobody needs any more."""
        if running.timer is not None:
            running.timer.cancel()
        self._running.pop(running.job.job_id, None)

    def halt(self) -> None:
        """Wake none of them any more."""
        for running in self._running.values():
            if running.timer is not None:
                running.timer.cancel()

    async def close(self) -> None:
        """Close their files."""
        for runner in self._runners.values():
            await runner.close()

    def _await_deadline(self, running: RunningJobMaster) -> None:
        deadline = running.master.next_deadline
        if deadline is None or (running.timer is not None and running.timer.when() <= deadline):
            return
        if running.timer is not None:
            running.timer.cancel()
        running.timer = asyncio.get_running_loop().call_at(deadline, self._tick, running)

    def _tick(self, running: RunningJobMaster) -> None:
        running.timer = None
        self.perform(running, running.master.tick(asyncio.get_running_loop().time()))
