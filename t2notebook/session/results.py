"""Results that did not come: fetched from the worker's sandbox when its task has finished without one."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..jobmaster.handlers import keep_result
from ..jobmaster.jobs import JobRecord
from ..model import auth
from ..model.events import Event, EventKind
from ..model.states import TaskState
from ..scheduler.sandbox import SandboxError

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger(__name__)

#: A worker sends its result before its executor reports its end; Mesos may still be the faster way.
PATIENCE = 1.0
RESULT_FILE, SIGNATURE_FILE = "result.t2", "result.sig"


class ResultFetcher:
    """Watches for tasks that finished while their results stayed behind.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fetching: set[asyncio.Task[None]] = set()

    def on_event(self, event: Event, job: JobRecord) -> None:
        """Start a fetch when one is due."""
        if (
            event.kind is not EventKind.STATUS
            or event.state != TaskState.FINISHED.value
            or event.worker_id is None
        ):
            return
        if not job.view.workers[event.worker_id].result:
            task = asyncio.get_running_loop().create_task(self._fetch(job, event.worker_id))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    @staticmethod
    def _check(job: JobRecord, worker_id: int, part: Path, signature: str) -> None:
        """Everybody on the cluster can write to a sandbox of theirs: only the signature says who made this file."""
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        incarnation = job.view.workers[worker_id].restarts
        path = f"/v1/jobs/{job.job_id}/workers/{worker_id}/result?incarnation={incarnation}"
        if not auth.matches(signature, job.secret, "PUT", path, digest):
            raise SandboxError("the result in its sandbox is not signed by the job")

    async def _fetch(self, job: JobRecord, worker_id: int) -> None:
        await asyncio.sleep(PATIENCE)
        session = self._session
        if job.view.workers[worker_id].result or session.scheduler is None:
            return
        place = session.scheduler.sandbox(job, worker_id)
        why = "the agent that ran it is not known any more"
        if place is not None:
            sandbox, folder = place
            path = session.jobs.result_path(job.job_id, worker_id)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part = path.with_suffix(".fetched")
            try:
                with part.open("wb") as file:
                    await sandbox.download(f"{folder}/{RESULT_FILE}", file)
                signature = (await sandbox.read(f"{folder}/{SIGNATURE_FILE}")).decode("ascii").strip()
                self._check(job, worker_id, part, signature)
                if not job.view.workers[worker_id].result:
                    keep_result(session.jobs, job, worker_id, part)
                return
            except Exception as error:
                why = (
                    str(error)
                    if isinstance(error, SandboxError)
                    else f"what lies in its sandbox is no result ({error})"
                )
            finally:
                part.unlink(missing_ok=True)
        log.warning("no result of worker %s of %s: %s", worker_id, job.job_id, why)
        details = {
            "type": "ResultLost",
            "message": f"the worker finished, but its result is lost: {why}",
            "traceback": "",
        }
        session.jobs.record(
            Event(
                EventKind.RESULT,
                job.job_id,
                session.jobs.clock(),
                worker_id,
                job.view.workers[worker_id].task_id,
                source="SESSION",
                data={"ok": False, "size": 0, "error": details},
            )
        )
