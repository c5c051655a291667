"""Content of the folder of journals: sessions that live, and the jobs of those that do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client import locator
from ..frames import overview_row
from ..journal import FILE, is_owned, read_meta, session_directories
from ..journal.content import read_content
from ..model.reducer import reduce
from .trust import is_our_journal

Row = dict[str, Any]

#: What a job's row says of its session: it lives, is gone after the job's end, or was lost before it.
LIVING, ENDED, LOST = "living", "ended", "lost"
#: Journals that are read before their jobs are passed on.
CHUNK = 25


@dataclass(frozen=True)
class Scan:
    """A part of what a look at the folder found.

    Attributes
    ----------
    living : dict
        The facts of sessions that live, by the directory of a journal that they own.
    dead : dict
        Rows of the jobs of journals that nobody owns, by directory; only of those that have changed.
    known : set or None
        All directories that are there; in the last part only.
    """

    living: dict[Path, dict[str, str]] = field(default_factory=dict)
    dead: dict[Path, list[Row]] = field(default_factory=dict)
    known: set[Path] | None = None


class Journals:
    """Reads the journals, each dead one again only when it has changed. On one thread at a time."""

    def __init__(self) -> None:
        self._signatures: dict[Path, tuple[int, ...]] = {}

    def folder_time(self) -> int:
        """Return what changes when a session makes or removes a journal."""
        try:
            return os.stat(locator.sessions()).st_mtime_ns
        except OSError:
            return 0

    def scan(self, wanted: Callable[[Path], bool]) -> Iterator[Scan]:
        """Yield what there is: who lives first, then the dead, the newest first.

        Parameters
        ----------
        wanted : callable
            Whether a journal that nobody owns is to be read.
        """
        directories = [path for path in session_directories(locator.sessions()) if is_our_journal(path)]
        living: dict[Path, dict[str, str]] = {}
        dead: list[Path] = []
        for directory in reversed(directories):
            if self._signatures.get(directory) == _signature(directory):
                continue
            try:
                meta = read_meta(directory)
            except Exception:
                continue  # not a journal that we can read
            if is_owned(meta):
                living[directory] = meta
                self._signatures.pop(directory, None)
            else:
                dead.append(directory)
        yield Scan(living=living)
        dead = [directory for directory in dead if wanted(directory)]
        for first in range(0, len(dead), CHUNK):
            yield Scan(dead=dict(self._read(dead[first : first + CHUNK])))
        yield Scan(known=set(directories))

    def forget(self, directory: Path) -> None:
        """Read this journal again the next time."""
        self._signatures.pop(directory, None)

    def _read(self, directories: list[Path]) -> Iterator[tuple[Path, list[Row]]]:
        for directory in directories:
            signature = _signature(directory)
            try:
                rows = dead_rows(directory)
            except Exception:
                continue
            self._signatures[directory] = signature
            yield directory, rows


def dead_rows(directory: Path) -> list[Row]:
    """Return the rows of a journal that nobody owns, oldest job first."""
    content = read_content(directory)
    rows = []
    for job_id, (spec, events) in content.jobs.items():
        view = reduce(job_id, events)
        row = overview_row(view, spec)
        row["session"] = ENDED if view.state.is_final else LOST
        if not view.state.is_final:
            row["message"] = content.meta.get("over") or "its session was lost; attach takes it up again"
        rows.append({**row, "master": content.meta.get("master", ""), "directory": str(directory)})
    return rows


def _signature(directory: Path) -> tuple[int, ...]:
    found: list[int] = []
    for name in (FILE, f"{FILE}-wal"):
        try:
            status = os.stat(directory / name)
        except OSError:
            found += (0, 0)
        else:
            found += (status.st_mtime_ns, status.st_size)
    return tuple(found)
