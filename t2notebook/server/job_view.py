"""Live views of jobs for pages: true also while a kernel computes, after it is gone, and on a page that was reloaded.

A page gets what has changed, at most twice a second and no more bytes than `t2notebook.views.live_record` allows. The
session is asked while somebody sees the view; when no session has the job any more, its journal is read.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import suppress
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ..client.session_http import SessionBroken, SessionEnding
from ..journal import FILE, read_events
from ..model.errors import Twister2Error, UnknownJob
from ..model.reducer import reduce
from ..model.tails import LOG, LOG_BYTES, STREAMS, fold
from ..model.text import dumps, loads
from ..views.failure import errors_of, failures_of
from ..views.live_record import Changes, live_record
from ..views.why import why_part
from . import actions
from .actions import JobLocation
from .job_list import JobList

log = logging.getLogger(__name__)

#: Seconds between two questions to a session, and to a journal that no session owns; a session that takes long to
#: answer is asked less often: answering may take this share of the time.
PAUSE, JOURNAL_PAUSE, SHARE = 0.5, 2.0, 0.1
#: Seconds without news after which a page is told that we are there.
BEAT = 2.0
LOST = "its session was lost; attach takes the job up again, kill ends it"


def look(job: JobLocation, version: Any, worker_id: int | None) -> dict[str, Any]:
    """Return the parts of a job's live view; those of the job itself only if they are not of `version`.

    Parameters
    ----------
    job : JobLocation
    version
        What ``version`` was in the answer before; None at first.
    worker_id : int, optional
        The worker whose log is open.

    Returns
    -------
    dict
        The parts; ``version``; and ``is_complete``, whether nothing more will come.

    Raises
    ------
    UnknownJob
    """
    if job.session is not None:
        query = {} if worker_id is None else {"worker": worker_id}
        seen = version if isinstance(version, int) else 0
        # An UnknownJob: a session of an earlier version has no such answer.
        with suppress(SessionEnding, SessionBroken, UnknownJob):
            found: dict[str, Any] = job.session.get(f"/v1/jobs/{job.job_id}/view", version=seen, **query)
            return found
    files = [path for path in sorted(job.directory.glob(f"{FILE}*")) if not path.name.endswith("-shm")]
    stamp = [job.session is None, *(path.stat().st_mtime_ns for path in files)]
    written = {} if worker_id is None else {"worker_id": worker_id, "lines": _log_lines(job, worker_id)}
    parts: dict[str, Any] = {"version": stamp, "is_complete": True, "log": written}
    if stamp != version:
        events = read_events(job.directory, job.job_id)
        if not events:
            raise UnknownJob(f"no job {job.job_id}")
        view = reduce(job.job_id, events)
        is_lost = job.session is None and not view.state.is_final
        lost = (job.meta.get("over") or LOST) if is_lost else ""
        parts |= live_record(view, lost=lost, failures=failures_of(view, errors_of(events)))
    return parts


def _log_lines(job: JobLocation, worker_id: int) -> list[list[str]]:
    """Return the newest lines that a worker wrote, from its agent, if that still has them; as `Tails.log` does."""
    lines: list[list[str]] = []
    for stream in STREAMS:
        try:
            text = actions.log_page(job, worker_id, stream, -LOG_BYTES)["text"]
        except Twister2Error:
            continue
        lines += [[stream, fold(line)] for line in text.removesuffix("\n").split("\n") if text]
    return lines[-LOG:]


class ViewHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """``/t2notebook/api/jobs/ID/view``: a WebSocket that gets the parts which have changed; or all of them, once.

    Messages of the page: ``{"kind": "open", "worker_id": N or null}`` for the log of a worker, and
    ``{"kind": "show", "is_shown": bool}``, since nothing is asked for a view that nobody sees; ``{"kind": "why"}`` is
    answered with the part ``why``. Without a WebSocket the log is asked for as ``?worker=N``, and why as ``?why=1``.
    """

    auth_resource = "t2notebook"

    def initialize(self, job_list: JobList) -> None:
        self.job_list = job_list

    @ws_authenticated
    async def get(self, job_id: str) -> None:
        """Open it, for who may read.

        Raises
        ------
        web.HTTPError
            403 for others, 404 where there is no such job.
        """
        may = await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "read", self.auth_resource)
        )
        # Of a WebSocket tornado asks that itself.
        if not may or not self.check_origin():
            raise web.HTTPError(403)
        self.job_id, self.directory = job_id, ""
        self.worker_id: int | None = None
        self.is_shown, self.asks_why = True, False
        self.news = asyncio.Event()
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get(job_id)
            return
        worker = self.get_query_argument("worker", "")
        try:
            parts = await self.look(None, int(worker) if worker else None)
            if self.get_query_argument("why", ""):
                parts["why"] = await self.why()
        except ValueError:
            raise web.HTTPError(400, "worker is not a whole number") from None
        except (Twister2Error, sqlite3.Error, OSError) as error:
            self.set_status(404 if isinstance(error, UnknownJob) else 502)
            parts = {"message": str(error) or type(error).__name__}
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(dumps(parts))

    async def look(self, version: Any, worker_id: int | None) -> dict[str, Any]:
        """Return what `look` does, beside the loop."""
        found: dict[str, Any] = await self.job_list.run(lambda: look(self.locate(), version, worker_id))
        return found

    def locate(self) -> JobLocation:
        """Return where the job is; its journal is looked for once, among all that there are."""
        row = self.job_list.rows.get(self.job_id)
        job = JobLocation(self.job_id, row["directory"] if row else self.directory)
        self.directory = str(job.directory)
        return job

    async def why(self) -> dict[str, Any]:
        """Return the part that says why the job waits."""

        def call() -> dict[str, Any]:
            found = actions.why(self.locate())
            return why_part(found["message"], found["why"], time.time())

        part: dict[str, Any] = await self.job_list.run(call)
        return part

    def open(self, *arguments: Any, **options: Any) -> None:
        """Begin to send."""
        super().open(*arguments, **options)
        self.task = asyncio.get_running_loop().create_task(self._send_all())

    def on_message(self, message: str | bytes) -> None:
        """Take what the page asks for."""
        try:
            content = loads(message)
            if content["kind"] == "open":
                worker_id = content["worker_id"]
                self.worker_id = worker_id if isinstance(worker_id, int) and worker_id >= 0 else None
            elif content["kind"] == "show":
                self.is_shown = bool(content["is_shown"])
            elif content["kind"] == "why":
                self.asks_why = True
        except (ValueError, TypeError, KeyError):
            return
        self.news.set()

    def on_close(self) -> None:
        """Send no more."""
        if hasattr(self, "task"):
            self.task.cancel()

    async def _send_all(self) -> None:
        """Send what changes, as long as the page is there or the job can be read."""
        try:
            await self._follow()
        except WebSocketClosedError:
            return
        except (Twister2Error, sqlite3.Error, OSError) as error:
            self._tell({"error": str(error) or type(error).__name__})
        except Exception as error:
            log.exception("a view of %s cannot be kept true", self.job_id)
            self._tell({"error": f"{type(error).__name__}: {error}"})
        self.close(1000)

    async def _follow(self) -> None:
        changes, version, beat, told = Changes(), None, 0, time.monotonic()
        known: dict[str, Any] = {}
        while True:
            self.news.clear()
            begun = time.monotonic()
            if self.is_shown:
                parts = await self.look(version, self.worker_id)
                version, is_complete = parts.pop("version"), parts.pop("is_complete")
                if self.asks_why:
                    self.asks_why = False
                    parts["why"] = await self.why()
                known |= parts
                is_last = is_complete and known["snapshot"]["final"]
                now = time.monotonic()
                if changed := changes.of(known, now, last=is_last):
                    await self.write_message(dumps(changed))
                    told = now
                if is_last:
                    # Nothing changes any more but what the page wants to see: the log of a worker.
                    await self.news.wait()
                    continue
            now = time.monotonic()
            if now - told >= BEAT:
                beat, told = beat + 1, now
                await self.write_message(dumps({"beat": beat}))
            pause = PAUSE if isinstance(version, int) or version is None else JOURNAL_PAUSE
            pause = max(pause, (now - begun) / SHARE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), pause if self.is_shown else BEAT)

    def _tell(self, content: dict[str, Any]) -> None:
        with suppress(WebSocketClosedError):
            self.write_message(dumps(content))
