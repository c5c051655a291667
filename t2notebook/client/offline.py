"""A job whose session is gone: its past from the journal, its output from the agents as long as they keep it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..journal import read_events, read_jobs, read_meta
from ..model.errors import SessionError
from ..model.events import Event, EventKind
from ..model.job import JobSpec
from .job_replica import JobReplica
from .locator import Finished
from .session_http import Connection, SessionEnding
from .session_link import Link, open_job

TIMEOUT = 5.0
#: An agent gives at most 64 KiB a read (seen on Mesos 1.12).
PAGE = 64 << 10
_GONE = "its session has ended"


class OfflineSession:
    """Stands where the link to a session was; there is nobody to ask.

    Parameters
    ----------
    directory : Path
        The session's.
    """

    is_open = False

    def __init__(self, directory: Path) -> None:
        self.session: dict[str, Any] = {"directory": str(directory), "config": {}}

    def reach(self) -> Connection:
        """Raise `SessionEnding`."""
        raise SessionEnding(_GONE)


def open_anywhere(directory: Path, job_id: str) -> tuple[Link | OfflineSession, JobSpec, JobReplica]:
    """Return a job as its session has it, or, when nobody has it any more, its journal; raises as `open_job` does."""
    try:
        return open_job(directory, job_id)
    except Finished:
        return OfflineSession(directory), *read_job(directory, job_id)


def read_job(directory: Path, job_id: str) -> tuple[JobSpec, JobReplica]:
    """Return a job as its journal tells it; one that had not ended will not, as far as anybody here can know."""
    spec = read_jobs(directory)[job_id]
    mirror = JobReplica(job_id)
    mirror.directory = str(directory)
    for event in read_events(directory, job_id):
        mirror.apply(event)
    if not mirror.view.state.is_final:
        mirror.mark_lost(read_meta(directory).get("over") or _GONE)
    return spec, mirror


def read_output(
    directory: Path, events: list[Event], worker_id: int, stream: str, offset: int
) -> tuple[bytes, int]:
    """Return a page of what a worker wrote, from its sandbox, and where it ends.

    Parameters
    ----------
    directory : Path
        Of the journal.
    events : list of Event
        Of the job.
    worker_id : int
    stream : str
        ``"stdout"`` or ``"stderr"``.
    offset : int
        Bytes from the beginning; a negative one counts from the end.

    Raises
    ------
    SessionError
        When the agent does not answer, or has removed the sandbox.
    """
    launches = [e for e in events if e.kind is EventKind.LAUNCHED and e.worker_id == worker_id]
    if not launches:
        return b"", max(0, offset)
    launch = launches[-1]
    framework_id = read_meta(directory).get("framework_id", "")
    path = f"/frameworks/{framework_id}/executors/{launch.data['executor_id']}/runs/latest"
    name = quote(f"{path}/{launch.task_id}/{stream}")
    url = launch.data.get("agent_url", "")

    def ask(query: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{url}/files/read?path={name}&{query}", timeout=TIMEOUT) as answer:
            text = answer.read().decode("utf-8", "surrogateescape")
        record: dict[str, Any] = json.loads(text, strict=False)
        return record

    try:
        if offset < 0:
            offset = max(0, int(ask("offset=-1")["offset"]) + offset)
        data = str(ask(f"offset={offset}&length={PAGE}")["data"]).encode("utf-8", "surrogateescape")
        return data, offset + len(data)
    except (OSError, ValueError, KeyError) as error:
        why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else str(error)
        raise SessionError(
            f"the {stream} of worker {worker_id} of {launch.job_id} is gone: the session process has ended, and the "
            f"agent {url or 'that ran it'} does not give it ({why})"
        ) from None
