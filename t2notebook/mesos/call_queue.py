"""Sending the calls of one subscription: in their order, again only where that is safe, and none lost unreported."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .credentials import Credentials
from .pipeline import Pipeline
from .transport import BROKEN, Address, Response

PATH = "/api/v1/scheduler"
#: Seconds that an answer may take after the one before it.
CALL_TIMEOUT = 30.0
#: Calls, and bytes of them, that are on their way at once.
WINDOW, WINDOW_BYTES = 256, 1 << 20
#: Seconds for which an answer proves that its connection is kept: no master closes an idle one so soon.
FRESH = 1.0
#: Whether a call may be sent again when its connection broke and nobody knows whether it has arrived. A second ACCEPT
#: finds its offers gone and drops the tasks of the first, a second MESSAGE is another message; all others leave
#: things as the first did. What stands here with False goes only on a connection that is new, or has answered since
#: the queue was last empty or a moment ago, so that it is not lost with a kept one that the master has closed. What
#: does not stand here is not repeated.
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
    """Sends calls in their order, without waiting for one answer before the next call; there is one queue for each
    subscription, so that no call outlives its own.

    When a connection breaks, the calls that have not been answered are sent again on another where that is safe, and
    reported where it is not: nobody knows whether they have arrived. The first of them may be what broke it, and is
    sent twice at the most.

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
        self._waiting: deque[dict[str, Any]] = deque()
        self._sent: deque[tuple[dict[str, Any], int]] = deque()  # with the bytes of each
        self._bytes = 0
        self._retried: dict[str, Any] | None = None
        self._pipeline: Pipeline | None = None
        self._is_proven = False
        self._answered_at = -FRESH
        self._is_due = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def put(self, call: dict[str, Any]) -> None:
        """Send a call, after those before it."""
        self._waiting.append(call)
        if not self._is_due:
            # What else this turn of the loop has to send goes with it.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    async def send_now(self, call: dict[str, Any]) -> None:
        """Send a call at once, and drop those that wait: it makes them pointless.

        Raises
        ------
        Refused, OSError, StreamClosedError, ...
            When it has not been accepted.
        """
        self.close(f"{call['type']} comes first")
        await asyncio.wait({self._task}, timeout=1.0)
        pipeline = await self._open()
        try:
            pipeline.send(pipeline.encode(call))
            async with asyncio.timeout(CALL_TIMEOUT):
                error = _refusal(await pipeline.read_answer())
            if error is not None:
                raise error
        finally:
            pipeline.close()

    def close(self, why: str) -> None:
        """Close the queue; calls that wait, or are not answered yet, are reported."""
        self._task.cancel()
        if self._pipeline is not None:
            self._pipeline.close()
        sent, self._sent = self._sent, deque()
        for call, _ in sent:
            self._failed(call, ConnectionAbortedError(why))  # it may have arrived
        while self._waiting:
            self._failed(self._waiting.popleft(), Refused(0, why))

    def _go_on(self) -> None:
        self._is_due = False
        self._news.set()
        if self._sent:
            self._send()

    async def _run(self) -> None:
        while True:
            if not self._waiting and not self._sent:
                self._news.clear()
                self._is_proven = False
                await self._news.wait()
                self._is_proven = self._is_fresh()
                continue
            try:
                if not self._sent:
                    self._pipeline = await self._pipeline_for(self._waiting[0])
                    self._send()
                assert self._pipeline is not None
                await self._take_answers(self._pipeline)
            except BROKEN as error:
                self._broke(error)

    async def _take_answers(self, pipeline: Pipeline) -> None:
        """Take the answers to all calls that are on their way, and to those that are sent meanwhile."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CALL_TIMEOUT) as limit:
            while self._sent:
                error = _refusal(await pipeline.read_answer())
                call = self._answered()
                if error is not None:
                    self._failed(call, error)
                deadline, most = limit.when(), loop.time() + CALL_TIMEOUT
                if deadline is not None and most - deadline > CALL_TIMEOUT / 10:
                    limit.reschedule(most)

    def _answered(self) -> dict[str, Any]:
        """Count the first call that is on its way as answered, and send more."""
        call, size = self._sent.popleft()
        self._bytes -= size
        self._is_proven, self._retried = True, None
        self._answered_at = asyncio.get_running_loop().time()
        if len(self._sent) <= WINDOW // 2:
            self._send()  # many at once, which is one write
        return call

    def _is_fresh(self) -> bool:
        """Whether the kept connection has answered a moment ago, and its end has not come."""
        pipeline, now = self._pipeline, asyncio.get_running_loop().time()
        return pipeline is not None and now - self._answered_at < FRESH and not pipeline.has_ended

    async def _pipeline_for(self, call: Mapping[str, Any]) -> Pipeline:
        pipeline = self._pipeline
        if pipeline is not None and not pipeline.closed and (self._is_proven or _is_repeatable(call)):
            return pipeline
        if pipeline is not None:
            pipeline.close()
        pipeline = await self._open()
        self._is_proven = True
        return pipeline

    async def _open(self) -> Pipeline:
        async with asyncio.timeout(CALL_TIMEOUT):
            return await Pipeline.open(self._address, self._credentials, PATH, self._headers)

    def _send(self) -> None:
        """Send what may be on its way with the calls that are."""
        pipeline = self._pipeline
        if pipeline is None or pipeline.closed:
            return  # who reads hears of it
        requests = []
        while self._waiting and len(self._sent) < WINDOW and self._bytes < WINDOW_BYTES:
            if not (self._is_proven or _is_repeatable(self._waiting[0])):
                break
            call = self._waiting.popleft()
            requests.append(pipeline.encode(call))
            self._sent.append((call, len(requests[-1])))
            self._bytes += len(requests[-1])
        if requests:
            pipeline.send(b"".join(requests))

    def _broke(self, error: BaseException) -> None:
        """Report what may have been carried out or not; the rest waits again, in its order."""
        # Also when the time is over: the answer may come yet, and is not the next call's.
        if self._pipeline is not None:
            self._pipeline.close()
        sent, self._sent = [call for call, _ in self._sent], deque()
        self._bytes, self._is_proven = 0, False
        if not sent:
            self._failed(self._waiting.popleft(), error)  # there was no connection for it
            return
        first = sent[0]
        again: list[dict[str, Any]] = []
        lost: list[dict[str, Any]] = []
        is_over = isinstance(error, TimeoutError) or first is self._retried
        for call in sent:
            may_come_twice = _is_repeatable(call) and not (call is first and is_over)
            (again if may_come_twice else lost).append(call)
        self._retried = first
        self._waiting.extendleft(reversed(again))
        for call in lost:
            self._failed(call, error)


def _refusal(answer: Response) -> Refused | None:
    return None if 200 <= answer.code < 300 else Refused(answer.code, answer.text)


def _is_repeatable(call: Mapping[str, Any]) -> bool:
    return REPEATABLE.get(call["type"], False)
