"""`Reconciler`: makes the workers that are like those that are to be, whenever something has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..client.job import Job
from ..model.errors import Twister2Error
from .members import Ended, Member, Members
from .requirements import DataflowError
from .worker_jobs import WorkerJobs

log = logging.getLogger("t2notebook.dataflow")

#: Seconds after which what went wrong is tried again.
RETRY = 1.0


class Owner(Protocol):
    """The cluster, as its reconciler needs it."""

    @property
    def scheduler_comm(self) -> Any:
        """The connection to the Dask scheduler, whose handlers are its methods."""

    @property
    def is_running(self) -> bool:
        """Whether workers that end are missed."""

    @property
    def known_names(self) -> set[str]:
        """Names of all workers that the Dask scheduler knows."""

    def submit(self, names: Sequence[str]) -> Job:
        """Submit a job of workers of these names; blocks."""

    def keep(self) -> None:
        """Leave with the scheduler's process what another kernel would need."""

    def say(self, text: str) -> None:
        """Tell people, once."""


class Reconciler:
    """The workers that are to be, and what is done to have them.

    `distributed.SpecCluster`, which does the same for workers that are objects of its own, asks its scheduler to retire
    workers by their addresses with their names, so that it does not; and it replaces none that is lost.

    Parameters
    ----------
    owner : Owner
    jobs : WorkerJobs
    members : Members
    target : int
        How many workers are to be.

    Attributes
    ----------
    target : int
    trouble : str
        Why there are fewer workers than that; empty if nothing is known to be wrong.
    refusal : str
        Why no job can be submitted; empty if the last one could.
    """

    def __init__(self, owner: Owner, jobs: WorkerJobs, members: Members, target: int = 0) -> None:
        self.members, self.target, self.trouble, self.refusal = members, target, "", ""
        self._owner, self._jobs = owner, jobs
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._submission: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the loop that runs; once."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Do no more."""
        self.target = 0
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._submission is not None:
            # A job that is being submitted has to be known, to be ended.
            await asyncio.gather(self._submission, return_exceptions=True)

    def release(self) -> None:
        """Let go who waits for it to be done."""
        self._idle.set()

    def changed(self) -> None:
        """Look again; on the loop's thread."""
        self._idle.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until every worker that is wanted has been asked for.

        Raises
        ------
        DataflowError
            When none can be had, and why.
        """
        await self._idle.wait()
        if self.refusal and not self.members.present:
            raise DataflowError(self.refusal)

    @property
    def observed(self) -> set[str]:
        """Names of the workers that the Dask scheduler knows and that are not leaving."""
        return self._owner.known_names - {one.name for one in self.members.present if one.is_leaving}

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._reconcile()
            except Twister2Error as error:
                self.trouble = str(error)
                self.target = len(self.members.planned)  # the next scale() tries again
                self._owner.say(f"no more workers: {error}")
            except Exception as error:  # the Dask scheduler's own errors come here, too, and are of any type
                log.debug("could not compare what is with what is to be", exc_info=True)
                self.trouble = str(error)
                asyncio.get_running_loop().call_later(RETRY, self.changed)
            if not self._wake.is_set():
                self._idle.set()

    async def _reconcile(self) -> None:
        for ended in self.members.settle(self._jobs.views()):
            self._take_leave(ended)
        missing = self.target - len(self.members.planned)
        if missing > 0 and self.members.is_infeasible:
            raise DataflowError(self.trouble or "workers end before they join the Dask scheduler")
        if missing > 0:
            await self._ask_for(missing)
        elif missing < 0:
            waiting, more = self.members.to_leave(-missing, self.observed)
            await self.let_leave([*waiting, *await self._choose(more, waiting)])

    async def _choose(self, count: int, chosen: Iterable[str]) -> list[str]:
        """Have the Dask scheduler choose workers whose leaving costs least."""
        if not count:
            return []
        leaving = [one for one in self.members.present if one.is_leaving]
        found = await self._owner.scheduler_comm.workers_to_close(n=count + len(leaving), attribute="name")
        planned = {one.name for one in self.members.planned} - set(chosen)
        return [str(name) for name in found if str(name) in planned][:count]

    async def _ask_for(self, count: int) -> None:
        """Submit one job for so many workers."""
        self._submission = asyncio.ensure_future(self._submit(count))
        await asyncio.shield(self._submission)

    async def _submit(self, count: int) -> None:
        names = self.members.new_names(count)
        try:
            job = await asyncio.get_running_loop().run_in_executor(None, self._owner.submit, names)
        except Twister2Error as error:
            self.refusal = str(error)
            raise
        self.refusal = ""
        self.members.add(job.job_id, names)
        self._jobs.know(job)
        self._owner.keep()

    async def let_leave(self, names: Iterable[str]) -> None:
        """Let workers leave: their data goes to others first; those that do not run yet are given up."""
        planned = {one.name: one for one in self.members.planned}
        leaving = [planned[name] for name in names if name in planned]
        if not leaving:
            return
        for member in leaving:
            member.is_leaving = True
        running = [member for member in leaving if member.name in self._owner.known_names]
        try:
            if running:
                await self._retire(running)
                self.target = max(self.target, len(self.members.planned))
        except Exception:
            for member in running:
                member.is_leaving = False  # who is still there is told again
            self._later(self._see_leave([member for member in leaving if member.is_leaving]))
            raise
        self._later(self._see_leave([member for member in leaving if member.is_leaving]))
        self._owner.keep()

    async def _retire(self, members: Sequence[Member]) -> None:
        """Have the Dask scheduler move what workers have to others, and close them."""
        retired = await self._owner.scheduler_comm.retire_workers(
            names=[member.name for member in members], remove=True, close_workers=True
        )
        gone = {str(one["name"]) for one in retired.values()}
        for member in members:
            if member.name not in gone and self.members.planned:
                # What only it has fits nowhere else: lost data is worse than a worker too many.
                member.is_leaving = False
                self._owner.say(
                    f"worker {member.name} stays: what only it has could not be moved to another worker"
                )

    async def _see_leave(self, members: Iterable[Member]) -> None:
        """See to it that members that have been told to leave end."""
        by_job: dict[str, list[int]] = {}
        for member in members:
            by_job.setdefault(member.job_id, []).append(member.worker_id)
        for job_id, worker_ids in by_job.items():
            await asyncio.get_running_loop().run_in_executor(None, self._jobs.end_workers, job_id, worker_ids)

    def _take_leave(self, ended: Ended) -> None:
        """A member has ended for good."""
        member = ended.member
        if member.is_leaving or not self._owner.is_running:
            return
        if ended.reason == "REASON_CONTAINER_LIMITATION_MEMORY":
            self._later(self._tell_of_memory(member.name, ended.why))
        if ended.is_error:
            self.trouble = f"worker {member.name}: {ended.why}"
        self._owner.say(f"worker {member.name} has ended: {ended.why}; another takes its place")

    async def _tell_of_memory(self, name: str, why: str) -> None:
        """Have the tasks that a worker was ended for not end another."""
        try:
            await self._owner.scheduler_comm.t2_ended_for_memory(name=name, message=why)
        except (OSError, AttributeError):
            log.debug("the Dask scheduler could not be told of worker %s", name, exc_info=True)

    def _later(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
