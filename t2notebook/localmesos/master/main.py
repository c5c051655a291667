"""The master's process: the state machine at a port, with a clock."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..common import link, processes
from ..common.ids import COMING_HEADER
from ..common.link import Json, Link
from ..common.record_log import Checkpoint
from ..http import http1, recordio
from ..http.server import Answer, EventStream, HttpServer, Takeover
from ..v1 import requests
from . import http, validation
from .agent_links import AgentLinks
from .authentication import Authenticator
from .fault_injection import MasterFaults
from .leadership import Leadership
from .master import Master
from .state import HEARTBEAT, HEARTBEAT_SECONDS, CallError, EndStream, MasterState, Save, ToStream

if TYPE_CHECKING:
    from ..common import zookeeper

log = logging.getLogger(__name__)

#: Who has started or found a cluster that nobody uses has so long to subscribe before it counts as idle.
SUBSCRIBE_SECONDS = 20.0


@dataclass(frozen=True)
class MasterOptions:
    """Settings of a master.

    Attributes
    ----------
    idle
        Seconds without any framework after which everything ends; None for never.
    agent_timeout
        Seconds of an agent's silence after which it is unreachable.
    allocator, weights
        The allocator's policy, and its weights by role.
    credentials
        Secrets by principal; None asks nobody who he is.
    zk, zk_session_timeout
        The ZooKeeper (zk://...) that decides who leads; None: this master does.
    """

    ip: str
    port: int
    secret: str
    work_dir: str
    idle: float | None = None
    agent_timeout: float = 5.0
    allocator: str = "drf"
    weights: dict[str, float] = field(default_factory=dict)
    credentials: dict[str, str] | None = None
    zk: str | None = None
    zk_session_timeout: float = 10.0


class MasterProcess:
    """Everything of the master that does I/O."""

    def __init__(self, options: MasterOptions) -> None:
        self.options = options
        state = self.state = MasterState(
            options.ip,
            options.port,
            agent_timeout=options.agent_timeout,
            policy=options.allocator,
            weights=options.weights,
        )
        self.master = Master(state)
        self.views = http.MasterViews(state, options.work_dir)
        self._streams: dict[str, EventStream] = {}
        self._agent_links = AgentLinks()
        self._flushing = False
        where = f"{options.ip}:{options.port}"
        alone = options.zk is None
        self._authenticator = Authenticator(options.credentials)
        self._leadership = Leadership(where if alone else None, elected=alone)
        self._registry: Checkpoint | None = None
        self._observer: zookeeper.Observer | None = None
        self.exit_code = 0
        self._heartbeats: dict[str, asyncio.TimerHandle] = {}
        self.faults = MasterFaults(state, self._agent_links, self._drain)
        self.done = asyncio.Event()
        self._awaited_until = 0.0

    async def run(self, listening: socket.socket) -> None:
        """Serve until idle or told to stop."""
        loop = asyncio.get_running_loop()
        server = HttpServer(self.handle)
        await server.start(listening)
        if self.options.zk is None:
            self._lead()
        else:
            self._contend(self.options.zk)
        ticker = loop.create_task(self._tick())
        await self.done.wait()
        ticker.cancel()
        server.stop()
        if self._observer is not None:
            await asyncio.to_thread(self._observer.stop)

    # Leading

    def _lead(self) -> None:
        """Take over: from the registry, and from what the agents will tell."""
        now = asyncio.get_running_loop().time()
        self._leadership.elected = True
        self.state.idle_since = now
        self._await_framework()
        # Not earlier: until now it was another's to write.
        self._registry = Checkpoint(os.path.join(self.options.work_dir, "registry.jsonl"))
        self.master.agents.recover(now, {key[0]: record for key, record in self._registry.under("agent")})

    def _contend(self, uri: str) -> None:
        from ..common import zookeeper

        self._observer = zookeeper.Observer(
            uri,
            self._leader_changed,
            lambda: self._depose("the session with ZooKeeper is over"),
            info=self.state.info,
            timeout=self.options.zk_session_timeout,
        )

    def _leader_changed(self, node: str | None, info: Json | None) -> None:
        assert self._observer is not None
        self._leadership.leader = None if info is None else f"{info['hostname']}:{info['port']}"
        log.info("leader: %s", self._leadership.leader)
        if node is not None and node == self._observer.node:
            self._lead()
        elif self._leadership.elected:
            self._depose("another master leads")

    def _depose(self, why: str) -> None:
        """End, as Mesos's master does: whoever was told by this one must ask the next."""
        log.error("%s", why)
        self.exit_code = 1
        self.done.set()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            if not self._leadership.elected:
                continue
            now = loop.time()
            self.master.tick(now)
            self._drain()
            if self._registry is not None:
                self._registry.mend()
            idle, since = self.options.idle, self.state.idle_since
            is_awaited = now < self._awaited_until
            if idle is not None and since is not None and now - since >= idle and not is_awaited:
                log.info("idle for %.0f s", idle)
                self.done.set()

    def _await_framework(self) -> None:
        """Give whoever has started or just found this cluster the time to subscribe."""
        self._awaited_until = asyncio.get_running_loop().time() + SUBSCRIBE_SECONDS

    # HTTP

    def handle(self, request: http1.Request) -> Answer:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        if path.startswith("/master/"):
            path = path[len("/master") :]
        refusal = self._authenticator.refuse(request, path) or self._leadership.redirect(request, path)
        if refusal is not None:
            return refusal
        if COMING_HEADER.lower() in request.headers:
            if self.done.is_set():
                return http1.text(503, "503 Service Unavailable.")
            self._await_framework()
        try:
            if path == "/api/v1/scheduler" or path.startswith("/api/v1/scheduler/"):
                return self._scheduler(request)
            if path == link.PATH:
                return self._link(request)
            return self.views.handle(request, path, self._teardown, self._listen)
        except requests.Refused as refused:
            return refused.response
        except CallError as error:
            return http1.text(error.status, str(error))

    def _scheduler(self, request: http1.Request) -> Answer:
        call = requests.read(request, "scheduler.Call", "scheduler::Call", validation.scheduler_call)
        now = asyncio.get_running_loop().time()
        stream_id = request.headers.get("mesos-stream-id")
        if call["type"] == "SUBSCRIBE":
            requests.check_accept(request)
            if stream_id is not None:
                raise CallError(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
            self._check_principal(request, call["subscribe"]["framework_info"], "scheduler::Call")
            return self._subscribe(now, call)
        known = self.state.frameworks.get(call["framework_id"]["value"])
        if known is not None:
            self._check_principal(request, known.info)
        framework = self.master.calls.authorize(call, stream_id)
        status = self.master.calls.handle(now, framework, call)
        self._drain()
        return http1.Response(status)

    def _check_principal(self, request: http1.Request, info: Json, who: str = "") -> None:
        """Check that a framework is its principal's; one that names none gets the one that asks."""
        principal = self._authenticator.principal(request)
        if principal is None or info.setdefault("principal", principal) == principal:
            return
        text = f"Authenticated principal '{principal}' does not match principal '{info['principal']}' "
        text += "set in `FrameworkInfo`"
        raise CallError(400, f"Failed to validate {who}: {text}" if who else text)

    def _subscribe(self, now: float, call: Json) -> EventStream:
        stream_id = str(uuid.uuid4())
        stream = EventStream([("Mesos-Stream-Id", stream_id), ("Content-Type", http1.JSON)])
        stream.on_close = lambda: self._stream_lost(stream_id)
        self._streams[stream_id] = stream
        self._awaited_until = 0.0
        self.master.subscribe(now, call, stream_id)
        self._drain()
        if stream_id in self._streams:
            self._beat_later(stream_id)
        return stream

    def _listen(self, subscribed: Json) -> EventStream:
        """Open an operator's event stream."""
        stream_id = str(uuid.uuid4())
        stream = EventStream([("Content-Type", http1.JSON)])

        def lost() -> None:
            self._streams.pop(stream_id, None)
            self.state.operators.discard(stream_id)
            self._stop_beat(stream_id)

        stream.on_close = lost
        self._streams[stream_id] = stream
        self.state.operators.add(stream_id)
        stream.send(recordio.encode_event({"type": "SUBSCRIBED", "subscribed": subscribed}))
        stream.send(recordio.encode_event(HEARTBEAT))
        self._beat_later(stream_id)
        return stream

    def _beat_later(self, stream_id: str) -> None:
        loop = asyncio.get_running_loop()
        self._heartbeats[stream_id] = loop.call_later(HEARTBEAT_SECONDS, self._beat, stream_id)

    def _beat(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.send(recordio.encode_event(HEARTBEAT))
            self._beat_later(stream_id)

    def _stream_lost(self, stream_id: str) -> None:
        self._streams.pop(stream_id, None)
        self._stop_beat(stream_id)
        self.master.disconnected(asyncio.get_running_loop().time(), stream_id)
        self._drain()

    def _stop_beat(self, stream_id: str) -> None:
        timer = self._heartbeats.pop(stream_id, None)
        if timer is not None:
            timer.cancel()

    def _teardown(self, framework_id: str) -> bool:
        framework = self.state.frameworks.get(framework_id)
        if framework is None:
            return False
        self.state.remove_framework(asyncio.get_running_loop().time(), framework)
        self._drain()
        return True

    def _drain(self) -> None:
        """Send what the state machine decided; one record is one chunk."""
        while self.state.out:
            outputs, self.state.out = self.state.out, []
            for output in outputs:
                if isinstance(output, ToStream):
                    stream = self._streams.get(output.stream_id)
                    if stream is not None:
                        stream.send(recordio.encode_event(output.event))
                elif isinstance(output, Save):
                    assert self._registry is not None
                    self._registry.put(("agent", output.agent_id), output.record)
                elif isinstance(output, EndStream):
                    stream = self._streams.pop(output.stream_id, None)
                    self._stop_beat(output.stream_id)
                    if stream is not None:
                        stream.close()
                else:
                    self._agent_links.send(output.link, output.message)
        if self._agent_links.waiting and not self._flushing:
            # At the end of this turn of the loop: one message for all that came in it.
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._agent_links.flush()

    # Agents

    def _link(self, request: http1.Request) -> Answer:
        given = request.headers.get(link.SECRET_HEADER.lower(), "")
        if not self._leadership.elected:
            return http1.text(503, "503 Service Unavailable.")
        if not hmac.compare_digest(given.encode(), self.options.secret.encode()):
            return http1.text(403, "403 Forbidden.")
        return Takeover(Link(self._agent_message, self._agent_lost))

    def _agent_message(self, peer: Link, message: Json) -> None:
        now = asyncio.get_running_loop().time()
        if message["op"] == "many":
            self._agents_say(now, peer, message["messages"])
        elif message["op"] == "ping":
            names = self._agent_links.names(peer)
            for name in names:
                self.master.agents.heard(now, name)
            if names:
                peer.send({"op": "pong"})
        else:
            self._agents_say(now, peer, [(None, message)])
        self._drain()

    def _agents_say(self, now: float, peer: Link, messages: Iterable[tuple[int | None, Json]]) -> None:
        fresh = [self._agent_says(now, peer, index, message) for index, message in messages]
        # Once for all: each agent changes the cluster's total, and so everybody's share of it.
        if agents := [agent_id for agent_id in fresh if agent_id is not None]:
            self.state.allocate(now, agents)

    def _agent_says(self, now: float, peer: Link, index: int | None, message: Json) -> str | None:
        """Handle an agent's message; give the agent's id if it registered."""
        name, op = self._agent_links.name(peer, index), message["op"]
        if name is None:
            if op != "register":
                if index is None:
                    peer.close()
                return None
            name = self._agent_links.introduce(peer, index, message["index"])
        if self._agent_links.silent(name):
            return None
        self.master.agents.heard(now, name)
        if op == "register":
            return self.master.agents.register(now, name, message)
        if op == "update":
            self.faults.update(name, message, lambda one: self.master.agents.update(one["agent_id"], one))
        elif op == "unregister":
            self.master.agents.unregistered(now, name)
        elif op == "executor_exited":
            ids = (message["agent_id"], message["framework_id"], message["executor_id"])
            self.master.agents.executor_exited(*ids, message["status"])
        elif op == "executor_message":
            ids = (message["agent_id"], message["framework_id"], message["executor_id"])
            self.master.agents.executor_message(*ids, message["data"])
        return None

    def _agent_lost(self, peer: Link) -> None:
        now = asyncio.get_running_loop().time()
        for name in self._agent_links.lost(peer):
            self.master.agents.disconnected(now, name)
        self._drain()


def main(
    options: MasterOptions,
    listening: socket.socket,
    watched: processes.Watched,
    faults: socket.socket | None = None,
) -> None:
    """Run the master in this (forked) process.

    Parameters
    ----------
    listening
        Its port.
    watched
        The reasons to end.
    faults
        The supervisor's channel for faults on demand.
    """
    processes.rarely_collect_garbage()

    async def run() -> int:
        process = MasterProcess(options)
        if faults is not None:
            process.faults.listen(faults)
        watched.stop_with(process.done)
        await process.run(listening)
        return process.exit_code

    code = asyncio.run(run())
    if code:
        os._exit(code)
