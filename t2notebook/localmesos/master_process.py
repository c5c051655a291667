"""The master's process: the state machine at a port, with a clock."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import uuid
from dataclasses import dataclass

from t2notebook.localmesos import calls, http1, life, link, master_views, recordio, validation
from t2notebook.localmesos.link import Json, Link
from t2notebook.localmesos.master import Master
from t2notebook.localmesos.master_state import HEARTBEAT, HEARTBEAT_SECONDS, CallError, EndStream, ToStream
from t2notebook.localmesos.server import Answer, EventStream, HttpServer, Takeover

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MasterOptions:
    """What the supervisor tells the master.

    Attributes
    ----------
    idle
        Seconds without any framework after which everything ends; None for never.
    agent_timeout
        Seconds of an agent's silence after which it is unreachable.
    """

    ip: str
    port: int
    secret: str
    work_dir: str
    idle: float | None = None
    agent_timeout: float = 5.0


class MasterProcess:
    """Everything of the master that does I/O."""

    def __init__(self, options: MasterOptions) -> None:
        self.options = options
        self.master = Master(options.ip, options.port, agent_timeout=options.agent_timeout)
        self.views = master_views.MasterViews(self.master, options.work_dir)
        self._streams: dict[str, EventStream] = {}
        self._links: dict[str, Link] = {}
        self._names: dict[Link, str] = {}
        self._heartbeats: dict[str, asyncio.TimerHandle] = {}
        self.done = asyncio.Event()

    async def run(self, listening: socket.socket) -> None:
        """Serve until idle or told to stop."""
        loop = asyncio.get_running_loop()
        server = HttpServer(self.handle)
        await server.start(listening)
        self.master.idle_since = loop.time()
        ticker = loop.create_task(self._tick())
        await self.done.wait()
        ticker.cancel()
        server.stop()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            now = loop.time()
            self.master.tick(now)
            self._drain()
            idle, since = self.options.idle, self.master.idle_since
            if idle is not None and since is not None and now - since >= idle:
                log.info("idle for %.0f s", idle)
                self.done.set()

    # HTTP

    def handle(self, request: http1.Request) -> Answer:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        if path.startswith("/master/"):
            path = path[len("/master") :]
        try:
            if path == "/api/v1/scheduler" or path.startswith("/api/v1/scheduler/"):
                return self._scheduler(request)
            if path == link.PATH:
                return self._link(request)
            return self.views.handle(request, path, self._teardown)
        except calls.Refused as refusal:
            return refusal.response
        except CallError as error:
            return http1.text(error.status, str(error))

    def _scheduler(self, request: http1.Request) -> Answer:
        call = calls.read(request, "scheduler.Call", "scheduler::Call", validation.scheduler_call)
        now = asyncio.get_running_loop().time()
        stream_id = request.headers.get("mesos-stream-id")
        if call["type"] == "SUBSCRIBE":
            calls.check_accept(request)
            if stream_id is not None:
                raise CallError(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
            return self._subscribe(now, call)
        framework = self.master.authorize(call, stream_id)
        status = self.master.call(now, framework, call)
        self._drain()
        return http1.Response(status)

    def _subscribe(self, now: float, call: Json) -> EventStream:
        stream_id = str(uuid.uuid4())
        stream = EventStream([("Mesos-Stream-Id", stream_id), ("Content-Type", http1.JSON)])
        stream.on_close = lambda: self._stream_lost(stream_id)
        self._streams[stream_id] = stream
        self.master.subscribe(now, call, stream_id)
        self._drain()
        if stream_id in self._streams:
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
        framework = self.master.frameworks.get(framework_id)
        if framework is None:
            return False
        self.master.remove_framework(asyncio.get_running_loop().time(), framework)
        self._drain()
        return True

    def _drain(self) -> None:
        """Send what the state machine decided; one record is one chunk."""
        while self.master.out:
            outputs, self.master.out = self.master.out, []
            for output in outputs:
                if isinstance(output, ToStream):
                    stream = self._streams.get(output.stream_id)
                    if stream is not None:
                        stream.send(recordio.encode_event(output.event))
                elif isinstance(output, EndStream):
                    stream = self._streams.pop(output.stream_id, None)
                    self._stop_beat(output.stream_id)
                    if stream is not None:
                        stream.close()
                else:
                    target = self._links.get(output.link)
                    if target is None:
                        continue
                    if output.message["op"] == "close":
                        target.close()
                    else:
                        target.send(output.message)

    # Agents

    def _link(self, request: http1.Request) -> Answer:
        given = request.headers.get(link.SECRET_HEADER.lower(), "")
        if not hmac.compare_digest(given.encode(), self.options.secret.encode()):
            return http1.text(403, "403 Forbidden.")
        return Takeover(Link(self._agent_message, self._agent_lost))

    def _agent_message(self, peer: Link, message: Json) -> None:
        now = asyncio.get_running_loop().time()
        name = self._names.get(peer)
        op = message["op"]
        if name is None:
            if op != "register":
                peer.close()
                return
            name = str(uuid.uuid4())
            self._names[peer], self._links[name] = name, peer
        self.master.agent_heard(now, name)
        if op == "register":
            self.master.register_agent(now, name, message)
        elif op == "update":
            self.master.update(message["agent_id"], message)
        elif op == "executor_exited":
            ids = (message["agent_id"], message["framework_id"], message["executor_id"])
            self.master.executor_exited(*ids, message["status"])
        elif op == "executor_message":
            ids = (message["agent_id"], message["framework_id"], message["executor_id"])
            self.master.executor_message(*ids, message["data"])
        elif op == "ping":
            peer.send({"op": "pong"})
        self._drain()

    def _agent_lost(self, peer: Link) -> None:
        name = self._names.pop(peer, None)
        if name is not None:
            del self._links[name]
            self.master.agent_disconnected(asyncio.get_running_loop().time(), name)
            self._drain()


def main(options: MasterOptions, listening: socket.socket, watched: life.Watched) -> None:
    """Run the master in this (forked) process."""

    async def run() -> None:
        process = MasterProcess(options)
        watched.stop_with(process.done)
        await process.run(listening)

    asyncio.run(run())
