"""Content of the folder of journals: sessions that live, and the jobs of those that do not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client import locator
from ..frames import overview_row
from ..journal import FILE, is_owned, session_directories
from ..journal.content import JournalContent, read_content
from ..model.reducer import reduce
from .trust import is_our_journal

Row = dict[str, Any]

#: What a job's row says of its session: it lives, is gone after the job's end, or was lost before it.
LIVING, ENDED, LOST = "living", "ended", "lost"
#: Seconds of reading after which the jobs that were found are passed on.
CHUNK = 0.02


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
        """Yield what there is, the newest first: a part each `CHUNK` seconds.

        Parameters
        ----------
        wanted : callable
            Whether a journal that nobody owns is to be read.
        """
        directories = [path for path in session_directories(locator.sessions()) if is_our_journal(path)]
        living: dict[Path, dict[str, str]] = {}
        dead: dict[Path, list[Row]] = {}
        begun = time.monotonic()
        for directory in reversed(directories):
            signature = _signature(directory)
            if self._signatures.get(directory) == signature:
                continue
            is_wanted = wanted(directory)
            try:
                content, is_living = _read(directory, is_wanted)
                rows = dead_rows(directory, content)
            except Exception:
                continue  # not a journal that we can read
            if is_living:
                living[directory] = content.meta
                self._signatures.pop(directory, None)
            elif is_wanted:
                dead[directory] = rows
                self._signatures[directory] = signature
            if time.monotonic() - begun > CHUNK:
                yield Scan(living, dead)
                living, dead = {}, {}
                begun = time.monotonic()
        yield Scan(living, dead, set(directories))

    def forget(self, directory: Path) -> None:
        """Read this journal again the next time."""
        self._signatures.pop(directory, None)


def _read(directory: Path, is_wanted: bool) -> tuple[JournalContent, bool]:
    """Return what is in a journal, and whether its owner lives; its jobs only if it is dead and wanted."""
    is_living = False

    def jobs_are_wanted(meta: Mapping[str, str]) -> bool:
        nonlocal is_living
        is_living = is_owned(meta)
        return is_wanted and not is_living

    content = read_content(directory, jobs_are_wanted)
    return content, is_living


def dead_rows(directory: Path, content: JournalContent) -> list[Row]:
    """Return the rows of a journal that nobody owns, oldest job first."""
    rows = []
    for job_id, (spec, events) in content.jobs.items():
        if spec.serves:  # a job master of another, which is no job of a person's
            continue
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
