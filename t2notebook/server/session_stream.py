"""Stream of a living session's job states, read line by line on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..client.session_http import Connection, Stream
from ..model.errors import SessionError
from ..model.text import loads
from .trust import check_socket

log = logging.getLogger(__name__)


class SessionStream:
    """An observer's stream of one session.

    Parameters
    ----------
    meta : mapping
        The facts in a journal that the session owns.
    directory : Path
        Of that journal.
    on_line : callable
        Called on the loop with each record that the session sends; ``hello`` is the first.
    on_end : callable
        Called on the loop, once, when nothing more will come.

    Attributes
    ----------
    begun : asyncio.Event
        Set when its jobs are known, or will not be.
    ended : asyncio.Event
        Set when nothing more will come.
    is_closing : bool
        Whether it was asked to end. What the session had said by then still comes.
    is_missed : bool
        Whether there was news of the session meanwhile, so that another stream is to follow.
    is_refused : bool
        Whether it ended before the session said anything.
    """

    def __init__(
        self,
        meta: dict[str, str],
        directory: Path,
        on_line: Callable[[SessionStream, dict[str, Any]], None],
        on_end: Callable[[SessionStream], None],
    ) -> None:
        self.name = meta.get("name", "") or str(directory)
        self.directory = directory
        self.master = meta.get("master", "")
        self.connection = Connection.of(meta, directory, is_observer=True)
        self._on_line, self._on_end = on_line, on_end
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.is_closing = self.is_missed = self.is_refused = False
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._is_aborted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="t2-observer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask the session to end it, once it has begun; `on_end` is called when it has."""
        if self.is_closing or not self.begun.is_set():
            return
        self.is_closing = True
        with self._lock:
            if self._stream is not None:
                self._stream.finish()

    def abort(self) -> None:
        """End it from our side, whatever the session has to say."""
        self.is_closing = True
        with self._lock:
            self._is_aborted = True
            if self._stream is not None:
                self._stream.abort()

    def _read(self) -> None:
        try:
            check_socket(self.connection.path)
            stream = self.connection.open_stream("/v1/stream")
        except SessionError as error:
            log.debug("session %s cannot be watched: %s", self.name, error)
            self._call(self._end)
            return
        with self._lock:
            self._stream = stream
            if self._is_aborted:
                stream.abort()
        try:
            while line := stream.readline():
                self._call(self._on_line, self, loads(line))
        except Exception as error:
            log.debug("the stream of session %s broke: %s", self.name, error)
        with self._lock:
            self._stream = None
            stream.close()
        self._call(self._end)

    def _end(self) -> None:
        self.is_refused = not self.begun.is_set()
        self.begun.set()
        self.ended.set()
        self._on_end(self)

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            pass  # the server's loop has ended
