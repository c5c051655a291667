"""Messages between a job's driver, in this kernel, and its workers."""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..model.errors import MessageRefused, PackageError, SessionError, UnknownJob
from ..protocol import objects
from .session_http import Connection, SessionBroken, SessionEnding

#: Seconds for which a message is tried again while one session follows another.
SEND_PATIENCE = 30.0
#: Seconds that one question for messages waits, and between two when the session does not answer.
_WAIT, _PAUSE = 20.0, 0.2
_LENGTH = struct.Struct(">I")

Callback = Callable[[int, Any], object]


@dataclass(frozen=True)
class Peer:
    """A job, as far as messages need to know it.

    Parameters
    ----------
    job_id : str
    reach : callable
        Gives the connection to its session, as it is now.
    is_final, is_attached : callable
        Whether it has ended, and whether anything is heard of it.
    """

    job_id: str
    reach: Callable[[], Connection]
    is_final: Callable[[], bool]
    is_attached: Callable[[], bool]


def send(job: Peer, to: int | None, value: Any) -> int:
    """Send an object to a worker, or (None) to all that have not ended; return to how many.

    Parameters
    ----------
    job : Peer
    to : int or None
        A worker's id.
    value
        Anything that can be pickled.

    Raises
    ------
    MessageRefused
        When it was not sent; the message says why.
    PackageError
        When it cannot be pickled.
    SessionError
        When there is no session to take it.
    """
    try:
        payload = objects.pack(value)
    except ValueError as error:
        raise MessageRefused(f"the message was not sent: {error}") from None
    except Exception as error:
        raise PackageError(f"the message cannot be pickled: {error}") from error
    query: dict[str, Any] = {"id": uuid.uuid4().hex} | ({} if to is None else {"to": to})
    deadline = time.monotonic() + SEND_PATIENCE
    while True:
        try:
            answer = job.reach().post_bytes(f"/v1/jobs/{job.job_id}/messages", payload, **query)
            break
        except (SessionBroken, SessionEnding, UnknownJob) as error:
            if job.is_final():
                raise MessageRefused(f"the message was not sent: job {job.job_id} has ended") from None
            # The next session knows by the id whether the last one had taken it.
            if time.monotonic() > deadline or not job.is_attached():
                raise SessionError(str(error)) from None
            time.sleep(_PAUSE)
    if error_text := answer.get("error"):
        raise MessageRefused(error_text)
    return int(answer["sent"])


class Receiver:
    """Gives the messages of a job's workers to callbacks, on a thread of its own, one after the other.

    Parameters
    ----------
    job : Peer
    callbacks : tuple of callable
        ``callback(worker_id, object)``.
    """

    def __init__(self, job: Peer, callbacks: tuple[Callback, ...]) -> None:
        self._job = job
        self.callbacks = callbacks
        self._acknowledged = 0
        self._thread = threading.Thread(target=self._run, name=f"t2-messages-{job.job_id}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether anything more is to come."""
        return self._thread.is_alive()

    def add(self, callback: Callback) -> None:
        """Have one more callback called."""
        self.callbacks = (*self.callbacks, callback)

    def _run(self) -> None:
        while True:
            was_over = self._job.is_final()
            try:
                letters = list(self._receive())
            except (SessionEnding, UnknownJob):
                if was_over or not self._job.is_attached():
                    return
                letters = []
                time.sleep(_PAUSE)
            except SessionError:
                letters = []
                time.sleep(_PAUSE)
            for number, sender, data in letters:
                self._give(sender, data)
                self._acknowledged = max(self._acknowledged, number)
            if was_over and not letters:
                return

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data, _ = self._job.reach().get_bytes(
            f"/v1/jobs/{self._job.job_id}/messages",
            acknowledged=self._acknowledged,
            id=uuid.uuid4().hex,
            timeout=_WAIT,
        )
        (length,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size + length
        for number, sender, size in json.loads(data[_LENGTH.size : begin]):
            if number > self._acknowledged:
                yield number, sender, data[begin : begin + size]
            begin += size

    def _give(self, sender: int, data: bytes) -> None:
        try:
            value = objects.unpack(data)
        except Exception as error:
            print(
                f"t2notebook: a message of worker {sender} of {self._job.job_id} cannot be unpickled here: "
                f"{type(error).__name__}: {error}",
                file=sys.stderr,
            )
            return
        for callback in self.callbacks:
            try:
                callback(sender, value)
            except Exception:
                traceback.print_exc()
