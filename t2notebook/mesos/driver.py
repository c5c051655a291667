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
from typing import Any
from urllib.parse import urlsplit

from .call_queue import PATH, CallQueue, Refused
from .calls import Calls
from .credentials import ANONYMOUS, Credentials, explain, is_ours_to_mend, shown
from .detector import MasterDetector, find
from .listener import Callbacks, Listener
from .transport import BROKEN, Address, Connection, Response

log = logging.getLogger(__name__)

TEARDOWN_TIMEOUT = 5.0
BACKOFF_FIRST, BACKOFF_CAP = 0.25, 15.0
#: The cap while a living master sends us to a dead one: for about 9 s after the leader's end (seen on Mesos 1.12); and
#: while a master answers 503 with one of these texts (Mesos, ``src/master/http.cpp``): it is about to lead, or to
#: know who does.
BACKOFF_ELECTION = 2.0
#: The cap while nobody takes our connection: this share of the time for which that has lasted, from 2 to 15 s. A job
#: that was submitted before its master was up waits hardly longer than for the master; one that is gone costs little.
BACKOFF_SHARE = 0.125
ELECTING = ("No leader elected", "Master has not finished recovery")
#: Redirects that are followed at once, one after the other.
MAX_REDIRECTS = 3
#: Seconds without any event until SUBSCRIBED has told the master's own interval.
HEARTBEAT = 15.0
#: A stream that is silent for so many of its heartbeat intervals is dead (Mesos,
#: ``docs/scheduler-http-api.md``).
SILENT_HEARTBEATS = 5
#: Seconds after which it is said that a master has accepted our connection and is silent.
SILENT_AT_FIRST = 3.0
#: Answers to a call that mean that our stream is no longer one: another master leads, or this one has lost us.
NOT_SUBSCRIBED = (307, 403)
#: Answers to a first SUBSCRIBE that will not change by themselves.
FINAL = (400, 401, 403, 406, 415)


class Driver(Calls):
    """A `MesosSchedulerDriver` for an event loop.

    Its calls (`acceptOffers`, `declineOffer`, `suppressOffers`, `acknowledgeStatusUpdate`, ...) return at
    once; they are sent in their order, and dropped with `Listener.call_failed` while the framework is not
    subscribed.

    Parameters
    ----------
    listener : Listener
    framework : dict
        FrameworkInfo; with an ``id`` it is a failover.
    master : str or MasterDetector
        ``host:port``, ``http(s)://host:port``, ``zk://...``; or a detector, which whoever gives it also stops.
    suppressed_roles : callable
        Returns the roles to be suppressed by the next SUBSCRIBE.
    credentials : Credentials
        The framework's principal and secret, and the certificates that it trusts.
    """

    def __init__(
        self,
        listener: Listener,
        framework: dict[str, Any],
        master: str | MasterDetector,
        suppressed_roles: Callable[[], Iterable[str]] = tuple,
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        super().__init__(
            Callbacks(listener),
            framework,
            str(master),
            use_addict=False,
            implicit_acknowledgements=False,
            failover=True,
        )
        self._listener = listener
        self._masters = find(master) if isinstance(master, str) else master
        self._own_masters = isinstance(master, str)
        self._forget_masters: Callable[[], None] = lambda: None
        self._credentials = credentials
        self._address: Address | None = None
        self._redirect: Address | None = None
        self._known: Address | None = None
        self._suppressed_roles = suppressed_roles
        self._subscription: Connection | None = None
        self._caller: CallQueue | None = None
        self._mesos_stream_id: str | None = None
        self._heartbeat = HEARTBEAT
        self._last_event = 0.0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._fatal: str | None = None
        self._parting = ""
        self._ending = False

    @property
    def credentials(self) -> Credentials:
        """The credentials; requests for agents' files need them, too."""
        return self._credentials

    @property
    def leader(self) -> str:
        """The master that we are, or were last, subscribed at; empty before the first."""
        return "" if self._address is None else str(self._address)

    # What pymesos asks of its base class.

    @property
    def connected(self) -> bool:
        """Whether the framework is subscribed."""
        return self._caller is not None or self._is_building

    @property
    def framework(self) -> dict[str, Any]:
        """FrameworkInfo as it was given: no capability and no time-out of pymesos's own."""
        return dict(self._framework)

    async def connect(self) -> Connection:
        """Open a connection of its own to the leading master, for questions; the caller closes it.

        Raises
        ------
        OSError
            Also when no master is known.
        """
        if self._address is None:
            raise ConnectionError("no master is known")
        return await Connection.open(self._address, self._credentials)

    def _send(self, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        if self._caller is not None:
            self._caller.put(body)
        else:
            asyncio.get_running_loop().call_soon(self._call_failed, body, Refused(0, "not subscribed"))
        return {}

    # Life.

    def start(self) -> None:
        """Subscribe, and go on until `stop`."""
        self._forget_masters = self._masters.listen(self._masters_changed)
        self._task = asyncio.create_task(self._keep_subscribed())

    async def stop(self, teardown: bool = False) -> None:
        """End the stream; with `teardown`, end the framework and everything it runs."""
        self._ending = True
        if teardown and self._caller is not None:
            call = {"type": "TEARDOWN", "framework_id": {"value": self.framework_id}}
            try:
                async with asyncio.timeout(TEARDOWN_TIMEOUT):
                    await self._caller.send_now(call)
            except (Refused, *BROKEN) as error:
                log.warning("TEARDOWN failed: %s", explain(error))
        pending = {self._task} if self._task is not None else set()
        while pending:
            for task in pending:
                task.cancel()
            # A library may swallow a cancellation that meets the end of what it waits for: ask again.
            _, pending = await asyncio.wait(pending, timeout=1.0)
        self._close("the driver was stopped")
        self._forget_masters()
        if self._own_masters:
            await self._masters.stop()

    def abort(self) -> None:
        """Stop with TEARDOWN, as pymesos does; nothing here calls it."""
        raise NotImplementedError("await stop(), or stop(teardown=True) to end the framework")

    def _leave(self, subscription: Connection | None, why: str) -> None:
        """End a stream from our side, for a reason that is told; there may be a newer one already."""
        if subscription is not None and subscription is self._subscription and not subscription.closed:
            self._parting = why
            subscription.close()

    def _close(self, why: str) -> None:
        """Leave nothing of a subscription; its calls that have not been answered are reported."""
        caller, self._caller = self._caller, None
        if caller is not None:
            caller.close(why)
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = None

    # The event stream.

    async def _keep_subscribed(self) -> None:
        failures = redirects = 0
        lost_at = asyncio.get_running_loop().time()
        while True:
            self._address = self._redirect or await self._await_leader()
            self._news.clear()
            began = asyncio.get_running_loop().time()
            redirect: Address | None = None
            is_absent = False
            self._parting = ""
            try:
                why, redirect = await self._subscribe_once(self._address)
            except BROKEN as error:
                why = f"{shown(self._address)}: {self._parting or explain(error)}"
                is_absent = self._subscription is None
                if is_ours_to_mend(error) and not self.framework_id:
                    self._fatal = why
            if self._ending:
                return
            if self._masters.trouble:
                why = f"{why}; {self._masters.trouble}"
            was_subscribed = self._caller is not None
            self._close(self._fatal or why)
            if self._fatal is not None:
                self._guard(self._listener.error, self._fatal)
                return
            if was_subscribed:
                redirects = 0
                lost_at = asyncio.get_running_loop().time()
                if asyncio.get_running_loop().time() - began > BACKOFF_CAP:
                    failures = 0
            # A redirect may lead to a master that is dead by now; who sent us there is asked again.
            was_redirected, self._redirect = self._redirect is not None, redirect
            is_followed = redirect is not None and redirects < MAX_REDIRECTS
            if was_subscribed or not is_followed:
                self._guard(self._listener.disconnected, why)
            if is_followed:
                redirects += 1
                continue
            self._redirect, redirects = None, 0
            failures += 1
            log.warning("not subscribed: %s; next try soon", why)
            is_electing = was_redirected or redirect is not None or any(text in why for text in ELECTING)
            cap = BACKOFF_ELECTION if is_electing else BACKOFF_CAP
            if is_absent:
                lasted = asyncio.get_running_loop().time() - lost_at
                cap = min(cap, max(BACKOFF_ELECTION, BACKOFF_SHARE * lasted))
            await self._pause(min(cap, BACKOFF_FIRST * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))

    async def _await_leader(self) -> Address:
        if self._masters.trouble:
            self._guard(self._listener.disconnected, self._masters.trouble)
        self._known = await self._masters.leader()
        return self._known

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless there is another leader before."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def _masters_changed(self) -> None:
        """Go to a new leader at once; stay with one that is alive while ZooKeeper does not know any."""
        known, before = self._masters.current, self._known
        self._known = known
        if known is None:
            if self._caller is None and self._masters.trouble:
                self._guard(self._listener.disconnected, self._masters.trouble)
            return
        if known == before:
            return
        self._news.set()
        if known != self._address:
            self._leave(self._subscription, f"another master leads, {shown(known)}")

    async def _subscribe_once(self, address: Address) -> tuple[str, Address | None]:
        """Stay subscribed as long as it goes; return why it ended, and where we were sent instead."""
        connection = self._subscription = await self._open(address)
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": self.framework}}
        if suppressed := sorted(self._suppressed_roles()):
            call["subscribe"]["suppressed_roles"] = suppressed
        if self.framework_id:
            call["framework_id"] = {"value": self.framework_id}
        self._heartbeat = HEARTBEAT
        watchdog = asyncio.create_task(self._watch(connection))
        try:
            answer = await connection.stream(PATH, call, {}, self._on_headers, self._on_record)
        finally:
            watchdog.cancel()
        if answer.code == 200:
            return f"{address} ended the event stream", None
        if answer.code == 307:
            location = answer.headers.get("Location", "")
            return f"{address} sends us to {location or 'nowhere'}", _target(location, address)
        why = self._explain_refusal(address, answer)
        # With an id there may be tasks that run: then whoever repairs the master's or our settings finds them.
        if answer.code in FINAL and not self.framework_id:
            self._fatal = why
        return why, None

    async def _open(self, address: Address) -> Connection:
        """Connect; a master that does not answer is not waited for when another leads meanwhile."""
        opening = asyncio.create_task(Connection.open(address, self._credentials))
        news = asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait({opening, news}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done() or self._masters.current in (address, None):
                return await opening
            raise ConnectionAbortedError("another master leads")
        finally:
            news.cancel()
            opening.cancel()

    def _explain_refusal(self, address: Address, answer: Response) -> str:
        principal = self._credentials.principal
        if answer.code != 401:
            refused = "refused the framework" if answer.code in FINAL else "answered"
            text = answer.text.splitlines()[0][:200] if answer.text else ""
            if text.lstrip().startswith("<"):
                text = "that is a web page; is it a Mesos master?"
            return f"the master {address} {refused} (HTTP {answer.code}): {text}"
        if not self._credentials.secret:
            return (
                f"the master {address} wants to know who we are; set principal and secret_file, "
                "or T2_PRINCIPAL and T2_SECRET"
            )
        return (
            f"the master {address} refuses principal {principal!r}: it does not know it, or the secret is wrong; "
            "see secret_file and T2_SECRET"
        )

    async def _watch(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._last_event = loop.time()
        told = False
        while True:
            limit = SILENT_HEARTBEATS * self._heartbeat
            # The interval is known only once SUBSCRIBED has come, so no sleep may outlast it by much.
            await asyncio.sleep(min(1.0, max(0.05, self._last_event + limit - loop.time())))
            if self._caller is None and not told and loop.time() - self._last_event >= SILENT_AT_FIRST:
                told = True
                why = f"{shown(connection.address)} accepts connections and does not answer"
                self._guard(self._listener.disconnected, why)
            if loop.time() - self._last_event >= limit:
                self._leave(connection, f"nothing was heard of it for {limit:g} s")
                return

    def _on_headers(self, answer: Response) -> None:
        self._mesos_stream_id = answer.headers.get("Mesos-Stream-Id")

    def _on_record(self, record: bytes) -> None:
        self._last_event = asyncio.get_running_loop().time()
        event = json.loads(record)
        if event.get("type") == "SUBSCRIBED":
            interval = float(event["subscribed"].get("heartbeat_interval_seconds", HEARTBEAT))
            self._heartbeat = interval if interval > 0 else HEARTBEAT
        self._guard(self.on_event, event)
        if self._fatal is not None:
            self._leave(self._subscription, self._fatal)

    def on_subscribed(self, info: Mapping[str, Any]) -> None:
        """SUBSCRIBED: the framework id and the master are known."""
        self.framework_id = info["framework_id"]["value"]
        assert self._subscription is not None
        if self._caller is None:
            self._caller = CallQueue(
                self._subscription.address, self._mesos_stream_id, self._credentials, self._call_failed
            )
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

    def _call_failed(self, call: Mapping[str, Any], error: BaseException) -> None:
        if self._ending:
            return
        why = explain(error)
        log.warning("%s failed: %s", call["type"], why)
        self._guard(self._listener.call_failed, call, why, isinstance(error, Refused))
        if isinstance(error, Refused) and error.code in NOT_SUBSCRIBED:
            self._leave(self._subscription, f"it takes no calls of ours ({why})")


def _target(location: str, of: Address) -> Address | None:
    """Return where a redirect leads (Mesos's begin with ``//``); never from TLS to plain HTTP."""
    parts = urlsplit(location)
    try:
        address = Address.parse(f"{parts.scheme and parts.scheme + ':'}//{parts.netloc}", tls=of.tls)
    except ValueError:
        return None
    return None if of.tls and not address.tls else address
