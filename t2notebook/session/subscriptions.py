"""The kernels that are attached to a session, and the streams of events that they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..journal.job_store import AllJobs, JobRecord
from ..model.events import Event, EventKind
from ..model.text import dumps

Write = Callable[[str], None]


class Clients:
    """Attached kernels; each gets the events of the jobs that it watches, from the first on, each one once.

    Parameters
    ----------
    jobs : AllJobs
    """

    def __init__(self, jobs: AllJobs) -> None:
        self._jobs = jobs
        self._streams: dict[str, Write] = {}
        self._watching: dict[str, set[str]] = {}
        self._watchers: dict[str, set[str]] = {}
        self._closers: dict[str, Callable[[], None]] = {}
        jobs.listen(self._on_event)

    def __len__(self) -> int:
        return len(self._streams)

    def attach(self, client_id: str, write: Write, close: Callable[[], None]) -> None:
        """Note that a kernel's stream is open.

        Parameters
        ----------
        client_id : str
        write : callable
            Takes a line.
        close : callable
            Ends the stream.
        """
        self._streams[client_id] = write
        self._closers[client_id] = close
        self._watching.setdefault(client_id, set())

    def detach(self, client_id: str, write: Write) -> None:
        """A kernel's stream has ended, unless a newer one took its place."""
        if self._streams.get(client_id) != write:
            return
        del self._streams[client_id], self._closers[client_id]
        for job_id in self._watching.pop(client_id, ()):
            self._watchers[job_id].discard(client_id)

    def watch(self, client_id: str, job: JobRecord, after: int = 0) -> None:
        """Send a kernel the events of a job after `after`, then each new one.

        Parameters
        ----------
        client_id : str
        job : JobRecord
        after : int
            A `seq`.
        """
        if client_id not in self._streams or job.job_id in self._watching[client_id]:
            return
        for event in job.events:
            if event.seq > after:
                self._send(client_id, event)
        for event in _present(job, self._jobs.clock()):
            self._send(client_id, event)
        self._watching[client_id].add(job.job_id)
        self._watchers.setdefault(job.job_id, set()).add(client_id)

    def mark_lost(self, job_ids: list[str], why: str) -> None:
        """Tell who watches these jobs that this session hears no more of them."""
        for job_id in job_ids:
            for client_id in self._watchers.pop(job_id, ()):
                self._watching[client_id].discard(job_id)
                self._streams[client_id](dumps({"lost": job_id, "why": why}))

    def close(self) -> None:
        """End all streams."""
        for close in list(self._closers.values()):
            close()

    def _on_event(self, event: Event, job: JobRecord) -> None:
        for client_id in self._watchers.get(job.job_id, ()):
            self._send(client_id, event)

    def _send(self, client_id: str, event: Event) -> None:
        self._streams[client_id](f'{{"event":{event.to_json()}}}')


def _present(job: JobRecord, now: float) -> Iterator[Event]:
    """Yield what is so now and stands in no journal: how far workers are, what they use and wait for."""
    view = job.view
    if view.state.is_final:
        return
    for worker in view.workers:
        if worker.progress is not None and not worker.state.is_terminal:
            data = {"progress": worker.progress, "text": worker.text}
            yield Event(EventKind.PROGRESS, job.job_id, now, worker.worker_id, worker.task_id, data=data)
    if uses := [
        [worker.worker_id, worker.restarts, *worker.use.to_list()]
        for worker in view.workers
        if worker.use is not None and not worker.state.is_terminal
    ]:
        yield Event(EventKind.USE, job.job_id, now, data={"workers": uses})
    if view.waiting_for:
        yield Event(EventKind.PENDING, job.job_id, now, message=view.waiting_for)
