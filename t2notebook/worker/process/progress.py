"""Sends a worker's progress to the session, at most five times a second, whatever becomes of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable

from ...model.text import dumps
from .job_master_client import JobMasterClient
from .session_api import CONNECTION_ERRORS, SessionClient
from .superseded import Superseded

INTERVAL = 0.2
_TIMEOUT = 2.0
_LONGEST_PAUSE = 60.0


class ProgressReporter:
    """Takes progress as often as it comes and sends what is due, in the caller's thread.

    Parameters
    ----------
    client : SessionClient
    path : str
        Where to POST to, with its query.
    clock : callable
        Seconds; for tests.

    Attributes
    ----------
    fence : callable
        Called when the session cannot be reached; raises `Superseded` if this worker has been replaced meanwhile, as
        far as it can be told without.
    """

    def __init__(
        self, client: SessionClient, path: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._path, self._clock = client, path, clock
        self.fence: Callable[[], None] = lambda: None
        self._pending: tuple[float | None, str] | None = None
        self._last: float | None = None
        self._next = 0.0
        self._pause = 0.0  # grows while the session does not answer
        self._pid = os.getpid()
        self._sending = threading.Lock()

    def report(self, fraction: float | None, text: str) -> None:
        """Take a worker's progress; raises `Superseded` when the session wants the worker to stop.

        Parameters
        ----------
        fraction : float or None
            None where it is not known.
        text : str
        """
        if os.getpid() != self._pid:
            # A process that the user's code forked has a copy of the worker's connection; it must not use it.
            return
        self._pending = (fraction, text)
        self._last = fraction
        if not self._sending.acquire(blocking=False):
            return  # another thread is just sending, and this goes with the next
        try:
            # One that has just taken the last session's place waits for us.
            if self._clock() >= self._next or (self._pause and self._client.look()):
                self._send()
        finally:
            self._sending.release()

    def note(self, text: str) -> None:
        """Say something at once, with the progress as it was told last."""
        if os.getpid() == self._pid:
            with self._sending:
                self._pending = (self._last, text)
                self._send()

    def flush(self) -> None:
        """Send what has not been sent, unless the session has not been answering."""
        with self._sending:
            if self._pending is not None and not self._pause:
                self._send()

    def _send(self) -> None:
        assert self._pending is not None
        fraction, text = self._pending
        body = dumps({"progress": fraction, "text": text}).encode()
        try:
            response = self._client.request(
                "POST",
                self._path,
                body,
                sha256=hashlib.sha256(body).hexdigest(),
                content_type="application/json",
                timeout=_TIMEOUT,
            )
            response.read()
            status = response.status
        except CONNECTION_ERRORS:
            self._client.close()
            self.fence()
            status = 503
        if status == 409:
            raise Superseded(
                "told by the session to stop: a newer worker replaces this one, or the job is over"
            )
        self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE) if status >= 300 else 0.0
        if not self._pause:
            self._pending = None
        self._next = self._clock() + max(INTERVAL, self._pause)


class ChannelProgress(ProgressReporter):
    """As `ProgressReporter`, through a job master on the cluster, which keeps the last one for a session.

    Parameters
    ----------
    job_master : JobMasterClient
    client : SessionClient
    path : str
    clock : callable
    """

    def __init__(
        self,
        job_master: JobMasterClient,
        client: SessionClient,
        path: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(client, path, clock=clock)
        self._job_master = job_master

    def _send(self) -> None:
        assert self._pending is not None
        fraction, text = self._pending
        if self._job_master.note({"kind": "progress", "progress": fraction, "text": text}):
            self._pending = None
        self._next = self._clock() + INTERVAL
