"""An agent's end of its launcher's socket pair."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


class LauncherChannel:
    """Sends requests and hears answers, inside the agent's loop.

    Parameters
    ----------
    on_message
        Gets every answer but `attached`.
    on_lost
        Is called once when the launcher is gone.
    """

    def __init__(
        self, channel: socket.socket, on_message: Callable[[Json], None], on_lost: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._on_message = on_message
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._attached: asyncio.Future[Json] = self._loop.create_future()

    def attach(self) -> asyncio.Future[Json]:
        """Tell the launcher who is its agent now; the answer says what containers there are."""
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._readable)
        # The newline ends what an earlier agent was writing when it was killed.
        self.send({"op": "attach", "pid": os.getpid()}, before=b"\n")
        return self._attached

    def send(self, message: Json, before: bytes = b"") -> None:
        """Send a request."""
        self._channel.setblocking(True)
        try:
            self._channel.sendall(before + json.dumps(message).encode() + b"\n")
        except OSError:
            self._loop.call_soon(self._lost)
        finally:
            self._channel.setblocking(False)

    def close(self) -> None:
        """Close this end: if no other holds it, the launcher sweeps up."""
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def _readable(self) -> None:
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if self._attached.done():
                self._on_message(json.loads(line))
            elif line.startswith(b'{"op": "attached"'):
                self._attached.set_result(json.loads(line))
            # Whatever comes before that was for an earlier agent, and `attached` says it again.

    def _lost(self) -> None:
        self._loop.remove_reader(self._channel)
        if not self._attached.done():
            self._attached.cancel()
        callback, self._on_lost = self._on_lost, lambda: None
        callback()
