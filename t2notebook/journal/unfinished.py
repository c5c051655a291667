"""Jobs that have not ended, from the journals alone, whoever's they are: at a cost that a notebook's start can bear."""

from __future__ import annotations

import json
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from .lease import is_owned
from .reader import Unfinished, read_unfinished, session_directories

#: Seconds after its `failover_timeout` for which a job is still named: its master may be the slower clock.
_MARGIN = 60.0


@dataclass(frozen=True)
class LeftJob:
    """An unfinished job; `is_alive`: so is its session."""

    job_id: str
    workers: int
    is_alive: bool


def left_jobs(root: Path, known: Container[str], patience: float) -> list[LeftJob]:
    """Return the unfinished jobs that can be attached to, newest first; nothing is started.

    Parameters
    ----------
    root : Path
        Where the sessions' directories lie.
    known : container of str
        Ids of jobs that are not meant.
    patience : float
        Seconds after which older journals are not looked at.
    """
    deadline = time.monotonic() + patience
    found: list[LeftJob] = []
    for directory in reversed(list(session_directories(root))):
        if time.monotonic() > deadline:
            break
        try:
            left = read_unfinished(directory)
            is_alive = is_owned(left.meta)
            if left.jobs and (is_alive or _can_be_taken_up(left)):
                found += [
                    LeftJob(job_id, workers, is_alive)
                    for job_id, workers in reversed(left.jobs.items())
                    if job_id not in known
                ]
        except Exception:
            continue  # not a journal that we can read
    return found


def _can_be_taken_up(left: Unfinished) -> bool:
    timeout = float(json.loads(left.meta.get("framework", "{}")).get("failover_timeout", 0.0))
    last = float(left.meta.get("renewed") or 0.0)
    return not left.meta.get("over") and time.time() - last < timeout + _MARGIN
