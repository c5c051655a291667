"""The agent's process: the agent at a port, with its link, its launcher and its threads."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from t2notebook.localmesos import agent_views, calls, containers, http1, life, link, recordio, validation
from t2notebook.localmesos.agent import EXECUTOR_HEARTBEAT, Agent
from t2notebook.localmesos.containers import AgentPlace, User
from t2notebook.localmesos.fetcher import Cache, Fetcher, FetchError
from t2notebook.localmesos.link import Json, Link
from t2notebook.localmesos.resources import Resources
from t2notebook.localmesos.runs import ExecutorRun, ExecutorState
from t2notebook.localmesos.server import Answer, EventStream, HttpServer, listen

log = logging.getLogger(__name__)

PING_SECONDS = 1.0
MEMORY_SETTLES = 3.0
"""A task's end lowers its container's limit before its memory is back; so long the higher limit holds."""


@dataclass(frozen=True)
class AgentOptions:
    """What the supervisor tells an agent."""

    index: int
    ip: str
    master: tuple[str, int]
    secret: str
    work_dir: str
    resources: Resources
    attributes: list[tuple[str, str]] = field(default_factory=list)
    ping: float = PING_SECONDS
    registration_timeout: float = 60.0


class AgentProcess:
    """Everything of an agent that does I/O; the agent's `Runtime`."""

    def __init__(self, options: AgentOptions, channel: socket.socket) -> None:
        self.options = options
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._buffer = bytearray()
        self._link: Link | None = None
        self._port = 0
        self._agent: Agent | None = None
        self._views: agent_views.AgentViews | None = None
        self._heard = 0.0
        self._cache = Cache(os.path.join(options.work_dir, "fetch"))
        self._tasks: set[asyncio.Task[None]] = set()

    # Runtime

    def send(self, message: Json) -> None:
        if self._link is not None:
            self._link.send(message)

    def launch(self, request: Json) -> None:
        self._request(request)

    def signal(self, container_id: str, signum: int) -> None:
        self._request({"op": "signal", "id": container_id, "signal": signum})

    def destroy(self, container_id: str) -> None:
        self._request({"op": "destroy", "id": container_id})

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, call, *args)

    def now(self) -> float:
        return self._loop.time()

    def fetch(self, run: ExecutorRun, uris: list[Json], user: User) -> None:
        fetcher = Fetcher(run.directory, user, self._cache, lambda: run.destroyed)

        async def work() -> None:
            failure = None
            try:
                await asyncio.to_thread(fetcher.run, uris)
            except FetchError:
                failure = "exited with status 1"
            except Exception:
                log.exception("fetching for %s", run.container_id)
                failure = "exited with status 1"
            assert self._agent is not None
            self._agent.fetched(run, user, failure)

        self._keep(work())

    def _keep(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The launcher

    def _request(self, message: Json) -> None:
        self._channel.setblocking(True)
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.done.set()
        finally:
            self._channel.setblocking(False)

    def _launcher_readable(self) -> None:
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # Without its launcher an agent can start nothing and clean up nothing.
            self._loop.remove_reader(self._channel)
            self._sweep()
            self.done.set()
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            message = json.loads(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
            assert self._agent is not None
            if message["op"] == "started":
                self._agent.container_started(message["id"], message["pid"])
            elif message["op"] == "failed":
                self._agent.container_failed(message["id"], message["error"])
            else:
                self._agent.container_exited(message["id"], message["status"])

    def _sweep(self) -> None:
        """Kill what a dead launcher leaves: the leaders die with it, their sessions do not."""
        assert self._agent is not None
        leaders = {run.pid for f in self._agent.frameworks.values() for run in f.executors.values()}
        life.send([one.pid for one in life.table() if {one.session, one.group} & leaders], signal.SIGKILL)

    # The master

    async def run(self) -> None:
        """Serve until told to stop."""
        listening = listen(self.options.ip, 0)
        self._port = listening.getsockname()[1]
        server = HttpServer(self.handle)
        await server.start(listening)
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel, self._launcher_readable)
        self._keep(self._stay_connected())
        self._keep(self._every_second())
        await self.done.wait()
        for task in self._tasks:
            task.cancel()
        server.stop()
        if self._link is not None:
            self._link.close()
        # The launcher sweeps up when this end closes.
        self._channel.close()

    async def _stay_connected(self) -> None:
        wait = 0.01
        while True:
            lost = asyncio.Event()
            try:
                await link.connect(
                    self.options.master,
                    self.options.secret,
                    self._message,
                    lambda _, lost=lost: lost.set(),  # type: ignore[misc]
                    self._connected,
                )
                wait = 0.01
                await lost.wait()
            except OSError:
                pass
            self._link = None
            await asyncio.sleep(wait)
            wait = min(wait * 2, 1.0)

    def _connected(self, peer: Link) -> None:
        self._link = peer
        self._heard = self._loop.time()
        resources = self.options.resources
        attributes = [
            {"name": name, "type": "TEXT", "text": {"value": value}}
            for name, value in self.options.attributes
        ]
        order = ("cpus", "gpus", "mem", "disk", "ports")
        shown = sorted(resources.to_json(), key=lambda item: order.index(item["name"]))
        info: Json = {"hostname": self.options.ip, "port": self._port, "resources": shown}
        if attributes:
            info["attributes"] = attributes
        info["checkpoint"] = True
        message: Json = {
            "op": "register",
            "index": self.options.index,
            "pid": f"slave(1)@{self.options.ip}:{self._port}",
            "agent_id": None if self._agent is None else self._agent.place.id,
            "info": info,
        }
        if self._agent is not None:
            message |= self._agent.report()
        peer.send(message)
        self._info = info

    def _message(self, peer: Link, message: Json) -> None:
        self._heard = self._loop.time()
        if message["op"] == "registered":
            self._registered(message["agent_id"])
        elif message["op"] != "pong" and self._agent is not None:
            self._agent.message(message)

    def _registered(self, agent_id: str) -> None:
        if self._agent is None:
            place = AgentPlace(agent_id, self.options.ip, self._port, self.options.work_dir)
            info = {**self._info, "id": {"value": agent_id}}
            timeout = self.options.registration_timeout
            self._agent = Agent(place, info, self, registration_timeout=timeout)
            self._views = agent_views.AgentViews(self._agent, self.options)
        else:
            self._agent.registered()

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(self.options.ping)
            self.send({"op": "ping"})
            if self._link is not None and self._loop.time() - self._heard > 15 * self.options.ping:
                self._link.close()
            if self._agent is not None:
                self._agent.retry()
                for framework in list(self._agent.frameworks.values()):
                    for run in list(framework.executors.values()):
                        self._watch_memory(self._agent, run)

    def _watch_memory(self, agent: Agent, run: ExecutorRun) -> None:
        if run.pid is None or run.destroyed or not life.LINUX:
            return
        now = self._loop.time()
        current = run.resources.scalars.get("mem", 0) * 1024 * 1024 // 1000
        run.limits = [one for one in run.limits if now - one[0] < MEMORY_SETTLES] + [(now, current)]
        limit = max(one[1] for one in run.limits)
        if not limit:
            return
        used = containers.usage_bytes([run.pid, *life.descendants(run.pid)], limit)
        if used > limit:
            agent.exceeds_memory(run, limit, used)

    # HTTP

    def handle(self, request: http1.Request) -> Answer:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        if path.startswith("/slave(1)/"):
            path = path[len("/slave(1)") :]
        if self._agent is None or self._views is None:
            return http1.text(503, "Agent has not finished recovery")
        try:
            if path == "/api/v1/executor" or path.startswith("/api/v1/executor/"):
                return self._executor(self._agent, request)
            return self._views.handle(request, path)
        except calls.Refused as refusal:
            return refusal.response

    def _executor(self, agent: Agent, request: http1.Request) -> Answer:
        call = calls.read(request, "executor.Call", "Executor::Call", validation.executor_call)
        framework = agent.frameworks.get(call["framework_id"]["value"])
        if framework is None:
            return http1.text(400, "Framework cannot be found")
        run = framework.executors.get(call["executor_id"]["value"])
        if run is None or run.command:
            return http1.text(400, "Executor cannot be found")
        if call["type"] == "SUBSCRIBE":
            calls.check_accept(request)
            return self._subscribe(agent, run, call)
        if run.state is ExecutorState.REGISTERING:
            return http1.text(403, "Executor is not subscribed")
        if call["type"] == "UPDATE":
            agent.status(run, call["update"]["status"])
        elif call["type"] == "MESSAGE":
            agent.executor_message(run, call["message"]["data"])
        return http1.Response(202)

    def _subscribe(self, agent: Agent, run: ExecutorRun, call: Json) -> EventStream:
        stream = EventStream([("Content-Type", http1.JSON)])

        def lost() -> None:
            if run.stream is stream:
                run.stream = None

        def beat() -> None:
            if run.stream is stream:
                stream.send(recordio.encode_event({"type": "HEARTBEAT"}))
                self.later(EXECUTOR_HEARTBEAT, beat)

        stream.on_close = lost
        agent.subscribe(run, stream, call)
        self.later(EXECUTOR_HEARTBEAT, beat)
        return stream


def main(options: AgentOptions, channel: socket.socket, watched: life.Watched) -> None:
    """Run an agent in this (forked) process."""

    async def run() -> None:
        process = AgentProcess(options, channel)
        watched.stop_with(process.done)
        await process.run()
        # A fetch that hangs holds its thread for a minute, and nothing here needs a tidy end.
        os._exit(0)

    asyncio.run(run())
