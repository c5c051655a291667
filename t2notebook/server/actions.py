"""Requests about one job, through its session if that lives. All of them block: they run beside the server's loop."""

from __future__ import annotations

import codecs
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..client import locator
from ..client.offline import read_output
from ..client.session_http import Connection, SessionBroken, SessionEnding
from ..config import runtime_dir
from ..frames import task_rows
from ..journal import is_owned, read_events, read_jobs, read_meta
from ..model.errors import SessionError, UnknownJob
from ..model.reducer import JobView, reduce
from .trust import check_journal, check_socket

#: Seconds that a session of another environment has to take a job over and end it.
TAKE_OVER_TIMEOUT = 90.0
STREAMS = ("stdout", "stderr")


class JobLocation:
    """Location of a job: its journal, and the session that owns it, if one lives.

    Parameters
    ----------
    job_id : str
        The whole id.
    directory : str
        The folder of its journal, if that is known.

    Raises
    ------
    UnknownJob
    NotOurs
        When journal or socket belong to another user.
    """

    def __init__(self, job_id: str, directory: str = "") -> None:
        self.job_id = job_id
        self.directory = Path(directory) if directory else _find(job_id)
        check_journal(self.directory)
        self.meta = read_meta(self.directory)
        self.session: Connection | None = None
        if is_owned(self.meta):
            connection = Connection.of(self.meta, self.directory, is_observer=True)
            check_socket(connection.path)
            if connection.is_alive():
                self.session = connection

    def view(self) -> JobView:
        """Return the job as its journal has it.

        Raises
        ------
        UnknownJob
            When the journal has no such job.
        """
        events = read_events(self.directory, self.job_id)
        if not events:
            raise UnknownJob(f"no job {self.job_id}")
        return reduce(self.job_id, events)


def _find(job_id: str) -> Path:
    whole, directory = locator.find(job_id)
    if whole != job_id:
        raise UnknownJob(f"no job {job_id}")
    return directory


def kill(job: JobLocation) -> str:
    """End a job: through its session, or through one that takes it over; return its state.

    Raises
    ------
    SessionError
        When it cannot be, and why.
    """
    if job.session is not None:
        try:
            return str(_kill(job.session, job.job_id))
        except (SessionEnding, SessionBroken):  # a kill may be repeated
            job = JobLocation(job.job_id, str(job.directory))
            if job.session is not None:
                raise
    view = job.view()
    if view.state.is_final:
        return view.state.value
    if job.meta.get("over"):
        raise SessionError(f"job {job.job_id} is lost for good: {job.meta['over']}")
    if _is_of_this_environment(job.meta) or is_owned(job.meta):
        return _kill_where_it_is(job)
    return _kill_elsewhere(job)


def _kill_where_it_is(job: JobLocation) -> str:
    """Have the session that has a job, or one that takes it over, end it."""
    for is_last in (False, True):
        try:
            return str(_kill(locator.reach(job.directory, job.job_id), job.job_id))
        except locator.Finished:
            break
        except (SessionEnding, SessionBroken):  # it was reached while it died
            if is_last:
                raise
    return job.view().state.value


def _kill(connection: Connection, job_id: str) -> Any:
    content = {"reason": "USER", "message": "killed by the user, from Jupyter"}
    return connection.post(f"/v1/jobs/{job_id}/kill", content)["state"]


def _is_of_this_environment(meta: Mapping[str, str]) -> bool:
    """Whether a session that we start is one that takes such a journal over."""
    home = runtime_dir() / f"session-{locator.config_of(meta).session_key}.sock"
    return meta.get("home", meta.get("socket")) == str(home)


def _kill_elsewhere(job: JobLocation) -> str:
    """Have the environment that submitted a job end it: ours cannot run its session."""
    python, version = job.meta.get("python", ""), job.meta.get("version", "?")
    if not os.access(python, os.X_OK):
        raise SessionError(
            f"job {job.job_id} cannot be taken over: its session was lost, and the Python that it belongs to, "
            f"{python or '(not known)'} with t2notebook {version}, is gone; mesos ends it after its failover_timeout"
        )
    command = [python, "-P", "-m", "t2notebook", "kill", job.job_id]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TAKE_OVER_TIMEOUT,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SessionError(
            f"job {job.job_id}: {python} -m t2notebook kill did not end in {TAKE_OVER_TIMEOUT:g} s"
        ) from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = lines[-1].removeprefix("t2notebook: ") if lines else f"exit code {done.returncode}"
        raise SessionError(f"{python} with t2notebook {version} cannot end it: {said}")
    return JobLocation(job.job_id, str(job.directory)).view().state.value


def tasks(job: JobLocation) -> list[dict[str, Any]]:
    """Return the rows of ``job.tasks``."""
    if job.session is not None:
        try:
            found: list[dict[str, Any]] = job.session.get(f"/v1/jobs/{job.job_id}/tasks")["tasks"]
            return found
        except (SessionEnding, UnknownJob):
            pass  # it has just ended, or is of a version that has no such answer
    return task_rows(job.view())


def why(job: JobLocation) -> dict[str, Any]:
    """Return why a job waits or has come to its end: ``message`` and the rows of ``job.why``."""
    view = job.view()
    rows: list[dict[str, Any]] = []
    waiting = ""
    if job.session is not None:
        try:
            rows = job.session.get(f"/v1/jobs/{job.job_id}/why")["why"]
            waiting = job.session.get(f"/v1/jobs/{job.job_id}")["message"]
        except (SessionEnding, UnknownJob):
            pass
    elif not view.state.is_final:
        waiting = job.meta.get("over") or "its session was lost; attach takes the job up again, kill ends it"
    return {"message": view.message or waiting or view.waiting_for, "state": view.state.value, "why": rows}


def log_page(job: JobLocation, worker_id: int, stream: str, offset: int) -> dict[str, Any]:
    """Return a page of what a worker wrote.

    Parameters
    ----------
    job : JobLocation
    worker_id : int
    stream : str
        ``"stdout"`` or ``"stderr"``.
    offset : int
        Bytes from the beginning; a negative one counts from the end.

    Returns
    -------
    dict
        ``text``, and ``offset``, where the next page begins.

    Raises
    ------
    UnknownJob
        When the job has no such worker.
    """
    spec = read_jobs(job.directory).get(job.job_id)
    # Of a job that can be scaled there may be more workers, or have been: who has no output has none to be read.
    if (
        spec is None
        or (spec.scalable is None and worker_id >= spec.number_of_workers)
        or stream not in STREAMS
    ):
        raise UnknownJob(f"job {job.job_id} has no {stream} of a worker {worker_id}")
    data, end = b"", max(0, offset)
    try:
        if job.session is None:
            raise SessionEnding
        path = f"/v1/jobs/{job.job_id}/logs/{worker_id}"
        data, headers = job.session.get_bytes(path, stream=stream, offset=offset)
        end = int(headers.get("X-T2-Offset", end))
    except SessionEnding:
        events = read_events(job.directory, job.job_id)
        data, end = read_output(job.directory, events, worker_id, stream, offset)
    # A character that the page cuts in two goes with the next one.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    pending = len(decoder.getstate()[0])
    if pending and len(data) > pending:
        end -= pending
    elif pending:
        text = data.decode("utf-8", "replace")
    return {"text": text, "offset": end}


def attach_cell(job_id: str) -> str:
    """Return the source of a cell that shows a job and puts a handle on it into ``job``."""
    return f"%load_ext t2notebook\n%twister2 attach {job_id} -o job"
