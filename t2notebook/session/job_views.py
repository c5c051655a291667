"""Live views of jobs for those who only observe: what is so now, and the newest lines of the workers' output.

What they need of a job's output is read while somebody asks for it, and for all of them once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from ..journal.job_store import AllJobs, JobRecord
from ..mesos.agent_files import Sandbox
from ..model.events import Event
from ..model.tails import BYTES, LOG_BYTES, STREAMS, Tails
from ..views.failure import errors_of, failures_of
from ..views.live_record import live_record
from .tails import read_tails

log = logging.getLogger(__name__)

SandboxOf = Callable[[JobRecord, int], tuple[Sandbox, str] | None]

#: Seconds that a job is remembered which nobody looks at, between two looks at its output, and that the last look at an
#: ended one may take.
KEPT, PAUSE, LAST_PATIENCE = 30.0, 0.5, 3.0
#: Bytes of a failed worker's stderr.
STDERR_BYTES = 4096


class JobLook:
    """One job that somebody looks at.

    Attributes
    ----------
    version : int
        Changes with the job.
    asked : float
        When somebody last looked, by the monotonic clock.
    """

    def __init__(self, job: JobRecord, sandbox_of: SandboxOf) -> None:
        self.job = job
        self.version = 1
        self.asked = time.monotonic()
        self._sandbox_of = sandbox_of
        self._tails = Tails()
        self._opened: dict[int, float] = {}  # when somebody last asked for the log of a worker
        self._to_fill: set[int] = set()
        self._due = 0.0
        self._ended: float | None = None
        self._is_complete = False
        self._stderr = ""
        self._reading: asyncio.Task[None] | None = None

    def parts(self, version: int, worker_id: int | None) -> dict[str, Any]:
        """Return the parts of its record; those of the job itself only if its version is another than `version`."""
        now = self.asked = time.monotonic()
        self._open(worker_id, now)
        self._read(now)
        found: dict[str, Any] = {
            "version": self.version,
            "is_complete": self._is_complete and not self._to_fill,
            "output": self._tails.newest(),
            "log": {} if worker_id is None else self._tails.log(worker_id),
        }
        if version != self.version:
            view = self.job.view
            failures = failures_of(view, errors_of(self.job.events)) if view.state.is_final else []
            if failures and failures[0][1] == "stderr":
                failures[0] = (*failures[0][:2], self._stderr)
            found |= live_record(view, failures=failures)
        return found

    def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()

    def _open(self, worker_id: int | None, now: float) -> None:
        """Follow a worker's log more closely, and those no more that nobody has asked for of late."""
        if worker_id is not None and 0 <= worker_id < len(self.job.view.workers):
            if worker_id not in self._opened:
                self._tails.open_log(worker_id)
                self._to_fill.add(worker_id)
                self._due = 0.0
            self._opened[worker_id] = now
        for other in [other for other, asked in self._opened.items() if now - asked > KEPT]:
            self._tails.close_log(other)
            self._to_fill.discard(other)
            del self._opened[other]

    def _read(self, now: float) -> None:
        is_done = self._is_complete and not self._to_fill
        if is_done or now < self._due or (self._reading is not None and not self._reading.done()):
            return
        self._due = now + PAUSE
        self._reading = asyncio.get_running_loop().create_task(self._round(now))

    async def _round(self, now: float) -> None:
        is_final = self.job.view.state.is_final
        if is_final and self._ended is None:
            self._ended = now
        try:
            while self._to_fill:
                await self._fill(self._to_fill.pop())
            wants = self._tails.wants(self.job.view, now, last=is_final)
            answers = await read_tails(self.job, self._sandbox_of, wants, BYTES) if wants else []
            self._tails.take(answers)
            if (
                is_final
                and not self._is_complete
                and (not wants or now - (self._ended or now) > LAST_PATIENCE)
            ):
                await self._end()
        except Exception:
            log.exception("the output of %s cannot be read", self.job.job_id)

    async def _fill(self, worker_id: int) -> None:
        """Read what stands in a log that has just been opened."""
        files = [self._file(worker_id, stream) for stream in STREAMS]
        answers = await read_tails(self.job, self._sandbox_of, files, LOG_BYTES)
        self._tails.fill_log(worker_id, answers)

    async def _end(self) -> None:
        """Read what only the end of the job tells: the stderr of a worker that raised nothing."""
        failures = failures_of(self.job.view, errors_of(self.job.events))
        if failures and failures[0][1] == "stderr":
            files = [self._file(failures[0][0], "stderr")]
            for answer in await read_tails(self.job, self._sandbox_of, files, STDERR_BYTES):
                self._stderr = answer["text"]
            self.version += 1
        self._is_complete = True

    def _file(self, worker_id: int, stream: str) -> dict[str, Any]:
        task_id = self.job.view.workers[worker_id].task_id
        return {"worker_id": worker_id, "task_id": task_id, "stream": stream, "offset": -1}


class JobViews:
    """The jobs that somebody looks at.

    Parameters
    ----------
    jobs : AllJobs
    sandbox_of : callable
        Returns the sandbox of a job's worker and its folder there, or None.
    """

    def __init__(self, jobs: AllJobs, sandbox_of: SandboxOf) -> None:
        self._sandbox_of = sandbox_of
        self._looks: dict[str, JobLook] = {}
        jobs.listen(self._on_event)

    def parts(self, job: JobRecord, version: int, worker_id: int | None) -> dict[str, Any]:
        """Return the parts of a job's record, as `JobLook.parts` does.

        Parameters
        ----------
        job : JobRecord
        version : int
            That the caller has; 0 at first.
        worker_id : int, optional
            The worker whose log is open.
        """
        now = time.monotonic()
        for job_id, look in list(self._looks.items()):
            if now - look.asked > KEPT or (job_id == job.job_id and look.job is not job):
                look.close()
                del self._looks[job_id]
        if (found := self._looks.get(job.job_id)) is None:
            found = self._looks[job.job_id] = JobLook(job, self._sandbox_of)
            version = 0  # it may be that of a look that was forgotten
        return found.parts(version, worker_id)

    def close(self) -> None:
        """Read no more."""
        for look in self._looks.values():
            look.close()
        self._looks.clear()

    def _on_event(self, event: Event, job: JobRecord) -> None:
        if (look := self._looks.get(job.job_id)) is not None:
            look.version += 1
