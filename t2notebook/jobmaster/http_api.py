"""The HTTP that workers speak to the session: results and progress, each signed with the job's secret."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..journal.job_store import AllJobs, JobRecord, Jobs
from ..model.events import Event, EventKind
from ..model.text import loads, sendable
from ..protocol import auth
from ..protocol.archive import Archive, ArchiveError

MAX_RESULT = 1 << 40
MAX_PROGRESS = 64 << 10
MAX_TEXT = 500
#: A result of more bytes is read from its connection in pieces of so many, instead of tornado's 64 KiB.
LARGE, PIECE = 1 << 20, 1 << 20
#: Characters that are kept of each part of an error.
MAX_ERROR = 300_000


class WorkerHandler(RequestHandler):
    """A request of one incarnation of one worker."""

    def initialize(self, jobs: Jobs | AllJobs) -> None:
        self.jobs = jobs

    def set_default_headers(self) -> None:
        if proof := getattr(self, "proof", ""):  # an error's answer begins anew
            self.set_header(auth.ANSWER, proof)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")

    def authenticate(self, job_id: str, body_sha256: str) -> JobRecord:
        """Return the job, if the request is signed with its secret.

        Raises
        ------
        HTTPError
            401 for a wrong signature and for an unknown job alike.
        """
        job = self.jobs.get(job_id)
        given = auth.parse_authorization(self.request.headers.get("Authorization", ""))
        method, path = self.request.method or "", self.request.uri or ""
        if (
            job is None
            or given is None
            or given[0] != job_id
            or not auth.matches(given[1], job.secret, method, path, body_sha256)
        ):
            raise HTTPError(401, reason="Unauthorized")
        self.proof = auth.sign_answer(job.secret, given[1])
        self.set_default_headers()
        return job

    async def durable(self, job_id: str) -> None:
        """Wait until what was recorded of a job is on the disk."""
        if isinstance(self.jobs, AllJobs):
            await self.jobs.durable(job_id)
        else:
            await self.jobs.durable()

    def check_incarnation(self, job: JobRecord, worker_id: int) -> None:
        """Refuse a worker that there is not, and an older incarnation than the one that was launched last.

        Raises
        ------
        HTTPError
            404 for a worker that there is not, 409 for an older incarnation.
        """
        try:
            incarnation = int(self.get_query_argument("incarnation", ""))
        except ValueError:
            raise HTTPError(400, reason="no incarnation") from None
        if worker_id >= len(job.view.workers):
            raise HTTPError(404, reason="no such worker")
        if incarnation != job.view.workers[worker_id].restarts:
            raise HTTPError(409, reason="another incarnation of this worker has been started")
        if job.view.state.is_final or job.view.kill_reason:
            raise HTTPError(409, reason="the job is over")


@stream_request_body
class ResultHandler(WorkerHandler):
    """``PUT /v1/jobs/JOB/workers/N/result``: the archive goes to a file while it comes, and counts when
    signed.
    """

    def prepare(self) -> None:
        connection: Any = self.request.connection
        connection.set_max_body_size(MAX_RESULT)
        if int(self.request.headers.get("Content-Length", "0")) > LARGE:
            connection.stream.read_chunk_size = PIECE
        self._digest = hashlib.sha256()
        job_id, worker_id = self.path_args
        self._told = self.request.headers.get(auth.BODY_DIGEST, "")
        self._signature = b""
        self._left = -1  # bytes of the body before its signature; less than 0: there is none
        if self._told == auth.TRAILING:
            self._left = int(self.request.headers.get("Content-Length", "0")) - auth.SIGNATURE
            if self._left < 0:
                raise HTTPError(400, reason="a body without a signature")
        self._is_signed_last = self._left >= 0
        self.check_incarnation(self.authenticate(job_id, self._told), int(worker_id))
        path = self.jobs.result_path(job_id, int(worker_id))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._part: Path = path.with_name(f"{path.name}.{id(self):x}.part")
        self._file = open(os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")  # noqa: SIM115

    def data_received(self, chunk: bytes) -> None:
        if self._is_signed_last:
            chunk, rest = chunk[: self._left], chunk[self._left :]
            self._left -= len(chunk)
            self._signature += rest
        self._digest.update(chunk)
        self._file.write(chunk)

    async def put(self, job_id: str, worker: str) -> None:
        """Take the result; the answer says that it is on the disk.

        Raises
        ------
        HTTPError
            400 when it is no archive of a result.
        """
        worker_id = int(worker)
        job = self.jobs[job_id]
        digest = self._digest.hexdigest()
        if self._is_signed_last:
            signature, method, path = self._signature.decode("latin-1"), "PUT", self.request.uri or ""
            if not auth.matches(signature, job.secret, method, path, digest):
                raise HTTPError(401, reason="Unauthorized")
        elif digest != self._told:
            raise HTTPError(400, reason="the body is not what its digest says")
        self.check_incarnation(job, worker_id)
        self._file.close()
        view = job.view.workers[worker_id]
        if not view.result:
            keep_result(self.jobs, job, worker_id, self._part)
        await self.durable(job_id)
        self.set_status(204)

    def on_finish(self) -> None:
        self._discard()

    def on_connection_close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
            self._part.unlink(missing_ok=True)


def keep_result(jobs: Jobs | AllJobs, job: JobRecord, worker_id: int, part: Path) -> None:
    """Put a result whose origin is proved in its place, and record it.

    Parameters
    ----------
    jobs : Jobs or AllJobs
    job : JobRecord
    worker_id : int
    part : Path
        The file that was received.

    Raises
    ------
    HTTPError
        400 when it is no archive of a result.
    """
    try:
        manifest = Archive.read_manifest(part)
    except (ArchiveError, ValueError, OSError):
        raise HTTPError(400, reason="not a result") from None
    path = jobs.result_path(job.job_id, worker_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = part.stat().st_size
    os.replace(part, path)
    _record(jobs, job, worker_id, manifest, size)


def write_result(jobs: Jobs | AllJobs, job: JobRecord, worker_id: int, data: bytes) -> None:
    """Write a small result whose origin is proved, and record it; until it is recorded, the file counts for nothing.

    Parameters
    ----------
    jobs : Jobs or AllJobs
    job : JobRecord
    worker_id : int
    data : bytes
        The archive.

    Raises
    ------
    ArchiveError
        When it is no archive of a result.
    OSError
        When there is no room for it.
    """
    manifest = Archive.manifest_of(data)
    path = os.fspath(jobs.result_path(job.job_id, worker_id))
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:  # the first of its job
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _record(jobs, job, worker_id, manifest, len(data))


def _record(
    jobs: Jobs | AllJobs, job: JobRecord, worker_id: int, manifest: Mapping[str, Any], size: int
) -> None:
    data: dict[str, Any] = {"ok": bool(manifest.get("ok")), "size": size}
    if isinstance(error := manifest.get("error"), dict):
        data["error"] = {
            name: sendable(str(error.get(name, "")), MAX_ERROR) for name in ("type", "message", "traceback")
        }
    task_id = job.view.workers[worker_id].task_id
    jobs.record(
        Event(EventKind.RESULT, job.job_id, jobs.clock(), worker_id, task_id, source="WORKER", data=data)
    )


class ProgressHandler(WorkerHandler):
    """``POST /v1/jobs/JOB/workers/N/progress``: ``{"progress": fraction, "text": ...}``."""

    def prepare(self) -> None:
        if len(self.request.body) > MAX_PROGRESS:
            raise HTTPError(413)

    def post(self, job_id: str, worker: str) -> None:
        """Take a worker's own account of how far it is.

        Raises
        ------
        HTTPError
            400 when it is no record.
        """
        worker_id = int(worker)
        job = self.authenticate(job_id, hashlib.sha256(self.request.body).hexdigest())
        self.check_incarnation(job, worker_id)
        try:
            record = loads(self.request.body)
            progress = record.get("progress")
            progress = None if progress is None else min(1.0, max(0.0, float(progress)))
            text = str(record.get("text") or "")[:MAX_TEXT]
        except (ValueError, TypeError, AttributeError):
            raise HTTPError(400, reason="not a progress record") from None
        data = {"progress": progress, "text": text}
        task_id = job.view.workers[worker_id].task_id
        self.jobs.record(
            Event(
                EventKind.PROGRESS, job_id, self.jobs.clock(), worker_id, task_id, source="WORKER", data=data
            )
        )
        self.set_status(204)


def routes(jobs: Jobs | AllJobs) -> list[Any]:
    """Return the routes for a tornado Application."""
    settings = {"jobs": jobs}
    worker = r"/v1/jobs/([-a-z0-9]+)/workers/([0-9]{1,9})"
    return [
        (f"{worker}/result", ResultHandler, settings),
        (f"{worker}/progress", ProgressHandler, settings),
    ]
