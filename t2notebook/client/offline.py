"""Jobs whose session is gone: their events from the journal, their output from the agents as long as they keep it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..config import secrets_of
from ..journal import read_events, read_jobs, read_meta
from ..mesos.agent_files import PAGE, Sandbox, SandboxError
from ..mesos.credentials import AccessError, Credentials
from ..model.errors import SessionError, Twister2Error
from ..model.events import Event, EventKind
from ..model.job import JobSpec
from .job_replica import JobReplica
from .locator import Finished, config_of
from .session_http import Connection, SessionEnding
from .session_link import Link, open_job

_GONE = "its session has ended"
T = TypeVar("T")


class OfflineSession:
    """The place of a link where the session has ended: there is nobody to ask.

    Parameters
    ----------
    directory : Path
        The session's.
    """

    is_open = False

    def __init__(self, directory: Path) -> None:
        self.session: dict[str, Any] = {"directory": str(directory), "config": {}}

    def reach(self) -> Connection:
        """Refuse.

        Raises
        ------
        SessionEnding
            Always.
        """
        raise SessionEnding(_GONE)


def open_anywhere(directory: Path, job_id: str) -> tuple[Link | OfflineSession, JobSpec, JobReplica]:
    """Return a job as its session has it, or, when nobody has it any more, its journal; raises as `open_job` does."""
    try:
        return open_job(directory, job_id)
    except Finished:
        return OfflineSession(directory), *read_job(directory, job_id)


def read_job(directory: Path, job_id: str) -> tuple[JobSpec, JobReplica]:
    """Return a job as its journal has it; one that had not ended is lost, as far as anybody here can know."""
    spec = read_jobs(directory)[job_id]
    replica = JobReplica(job_id)
    replica.directory = str(directory)
    for event in read_events(directory, job_id):
        replica.apply(event)
    if not replica.view.state.is_final:
        replica.mark_lost(read_meta(directory).get("over") or _GONE)
    return spec, replica


def read_output(
    directory: Path, launches: list[Event], worker_id: int, stream: str, offset: int
) -> tuple[bytes, int]:
    """Return a page of what a worker wrote, read from its sandbox, and the offset of its end.

    The agent gets the credentials that the session had; its journal names the files that hold them.

    Parameters
    ----------
    directory : Path
        The session's.
    launches : list of Event
        The job's.
    worker_id : int
    stream : str
        ``"stdout"`` or ``"stderr"``.
    offset : int
        Bytes from the beginning; a negative one counts from the end.

    Raises
    ------
    SessionError
        When the agent does not answer, refuses the credentials, or has removed the sandbox.
    """
    launches = [e for e in launches if e.kind is EventKind.LAUNCHED and e.worker_id == worker_id]
    if not launches:
        return b"", max(0, offset)
    launch, meta = launches[-1], read_meta(directory)
    url = launch.data.get("agent_url", "")
    try:
        if not url:
            raise SandboxError("its address is not known")
        config = config_of(meta)
        secrets = secrets_of(config)
        credentials = Credentials.from_settings(config.to_dict(), secrets.principal, secrets.secret)
        sandbox = Sandbox(url, meta.get("framework_id", ""), launch.data["executor_id"], credentials)
        return _run(_page(sandbox, f"{launch.task_id}/{stream}", offset))
    except (SandboxError, AccessError, Twister2Error, OSError, ValueError, KeyError) as error:
        raise SessionError(
            f"the {stream} of worker {worker_id} of {launch.job_id} is gone: the session process has ended, and the "
            f"agent {url or 'that ran it'} does not give it ({error})"
        ) from None


async def _page(sandbox: Sandbox, name: str, offset: int) -> tuple[bytes, int]:
    if offset < 0:
        offset = max(0, await sandbox.size(name) + offset)
    data = await sandbox.read(name, offset, PAGE)
    return data, offset + len(data)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result; on a thread of its own, since a kernel's main thread runs a loop already."""
    with ThreadPoolExecutor(1, "t2-sandbox") as pool:
        return pool.submit(asyncio.run, coroutine).result()
