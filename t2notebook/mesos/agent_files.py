"""Files in sandboxes, read from the agents through Mesos's files API."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError

from .credentials import ANONYMOUS, Credentials, explain

TIMEOUT = 20.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: An agent gives at most 64 KiB a read (seen on Mesos 1.12).
PAGE = 64 << 10


class SandboxError(Exception):
    """A file cannot be had: the agent does not answer, or has removed the sandbox."""


class AgentSilent(SandboxError):
    """The agent does not answer now; it may later."""


@dataclass(frozen=True)
class Sandbox:
    """The sandbox of an executor, on its agent.

    Parameters
    ----------
    agent_url : str
        ``http://host:port`` or ``https://host:port`` of the agent, as the master names it.
    framework_id, executor_id : str
        The virtual path ``/frameworks/F/executors/E/runs/latest`` is made of these: an executor id of ours
        has one run only.
    credentials : Credentials
        Only the agent itself gets them: redirects are not followed.
    """

    agent_url: str
    framework_id: str
    executor_id: str
    credentials: Credentials = ANONYMOUS

    def path(self, name: str) -> str:
        """Return the virtual path of a file in the sandbox."""
        return f"/frameworks/{self.framework_id}/executors/{self.executor_id}/runs/latest/{name}"

    async def size(self, name: str) -> int:
        """Return a file's size in bytes.

        Raises
        ------
        SandboxError
        """
        return int(
            json.loads(await self._get(f"/files/read?path={quote(self.path(name))}&offset=-1"))["offset"]
        )

    async def read(self, name: str, offset: int = 0, length: int = PAGE) -> bytes:
        """Return up to `length` bytes from `offset`; empty at the end.

        ``/files/read`` puts raw bytes into its JSON where a file is not UTF-8 (seen on Mesos 1.12); they
        survive.

        Parameters
        ----------
        name : str
            The file's path in the sandbox.
        offset, length : int
            Bytes; `length` is `PAGE` at the most.

        Raises
        ------
        SandboxError
        """
        data = await self._get(
            f"/files/read?path={quote(self.path(name))}&offset={offset}&length={min(length, PAGE)}"
        )
        text = data.decode("utf-8", "surrogateescape")
        return str(json.loads(text, strict=False)["data"]).encode("utf-8", "surrogateescape")

    async def download(self, name: str, target: BinaryIO) -> None:
        """Write a whole file to `target`.

        Raises
        ------
        SandboxError
        """
        await self._get(f"/files/download?path={quote(self.path(name))}", target)

    def _unknown(self) -> str:
        if self.credentials.secret:
            return f"the agent refuses principal {self.credentials.principal!r}"
        return "the agent wants to know who we are; see principal and secret_file"

    async def _get(self, path: str, target: BinaryIO | None = None) -> bytes:
        try:
            return await self._get_from(self.agent_url, path, target)
        except AgentSilent:
            # A master that speaks TLS says http of agents that speak nothing else but TLS (seen on Mesos 1.12).
            if self.credentials.tls is None or self.agent_url.startswith("https:"):
                raise
            if target is not None:
                target.seek(0)
                target.truncate()
            return await self._get_from(f"https:{self.agent_url.removeprefix('http:')}", path, target)

    async def _get_from(self, base: str, path: str, target: BinaryIO | None) -> bytes:
        request = HTTPRequest(
            f"{base}{path}",
            request_timeout=0 if target else TIMEOUT,
            connect_timeout=TIMEOUT,
            streaming_callback=_writer(target),
            decompress_response=False,
            follow_redirects=False,
            headers=self.credentials.headers(base.startswith("https:")),
            ssl_options=self.credentials.tls,
        )
        client: AsyncHTTPClient = AsyncHTTPClient(force_instance=True, max_body_size=1 << 40)
        try:
            answer = await client.fetch(request)
        except HTTPClientError as error:
            if error.code == 599:  # tornado's: no answer, or none that is HTTP
                raise AgentSilent(f"the agent at {base} does not answer: {error.message}") from None
            why = {401: self._unknown(), 404: "no such file"}.get(error.code, str(error))
            raise SandboxError(f"{Path(path).name.partition('&')[0]} at {base}: {why}") from None
        except (OSError, StreamClosedError) as error:
            if getattr(error, "errno", None) in _NO_ROOM:
                raise  # of our own disk, not of the agent
            raise AgentSilent(f"the agent at {base} does not answer: {explain(error)}") from None
        finally:
            client.close()
        return answer.body


def _writer(target: BinaryIO | None) -> Callable[[bytes], None] | None:
    if target is None:
        return None

    def write(chunk: bytes) -> None:
        target.write(chunk)

    return write
