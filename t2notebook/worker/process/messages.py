"""Messages of a worker: to the driver, to other workers, and those that come."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from ...model.errors import MessageRefused, PackageError
from ...protocol import objects
from .job_master_client import JobMasterClient
from .unpicklable import explain


class Messages:
    """Messages of a worker, sent and received through its job master.

    Parameters
    ----------
    client : JobMasterClient
    """

    def __init__(self, client: JobMasterClient) -> None:
        self._client = client
        self._come: deque[tuple[int, bytes]] = deque()
        self._taken = 0
        self._fetching = threading.Lock()
        self._pid = os.getpid()

    def send(self, to: int, value: Any) -> None:
        """Send an object; when this returns, it is safe with the job master.

        Raises
        ------
        MessageRefused
            When it was not sent; the message says why.
        PackageError
            When it cannot be pickled.
        """
        try:
            payload = objects.pack(value)
        except ValueError as error:
            raise MessageRefused(f"the message was not sent: {error}") from None
        except Exception as error:
            raise PackageError(f"the message cannot be pickled: {explain(value)}") from error
        record, _ = self._client.ask({"kind": "send", "to": to}, payload)
        if why := record.get("error"):
            raise MessageRefused(why)

    def receive(self, timeout: float | None) -> Iterator[Any]:
        """Yield objects as they come; end when none has come for `timeout` seconds.

        What has been yielded counts as read when the next one is asked for.
        """
        while True:
            letter = self._next(timeout)
            if letter is None:
                return
            yield objects.unpack(letter)

    def _next(self, timeout: float | None) -> bytes | None:
        if os.getpid() != self._pid:
            self._client.ask({})  # which says why not
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._fetching:
            if self._taken:
                # It need not arrive: each question after it says the same.
                self._client.tell({"kind": "acknowledge", "acknowledged": self._taken})
            while not self._come:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                asked = {"kind": "receive", "acknowledged": self._taken, "timeout": left}
                record, payload = self._client.ask(asked)
                begin = 0
                for number, _, size in record["letters"]:
                    if number > self._taken:
                        self._come.append((number, payload[begin : begin + size]))
                    begin += size
                if not self._come and deadline is not None and time.monotonic() >= deadline:
                    return None
            self._taken, letter = self._come.popleft()
            return letter
