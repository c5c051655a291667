"""The jobs of a framework: each one's specification, secret and view; every event passes through here once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..model.errors import JournalError
from ..model.events import TRANSIENT, Event, EventKind
from ..model.job import JobSpec, make_job_id
from ..model.reducer import JobView, reduce
from ..model.states import TaskState
from ..protocol.auth import new_secret
from . import Journal, result_path


@dataclass
class JobRecord:
    """A job as the session holds it; `owner` is the kernel that submitted it. `credentials` are here and with the
    workers, and in no file.
    """

    job_id: str
    spec: JobSpec
    secret: str = field(repr=False)
    owner: str
    view: JobView
    events: list[Event] = field(default_factory=list)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


class Jobs:
    """All jobs of a framework, those that its journal has already included.

    `record` is the only way by which anything happens to a job: the journal first, then the view, then
    whoever listens. So nobody hears of an event that could still be lost.

    Parameters
    ----------
    journal : Journal
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        self.journal = journal
        self.clock = clock
        self._jobs: dict[str, JobRecord] = {}
        self._listeners: list[Callable[[Event, JobRecord], None]] = []
        self._last_ms = 0
        for job_id, spec, secret, events in journal.jobs():
            owner = str(events[0].data.get("client", ""))
            self._jobs[job_id] = JobRecord(job_id, spec, secret, owner, reduce(job_id, events), events)

    def __getitem__(self, job_id: str) -> JobRecord:
        return self._jobs[job_id]

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job or None."""
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[JobRecord]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def active(self) -> list[JobRecord]:
        """The jobs that have not ended."""
        return [job for job in self._jobs.values() if not job.view.state.is_final]

    def listen(self, listener: Callable[[Event, JobRecord], None]) -> None:
        """Have `listener` called after each event, in the order of the events."""
        self._listeners.append(listener)

    def submit(self, spec: JobSpec, owner: str, credentials: Mapping[str, str] | None = None) -> JobRecord:
        """Accept a job; when this returns it is in the journal."""
        now = self.clock()
        self._last_ms = max(self._last_ms + 1, int(now * 1000))
        job_id = make_job_id(spec.name, user=spec.user, now_ms=self._last_ms)
        event = Event(
            EventKind.SUBMITTED,
            job_id,
            now,
            source="USER",
            message=f"{spec.number_of_workers} worker{'s' * (spec.number_of_workers != 1)}",
            data={"name": spec.name, "number_of_workers": spec.number_of_workers, "client": owner},
        )
        secret = new_secret()
        numbered = self.journal.add_job(job_id, spec, secret, event)
        job = JobRecord(job_id, spec, secret, owner, JobView(job_id), credentials=credentials or {})
        self._jobs[job_id] = job
        self._tell(numbered)
        return job

    def record(self, *events: Event) -> None:
        """Write events to the journal, then fold them in and tell the listeners."""
        events = tuple(self._with_progress(event) for event in events)
        durable = [event for event in events if event.kind not in TRANSIENT]
        numbered = iter(self.journal.append(durable))
        for event in events:
            self._tell(event if event.kind in TRANSIENT else next(numbered))

    def result_path(self, job_id: str, worker_id: int) -> Path:
        """Return where a worker's result lies, or will."""
        return result_path(self.journal.directory, job_id, worker_id)

    def _with_progress(self, event: Event) -> Event:
        """Return `event`; the end of a task with how far it had come, as its progress stands in no journal."""
        if event.kind is not EventKind.STATUS or event.worker_id is None or "progress" in event.data:
            return event
        worker = self._jobs[event.job_id].view.workers[event.worker_id]
        if (
            worker.progress is None
            or worker.task_id != event.task_id
            or not TaskState(event.state).is_terminal
        ):
            return event
        return replace(event, data={**event.data, "progress": worker.progress, "text": worker.text})

    def _tell(self, event: Event) -> None:
        job = self._jobs[event.job_id]
        was_final = job.view.state.is_final
        job.view.apply(event)
        if event.kind not in TRANSIENT:
            job.events.append(event)
        if job.view.state.is_final and not was_final:
            self._mark_ended(job)
        for listener in self._listeners:
            listener(event, job)

    def _mark_ended(self, job: JobRecord) -> None:
        try:
            self.journal.mark_ended(job.job_id)
        except JournalError:
            pass  # its events say it


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
        """Record events, each in the journal of its job."""
        for event in events:
            jobs = self.home(event.job_id)
            if jobs is None:
                raise KeyError(event.job_id)
            jobs.record(event)

    def result_path(self, job_id: str, worker_id: int) -> Path:
        """Return where a worker's result lies, or will."""
        jobs = self.home(job_id)
        if jobs is None:
            raise KeyError(job_id)
        return jobs.result_path(job_id, worker_id)
