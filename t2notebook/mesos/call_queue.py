"""Sending the calls of one subscription: in their order, again only where that is safe, and none lost unreported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from .credentials import Credentials
from .transport import BROKEN, Address, Connection, Response

PATH = "/api/v1/scheduler"
CALL_TIMEOUT = 30.0
#: Whether a call may be sent again when its connection broke and nobody knows whether it has arrived. A second ACCEPT
#: finds its offers gone and drops the tasks of the first, a second MESSAGE is another message; all others leave
#: things as the first did. What stands here with False gets a new connection each time, so that it is not lost with
#: a kept one that the master has closed. What does not stand here is not repeated.
REPEATABLE = {
    "ACCEPT": False,
    "ACCEPT_INVERSE_OFFERS": True,
    "ACKNOWLEDGE": True,
    "ACKNOWLEDGE_OPERATION_STATUS": True,
    "DECLINE": True,
    "DECLINE_INVERSE_OFFERS": True,
    "KILL": True,
    "MESSAGE": False,
    "RECONCILE": True,
    "RECONCILE_OPERATIONS": True,
    "REQUEST": False,
    "REVIVE": True,
    "SHUTDOWN": True,
    "SUPPRESS": True,
    "TEARDOWN": True,
}


class Refused(Exception):
    """The call was certainly not carried out: the master answered with an error, or, with 0, was not even asked."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"HTTP {code}: {text}" if code else text)
        self.code = code


class CallQueue:
    """Sends calls one after the other; there is one for each subscription, so that no call outlives its own.

    Parameters
    ----------
    address : Address
        The master that we are subscribed at.
    stream_id : str or None
        What the master knows the subscription by.
    credentials : Credentials
    failed : callable
        Called with a call that certainly or probably was not carried out, and the error.
    """

    def __init__(
        self,
        address: Address,
        stream_id: str | None,
        credentials: Credentials,
        failed: Callable[[Mapping[str, Any], BaseException], None],
    ) -> None:
        self._address, self._credentials, self._failed = address, credentials, failed
        self._headers = {"Mesos-Stream-Id": stream_id} if stream_id else {}
        self._calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._connection: Connection | None = None
        self._why = ""
        self._task = asyncio.create_task(self._run())

    def put(self, call: dict[str, Any]) -> None:
        """Send a call, after those before it."""
        self._calls.put_nowait(call)

    async def send_now(self, call: dict[str, Any]) -> None:
        """Send a call at once, and drop those that wait: it makes them pointless.

        Raises
        ------
        Refused, OSError, StreamClosedError, ...
            When it has not been accepted.
        """
        self.close(f"{call['type']} comes first")
        await asyncio.wait({self._task}, timeout=1.0)
        await self._post(call)

    def close(self, why: str) -> None:
        """Close the queue; calls that wait, or are not answered yet, are reported."""
        self._why = why
        self._task.cancel()
        if self._connection is not None:
            self._connection.close()
        while not self._calls.empty():
            self._failed(self._calls.get_nowait(), Refused(0, why))

    async def _run(self) -> None:
        while True:
            call = await self._calls.get()
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    await self._post(call)
            except asyncio.CancelledError:
                self._failed(call, ConnectionAbortedError(self._why))  # it may have arrived
                raise
            except (Refused, *BROKEN) as error:
                self._failed(call, error)

    async def _post(self, call: dict[str, Any]) -> None:
        repeatable = REPEATABLE.get(call["type"], False)
        if not repeatable and self._connection is not None:
            self._connection.close()
        kept = self._connection is not None and not self._connection.closed
        try:
            answer = await self._post_once(call)
        except BROKEN:
            # A kept connection may have been closed unseen.
            if not (kept and repeatable):
                raise
            answer = await self._post_once(call)
        if not 200 <= answer.code < 300:
            raise Refused(answer.code, answer.text)

    async def _post_once(self, call: dict[str, Any]) -> Response:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._address, self._credentials)
        connection = self._connection
        try:
            return await connection.post(PATH, call, self._headers)
        except BaseException:
            # Also when the time is over: the answer may come yet, and is not the next call's.
            connection.close()
            raise
