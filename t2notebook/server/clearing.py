"""Clearing what has ended: off the list at once, and off the disk where no living session has it.

A living session's journal is its own; what was cleared of it goes with the next clearing after its end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from ..client import locator
from ..config import data_dir
from ..journal import is_owned, session_directories
from ..journal.content import read_content
from ..model.reducer import reduce
from .trust import is_our_journal

#: Ids that are remembered: more than a living session has.
MOST = 20_000


class Cleared:
    """Ids of jobs that are off the list; they are kept in a file, for the next Jupyter server."""

    def __init__(self) -> None:
        self._job_ids = self._read()

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._job_ids

    def add(self, job_ids: Collection[str]) -> None:
        """Keep these off the list.

        Raises
        ------
        OSError
        """
        # Another of this user's Jupyter servers may have cleared something meanwhile.
        self._job_ids = {**self._read(), **self._job_ids, **dict.fromkeys(job_ids)}
        while len(self._job_ids) > MOST:
            del self._job_ids[next(iter(self._job_ids))]
        path = self._path()
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(list(self._job_ids)))
        scratch.replace(path)

    def _read(self) -> dict[str, None]:
        try:
            return dict.fromkeys(json.loads(self._path().read_text()))
        except (OSError, ValueError, TypeError):
            return {}

    @staticmethod
    def _path() -> Path:
        return data_dir() / "cleared.json"


def remove_ended(job_ids: Collection[str]) -> None:
    """Remove each journal that nobody owns and whose jobs are all among `job_ids` and have ended, with packages and
    results. A job whose session was lost stays: it can be taken up again.
    """
    for directory in session_directories(locator.sessions()):
        if not is_our_journal(directory):
            continue
        try:
            content = read_content(directory)
        except Exception:
            continue  # not a journal that we can read
        if is_owned(content.meta) or not all(job_id in job_ids for job_id in content.jobs):
            continue
        if all(reduce(job_id, events).state.is_final for job_id, (_, events) in content.jobs.items()):
            shutil.rmtree(directory, ignore_errors=True)
