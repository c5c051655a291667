"""Requests of a job's driver, in the kernel, to the job master: messages to and from workers, and a pool's calls."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from ..model.text import dumps
from ..protocol.unix_socket import SESSION_HEADER
from .http_api import ApiHandler, Refused
from .job_masters import JobMasters
from .session import Session

#: Seconds that a question for messages waits at the most.
LONGEST_WAIT = 30.0
_LENGTH = struct.Struct(">I")


class _DriverHandler(ApiHandler):
    @property
    def job_masters(self) -> JobMasters:
        """Return the job masters, which there are as soon as workers can be served."""
        if (masters := self.session.job_masters) is None:
            raise Refused(503, "the session is not ready yet")
        return masters


class SendHandler(_DriverHandler):
    """``POST /v1/jobs/ID/messages?to=N&id=X``: an object to one worker, or without `to` to all that have not ended."""

    async def post(self, job_id: str) -> None:
        """Take a message; ``error`` says why it was not."""
        job = self.job(job_id)
        if job.view.state.is_final:
            self.finish({"error": f"the message was not sent: job {job_id} has ended"})
            return
        to = self.get_query_argument("to", "")
        receivers = [int(to)] if to else None
        send_id = self.get_query_argument("id")
        self.finish(dict(await self.job_masters.driver.send(job, send_id, receivers, self.request.body)))


class ReceiveHandler(_DriverHandler):
    """``GET /v1/jobs/ID/messages?acknowledged=N&id=X&timeout=S``: messages to the driver, as soon as there are any."""

    async def get(self, job_id: str) -> None:
        """Answer ``length (4 bytes) | [[number, sender, size], ...] | objects``."""
        job = self.job(job_id)
        timeout = 0.0 if job.view.state.is_final else float(self.get_query_argument("timeout", "0"))
        answer = await self.job_masters.driver.receive(
            job,
            self.get_query_argument("id"),
            int(self.get_query_argument("acknowledged", "0")),
            min(timeout, LONGEST_WAIT),
        )
        letters = dumps(answer.record["letters"]).encode()
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(_LENGTH.pack(len(letters)) + letters + answer.payload)


class PoolHandler(_DriverHandler):
    """``GET /v1/jobs/ID/pool``: the connection becomes one of frames, for a pool's calls and results."""

    async def get(self, job_id: str) -> None:
        """Hand the connection over."""
        pools = self.job_masters.pools
        self.job(job_id)
        stream = self.detach()
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: t2-frames"]
        lines.append(f"{SESSION_HEADER}: {self.session.name}")
        await stream.write("\r\n".join([*lines, "", ""]).encode())
        connection = stream.socket.dup()
        stream.close()
        connection.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: pools.notebook(job_id), connection)


class MessagesHandler(SendHandler, ReceiveHandler):
    """Both."""


def routes(session: Session) -> list[Any]:
    """Return the routes for a tornado Application."""
    return [
        (r"/v1/jobs/([-a-z0-9]+)/messages", MessagesHandler, {"session": session}),
        (r"/v1/jobs/([-a-z0-9]+)/pool", PoolHandler, {"session": session}),
    ]
