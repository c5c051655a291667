"""The jobs of a framework and their journal; every event passes through here once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

from ..model.errors import JournalError
from ..model.events import TRANSIENT, Event, EventKind
from ..model.job import JobSpec, make_job_id
from ..model.job_table import JobRecord, JobTable
from ..model.reducer import JobView, reduce
from ..protocol.auth import new_secret
from .group_commit import Entry, GroupCommit
from .journal import Journal, NewJob
from .reader import result_path

__all__ = ["AllJobs", "JobRecord", "Jobs"]


class Jobs:
    """All jobs of a framework, those that its journal has already included.

    `record` and `submit` are the only ways by which anything happens to a job. An event is folded into its job's view
    at once, so that decisions rest on it; whoever listens hears of it when it is on the disk, so that nobody is told
    what could still be lost.

    Parameters
    ----------
    journal : Journal
    clock : callable
        Seconds since 1970.
    writer : Executor, optional
        One thread, which writes in groups while the event loop goes on. Else an event is on the disk, and told,
        when `record` returns.

    Attributes
    ----------
    table : JobTable
    commits : GroupCommit
    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float] = time.time,
        *,
        writer: Executor | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self._is_grouped = writer is not None
        self.table = JobTable(journal.next_seq)
        self.commits = GroupCommit(journal, writer)
        self._listeners: list[Callable[[Event, JobRecord], None]] = []
        self._last_ms = 0
        for job_id, spec, secret, events in journal.jobs():
            owner = str(events[0].data.get("client", ""))
            self.table.add(JobRecord(job_id, spec, secret, owner, reduce(job_id, events), events))

    def __getitem__(self, job_id: str) -> JobRecord:
        return self.table[job_id]

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job or None."""
        return self.table.get(job_id)

    def __iter__(self) -> Iterator[JobRecord]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def active(self) -> list[JobRecord]:
        """The jobs that have not ended."""
        return self.table.active

    @property
    def is_stalled(self) -> bool:
        """Whether the journal refuses writes."""
        return bool(self.commits.stalled)

    def listen(self, listener: Callable[[Event, JobRecord], None]) -> None:
        """Have `listener` called after each event, in the order of the events."""
        self._listeners.append(listener)

    def create_now(
        self, spec: JobSpec, owner: str, credentials: Mapping[str, str] | None = None
    ) -> JobRecord:
        """Create a job where no thread writes; when this returns it is in the journal.

        Parameters
        ----------
        spec : JobSpec
        owner : str
            The kernel's id.
        credentials : mapping, optional
            Secrets of the job, kept in memory only.

        Raises
        ------
        JournalError
            When it cannot be; then nothing was submitted.
        """
        accepted: list[JobRecord] = []
        refused: list[JournalError] = []
        self._create(spec, owner, credentials, accepted.append, refused.append)
        if refused:
            raise refused[0]
        return accepted[0]

    async def create(
        self, spec: JobSpec, owner: str, credentials: Mapping[str, str] | None = None
    ) -> JobRecord:
        """Create a job; when this returns it is in the journal.

        Parameters
        ----------
        spec : JobSpec
        owner : str
            The kernel's id.
        credentials : mapping, optional
            Secrets of the job, kept in memory only.

        Raises
        ------
        JournalError
            When it cannot be; then nothing was submitted.
        """
        future: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()

        def settle(job: JobRecord) -> None:
            if not future.done():
                future.set_result(job)

        def refuse(error: JournalError) -> None:
            if not future.done():
                future.set_exception(error)

        self._create(spec, owner, credentials, settle, refuse)
        return await future

    def _create(
        self,
        spec: JobSpec,
        owner: str,
        credentials: Mapping[str, str] | None,
        accepted: Callable[[JobRecord], None],
        refused: Callable[[JournalError], None],
    ) -> None:
        now = self.clock()
        self._last_ms = max(self._last_ms + 1, int(now * 1000))
        while (job_id := make_job_id(spec.name, user=spec.user, now_ms=self._last_ms)) in self.table:
            self._last_ms += 1  # the clock was set back
        event = self.table.number(
            Event(
                EventKind.SUBMITTED,
                job_id,
                now,
                source="USER",
                message=f"{spec.number_of_workers} worker{'s' * (spec.number_of_workers != 1)}",
                data={"name": spec.name, "number_of_workers": spec.number_of_workers, "client": owner},
            )
        )
        job = JobRecord(job_id, spec, new_secret(), owner, JobView(job_id), credentials=credentials or {})

        def done() -> None:
            job.view.apply(event)
            self.table.add(job)
            self._tell(event)
            accepted(job)

        def failed(error: JournalError) -> None:
            self.table.take_back(event)
            refused(error)

        self.commits.put(Entry((event,), job=NewJob(job_id, spec, job.secret), done=done, failed=failed))

    def record(self, *events: Event) -> None:
        """Fold events in, and write them; the listeners hear of them when they are on the disk.

        Raises
        ------
        JournalError
            Where no thread writes, and they cannot be written: then they are not folded in either.
        """
        if self._is_grouped:
            self.write(*self.table.fold(*events))
            return
        prepared = self.table.prepare(*events)
        try:
            self.journal.commit([event for event in prepared if event.kind not in TRANSIENT])
        except JournalError:
            for event in reversed(prepared):
                self.table.take_back(event)
            raise
        self.write((), self.table.apply(*prepared))
        for event in prepared:
            self._tell(event)

    def write(self, events: tuple[Event, ...], ended: tuple[str, ...] = ()) -> None:
        """Write events that are folded in already, and tell the listeners.

        Parameters
        ----------
        events : tuple of Event
            As `JobTable.fold` gives them.
        ended : tuple of str
            Ids of the jobs that have ended with them.
        """

        def done() -> None:
            for event in events:
                self._tell(event)

        self.commits.put(Entry(events, ended, done=done))

    def tell(self, *events: Event) -> None:
        """Fold transient events in and tell the listeners at once, also while nothing can be written."""
        for event in self.table.fold(*events)[0]:
            self._tell(event)

    def set_meta(self, **values: str) -> None:
        """Keep facts of the session, after what was recorded so far and before what is recorded from now on."""
        self.commits.put(Entry(meta=values))

    def when_durable(self, then: Callable[[], None]) -> None:
        """Call `then` when all that was recorded is on the disk: at once if it is; never if it will not be."""
        self.commits.put(Entry(done=then))

    async def durable(self) -> None:
        """Wait until all that was recorded so far is on the disk.

        Raises
        ------
        JournalError
            When it cannot be written now; it will be when it can.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def refuse(error: JournalError) -> None:
            if not future.done():
                future.set_exception(error)

        self.commits.put(
            Entry(done=lambda: None if future.done() else future.set_result(None), failed=refuse)
        )
        await future

    def result_path(self, job_id: str, worker_id: int) -> Path:
        """Return where a worker's result lies, or will."""
        return result_path(self.journal.directory, job_id, worker_id)

    def _tell(self, event: Event) -> None:
        job = self.table[event.job_id]
        if event.kind not in TRANSIENT:
            job.events.append(event)
        for listener in self._listeners:
            listener(event, job)


class AllJobs:
    """The jobs of several frameworks as one collection, for who does not ask which framework runs them."""

    def __init__(self) -> None:
        self._parts: list[Jobs] = []
        self._listeners: list[Callable[[Event, JobRecord], None]] = []
        self.clock: Callable[[], float] = time.time

    def add(self, jobs: Jobs) -> None:
        """Take in the jobs of one more framework."""
        self._parts.append(jobs)
        for listener in self._listeners:
            jobs.listen(listener)

    def remove(self, jobs: Jobs) -> None:
        """Forget the jobs of a framework that is somebody else's now."""
        self._parts.remove(jobs)

    def home(self, job_id: str) -> Jobs | None:
        """Return the jobs of the framework that runs this one."""
        return next((jobs for jobs in self._parts if jobs.get(job_id) is not None), None)

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job or None."""
        jobs = self.home(job_id)
        return None if jobs is None else jobs[job_id]

    def __getitem__(self, job_id: str) -> JobRecord:
        job = self.get(job_id)
        if job is None:
            raise KeyError(job_id)
        return job

    def __iter__(self) -> Iterator[JobRecord]:
        return (job for jobs in list(self._parts) for job in jobs)

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._parts)

    @property
    def active(self) -> list[JobRecord]:
        """The jobs that have not ended."""
        return [job for jobs in self._parts for job in jobs.active]

    def listen(self, listener: Callable[[Event, JobRecord], None]) -> None:
        """Have `listener` called after each event of any of them."""
        self._listeners.append(listener)
        for jobs in self._parts:
            jobs.listen(listener)

    def record(self, *events: Event) -> None:
        """Record events, each in the journal of its job.

        Raises
        ------
        KeyError
            When no framework has the job.
        """
        for event in events:
            jobs = self.home(event.job_id)
            if jobs is None:
                raise KeyError(event.job_id)
            jobs.record(event)

    async def durable(self, job_id: str) -> None:
        """Wait until all that was recorded of the framework that runs a job is on the disk.

        Raises
        ------
        JournalError
            When it cannot be written now; it will be when it can.
        """
        jobs = self.home(job_id)
        if jobs is not None:
            await jobs.durable()

    def result_path(self, job_id: str, worker_id: int) -> Path:
        """Return where a worker's result lies, or will.

        Raises
        ------
        KeyError
            When no framework has the job.
        """
        jobs = self.home(job_id)
        if jobs is None:
            raise KeyError(job_id)
        return jobs.result_path(job_id, worker_id)
