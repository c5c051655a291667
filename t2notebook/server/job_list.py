"""The jobs of all of this user's sessions as one list that is kept true, at no cost while nobody needs it.

It is awake while somebody listens or a job runs: then it holds an observer's stream of each living session. Asleep, it
holds a socket at which sessions knock, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..model.errors import Twister2Error
from ..model.states import FINAL_JOB_STATES
from .clearing import Cleared, remove_ended
from .journals import LIVING, Journals, Row, Scan
from .session_stream import SessionStream
from .waker import Waker

log = logging.getLogger(__name__)

Change = dict[str, Any]
Listener = Callable[[Change], None]

#: Seconds between two looks at the folder of journals while somebody listens, and between tries to see what became of
#: a session whose stream has ended.
LOOK = 1.0
#: Seconds that a session has to say which jobs it has.
PATIENCE = 3.0
#: Seconds between two parts of what is read before anybody looks.
PAUSE = 0.02
#: Requests that may block at once: a kill by take-over takes up to a minute and a half, and none is to wait for others.
MOST_THREADS = 32
RETRIES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)


class JobList:
    """Rows by job id, and who wants to hear of changes.

    Attributes
    ----------
    rows : dict
        ``overview_row`` of each job, with ``session`` (``"living"``, ``"ended"``, ``"lost"``), ``master`` and
        ``directory``.
    is_complete : bool
        Whether all journals have been read.
    streams : dict
        Of living sessions, by the session's name.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.is_complete = False
        self.streams: dict[str, SessionStream] = {}
        self._journals = Journals()
        self._cleared = Cleared()
        self._listeners: list[Listener] = []
        self._transitions: list[Callable[[Row | None, Row], None]] = []
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="t2-jobs")
        self._scanning: asyncio.Task[None] | None = None
        self._again = False
        self._looking: asyncio.Task[None] | None = None
        self._attempts: dict[str, int] = {}
        self._waker: Waker | None = None
        self._is_stopped = False
        self._is_warming = False

    # Life.

    def start(self) -> None:
        """Wait for sessions; those that live already are looked at once."""
        try:
            self._waker = Waker(self.refresh)
        except (OSError, Twister2Error) as error:
            log.warning("t2notebook: new sessions cannot make themselves known: %s", error)
        self.refresh()

    async def stop(self) -> None:
        """Let go of everything."""
        self._is_stopped = True
        if self._waker is not None:
            self._waker.close()
            self._waker = None
        for task in (self._scanning, self._looking):
            if task is not None:
                task.cancel()
        for stream in list(self.streams.values()):
            stream.abort()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def active(self) -> int:
        """The number of jobs of living sessions that have not ended."""
        return sum(is_active(row) for row in self.rows.values())

    @property
    def is_awake(self) -> bool:
        """Whether it has to know what goes on."""
        return bool(self._listeners) or self.active > 0

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what blocks, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    # Those who listen.

    def listen(self, listener: Listener) -> None:
        """Call `listener` with all that is known, then with each change: ``{"jobs": rows, "gone": ids}``."""
        self._listeners.append(listener)
        listener({"all": True, "jobs": list(self.rows.values()), "complete": self.is_complete})
        self.refresh()
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    def unlisten(self, listener: Listener) -> None:
        """Call it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._rest()

    def warm(self) -> None:
        """Read all journals once, in passing: somebody has a page, where a side bar may be opened at any moment."""
        if not self.is_complete and not self._is_warming:
            self._is_warming = True
            self.refresh()

    def on_transition(self, listener: Callable[[Row | None, Row], None]) -> None:
        """Call `listener` with a job's earlier and present row when its state has changed, or its session's."""
        self._transitions.append(listener)

    # What sessions and journals say.

    def refresh(self) -> None:
        """Look for sessions now."""
        if self._is_stopped:
            return
        if self._scanning is None:
            self._scanning = asyncio.get_running_loop().create_task(self._scan())
        else:
            self._again = True

    async def clear(self) -> list[str]:
        """Remove what has ended (`t2notebook.server.clearing`); return the ids of the jobs."""
        ended = [row["job_id"] for row in await self.all_rows() if row["state"] in FINAL_JOB_STATES]
        await self.run(self._cleared.add, ended)
        await self.run(remove_ended, set(ended))
        self._drop([job_id for job_id in ended if job_id in self.rows])
        return ended

    async def all_rows(self) -> list[Row]:
        """Return the rows of all jobs as they are now."""
        self.listen(_ignore)
        try:
            await self.refreshed()
            return list(self.rows.values())
        finally:
            self.unlisten(_ignore)

    async def refreshed(self) -> None:
        """Look for sessions, and wait until that is done."""
        self.refresh()
        try:
            async with asyncio.timeout(PATIENCE) as limit:
                while True:
                    while self._scanning is not None:
                        limit.reschedule(None)  # reading many journals takes its time
                        await asyncio.shield(self._scanning)
                        limit.reschedule(asyncio.get_running_loop().time() + PATIENCE)
                    streams = self.streams.values()
                    awaited = [stream.ended if stream.is_missed else stream.begun for stream in streams]
                    if all(event.is_set() for event in awaited):
                        break
                    for event in awaited:
                        await event.wait()
        except TimeoutError:
            pass  # a stopped one; what is known of it is what its journal said

    async def _scan(self) -> None:
        try:
            self._again = True
            while self._again:
                self._again = False
                try:
                    reads_all = bool(self._listeners) or self._is_warming
                    parts = self._journals.scan(self._wanted(reads_all))
                    while (part := await self.run(next, parts, None)) is not None:
                        self._take(part)
                        if not self._listeners:
                            # Nobody waits for it: let the server do what it is there for.
                            await asyncio.sleep(PAUSE)
                    if reads_all and not self.is_complete:
                        self.is_complete, self._is_warming = True, False
                        self._tell({"complete": True})
                except Exception:
                    log.exception("t2notebook: the journals cannot be read")
        finally:
            self._scanning = None
            self._rest()

    async def _look(self) -> None:
        """Sessions that cannot knock here (another runtime directory) show in the folder."""
        # Beside the loop: the folder may lie on another host, which may not answer.
        before = await self.run(self._journals.folder_time)
        self.refresh()  # for what came between the look that `listen` asked for and this
        while True:
            await asyncio.sleep(LOOK)
            if (now := await self.run(self._journals.folder_time)) != before:
                before = now
                self.refresh()

    def _take(self, part: Scan) -> None:
        for directory, meta in part.living.items():
            name = meta.get("name", "") or str(directory)
            if (stream := self.streams.get(name)) is not None:
                # What the session has to say may come too late for one that is closing.
                stream.is_missed = stream.is_closing
            elif not self._is_stopped:
                self.streams[name] = SessionStream(meta, directory, self._on_line, self._on_end)
        changed = [row for rows in part.dead.values() for row in rows]
        self._put(changed)
        if part.known is not None:
            known = {str(path) for path in part.known} | self._streamed
            self._drop([job_id for job_id, row in self.rows.items() if row["directory"] not in known])

    @property
    def _streamed(self) -> set[str]:
        """Journals of sessions that we hear of."""
        return {str(stream.directory) for stream in self.streams.values()}

    def _wanted(self, reads_all: bool) -> Callable[[Path], bool]:
        """Return which dead journals are to be read: all, or those whose jobs went on."""
        if reads_all:
            return lambda directory: True
        left = {row["directory"] for row in self.rows.values() if is_active(row)}
        return lambda directory: str(directory) in left

    def _on_line(self, stream: SessionStream, record: dict[str, Any]) -> None:
        if "hello" in record:
            stream.master = record["hello"].get("master") or stream.master
            self._attempts.pop(stream.name, None)
            return
        stream.begun.set()
        self._put({**row, "session": LIVING, "master": stream.master} for row in record.get("jobs", ()))
        if gone := [self.rows[job_id] for job_id in record.get("gone", ()) if job_id in self.rows]:
            for row in gone:
                self._journals.forget(Path(row["directory"]))
            self.refresh()

    def _on_end(self, stream: SessionStream) -> None:
        if self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
        if self._is_stopped:
            return
        attempt = self._attempts.get(stream.name, 0)
        if stream.is_missed:
            self.refresh()
        elif self.is_awake or (stream.is_refused and attempt < len(RETRIES)):
            # Its process may take a moment to be gone: until then its journal is not a dead one's.
            self._attempts[stream.name] = attempt + 1
            delay = RETRIES[min(attempt, len(RETRIES) - 1)]
            asyncio.get_running_loop().call_later(delay, self.refresh)

    def _put(self, rows: Iterable[Row]) -> None:
        changed = []
        for row in rows:
            before = self.rows.get(row["job_id"])
            if before == row or row["job_id"] in self._cleared:
                continue
            self.rows[row["job_id"]] = row
            changed.append(row)
            is_other = before is None or any(before[name] != row[name] for name in ("state", "session"))
            if is_other:
                for listener in self._transitions:
                    listener(before, row)
        if changed:
            self._tell({"jobs": changed})
        self._rest()

    def _drop(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            del self.rows[job_id]
        if job_ids:
            self._tell({"gone": job_ids})

    def _tell(self, change: Change) -> None:
        for listener in list(self._listeners):
            listener(change)

    def _rest(self) -> None:
        """Fall asleep when nobody needs us; a session that has not yet said which jobs it has is waited for."""
        if not self.is_awake and self._scanning is None:
            for stream in list(self.streams.values()):
                stream.close()


def _ignore(change: Change) -> None:
    """Hear that somebody listens, and no more."""


def is_active(row: Row) -> bool:
    """Whether a job goes on, as far as its living session says."""
    return row["session"] == LIVING and row["state"] not in FINAL_JOB_STATES
