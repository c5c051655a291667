"""Location of jobs: in a living session, in one that is started because the job's own has died, or in a journal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..config import Config, data_dir, get_config
from ..journal import Lease, is_owned, read_events, read_jobs, read_meta, read_unfinished, session_directories
from ..model.errors import SessionError, UnknownJob
from ..model.reducer import reduce
from ..model.text import sendable
from .session_http import Connection, SessionBroken, SessionEnding
from .session_process import ensure_session

#: Seconds between two looks at a session that is starting or ending.
PAUSE = 0.05


class Finished(Exception):
    """No session has the job any more, and none needs to; the journal has all that there is."""


@dataclass(frozen=True)
class Named:
    """A job that has a certain name; `has_ended` as far as its journal tells."""

    job_id: str
    directory: Path
    has_ended: bool


def sessions() -> Path:
    """Return the folder of the journals."""
    return data_dir() / "sessions"


def find(job_id: str) -> tuple[str, Path]:
    """Return a job's whole id, and the directory of its journal.

    Parameters
    ----------
    job_id : str
        Whole, or a job's name (of several, the newest is meant), or the beginning of an id that no other job shares.

    Raises
    ------
    UnknownJob
    """
    found: dict[str, Path] = {}
    for directory in session_directories(sessions()):
        try:
            candidates = read_jobs(directory)
        except Exception:
            continue  # not a journal that we can read
        found.update({name: directory for name in candidates if job_id and name.startswith(job_id)})
    if job_id in found:
        found = {job_id: found[job_id]}
    elif alike := named(job_id):
        return alike[0].job_id, alike[0].directory
    if len(found) > 1:
        raise UnknownJob(f"{job_id!r} is the beginning of several jobs: {', '.join(sorted(found))}")
    for item in found.items():
        return item
    raise UnknownJob(f"no job {job_id!r}; t2.jobs() lists those that are known")


def named(name: str) -> list[Named]:
    """Return the jobs called `name`, of all of this user's sessions, the newest first."""
    name = sendable(name)  # as a job's name is kept
    found: list[Named] = []
    for directory in session_directories(sessions()):
        try:
            job_ids = [job_id for job_id, spec in read_jobs(directory).items() if spec.name == name]
            unfinished = read_unfinished(directory).jobs if job_ids else {}
        except Exception:
            continue  # not a journal that we can read
        found += [Named(job_id, directory, job_id not in unfinished) for job_id in job_ids]
    # An id ends with its time.
    return sorted(found, key=lambda one: int(one.job_id.rpartition("-")[2], 36), reverse=True)


def config_of(meta: Mapping[str, str]) -> Config:
    """Return the settings of a session; what its journal does not hold is as this kernel has it."""
    record: dict[str, Any] = json.loads(meta.get("config", "{}"))
    known = {field.name for field in fields(Config)}
    ours = get_config().to_dict()
    return Config.from_dict({**ours, **{name: value for name, value in record.items() if name in known}})


def reach(directory: Path, job_id: str, going_on: Callable[[], bool] = lambda: True) -> Connection:
    """Return a connection to the session that has a job; if that session has died, to one that took it over.

    Parameters
    ----------
    directory : Path
        Of the journal.
    job_id : str
    going_on : callable
        Whether it is still wanted; asked while waiting.

    Raises
    ------
    Finished
        When the job has ended, or can never be taken up again, and its session is gone.
    SessionError
        When the session is on another host, or cannot be started.
    """
    deadline = time.monotonic() + get_config().start_timeout
    while going_on():
        meta = read_meta(directory)
        connection: Connection | None = None
        if is_owned(meta):
            lease = Lease.decode(meta["owner"])
            connection = Connection.of(meta, directory)
            if connection.is_alive():
                return connection
            if lease is not None and not lease.is_here:
                raise SessionError(f"job {job_id} belongs to {lease.name}; look at it there")
            why = f"{lease.name if lease else 'its session'} does not answer"
        else:
            if meta.get("over") or reduce(job_id, read_events(directory, job_id)).state.is_final:
                raise Finished
            why = "somebody else took it over at this moment"
            try:
                connection = ensure_session(config_of(meta))
                if connection.post("/v1/adopt", {"directory": str(directory)})["adopted"]:
                    return connection
            except (SessionEnding, SessionBroken) as error:  # adopting once more changes nothing
                why = str(error)
        if time.monotonic() > deadline:
            raise SessionError(f"job {job_id} cannot be reached: {why}")
        time.sleep(PAUSE)
    raise SessionError(f"job {job_id} is no longer wanted")
