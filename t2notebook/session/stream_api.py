"""Streams of a session's news: kernels that are attached, with the jobs that they watch, and observers."""

from __future__ import annotations

import asyncio
from typing import Any

from ..model.text import dumps
from .http_api import ApiHandler, Refused
from .session import Session


class LineStreamHandler(ApiHandler):
    """An answer without an end, in lines; those of one turn of the loop go out together."""

    is_for_any = True
    _is_due = _has_ended = False

    def send(self, line: str) -> None:
        """Write a line."""
        if self._has_ended:
            return
        self.write(line + "\n")
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        if not self._has_ended:
            self.flush()

    def end(self) -> None:
        """End the stream, from our side."""
        self.on_connection_close()
        self.finish()

    def on_connection_close(self) -> None:
        self._has_ended = True


class StreamHandler(LineStreamHandler):
    """``GET /v1/clients/ID/stream``: a kernel is attached while this connection lives; a line an event."""

    async def get(self, client_id: str) -> None:
        """Keep the connection open, as long as the kernel does.

        Raises
        ------
        Refused
            503 when the session is ending.
        """
        if self.session.is_over:
            raise Refused(503, "the session is ending")
        self.client_id = client_id
        self.session.was_needed = True
        self.set_header("Content-Type", "application/x-ndjson")
        self.session.clients.attach(client_id, self.send, self.end)
        self.send(dumps({"hello": self.session.info()}))
        self._auto_finish = False

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if hasattr(self, "client_id"):
            self.session.clients.detach(self.client_id, self.send)
        self.session.touch()


class ObserverHandler(LineStreamHandler):
    """``GET /v1/stream``: rows of all jobs, a line each time that some have changed; it keeps nothing alive."""

    async def get(self) -> None:
        """Keep the connection open, as long as the observer does."""
        self.set_header("Content-Type", "application/x-ndjson")
        self.send(dumps({"hello": self.session.info()}))
        self.session.observers.attach(self.send, self.end)
        self._auto_finish = False

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.session.observers.detach(self.send)


class WatchHandler(ApiHandler):
    """``POST /v1/clients/ID/watch``."""

    def post(self, client_id: str) -> None:
        """Add a job to a kernel's stream."""
        record = self.content()
        job = self.job(record["job_id"])
        self.session.clients.watch(client_id, job, int(record.get("after", 0)))
        if not job.credentials:  # it was taken over from a session that died with them
            job.credentials = dict(record.get("credentials") or {})
        directory = self.session.frameworks.of(job).journal.directory
        self.finish({"spec": job.spec.to_dict(), "seq": job.events[-1].seq, "directory": str(directory)})


class ExitHandler(ApiHandler):
    """``POST /v1/clients/ID/exit``."""

    async def post(self, client_id: str) -> None:
        """A kernel exits cleanly: its jobs end with it, but for those that it leaves to run."""
        killed = [
            job for job in self.session.jobs.active if job.owner == client_id and job.spec.on_exit == "kill"
        ]
        for job in killed:
            self.session.kill(job, "KERNEL_EXIT", "the kernel that submitted it has ended")
        await self.written(*killed)
        # A job master on the cluster goes with them, and is no job that anybody has submitted.
        self.finish({"killed": [job.job_id for job in killed if not job.spec.serves]})


def routes(session: Session) -> list[Any]:
    """Return the routes for a tornado Application."""
    settings = {"session": session}
    client = r"/v1/clients/([-a-z0-9]+)"
    return [
        (r"/v1/stream", ObserverHandler, settings),
        (rf"{client}/stream", StreamHandler, settings),
        (rf"{client}/watch", WatchHandler, settings),
        (rf"{client}/exit", ExitHandler, settings),
    ]
