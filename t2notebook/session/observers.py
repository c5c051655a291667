"""Those who watch all jobs of a session and keep nothing alive by it: the Jupyter server, the command line.

A kernel gets events, to derive its own copy of a job from; an observer gets rows: at once when a job's state changes,
else at most `RATE` times a second. Who waits for sessions to appear has a socket in the runtime directory, where one
that has news knocks: so nobody polls.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..frames import overview_row
from ..journal.job_store import AllJobs, JobRecord
from ..model.events import Event
from ..model.states import JobState
from ..model.text import dumps
from ..model.watchers import WATCHERS

log = logging.getLogger(__name__)

Write = Callable[[str], None]

#: Messages a second to each observer, at most, but for jobs' changes of state.
RATE = 10.0


class Observers:
    """Streams of rows of the jobs that have changed: ``t2notebook.frames.overview_row``, and the journal's directory.

    Parameters
    ----------
    jobs : AllJobs
    """

    def __init__(self, jobs: AllJobs) -> None:
        self._jobs = jobs
        self._streams: dict[Write, Callable[[], None]] = {}
        self._changed: dict[str, JobRecord] = {}
        self._states: dict[str, JobState] = {}
        self._sent = 0.0
        self._due: asyncio.Handle | None = None
        jobs.listen(self._on_event)

    def __len__(self) -> int:
        return len(self._streams)

    def attach(self, write: Write, close: Callable[[], None]) -> None:
        """A stream is open; `write` takes a line. It begins with all jobs."""
        self._flush()
        write(dumps({"jobs": [self._row(job) for job in self._jobs]}))
        self._streams[write] = close

    def detach(self, write: Write) -> None:
        """A stream has ended."""
        self._streams.pop(write, None)

    def tell(self, jobs: Iterable[JobRecord]) -> None:
        """Send these jobs as they are now, soon."""
        if not self._streams:
            return
        self._changed.update({job.job_id: job for job in jobs if not job.spec.serves})
        if self._changed and self._due is None:
            loop = asyncio.get_running_loop()
            # The first change after a pause goes out at once, and with it what happens in the same turn.
            self._due = loop.call_at(max(loop.time(), self._sent + 1 / RATE), self._flush)

    def forget(self, job_ids: list[str]) -> None:
        """Say that these jobs are another session's now."""
        self._flush()
        for job_id in job_ids:
            self._changed.pop(job_id, None)
        self._send(dumps({"gone": job_ids}))

    def close(self) -> None:
        """Send what is left, and end all streams."""
        self._flush()
        for close in list(self._streams.values()):
            close()

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if not self._streams:
            return
        self.tell([job])
        if self._states.get(job.job_id) is not job.view.state:
            # A job changes its state a few times: that is told at once, whatever was sent a moment ago.
            self._states[job.job_id] = job.view.state
            self._cancel()
            self._due = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._cancel()
        if self._changed:
            rows = [self._row(job) for job in self._changed.values()]
            self._changed.clear()
            self._sent = asyncio.get_running_loop().time()
            self._send(dumps({"jobs": rows}))

    def _cancel(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _send(self, line: str) -> None:
        for write in list(self._streams):
            write(line)

    def _row(self, job: JobRecord) -> dict[str, object]:
        home = self._jobs.home(job.job_id)
        return {**overview_row(job.view, job.spec), "directory": str(home.journal.directory) if home else ""}


def knock(runtime: Path) -> None:
    """Tell whoever waits in `runtime` for sessions and jobs to appear that there is news."""
    for path in _waiting(runtime):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as knocker:
            knocker.setblocking(False)
            try:
                knocker.sendto(b"", str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)  # who waited there has been killed
            except OSError as error:
                if error.errno not in (
                    errno.EAGAIN,
                    errno.ENOBUFS,
                    errno.ENOENT,
                ):  # a full one has news already
                    log.warning("nobody can be told of news at %s: %s", path, error)


def _waiting(runtime: Path) -> Iterator[Path]:
    try:
        yield from runtime.glob(WATCHERS)
    except OSError as error:
        log.warning("who waits for news in %s cannot be seen: %s", runtime, error)
