"""The Unix socket at which kernels find their session: watched, and made anew when somebody has removed it.

Cleaners of temporary folders remove sockets that look old. Where another session has taken the place meanwhile, ours
listens at a place of its own; its journal says where, and requests name the session that they are for.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from ..model.errors import SessionError
from ..protocol.unix_socket import in_the_way, is_listening

log = logging.getLogger(__name__)


class Door:
    """Listens for kernels.

    Parameters
    ----------
    home : Path
        Where kernels look first.
    name : str
        The session's.
    application : Application
    on_moved : callable
        Called after each change of `path`, and each new socket.

    Attributes
    ----------
    path : Path
        Where it listens now.
    """

    def __init__(self, home: Path, name: str, application: Application, on_moved: Callable[[], None]) -> None:
        self.path = home
        self._home, self._name = home, name
        self._application, self._on_moved = application, on_moved
        self._server: HTTPServer | None = None
        self._file = (0, 0)
        self._old: list[HTTPServer] = []

    def open(self) -> None:
        """Take the place; whoever starts us has made sure that nobody lives there.

        Raises
        ------
        SessionError
        """
        if taken := in_the_way(self._home):
            raise SessionError(taken)
        try:
            self._listen(self._home)
        except OSError as error:
            raise SessionError(
                f"no socket can be made at {self._home}: {error.strerror or error}; "
                "let JUPYTER_RUNTIME_DIR name a folder on a local disk with room"
            ) from None

    def check(self) -> None:
        """Make the socket anew if its file is gone, or is somebody else's."""
        if self._is_ours():
            return
        # Held by whoever is just starting a session there.
        lock = self._try_lock()
        try:
            if self._is_ours():
                return
            is_free = lock is not None and not (in_the_way(self._home) or is_listening(self._home, 0.5))
            self._listen(
                self._home if is_free else self._home.with_name(f"{self._home.stem}-{self._name[:8]}.sock")
            )
        except OSError as error:
            log.warning("the socket %s is gone, and cannot be made anew yet: %s", self.path, error)
            return
        finally:
            if lock is not None:
                os.close(lock)
        log.warning("the socket was removed or taken; kernels find this session at %s now", self.path)
        self._on_moved()

    def close(self) -> None:
        """Listen no more, and take the file away unless it is another's by now."""
        if self._server is not None:
            self._server.stop()
        if self._is_ours():
            self.path.unlink(missing_ok=True)

    @property
    def servers(self) -> list[HTTPServer]:
        """All that have connections of kernels."""
        return [*self._old, *([self._server] if self._server is not None else [])]

    def _listen(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        bound = bind_unix_socket(str(path), mode=0o600)
        if self._server is not None:
            self._server.stop()  # what is connected stays
            self._old.append(self._server)
        self._server = HTTPServer(self._application, max_body_size=64 << 20)
        self._server.add_socket(bound)
        status = path.stat()
        self.path, self._file = path, (status.st_dev, status.st_ino)

    def _is_ours(self) -> bool:
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def _try_lock(self) -> int | None:
        try:
            lock = os.open(self._home.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock
