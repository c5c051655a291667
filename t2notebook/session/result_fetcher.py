"""Results that workers did not send: small ones that came with the news of their ends, and the others fetched from the
sandboxes, where each lies before it is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..jobmaster.http_api import keep_result, write_result
from ..journal.job_store import JobRecord, Jobs
from ..mesos.agent_files import AgentSilent, Sandbox, SandboxError
from ..model.errors import JournalError, NotOwner
from ..model.events import Event, EventKind
from ..model.states import TaskState
from ..protocol import auth
from ..protocol.archive import ArchiveError
from ..protocol.launch import unpacked_result

log = logging.getLogger(__name__)

#: A worker sends its result before its executor reports its end; Mesos may still be the faster way.
PATIENCE = 1.0
RESULT_FILE, SIGNATURE_FILE = "result.t2", "result.sig"
#: Results that are fetched at once.
FETCHES = 4
#: Agents that are asked at once, and seconds that each of them has when many workers' fates are unknown.
AT_ONCE, COLLECT_PATIENCE = 16, 5.0
#: Seconds until the next attempt when there was no room for a result.
NO_ROOM_PAUSE = 1.0
#: Seconds between attempts while the agent does not answer; after the last, what has waited for so long is lost.
SILENT_PAUSES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class _Late:
    """A worker that has finished, and since when its result is waited for."""

    job: JobRecord
    worker_id: int
    since: float

    @property
    def has_come(self) -> bool:
        return bool(self.job.view.workers[self.worker_id].result)


class ResultFetcher:
    """Watches for tasks that ended while their results stayed behind.

    Nothing is done for a result in its first second; then each agent is asked for one at a time, and all of them
    for a few. An agent that is silent is asked again for all its results after one pause.

    Parameters
    ----------
    jobs : Jobs
    sandbox : callable
        Returns a worker's sandbox and its folder there, or None.
    """

    def __init__(self, jobs: Jobs, sandbox: Callable[[JobRecord, int], tuple[Sandbox, str] | None]) -> None:
        self._jobs, self._sandbox = jobs, sandbox
        self._expected: deque[_Late] = deque()
        self._agents: dict[str, deque[_Late]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._limit = asyncio.Semaphore(FETCHES)
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a result is on its way."""
        return bool(self._expected or self._tasks)

    def close(self) -> None:
        """Fetch nothing more."""
        self._is_closed = True
        self._expected.clear()
        if self._watch is not None:
            self._watch.cancel()
        for task in self._tasks:
            task.cancel()

    def on_event(self, event: Event, job: JobRecord) -> None:
        """Expect a result when a worker has finished without."""
        if (
            event.kind is EventKind.STATUS
            and event.state == TaskState.FINISHED.value
            and event.worker_id is not None
            and not job.view.workers[event.worker_id].result
        ):
            self._expect(job, event.worker_id)

    def look_again(self) -> None:
        """Fetch what an earlier session had not got yet."""
        for job in self._jobs.active:
            for worker in job.view.workers:
                if worker.state is TaskState.FINISHED and not worker.result:
                    self._expect(job, worker.worker_id)

    def take(self, job: JobRecord, worker_id: int, record: object) -> None:
        """Keep a result that came with the news of its worker's end; one that cannot be is looked for in the sandbox.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        record : object
            As `decode_result` gives it.
        """
        worker = job.view.workers[worker_id]
        if self._is_closed or worker.result or job.view.state.is_final or job.view.kill_reason:
            return
        try:
            data, signature = unpacked_result(record)
            _check(job, worker_id, hashlib.sha256(data).hexdigest(), signature)
            write_result(self._jobs, job, worker_id, data)
        except NotOwner:
            raise
        except (ArchiveError, JournalError, SandboxError, OSError, ValueError) as error:
            where = f"worker {worker_id} of {job.job_id}"
            log.warning("the result that came with the end of %s cannot be kept: %s", where, error)

    async def try_fetch(self, job: JobRecord, worker_id: int, patience: float) -> bool:
        """Fetch a worker's result from its sandbox, if there is one; return whether there was.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        patience : float
            Seconds.
        """
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
            self._jobs.record(
                Event(
                    EventKind.STATUS,
                    job.job_id,
                    self._jobs.clock(),
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
                for job in self._jobs.active
                for worker in job.view.workers
                if worker.task_id and not worker.state.is_terminal
            )
        )

    # Results that are late.

    def _expect(self, job: JobRecord, worker_id: int) -> None:
        if self._is_closed:
            return
        loop = asyncio.get_running_loop()
        self._expected.append(_Late(job, worker_id, loop.time()))
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        """Have what has not come in time fetched; come again for the next."""
        loop = asyncio.get_running_loop()
        self._watch = None
        while self._expected and (
            self._expected[0].has_come or self._expected[0].since + PATIENCE <= loop.time() + 0.001
        ):
            late = self._expected.popleft()
            if not late.has_come:
                self._fetch_late(late)
        if self._expected:
            self._watch = loop.call_at(self._expected[0].since + PATIENCE, self._look)

    def _fetch_late(self, late: _Late) -> None:
        place = self._sandbox(late.job, late.worker_id)
        agent = place[0].agent_url if place is not None else ""
        if agent in self._agents:
            self._agents[agent].append(late)
            return
        self._agents[agent] = deque([late])
        task = asyncio.get_running_loop().create_task(self._fetch_from(agent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch_from(self, agent: str) -> None:
        """Fetch all that an agent has for us, one after the other."""
        waiting = self._agents[agent]
        attempts = 0
        try:
            while waiting:
                late = waiting[0]
                if late.has_come:
                    waiting.popleft()
                    continue
                try:
                    async with self._limit:
                        await self._fetch(late.job, late.worker_id)
                    attempts = 0
                except AgentSilent as error:
                    self._give_up(waiting, str(error))
                    pause = SILENT_PAUSES[min(attempts, len(SILENT_PAUSES) - 1)]
                    attempts += 1
                    if waiting:
                        await asyncio.sleep(pause)
                    continue
                except SandboxError as error:
                    self._say_lost([late], str(error))
                except (OSError, JournalError) as error:
                    if isinstance(error, NotOwner):
                        return
                    log.warning(
                        "no room for the result of worker %s of %s: %s",
                        late.worker_id,
                        late.job.job_id,
                        error,
                    )
                    await asyncio.sleep(NO_ROOM_PAUSE)
                    continue
                waiting.popleft()
        finally:
            self._agents.pop(agent, None)

    def _give_up(self, waiting: deque[_Late], why: str) -> None:
        """Count those results as lost that have waited for a silent agent long enough."""
        oldest = asyncio.get_running_loop().time() - PATIENCE - sum(SILENT_PAUSES)
        lost = []
        while waiting and (waiting[0].has_come or waiting[0].since <= oldest):
            late = waiting.popleft()
            if not late.has_come:
                lost.append(late)
        if lost:
            self._say_lost(lost, why)

    async def _fetch(self, job: JobRecord, worker_id: int) -> None:
        """Fetch a result, unless it has come meanwhile.

        Raises
        ------
        SandboxError
            When there is none, or none that this job made.
        OSError, JournalError
            When there is no room for it.
        """
        if job.view.workers[worker_id].result:
            return
        place = self._sandbox(job, worker_id)
        if place is None:
            raise SandboxError("the agent that ran it is not known any more")
        sandbox, folder = place
        # The small file first: where there is none, no file of ours has to be opened.
        signature = (await sandbox.read(f"{folder}/{SIGNATURE_FILE}")).decode("ascii", "replace").strip()
        path = self._jobs.result_path(job.job_id, worker_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(".fetched")
        try:
            with part.open("wb") as file:
                await sandbox.download(f"{folder}/{RESULT_FILE}", file)
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            _check(job, worker_id, digest, signature)
            if not job.view.workers[worker_id].result:
                try:
                    keep_result(self._jobs, job, worker_id, part)
                except (OSError, JournalError):
                    raise
                except Exception as error:
                    raise SandboxError(f"what lies in its sandbox is no result ({error})") from error
        finally:
            part.unlink(missing_ok=True)

    def _say_lost(self, lost: list[_Late], why: str) -> None:
        log.warning("the results of %d workers are lost: %s", len(lost), why)
        details = {
            "type": "ResultLost",
            "message": f"the worker finished, but its result is lost: {why}",
            "traceback": "",
        }
        now = self._jobs.clock()
        self._jobs.record(
            *(
                Event(
                    EventKind.RESULT,
                    late.job.job_id,
                    now,
                    late.worker_id,
                    late.job.view.workers[late.worker_id].task_id,
                    source="SESSION",
                    data={"ok": False, "size": 0, "error": details},
                )
                for late in lost
            )
        )


def _check(job: JobRecord, worker_id: int, digest: str, signature: str) -> None:
    """Everybody on the cluster can write to a sandbox of theirs: only the signature says who made a result."""
    incarnation = job.view.workers[worker_id].restarts
    path = f"/v1/jobs/{job.job_id}/workers/{worker_id}/result?incarnation={incarnation}"
    if not auth.matches(signature, job.secret, "PUT", path, digest):
        raise SandboxError("the result in its sandbox is not signed by the job")
