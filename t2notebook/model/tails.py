"""The newest lines of a job's workers: which files to look at next, and what is kept of what they hold.

Pure: whoever reads the files asks `Tails.wants` and gives the answers to `Tails.take`. A file that grew is looked
at again in the next round, one that did not less and less often, so that a quiet job costs next to nothing and a
large one no more than a small one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .reducer import JobView
from .states import TaskState
from .worker_view import WorkerView

STREAMS = ("stdout", "stderr")
#: Files that are looked at in one round.
ROUND = 8
#: Workers whose output is followed; of a larger job, the first ones and those that had trouble.
MOST_WORKERS = 1000
#: Seconds until a file that did not grow is looked at again, at first and at most.
SHORTEST, LONGEST = 0.5, 8.0
#: Lines of all workers that are kept, lines of the worker whose log is open, and characters of a line.
NEWEST, LOG, WIDTH = 100, 200, 400
#: Lines without an end that are shown, those of a progress bar for example.
CURRENT = 12
#: Bytes of a file that are read at a time, and those of a log when it is opened.
BYTES, LOG_BYTES = 8 << 10, 32 << 10

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def fold(line: str) -> str:
    """Return what a terminal shows of `line`: what follows its last carriage return, without colours."""
    kept = next((part for part in reversed(line.split("\r")) if part), "")
    kept = _CONTROLS.sub("", _ESCAPES.sub("", kept)).expandtabs(8)
    return kept if len(kept) <= WIDTH else f"{kept[:WIDTH]}…"


@dataclass
class _File:
    """A stream of one task of a worker, as far as it is known."""

    worker_id: int
    task_id: str
    stream: str
    offset: int = 0
    partial: str = ""
    pause: float = SHORTEST
    due: float = 0.0
    is_closed: bool = False

    def want(self) -> dict[str, Any]:
        return {
            "worker_id": self.worker_id,
            "task_id": self.task_id,
            "stream": self.stream,
            "offset": self.offset,
        }


class Tails:
    """The last lines of a job's workers. Not for two threads at once."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, str], _File] = {}
        self._lines: deque[tuple[int, str, str]] = deque(maxlen=NEWEST)
        self._end = 0
        self._logs: dict[int, deque[tuple[str, str]]] = {}

    def wants(self, view: JobView, now: float, *, last: bool = False) -> list[dict[str, Any]]:
        """Return the files to look at now, at most `ROUND`: opened logs first, then who was not asked longest.

        Parameters
        ----------
        view : JobView
        now : float
            Seconds, on any clock that goes on.
        last : bool
            The job has ended and nothing more will be written: every file once more.
        """
        due = []
        for worker in _followed(view):
            for stream in STREAMS:
                file = self._known(worker.worker_id, worker.task_id, stream)
                if not file.is_closed and (last or file.due <= now):
                    due.append(file)
        # Whoever had trouble has the most to say, and there may be no time for all in the end.
        due.sort(key=lambda file: (file.worker_id not in self._logs, last and _rank(view, file), file.due))
        chosen = due[:ROUND]
        for file in chosen:
            file.due = now + file.pause
            file.pause = min(LONGEST, 2 * file.pause)
            # What has ended writes no more; one look after that is the last.
            file.is_closed = view.workers[file.worker_id].state.is_terminal
        return [file.want() for file in chosen]

    def take(self, answers: Iterable[Mapping[str, Any]]) -> bool:
        """Keep what has been read; return whether there was anything."""
        has_grown = False
        for answer in answers:
            file = self._files.get((answer["worker_id"], answer["stream"]))
            if file is None or file.task_id != answer["task_id"]:
                continue
            file.offset = answer["offset"]
            if answer["text"] or answer["skipped"]:
                has_grown = True
                file.pause, file.due = SHORTEST, 0.0
                self._append(file, answer["text"], answer["skipped"])
        return has_grown

    def open_log(self, worker_id: int) -> None:
        """Keep more of this worker from now on."""
        self._logs[worker_id] = deque(maxlen=LOG)

    def close_log(self, worker_id: int) -> None:
        """Keep no more of it than of the others."""
        self._logs.pop(worker_id, None)

    def fill_log(self, worker_id: int, answers: Iterable[Mapping[str, Any]]) -> bool:
        """Begin an opened log with what was written before it was opened; return whether some of that is new.

        The text of an answer goes on beyond what is known of its file: that end is taken as `take` does, so that
        nothing comes twice.
        """
        if (log := self._logs.get(worker_id)) is None:
            return False
        log.clear()
        fresh = []
        for answer in answers:
            file = self._known(worker_id, answer["task_id"], answer["stream"])
            data = answer["text"].encode("utf-8", "replace")
            unknown = max(0, answer["offset"] - file.offset)
            known = data[: max(0, len(data) - unknown)].decode("utf-8", "replace")
            if answer["skipped"]:
                known = known.partition("\n")[2]
            # Its last line has no end, and is kept as what may go on.
            log.extend((file.stream, fold(line)) for line in known.split("\n")[:-1])
            if unknown:
                text = data[len(data) - unknown :] if unknown < len(data) else data
                is_clipped = unknown > len(data)
                fresh.append({**answer, "text": text.decode("utf-8", "replace"), "skipped": is_clipped})
        return self.take(fresh)

    def newest(self) -> dict[str, Any]:
        """Return the newest lines of all workers, JSON-ready.

        ``lines`` are the newest, ``[worker_id, stream, text]`` each, oldest first, and ``end`` the number of lines
        that there ever were; ``current`` are those that have no end yet.
        """
        current = [file for file in self._files.values() if file.partial]
        return {
            "end": self._end,
            "lines": [list(line) for line in self._lines],
            "current": [[file.worker_id, file.stream, fold(file.partial)] for file in current[-CURRENT:]],
        }

    def log(self, worker_id: int) -> dict[str, Any]:
        """Return the newest lines of a worker whose log is open, ``[stream, text]`` each, JSON-ready."""
        lines = [list(line) for line in self._logs.get(worker_id, ())]
        for stream in STREAMS:
            file = self._files.get((worker_id, stream))
            if file is not None and file.partial:
                lines.append([stream, fold(file.partial)])
        return {"worker_id": worker_id, "lines": lines}

    def _known(self, worker_id: int, task_id: str, stream: str) -> _File:
        file = self._files.get((worker_id, stream))
        if file is None or file.task_id != task_id:
            file = self._files[worker_id, stream] = _File(worker_id, task_id, stream)
        return file

    def _append(self, file: _File, text: str, skipped: bool) -> None:
        if skipped:
            self._add(file, "…")
            # What is left of a line that began before says nothing.
            file.partial, text = "", text.partition("\n")[2] or text
        *lines, rest = (file.partial + text).split("\n")
        for line in lines:
            self._add(file, fold(line))
        # Of a line that is written over and over, only what stands now is kept.
        parts = [part for part in rest.split("\r") if part]
        file.partial = (parts[-1] if parts else "")[-4 * WIDTH :]
        if rest.endswith("\r") and file.partial:
            file.partial += "\r"

    def _add(self, file: _File, line: str) -> None:
        self._lines.append((file.worker_id, file.stream, line))
        self._end += 1
        if (log := self._logs.get(file.worker_id)) is not None:
            log.append((file.stream, line))


def _followed(view: JobView) -> list[WorkerView]:
    """Return the workers that have, or had, a task that runs."""
    workers = list(view.workers[:MOST_WORKERS])
    further = (view.workers[worker_id] for worker_id in sorted(view.troubled) if worker_id >= MOST_WORKERS)
    workers += islice((worker for worker in further if worker.result == "error"), ROUND)
    return [worker for worker in workers if worker.task_id and worker.started is not None]


def _rank(view: JobView, file: _File) -> int:
    worker = view.workers[file.worker_id]
    if worker.worker_id == view.failed_worker:
        return 0
    return 1 if worker.result == "error" or worker.state is TaskState.FAILED else 2
