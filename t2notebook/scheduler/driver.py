"""The scheduler driver: pymesos's calls and events over a transport that can neither block nor tear down.

pymesos builds the calls and tells the events apart. Its own I/O thread is not used: an exception in it tears
the framework down and interrupts the user's cell, its time-out is a day, and it never backs off. Here both
directions run on the session's event loop; a lost stream is subscribed again under the same framework id,
after a growing pause; and TEARDOWN is sent by `stop(teardown=True)` alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError

from ..worker.framing import FramingError
from . import _pymesos
from .transport import Address, Connection, Response

log = logging.getLogger(__name__)

PATH = "/api/v1/scheduler"
CONNECT_TIMEOUT = 10.0
CALL_TIMEOUT = 30.0
TEARDOWN_TIMEOUT = 5.0
BACKOFF_FIRST, BACKOFF_CAP = 0.25, 15.0
#: A stream that is silent for so many of its heartbeat intervals is dead (Mesos,
#: ``docs/scheduler-http-api.md``).
SILENT_HEARTBEATS = 5
_BROKEN = (OSError, StreamClosedError, HTTPInputError, FramingError, TimeoutError)


class Refused(Exception):
    """The master answered a call with an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"HTTP {code}: {text}")
        self.code = code


class Listener(Protocol):
    """What the driver tells. All is called on the event loop; an exception is logged and goes no further."""

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """The framework is (again) subscribed; `local_host` is our address on the way to the master."""

    def disconnected(self, why: str) -> None:
        """The stream is gone; the driver goes on trying."""

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Offers have come."""

    def rescinded(self, offer_id: str) -> None:
        """An offer is void."""

    def update(self, status: Mapping[str, Any]) -> None:
        """A task's status has changed."""

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """An executor says something; `data` is base64."""

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """An executor has ended."""

    def agent_lost(self, agent_id: str) -> None:
        """An agent is gone."""

    def error(self, message: str) -> None:
        """The master ended the framework; the driver has stopped."""

    def call_failed(self, call: Mapping[str, Any], why: str, certain: bool = True) -> None:
        """A call was not carried out; if not `certain`, it may have been."""


class Driver(_pymesos.load().MesosSchedulerDriver):  # type: ignore[misc]
    """A `MesosSchedulerDriver` for an event loop.

    Its calls (`acceptOffers`, `declineOffer`, `suppressOffers`, `acknowledgeStatusUpdate`, ...) return at
    once; they are sent in their order, and dropped with `Listener.call_failed` while the framework is not
    subscribed.

    Parameters
    ----------
    listener : Listener
    framework : dict
        FrameworkInfo; with an ``id`` it is a failover.
    master : str
        ``host:port`` or ``http://host:port``.
    suppressed_roles : callable
        Returns the roles to be suppressed by the next SUBSCRIBE.
    """

    def __init__(
        self,
        listener: Listener,
        framework: dict[str, Any],
        master: str,
        suppressed_roles: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        super().__init__(
            _Callbacks(listener), framework, master, use_addict=False, implicit_acknowledgements=False
        )
        self._listener = listener
        self._home = self._address = Address.parse(master)
        self._suppressed_roles = suppressed_roles
        self._calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._subscription: Connection | None = None
        self._caller: Connection | None = None
        self._mesos_stream_id: str | None = None
        self._heartbeat = 15.0
        self._last_event = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._is_subscribed = False
        self._fatal: str | None = None
        self._ending = False

    # What pymesos asks of its base class.

    @property
    def connected(self) -> bool:
        """Whether the framework is subscribed."""
        return self._is_subscribed

    @property
    def framework(self) -> dict[str, Any]:
        """FrameworkInfo as it was given: no capability and no time-out of pymesos's own."""
        return dict(self._framework)

    async def connect(self) -> Connection:
        """Open a connection of its own to the leading master, for questions; the caller closes it.

        Raises
        ------
        OSError
        """
        return await Connection.open(self._address, CONNECT_TIMEOUT)

    def _send(self, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self._calls.put_nowait(body)
        return {}

    # Calls that pymesos lacks or builds incompletely.

    def kill(self, task_id: str, agent_id: str = "", grace_seconds: float | None = None) -> None:
        """KILL a task, with its agent and a kill policy."""
        kill: dict[str, Any] = {"task_id": {"value": task_id}}
        if agent_id:
            kill["agent_id"] = {"value": agent_id}
        if grace_seconds is not None:
            kill["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_seconds * 1e9)}}
        self._call("KILL", kill=kill)

    def reconcile(self, tasks: Iterable[tuple[str, str]]) -> None:
        """RECONCILE ``(task id, agent id)`` pairs, or implicitly if there are none."""
        items = [
            {"task_id": {"value": task_id}, **({"agent_id": {"value": agent_id}} if agent_id else {})}
            for task_id, agent_id in tasks
        ]
        self._call("RECONCILE", reconcile={"tasks": items})

    def shutdown_executor(self, agent_id: str, executor_id: str) -> None:
        """SHUTDOWN an executor."""
        self._call(
            "SHUTDOWN", shutdown={"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}}
        )

    def _call(self, kind: str, **content: Any) -> None:
        if self._is_subscribed:
            self._send({"type": kind, "framework_id": {"value": self.framework_id}, **content})

    # Life.

    def start(self) -> None:
        """Subscribe, and go on until `stop`."""
        self._tasks = [
            asyncio.create_task(self._keep_subscribed()),
            asyncio.create_task(self._keep_calling()),
        ]

    async def stop(self, teardown: bool = False) -> None:
        """End the stream; with `teardown`, end the framework and everything it runs."""
        self._ending = True
        if teardown and self._is_subscribed:
            call = {"type": "TEARDOWN", "framework_id": {"value": self.framework_id}}
            try:
                async with asyncio.timeout(TEARDOWN_TIMEOUT):
                    await self._post(call)
            except (Refused, *_BROKEN) as error:
                log.warning("TEARDOWN failed: %s", error)
        self._is_subscribed = False
        pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            # A library may swallow a cancellation that meets the end of what it waits for: ask again.
            _, pending = await asyncio.wait(pending, timeout=1.0)
        self._close()

    def _close(self) -> None:
        for connection in (self._subscription, self._caller):
            if connection is not None:
                connection.close()
        self._subscription = self._caller = None

    # The event stream.

    async def _keep_subscribed(self) -> None:
        failures = 0
        while self._fatal is None:
            began = asyncio.get_running_loop().time()
            try:
                why = await self._subscribe_once()
            except _BROKEN as error:
                why = f"{self._address}: {_reason(error)}"
            if self._ending:
                return
            redirected = self._take_redirect(why)
            was_subscribed, self._is_subscribed = self._is_subscribed, False
            self._close()
            self._drop_calls(why)
            if self._fatal is not None:
                self._guard(self._listener.error, self._fatal)
                return
            if was_subscribed and asyncio.get_running_loop().time() - began > BACKOFF_CAP:
                failures = 0
            self._guard(self._listener.disconnected, why)
            if redirected and failures < 3:
                failures += 1
                continue
            failures += 1
            if failures % 2:
                self._address = self._home
            log.warning("not subscribed: %s; next try soon", why)
            pause = min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** min(failures, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _subscribe_once(self) -> str:
        connection = self._subscription = await Connection.open(self._address, CONNECT_TIMEOUT)
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": self.framework}}
        if suppressed := sorted(self._suppressed_roles()):
            call["subscribe"]["suppressed_roles"] = suppressed
        if self.framework_id:
            call["framework_id"] = {"value": self.framework_id}
        self._heartbeat = 15.0
        watchdog = asyncio.create_task(self._watch(connection))
        try:
            answer = await connection.stream(PATH, call, {}, self._on_headers, self._on_record)
        finally:
            watchdog.cancel()
        if answer.code == 200:
            return f"{self._address} ended the event stream"
        if answer.code == 307:
            return f"redirect {answer.headers.get('Location', '')}"
        if answer.code in (400, 401, 403, 406, 415):
            self._fatal = (
                f"the master {self._address} refused the framework (HTTP {answer.code}): {answer.text}"
            )
        return f"{self._address} answered {answer.code}: {answer.text}"

    def _take_redirect(self, why: str) -> bool:
        kind, _, location = why.partition(" ")
        target = urlsplit(location)
        if kind != "redirect" or not target.netloc:
            return False
        self._address = Address.parse(target.netloc)
        return True

    async def _watch(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._last_event = loop.time()
        while True:
            limit = SILENT_HEARTBEATS * self._heartbeat
            # The interval is known only once SUBSCRIBED has come, so no sleep may outlast it by much.
            await asyncio.sleep(min(1.0, max(0.05, self._last_event + limit - loop.time())))
            if loop.time() - self._last_event >= limit:
                log.warning("no event from %s for %.0f s: subscribing again", self._address, limit)
                connection.close()
                return

    def _on_headers(self, answer: Response) -> None:
        self._mesos_stream_id = answer.headers.get("Mesos-Stream-Id")

    def _on_record(self, record: bytes) -> None:
        self._last_event = asyncio.get_running_loop().time()
        event = json.loads(record)
        if event.get("type") == "SUBSCRIBED":
            self._heartbeat = float(event["subscribed"].get("heartbeat_interval_seconds", 15.0))
        self._guard(self.on_event, event)

    def on_subscribed(self, info: Mapping[str, Any]) -> None:
        """SUBSCRIBED: the framework id and the master are known."""
        self.framework_id = info["framework_id"]["value"]
        self._is_subscribed = True
        assert self._subscription is not None
        self._listener.subscribed(
            self.framework_id, info.get("master_info", {}), self._subscription.local_host
        )

    def on_failure(self, failure: Mapping[str, Any]) -> None:
        """FAILURE: of an executor, or of an agent; any field may be missing."""
        agent_id = failure.get("agent_id", {}).get("value", "")
        if "executor_id" in failure:
            self._listener.executor_lost(agent_id, failure["executor_id"]["value"], failure.get("status"))
        elif agent_id:
            self._listener.agent_lost(agent_id)

    def on_error(self, event: Mapping[str, Any]) -> None:
        """ERROR: the master has ended the framework; subscribing again is not for us to decide."""
        self._fatal = str(event.get("message", "unknown error"))

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            log.exception("a scheduler callback failed")

    # Calls.

    async def _keep_calling(self) -> None:
        while True:
            call = await self._calls.get()
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    await self._post(call)
            except (Refused, *_BROKEN) as error:
                log.warning("%s failed: %s", call["type"], _reason(error))
                certain = isinstance(error, Refused)
                self._guard(self._listener.call_failed, call, _reason(error), certain)

    def _drop_calls(self, why: str) -> None:
        while not self._calls.empty():
            self._guard(self._listener.call_failed, self._calls.get_nowait(), why)

    async def _post(self, call: dict[str, Any]) -> None:
        # A kept connection may have been dropped unseen. What may be repeated is then sent again on a new
        # one; an ACCEPT may not (its second arrival would drop the tasks of the first), so it gets a new one
        # at once.
        if call["type"] == "ACCEPT" and self._caller is not None:
            self._caller.close()
        kept = self._caller is not None and not self._caller.closed
        try:
            answer = await self._post_once(call)
        except _BROKEN:
            if self._caller is not None:
                self._caller.close()
            if not kept:
                raise
            answer = await self._post_once(call)
        if not 200 <= answer.code < 300:
            raise Refused(answer.code, answer.text)

    async def _post_once(self, call: dict[str, Any]) -> Response:
        if self._caller is None or self._caller.closed:
            self._caller = await Connection.open(self._address, CONNECT_TIMEOUT)
        headers = {"Mesos-Stream-Id": self._mesos_stream_id} if self._mesos_stream_id else {}
        return await self._caller.post(PATH, call, headers)


def _reason(error: BaseException) -> str:
    """Say what went wrong; a closed stream often knows more than that it is closed."""
    cause = getattr(error, "real_error", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


class _Callbacks(_pymesos.load().Scheduler):  # type: ignore[misc]
    """pymesos's callback interface, handed on to the listener in plain values."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def resourceOffers(self, driver: Any, offers: list[Mapping[str, Any]]) -> None:
        self._listener.offers(offers)

    def offerRescinded(self, driver: Any, offer_id: Mapping[str, Any]) -> None:
        self._listener.rescinded(offer_id["value"])

    def statusUpdate(self, driver: Any, status: Mapping[str, Any]) -> None:
        self._listener.update(status)

    def frameworkMessage(self, driver: Any, executor_id: Any, agent_id: Any, data: str) -> None:
        self._listener.message(agent_id["value"], executor_id["value"], data)

    def processHeartBeat(self, driver: Any) -> None:
        pass
