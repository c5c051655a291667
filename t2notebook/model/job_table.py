"""The jobs of a framework in memory: each one's specification, secret and view, and their events' numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .events import TRANSIENT, Event, EventKind
from .job import JobSpec
from .reducer import JobView
from .states import TaskState


@dataclass
class JobRecord:
    """A job as the session holds it.

    Parameters
    ----------
    job_id : str
    spec : JobSpec
    secret : str
        Its workers have it, and nobody else.
    owner : str
        The kernel that submitted it.
    view : JobView
        The fold over all events that were recorded, those included that are not on the disk yet.
    events : list of Event
        Those that are on the disk, in their order.
    credentials : mapping
        Here and with the workers, and in no file.
    package : str
        Its package as it travels with launches (`protocol.launch`); empty for one that executors fetch.
    """

    job_id: str
    spec: JobSpec
    secret: str = field(repr=False)
    owner: str
    view: JobView
    events: list[Event] = field(default_factory=list)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    package: str = field(default="", repr=False)


class JobTable:
    """The jobs of a framework, by id, in the order in which they came.

    Parameters
    ----------
    next_seq : int
        The number of the next event.
    """

    def __init__(self, next_seq: int = 1) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._active: dict[str, JobRecord] = {}
        self._serving: dict[str, JobRecord] = {}
        self._next = next_seq

    def __getitem__(self, job_id: str) -> JobRecord:
        return self._jobs[job_id]

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

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
        return list(self._active.values())

    def job_master_of(self, job_id: str) -> JobRecord | None:
        """Return the job that is the job master of another; None if it has none on the cluster."""
        return self._serving.get(job_id)

    def add(self, job: JobRecord) -> None:
        """Take a job in."""
        self._jobs[job.job_id] = job
        if job.spec.serves:
            self._serving[job.spec.serves] = job
        if not job.view.state.is_final:
            self._active[job.job_id] = job

    def number(self, event: Event) -> Event:
        """Return an event with its place in the journal."""
        numbered = event.numbered(self._next)
        self._next += 1
        return numbered

    def take_back(self, event: Event) -> None:
        """Free the number of an event that was never written, if it is the last one that was given."""
        if event.seq == self._next - 1:
            self._next -= 1

    def prepare(self, *events: Event) -> tuple[Event, ...]:
        """Return events as they are to be written and told: numbered, as far as the journal keeps them."""
        return tuple(self._prepare(event) for event in events)

    def apply(self, *events: Event) -> tuple[str, ...]:
        """Fold prepared events into the views of their jobs; return the ids of the jobs that have ended with them."""
        return tuple(event.job_id for event in events if self._apply(event))

    def fold(self, *events: Event) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        """Prepare events and apply them, each before the next; return what `prepare` and what `apply` return."""
        prepared, ended = [], []
        for event in events:
            prepared.append(self._prepare(event))
            if self._apply(prepared[-1]):
                ended.append(event.job_id)
        return tuple(prepared), tuple(ended)

    def _prepare(self, event: Event) -> Event:
        event = _with_progress(event, self._jobs[event.job_id])
        return event if event.kind in TRANSIENT else self.number(event)

    def _apply(self, event: Event) -> bool:
        job = self._jobs[event.job_id]
        job.view.apply(event)
        return job.view.state.is_final and self._active.pop(job.job_id, None) is not None


def _with_progress(event: Event, job: JobRecord) -> Event:
    """Return `event`; the end of a task with how far it had come, as its progress stands in no journal."""
    if event.kind is not EventKind.STATUS or event.worker_id is None or "progress" in event.data:
        return event
    worker = job.view.workers[event.worker_id]
    if worker.progress is None or worker.task_id != event.task_id or not TaskState(event.state).is_terminal:
        return event
    return replace(event, data={**event.data, "progress": worker.progress, "text": worker.text})
