"""The socket at which sessions knock when they begin or take a job, so that nobody needs to look for them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from ..config import runtime_dir
from ..model.watchers import watcher_name


class Waker:
    """Calls back on the loop when a session has news.

    Parameters
    ----------
    on_news : callable
    """

    def __init__(self, on_news: Callable[[], None]) -> None:
        self._on_news = on_news
        self._path = runtime_dir() / watcher_name(os.getpid())
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))
        self._path.chmod(0o600)
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        """Wait no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _on_readable(self) -> None:
        try:
            while True:
                self._socket.recv(1)
        except OSError:
            self._on_news()
