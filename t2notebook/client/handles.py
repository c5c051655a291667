"""Handles on jobs of this and of earlier kernels, by id, and the frame of all jobs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..frames import job_row, jobs_frame
from ..journal import is_owned, read_events, read_jobs, read_meta, session_directories
from ..model.errors import SessionError, Twister2Error
from ..model.reducer import reduce
from . import locator
from .job import Job
from .locator import Named
from .offline import open_anywhere
from .session_http import SessionStopped
from .session_link import open_links

if TYPE_CHECKING:
    import pandas as pd


#: Handles by job id, so that completion and `attach` need not ask.
_known: dict[str, Job] = {}


def attach(job_id: str) -> Job:
    """Return a handle on a job of any session and kernel of this user, with its whole past.

    The session may be another kernel's, or none: if it died, another is started, which takes its unfinished
    jobs over; a job that has ended is read from its journal.

    Parameters
    ----------
    job_id : str
        Whole, or a job's name (of several, the newest is meant), or the beginning of an id that no other job shares.

    Raises
    ------
    UnknownJob
        When no journal has it, or the beginning is that of several.
    SessionError
        When its session is on another host, or none can be started.
    """
    if (known := _known.get(job_id)) and known.is_attached:
        return known
    whole, directory = locator.find(job_id)
    if (known := _known.get(whole)) and known.is_attached:
        return known
    handle = _known[whole] = Job(*open_anywhere(directory, whole))
    return handle


def named(name: str) -> list[Named]:
    """Return the jobs called `name`, of all of this user's sessions and kernels, the newest first."""
    return locator.named(name)


def unfinished_named(name: str) -> list[Job]:
    """Return handles on those jobs called `name` that have not ended and can be reached."""
    found = []
    for one in named(name):
        if not one.has_ended:
            with contextlib.suppress(Twister2Error):
                found.append(attach(one.job_id))
    return found


def jobs() -> pd.DataFrame:
    """Return the jobs of all of this user's sessions and kernels, oldest first; `session` says whether a job's
    session lives, has ended, or was lost before the job ended.
    """
    rows = []
    for directory in session_directories(locator.sessions()):
        try:
            rows += _rows(directory)
        except sqlite3.Error:
            continue  # what is no journal of ours, or no journal any more, is no reason to show none
    return jobs_frame(sorted(rows, key=lambda row: row["submitted"]))


def _rows(directory: Path) -> list[dict[str, Any]]:
    """Return the jobs of one session as rows of ``t2.jobs()``."""
    rows = []
    meta = read_meta(directory)
    is_alive = is_owned(meta)
    for job_id, spec in read_jobs(directory).items():
        if spec.serves:
            continue
        view = reduce(job_id, read_events(directory, job_id))
        row = job_row(view)
        row["session"] = "living" if is_alive else "ended" if view.state.is_final else "lost"
        if not is_alive and not view.state.is_final:
            row["message"] = meta.get("over") or "its session was lost; attach takes it up again"
        rows.append(row)
    return rows


def job_ids() -> list[str]:
    """Return the ids of the jobs that this kernel has handles on."""
    return list(_known)


#: Called first when everything is to end, by what has more than jobs.
_before_shutdown: list[Callable[[], None]] = []


def before_shutdown(callback: Callable[[], None]) -> None:
    """Have something called by `shutdown` before it ends the jobs."""
    _before_shutdown.append(callback)


def shutdown() -> None:
    """End this kernel's jobs, also those with ``on_exit="detach"``, and each session that nobody else uses."""
    for callback in _before_shutdown:
        callback()
    stopped: SessionStopped | None = None
    for link in open_links():
        try:
            link.shutdown()
        except SessionStopped as error:
            stopped = error
        except SessionError:
            continue  # it is gone already
    if stopped is not None:
        raise stopped
