"""The link between an agent and its master: one TCP connection, one JSON message a line, no acknowledgements.

It begins as an HTTP request to the master's own port (so there is one port to know) with a secret that only
this cluster's processes have: other users of the machine cannot pose as an agent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

PATH = "/localmesos/link"
SECRET_HEADER = "X-Localmesos-Secret"

Json = dict[str, Any]

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class Link(asyncio.Protocol):
    """One end of a link.

    Parameters
    ----------
    on_message
        Gets every message.
    on_lost
        Is called once at the end.
    preamble
        Is sent first.
    on_open
        Is called when the connection stands.
    """

    def __init__(
        self,
        on_message: Callable[[Link, Json], None],
        on_lost: Callable[[Link], None],
        *,
        preamble: bytes = b"",
        on_open: Callable[[Link], None] | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_open = on_open
        self._preamble = preamble
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._preamble:
            transport.write(self._preamble)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        start = 0
        while True:
            end = self._buffer.find(b"\n", start)
            if end < 0:
                break
            line = bytes(self._buffer[start:end])
            start = end + 1
            if line.startswith(b"HTTP/1."):
                self._refused(line)
                return
            try:
                message = json.loads(line)
            except ValueError:
                log.error("the link's other end speaks no JSON")
                self.close()
                return
            try:
                self._on_message(self, message)
            except Exception:
                # The text of the message may hold TaskInfo.data, so only its kind is logged.
                log.exception("message %s", message.get("op"))
        del self._buffer[:start]

    def _refused(self, line: bytes) -> None:
        """Tell that the other end did not take the link, and end it."""
        if b" 403 " in line:
            log.error("the master refuses this agent: its secret is another one")
        elif b" 503 " not in line:  # that one does not lead, and who does is known soon
            log.error("no master answers there: %s", line.decode("latin-1").strip())
        self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)

    def send(self, message: Json) -> None:
        """Send a message; on a broken link it is lost (registration settles what was)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_ENCODER.encode(message).encode() + b"\n")

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def connect(
    address: tuple[str, int],
    secret: str,
    on_message: Callable[[Link, Json], None],
    on_lost: Callable[[Link], None],
    on_open: Callable[[Link], None],
) -> Link:
    """Open the agent's end.

    Parameters
    ----------
    address
        The master's.
    secret
        The cluster's.
    on_message, on_lost, on_open
        As `Link` has them.

    Raises
    ------
    OSError
        The master does not listen.
    """
    host, port = address
    preamble = f"POST {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n{SECRET_HEADER}: {secret}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(
        lambda: Link(on_message, on_lost, preamble=preamble, on_open=on_open), host, port
    )
    return link
