"""Requests of kernels to their session, as HTTP on a Unix socket: submit, kill, results, logs."""

from __future__ import annotations

import asyncio
import errno
from asyncio import Future
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler

from ..frames import job_row, task_rows
from ..journal.job_store import JobRecord
from ..mesos.agent_files import PAGE, SandboxError
from ..mesos.cluster_page import ENDPOINTS
from ..mesos.transport import BROKEN
from ..model.errors import JournalError, NotOwner, ScalingError, SubmitError, Twister2Error
from ..model.job import JobSpec
from ..model.text import dumps, loads
from ..model.watchers import OBSERVER_HEADER
from ..protocol.launch import KILL_GRACE
from ..protocol.unix_socket import SESSION_HEADER
from .admission import NotSubmitted
from .forecasts import Unknown, request_of
from .session import Session, SessionOver
from .tails import MOST_BYTES, read_tails

STREAMS = ("stdout", "stderr")
#: The answer to a request that is for another session (RFC 9110, 15.5.20).
MISDIRECTED = 421
#: Seconds that a master has for an answer.
MASTER_TIMEOUT = 10.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refused(HTTPError):
    """A request that is not carried out, and why.

    The text is neither tornado's ``log_message``, which is a format, nor its ``reason``, which is a header: what
    becomes of a ``%`` there differs from version to version.
    """

    def __init__(self, status_code: int, text: str) -> None:
        super().__init__(status_code)
        self.text = text

    def __str__(self) -> str:
        return self.text


class ApiHandler(RequestHandler):
    """A request of a kernel; answers JSON, and errors as ``{"error": text}``.

    It names the session that it is for; only one that asks for the name (`is_for_any`) may come without. So does each
    answer: another program may have taken the place of our socket.
    """

    is_for_any = False
    #: Whether a POST only asks: from somebody who observes it is no need of us, as a GET is not.
    only_asks = False

    def initialize(self, session: Session) -> None:
        self.session = session
        observes = OBSERVER_HEADER in self.request.headers
        # Who only observes keeps us no longer; who has a job ended is to get the answer.
        if self.request.method == "POST" and not (self.only_asks and observes):
            session.was_needed = True
            session.touch()
        elif not observes:
            session.touch()

    def prepare(self) -> None:
        self.set_header(SESSION_HEADER, self.session.name)
        if self.session.is_closed:
            raise Refused(503, "the session is ending")
        meant = self.request.headers.get(SESSION_HEADER, "")
        if meant != self.session.name and (meant or not self.is_for_any):
            # Who asks finds in the journal where its own session listens.
            other = meant or "one without a name"
            raise Refused(MISDIRECTED, f"this is the session {self.session.name}, not {other}")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, NotOwner | SessionOver):
            self.set_status(503)
        elif isinstance(error, JournalError | NotSubmitted) or getattr(error, "errno", None) in NO_ROOM:
            self.set_status(507)
        is_told = isinstance(error, HTTPError | Twister2Error)
        text = str(error) if is_told else f"{type(error).__name__}: {error}"
        self.finish({"error": text})

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """End the answer; a record goes out as JSON that everybody can read."""
        if isinstance(chunk, dict):
            self.set_header("Content-Type", "application/json; charset=UTF-8")
            chunk = dumps(chunk)
        self.set_header(SESSION_HEADER, self.session.name)  # an error's answer has lost what was set before
        return super().finish(chunk)

    def job(self, job_id: str) -> JobRecord:
        """Return a job.

        Raises
        ------
        Refused
            404.
        """
        job = self.session.jobs.get(job_id)
        if job is None:
            raise Refused(404, f"no job {job_id} in this session")
        return job

    async def written(self, *jobs: JobRecord) -> None:
        """Wait until it is on the disk that jobs are to end.

        Raises
        ------
        Refused
            507 when it cannot be now.
        """
        for job in jobs:
            try:
                await self.session.jobs.durable(job.job_id)
            except NotOwner:
                raise
            except JournalError as error:
                raise Refused(507, f"it will be killed, but not yet: {error}") from None

    def content(self) -> dict[str, Any]:
        """Return the request's JSON."""
        record = loads(self.request.body or b"{}")
        assert isinstance(record, dict)
        return record


class InfoHandler(ApiHandler):
    """``GET /v1/info``."""

    is_for_any = True

    def get(self) -> None:
        """Say who we are."""
        self.finish(self.session.info())


class JobsHandler(ApiHandler):
    """``/v1/jobs``: list and submit."""

    def get(self) -> None:
        """List the jobs, oldest first."""
        self.finish({"jobs": [job_row(job.view) for job in self.session.jobs if not job.spec.serves]})

    async def post(self) -> None:
        """Take a job over."""
        record = self.content()
        session = self.session
        job = await session.submit(
            JobSpec.from_dict(record["spec"]),
            Path(record["package_path"]),
            record["client"],
            record.get("credentials"),
        )
        directory = session.frameworks.of(job).journal.directory
        self.finish({"job_id": job.job_id, "seq": job.events[-1].seq, "directory": str(directory)})


class JobHandler(ApiHandler):
    """``GET /v1/jobs/ID``."""

    def get(self, job_id: str) -> None:
        """Describe a job."""
        job = self.job(job_id)
        self.finish({"spec": job.spec.to_dict(), **job_row(job.view)})


class KillHandler(ApiHandler):
    """``POST /v1/jobs/ID/kill``."""

    async def post(self, job_id: str) -> None:
        """End a job."""
        job = self.job(job_id)
        record = self.content()
        self.session.kill(
            job,
            record.get("reason", "USER"),
            record.get("message", "killed by the user"),
            float(record.get("grace", KILL_GRACE)),
        )
        await self.written(job)
        self.finish({"state": job.view.state.value})


class KillWorkerHandler(ApiHandler):
    """``POST /v1/jobs/ID/workers/N/kill``."""

    async def post(self, job_id: str, worker: str) -> None:
        """End one worker, for good or to be started anew.

        Raises
        ------
        Refused
            404 when the job has no such worker.
        """
        job, worker_id = self.job(job_id), int(worker)
        if worker_id >= job.view.number_of_workers:
            raise Refused(404, f"job {job_id} has no worker {worker_id}")
        record = self.content()
        self.session.frameworks.of(job).commands.kill_worker(
            job,
            worker_id,
            record.get("reason", "USER"),
            record.get("message", "killed by the user"),
            bool(record.get("restart")),
            float(record.get("grace", KILL_GRACE)),
        )
        await self.written(job)
        self.finish({"state": job.view.workers[worker_id].state.value})


class ScaleHandler(ApiHandler):
    """``POST /v1/jobs/ID/scale``: ``{"by": workers to add, or less than 0, "id": ..., "leave_time": seconds}``."""

    async def post(self, job_id: str) -> None:
        """Change the number of workers; ``error`` says why it was not."""
        job, record = self.job(job_id), self.content()
        try:
            number = await self.session.scale(
                job, int(record["by"]), str(record["id"]), "USER", float(record.get("leave_time", 0.0))
            )
        except ScalingError as error:
            self.finish({"error": str(error)})
            return
        self.finish({"number_of_workers": number, "seq": job.view.last_seq})


class WhyHandler(ApiHandler):
    """``GET /v1/jobs/ID/why``."""

    def get(self, job_id: str) -> None:
        """Say why its workers wait."""
        job = self.job(job_id)
        self.finish({"why": self.session.frameworks.of(job).why(job)})


class LogsHandler(ApiHandler):
    """``GET /v1/jobs/ID/logs/N?stream=stdout&offset=K``: a page of a worker's output, from its sandbox."""

    async def get(self, job_id: str, worker: str) -> None:
        """Answer raw bytes; a negative offset counts from the end.

        Raises
        ------
        Refused
            404 when the job has no such worker or stream, 502 when the agent does not give the file.
        """
        job = self.job(job_id)
        stream = self.get_query_argument("stream", "stdout")
        offset = int(self.get_query_argument("offset", "0"))
        worker_id = int(worker)
        if stream not in STREAMS or worker_id >= len(job.view.workers):
            raise Refused(404, f"job {job_id} has no {stream} of a worker {worker_id}")
        place = self.session.frameworks.of(job).sandbox(job, worker_id)
        self.set_header("Content-Type", "application/octet-stream")
        if place is None:
            return
        sandbox, folder = place
        state = job.view.workers[worker_id]
        # A worker that never ran has no folder; what kept it from running is in its executor's own output.
        name = stream if state.started is None and state.state.is_terminal else f"{folder}/{stream}"
        try:
            if offset < 0:
                offset = max(0, await sandbox.size(name) + offset)
            data = await sandbox.read(name, offset, PAGE)
        except SandboxError as error:
            if state.started is None:
                return
            raise Refused(502, str(error)) from None
        self.set_header("X-T2-Offset", str(offset + len(data)))
        self.finish(data)


class TailsHandler(ApiHandler):
    """``POST /v1/jobs/ID/tails``: what some workers wrote since the caller last looked."""

    async def post(self, job_id: str) -> None:
        """Answer ``files``; those that cannot be read now are not among them.

        Raises
        ------
        HTTPError
            404 when the job has no such file.
        """
        job = self.job(job_id)
        record = self.content()
        for file in record["files"]:
            if file["stream"] not in STREAMS or not 0 <= file["worker_id"] < len(job.view.workers):
                raise HTTPError(404, f"job {job_id} has no {file['stream']} of a worker {file['worker_id']}")
        most = int(record.get("most", MOST_BYTES))
        sandbox = self.session.frameworks.of(job).sandbox
        self.finish({"files": await read_tails(job, sandbox, record["files"], most)})


class TasksHandler(ApiHandler):
    """``GET /v1/jobs/ID/tasks``."""

    def get(self, job_id: str) -> None:
        """Answer the rows of ``job.tasks``."""
        self.finish({"tasks": task_rows(self.job(job_id).view)})


class ClusterHandler(ApiHandler):
    """``GET /v1/cluster?what=NAME``: one of `ENDPOINTS`, by default the metrics."""

    async def get(self) -> None:
        """Answer what the master that we are subscribed to says of itself, as it gives it.

        Raises
        ------
        Refused
            404 for anything else, 502 when there is no master, or it does not answer.
        """
        path = ENDPOINTS.get(self.get_query_argument("what", "metrics"))
        if path is None:
            raise Refused(404, f"a master is asked for {', '.join(ENDPOINTS)} only")
        driver = self.session.frameworks.own.driver
        if driver is None:
            raise Refused(502, "no master has been found yet")
        try:
            async with asyncio.timeout(MASTER_TIMEOUT):
                connection = await driver.connect()
                try:
                    answer = await connection.get(path, {})
                finally:
                    connection.close()
        except BROKEN as error:
            raise Refused(502, f"the master does not answer: {error or type(error).__name__}") from None
        if answer.code != 200:
            raise Refused(502, f"the master answers HTTP {answer.code}: {answer.text}")
        self.set_header("Content-Type", "application/json")
        self.finish(answer.body)


class ForecastHandler(ApiHandler):
    """``POST /v1/forecast``: how many workers of a kind fit."""

    only_asks = True

    async def post(self) -> None:
        """Answer numbers of workers, and the agents with them.

        Raises
        ------
        Refused
            400 when there can be no such workers, 502 when the master does not say what it has.
        """
        try:
            workers, resource, placement = request_of(self.content())
            found = await self.session.forecasts.of(workers, resource, placement)
        except SubmitError as error:
            raise Refused(400, str(error)) from None
        except Unknown as error:
            raise Refused(502, self.session.trouble or str(error)) from None
        self.finish({**found, "master": self.session.master.address})


class AdoptHandler(ApiHandler):
    """``POST /v1/adopt``: take over what a dead session has left."""

    def post(self) -> None:
        """Claim its journal; ``adopted`` says whether it is ours now.

        Raises
        ------
        Refused
            503 when the session is ending.
        """
        directory = Path(self.content()["directory"])
        if self.session.is_over:
            raise Refused(503, "the session is ending")
        self.finish({"adopted": self.session.frameworks.adopt(directory)})


class ShutdownHandler(ApiHandler):
    """``POST /v1/shutdown``: end the session if no other kernel is attached."""

    def post(self) -> None:
        """End this kernel's jobs, and the session if nobody else needs it."""
        client_id = self.content()["client"]
        killed = [job for job in self.session.jobs.active if job.owner == client_id]
        for job in killed:
            self.session.kill(job, "SHUTDOWN", "ended by t2.shutdown()")
        alone = len(self.session.clients) <= 1 and all(
            job.owner == client_id for job in self.session.jobs.active
        )
        self.finish({"ended": alone, "killed": [job.job_id for job in killed if not job.spec.serves]})
        if alone:
            self.session.stop()


def routes(session: Session) -> list[Any]:
    """Return the routes for a tornado Application."""
    settings = {"session": session}
    job = r"/v1/jobs/([-a-z0-9]+)"
    return [
        (r"/v1/info", InfoHandler, settings),
        (r"/v1/jobs", JobsHandler, settings),
        (job, JobHandler, settings),
        (rf"{job}/kill", KillHandler, settings),
        (rf"{job}/tasks", TasksHandler, settings),
        (rf"{job}/workers/([0-9]{{1,9}})/kill", KillWorkerHandler, settings),
        (rf"{job}/scale", ScaleHandler, settings),
        (rf"{job}/why", WhyHandler, settings),
        (rf"{job}/logs/([0-9]{{1,9}})", LogsHandler, settings),
        (rf"{job}/tails", TailsHandler, settings),
        (r"/v1/cluster", ClusterHandler, settings),
        (r"/v1/forecast", ForecastHandler, settings),
        (r"/v1/adopt", AdoptHandler, settings),
        (r"/v1/shutdown", ShutdownHandler, settings),
    ]
