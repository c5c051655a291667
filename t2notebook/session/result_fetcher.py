"""Results that did not come: fetched from the worker's sandbox, where each lies before it is sent."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..jobmaster.http_api import keep_result
from ..journal.job_store import JobRecord
from ..mesos.agent_files import AgentSilent, SandboxError
from ..model.errors import JournalError, NotOwner
from ..model.events import Event, EventKind
from ..model.states import TaskState
from ..protocol import auth

if TYPE_CHECKING:
    from .framework import Framework

log = logging.getLogger(__name__)

#: A worker sends its result before its executor reports its end; Mesos may still be the faster way.
PATIENCE = 1.0
RESULT_FILE, SIGNATURE_FILE = "result.t2", "result.sig"
#: Agents that are asked at once, and seconds that each of them has when many workers' fates are unknown.
AT_ONCE, COLLECT_PATIENCE = 16, 5.0
#: Seconds until the next attempt when there was no room for a result.
NO_ROOM_PAUSE = 1.0
#: Seconds between attempts while the agent does not answer; then the result is lost.
SILENT_PAUSES = (1.0, 2.0, 4.0, 8.0)


class ResultFetcher:
    """Watches for tasks that ended while their results stayed behind.

    Parameters
    ----------
    framework : Framework
    """

    def __init__(self, framework: Framework) -> None:
        self._framework = framework
        self._fetching: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a result is on its way."""
        return bool(self._fetching)

    def close(self) -> None:
        """Fetch nothing more."""
        for task in self._fetching:
            task.cancel()

    def on_event(self, event: Event, job: JobRecord) -> None:
        """Start a fetch when one is due."""
        if (
            event.kind is EventKind.STATUS
            and event.state == TaskState.FINISHED.value
            and event.worker_id is not None
            and not job.view.workers[event.worker_id].result
        ):
            self._start(job, event.worker_id)

    def look_again(self) -> None:
        """Fetch what an earlier session had not got yet."""
        for job in self._framework.jobs.active:
            for worker in job.view.workers:
                if worker.state is TaskState.FINISHED and not worker.result:
                    self._start(job, worker.worker_id)

    async def try_fetch(self, job: JobRecord, worker_id: int, patience: float) -> bool:
        """Fetch what a worker left in its sandbox, if it left anything; return whether it did."""
        try:
            async with asyncio.timeout(patience):
                await self._fetch(job, worker_id)
                return True
        except NotOwner:
            raise
        except Exception as error:  # whatever it is: what is told of the worker's end has to do
            log.info("nothing in the sandbox of worker %s of %s: %s", worker_id, job.job_id, error)
            return False

    async def collect(self, why: str) -> None:
        """Give those workers a good end that had come to one, though Mesos cannot say so any more."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(job: JobRecord, worker_id: int) -> None:
            async with limit:
                if not await self.try_fetch(job, worker_id, COLLECT_PATIENCE):
                    return
            worker = job.view.workers[worker_id]
            state = TaskState.FINISHED if worker.result == "ok" else TaskState.FAILED
            self._framework.jobs.record(
                Event(
                    EventKind.STATUS,
                    job.job_id,
                    self._framework.jobs.clock(),
                    worker_id,
                    worker.task_id,
                    state.value,
                    "SESSION",
                    "REASON_FRAMEWORK_REMOVED",
                    f"its result was in the sandbox; {why}",
                )
            )

        await asyncio.gather(
            *(
                one(job, worker.worker_id)
                for job in self._framework.jobs.active
                for worker in job.view.workers
                if worker.task_id and not worker.state.is_terminal
            )
        )

    def _start(self, job: JobRecord, worker_id: int) -> None:
        task = asyncio.get_running_loop().create_task(self._fetch_late(job, worker_id))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch_late(self, job: JobRecord, worker_id: int) -> None:
        await asyncio.sleep(PATIENCE)
        pauses = iter(SILENT_PAUSES)
        while not job.view.workers[worker_id].result:
            try:
                try:
                    await self._fetch(job, worker_id)
                except SandboxError as error:
                    pause = next(pauses, None) if isinstance(error, AgentSilent) else None
                    if pause is not None:
                        await asyncio.sleep(pause)
                        continue
                    self._say_lost(job, worker_id, str(error))
                return
            except NotOwner:
                return
            except (OSError, JournalError) as error:
                log.warning("no room for the result of worker %s of %s: %s", worker_id, job.job_id, error)
                await asyncio.sleep(NO_ROOM_PAUSE)

    async def _fetch(self, job: JobRecord, worker_id: int) -> None:
        """Fetch a result, unless it has come meanwhile.

        Raises
        ------
        SandboxError
            When there is none, or none that this job made.
        OSError, JournalError
            When there is no room for it.
        """
        framework = self._framework
        if job.view.workers[worker_id].result:
            return
        place = framework.scheduler.sandbox(job, worker_id) if framework.scheduler is not None else None
        if place is None:
            raise SandboxError("the agent that ran it is not known any more")
        sandbox, folder = place
        path = framework.jobs.result_path(job.job_id, worker_id)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(".fetched")
        try:
            with part.open("wb") as file:
                await sandbox.download(f"{folder}/{RESULT_FILE}", file)
            signature = (await sandbox.read(f"{folder}/{SIGNATURE_FILE}")).decode("ascii", "replace").strip()
            self._check(job, worker_id, part, signature)
            if not job.view.workers[worker_id].result:
                try:
                    keep_result(framework.jobs, job, worker_id, part)
                except (OSError, JournalError):
                    raise
                except Exception as error:
                    raise SandboxError(f"what lies in its sandbox is no result ({error})") from error
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def _check(job: JobRecord, worker_id: int, part: Path, signature: str) -> None:
        """Everybody on the cluster can write to a sandbox of theirs: only the signature says who made this file."""
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        incarnation = job.view.workers[worker_id].restarts
        path = f"/v1/jobs/{job.job_id}/workers/{worker_id}/result?incarnation={incarnation}"
        if not auth.matches(signature, job.secret, "PUT", path, digest):
            raise SandboxError("the result in its sandbox is not signed by the job")

    def _say_lost(self, job: JobRecord, worker_id: int, why: str) -> None:
        log.warning("no result of worker %s of %s: %s", worker_id, job.job_id, why)
        details = {
            "type": "ResultLost",
            "message": f"the worker finished, but its result is lost: {why}",
            "traceback": "",
        }
        jobs = self._framework.jobs
        jobs.record(
            Event(
                EventKind.RESULT,
                job.job_id,
                jobs.clock(),
                worker_id,
                job.view.workers[worker_id].task_id,
                source="SESSION",
                data={"ok": False, "size": 0, "error": details},
            )
        )
