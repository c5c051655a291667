"""The supervisor's control channel: a Unix socket that only its owner can open, one JSON request a line.

Requests are `faults` requests; every one is answered by {"ok": true, ...} or {"error": text}.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

LONGEST_PATH = 100
"""Unix socket paths end at 107 bytes (103 on macOS)."""

MAX_LINE = 65536


class ControlServer:
    """Listens, and hands requests to one handler.

    Parameters
    ----------
    selector
        The supervisor's; the data of its keys is a function to call.
    private
        Where descriptors are noted that no child may keep.
    """

    def __init__(
        self,
        directory: str,
        selector: selectors.BaseSelector,
        private: set[int],
        handler: Callable[[Any], Json],
    ) -> None:
        self._handler = handler
        self._selector = selector
        self._private = private
        self._buffers: dict[socket.socket, bytearray] = {}
        self._temporary: str | None = None
        self.path = os.path.join(directory, "control.sock")
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            self._temporary = tempfile.mkdtemp(prefix="localmesos-")
            self.path = os.path.join(self._temporary, "control.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Made 0600 before anybody can connect: connecting asks for the right to write.
        before = os.umask(0o177)
        try:
            self._listening.bind(self.path)
        finally:
            os.umask(before)
        self._listening.listen(8)
        self._listening.setblocking(False)
        self._watch(self._listening, self._accept)

    def close(self) -> None:
        """Stop listening."""
        for one in [*self._buffers, self._listening]:
            self._drop(one)
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _watch(self, one: socket.socket, call: Callable[[], None]) -> None:
        self._private.add(one.fileno())
        self._selector.register(one, selectors.EVENT_READ, call)

    def _drop(self, one: socket.socket) -> None:
        self._buffers.pop(one, None)
        self._private.discard(one.fileno())
        self._selector.unregister(one)
        one.close()

    def _accept(self) -> None:
        try:
            one, _ = self._listening.accept()
        except OSError:
            return
        one.settimeout(5.0)
        self._buffers[one] = bytearray()
        self._watch(one, lambda: self._read(one))

    def _read(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        buffer = self._buffers[one]
        buffer += data
        if not data or len(buffer) > MAX_LINE:
            self._drop(one)
            return
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            try:
                answer = self._handler(json.loads(line))
            except (ValueError, RecursionError) as error:
                answer = {"error": str(error)}
            try:
                one.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                self._drop(one)
                return
