"""The agent's process: the agent at a port, with its link, its launcher and its threads."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from ..checks import probe
from ..common import processes
from ..common.link import Json
from ..common.record_log import Checkpoint
from ..http import http1
from ..http.server import Answer, HttpServer, listen
from ..v1 import requests
from . import http
from .agent import Agent
from .containerizer import sandbox
from .containerizer.docker.command_line import Engine
from .containerizer.docker.engine import EngineClient
from .containerizer.fetcher import Fetcher, FetchError
from .containerizer.fetcher_cache import Cache
from .containerizer.isolator import Isolator
from .containerizer.launcher_channel import LauncherChannel
from .containerizer.limits import Limits
from .containerizer.paths import AgentIdentity
from .executor_api import ExecutorApi
from .gc import Collector
from .master_connection import MasterConnection
from .options import AgentOptions
from .state import retention
from .state.model import ExecutorRun
from .state.runtime import Connecting, Fetching

log = logging.getLogger(__name__)


class AgentProcess:
    """Everything of an agent that does I/O; the agent's `Runtime`."""

    def __init__(self, options: AgentOptions, channel: socket.socket) -> None:
        self.options = options
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._launcher = LauncherChannel(channel, self._launcher_says, self._launcher_lost)
        try:
            os.makedirs(options.work_dir, exist_ok=True)
        except OSError as error:
            log.error("Failed to create work dir '%s': %s", options.work_dir, error.strerror)
        self._checkpoint = Checkpoint(os.path.join(options.work_dir, "meta", "agent.jsonl"))
        self.exit_code = 0
        self._master = MasterConnection(options, self._registration, self._master_says)
        self._port = 0
        self._agent: Agent | None = None
        self._views: http.AgentViews | None = None
        self._executors: ExecutorApi | None = None
        cache = os.path.join(options.work_dir, "fetch")
        self._cache = Cache(cache)
        self._tasks: set[asyncio.Task[None]] = set()
        self._isolator = Isolator(options.cgroups, options.owner, self._over_memory)
        log.info("isolation: %s %s", self._isolator.name, options.cgroups or "")
        self._engine = EngineClient(
            options.docker,
            options.owner,
            os.path.join(options.work_dir, "meta", "containers"),
            cfs=options.cgroups is not None and options.cgroups.cfs,
        )
        self._collector = Collector(
            options.work_dir,
            options.gc_delay,
            options.gc_disk_headroom,
            options.disk_watch_interval,
            lambda directory: self._agent is not None and self._agent.retention.lives_in(directory),
            lambda directory: None if self._agent is None else self._agent.retention.collected(directory),
        )

        # As Mesos's agent does: nobody knows any more what is in it.
        self._collector.drop(cache)

    # Runtime

    def send(self, message: Json) -> None:
        self._master.send(message)

    def launch(self, request: Json) -> None:
        if "engine" in request:
            directory = "/"
            if "end" in request:
                directory = self._engine.client_directory(request["id"])
                os.makedirs(directory, mode=0o700, exist_ok=True)
            env = {**os.environ, **request["env"]}
            self._launcher.send({**request, "cwd": directory, "env": env})
            return
        procs = self._isolator.procs_files(request["limited"])
        self._launcher.send({**request, "cgroups": procs} if procs else request)

    def signal(self, container_id: str, signum: int) -> None:
        self._launcher.send({"op": "signal", "id": container_id, "signal": signum})

    def destroy(self, container_id: str) -> None:
        self._launcher.send({"op": "destroy", "id": container_id})

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, call, *args)

    def now(self) -> float:
        return self._loop.time()

    def fetch(self, what: Fetching, done: Callable[[str | None], None]) -> None:
        fetcher = Fetcher(what.directory, what.user, self._cache, what.cancelled)

        async def work() -> None:
            failure = None
            try:
                await asyncio.to_thread(fetcher.run, what.uris)
            except FetchError as error:
                # Where the log could not be written, nobody would know why.
                failure = "exited with status 1" + (f": {error}" if fetcher.is_mute else "")
            except Exception as error:
                log.exception("fetching into %s", what.directory)
                failure = f"exited with status 1: {error!r}"
            done(failure)

        self._keep(work())

    def connect(self, where: Connecting, done: Callable[[int | bool | None], None]) -> None:
        async def work() -> None:
            done(await probe.connect(self.options.ip, where.port, where.path, where.scheme, where.timeout))

        self._keep(work())

    def has_engine(self) -> bool:
        return self._engine.program() is not None

    def provide_image(self, image: str, *, pull: bool, done: Callable[[str | None], None]) -> None:
        async def work() -> None:
            done(await self._engine.provide(image, pull=pull))

        self._keep(work())

    def engine(self) -> tuple[Engine, str]:
        return self._engine.engine, self._engine.owner

    def _is_engines(self, container_id: str) -> bool:
        run = None if self._agent is None else self._agent.state.containers.get(container_id)
        return run is not None and run.has_engine

    def limit(self, container_id: str, limits: Limits) -> None:
        if self._is_engines(container_id):
            self._engine.limit(container_id, limits)
        else:
            self._isolator.limit(container_id, limits)

    def over_memory(self, container_id: str) -> str | None:
        return self._engine.over_memory(container_id) or self._isolator.over_memory(container_id)

    def release(self, container_id: str) -> None:
        self._engine.release(container_id)
        self._isolator.release(container_id)

    def schedule_gc(self, directory: str) -> None:
        self._collector.add(directory, fresh=True)

    def unschedule_gc(self, directory: str) -> None:
        self._collector.discard(directory)

    def _keep(self, work: Any, *, vital: bool = False) -> None:
        """Run a coroutine; what it fails with is told. An agent without one of its `vital` parts ends."""

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%r", work, exc_info=error)
                if vital:
                    self.exit_code = 1
                    self.done.set()

        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(over)

    # The launcher

    def _launcher_says(self, message: Json) -> None:
        if self._agent is None:
            return
        if message["op"] == "started":
            self._agent.container_started(message["id"], message["pid"])
        elif message["op"] == "failed":
            self._agent.container_failed(message["id"], message["error"])
        else:
            self._engine.ended(message["id"], message["status"], message.get("printed", ""))
            self._agent.container_exited(message["id"], message["status"], message.get("error"))

    def _launcher_lost(self) -> None:
        """End: without its launcher an agent can start nothing and clean up nothing."""
        if self._agent is not None:
            self._sweep(self._agent)
            runs = self._agent.state.containers.values()
            self._engine.remove_now(run.container_id for run in runs if run.has_engine)
        self.exit_code = 1
        self.done.set()

    @staticmethod
    def _sweep(agent: Agent) -> None:
        """Kill what a dead launcher leaves: the leaders die with it, their sessions do not."""
        leaders = {pid for run in agent.state.executors() for pid in run.leaders}
        processes.send(
            [one.pid for one in processes.table() if {one.session, one.group} & leaders], signal.SIGKILL
        )

    # The master

    async def run(self) -> None:
        """Serve until told to stop."""
        known = self._checkpoint.get("agent") or {}
        listening = _listen(self.options.ip, known.get("port", self.options.port))
        self._port = listening.getsockname()[1]
        server = HttpServer(self.handle)
        await server.start(listening)
        attached = self._launcher.attach()
        self._keep(self._start(known.get("id"), attached), vital=True)
        await self.done.wait()
        for task in self._tasks:
            task.cancel()
        server.stop()
        self._master.close()
        # The launcher sweeps up when this end (and the supervisor's) closes.
        self._launcher.close()

    async def _start(self, agent_id: str | None, attached: Awaitable[Json]) -> None:
        """Recover what an earlier agent left, if there was one, and only then turn to the master."""
        if agent_id is not None:
            containers_there = await attached
            agent = self._become(agent_id)
            agent.recover(containers_there["living"], containers_there["ended"])
            self._isolator.keep_only(agent.container_ids)
            self._look_for_garbage(agent)
        if self._engine.has_run_something():
            self._keep(self._engine.sweep())
        self._keep(self._every_second(), vital=True)
        self._keep(self._collector.watch())
        while self._agent is not None and self._agent.state.reconnecting:
            await asyncio.sleep(0.02)
        self._keep(self._master.stay(), vital=True)

    def _become(self, agent_id: str) -> Agent:
        identity = AgentIdentity(agent_id, self.options.ip, self._port, self.options.work_dir)
        info = {**self._info(), "id": {"value": agent_id}}
        timeout = self.options.registration_timeout
        agent = self._agent = Agent(
            identity, info, self, registration_timeout=timeout, checkpoint=self._checkpoint
        )
        self._checkpoint.put(("agent",), {"id": agent_id, "port": self._port})
        try:
            sandbox.point_latest(identity)
        except OSError as error:
            # Whoever looks for it looks in vain; what cannot do without the directory says so itself.
            log.error("cannot point slaves/latest at %s: %s", agent_id, error.strerror)
        self._views = http.AgentViews(agent.state, self.options, self._isolator.name)
        self._executors = ExecutorApi(agent, self.later)
        return agent

    def _look_for_garbage(self, agent: Agent) -> None:
        """Note what earlier agents left; its age counts from its last change, that of other agents' from now."""
        others, own = retention.directories(self.options.work_dir, agent.state.identity.id)
        for directory in others:
            self._collector.add(directory, fresh=True)
        for directory in own:
            if not agent.retention.lives_in(directory):
                self._collector.add(directory, fresh=False)

    def unregister(self) -> None:
        """Leave the cluster for good, at SIGUSR1 as Mesos's agent does; what runs ends."""
        self.send({"op": "unregister"})
        self._checkpoint.clear()
        self.done.set()

    def _info(self) -> Json:
        """Give the AgentInfo without an id."""
        resources = self.options.resources
        order = ("cpus", "gpus", "mem", "disk", "ports")
        shown = sorted(resources.to_json(), key=lambda item: order.index(item["name"]))
        info: Json = {
            "hostname": self.options.hostname or self.options.ip,
            "port": self._port,
            "resources": shown,
        }
        if self.options.attributes:
            info["attributes"] = self.options.attributes
        return {**info, "checkpoint": True}

    def _registration(self) -> Json:
        """Give what a master is told first."""
        message: Json = {
            "op": "register",
            "index": self.options.index,
            "pid": f"slave(1)@{self.options.ip}:{self._port}",
            "agent_id": None if self._agent is None else self._agent.state.identity.id,
            "info": self._info(),
        }
        if self._agent is not None:
            message |= self._agent.report()
        return message

    def _master_says(self, message: Json) -> None:
        if message["op"] == "registered":
            self._registered(message["agent_id"])
        elif self._agent is not None:
            self._agent.message(message)

    def _registered(self, agent_id: str) -> None:
        if self._agent is None:
            self._look_for_garbage(self._become(agent_id))
        else:
            self._agent.updates.resend()

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(self.options.ping)
            self._master.ping()
            self._checkpoint.mend()
            if self._agent is not None:
                self._agent.updates.retry()
                for run in list(self._agent.state.executors()):
                    self._check_memory(run)

    def _check_memory(self, run: ExecutorRun) -> None:
        try:
            if not run.destroyed and run.leaders and not run.has_engine:
                self._isolator.check_memory(run.container_id, run.leaders)
        except OSError:
            log.exception("looking at container %s", run.container_id)

    def _over_memory(self, container_id: str, text: str) -> None:
        if self._agent is not None:
            self._agent.over_memory(container_id, text)

    # HTTP

    def handle(self, request: http1.Request) -> Answer:
        """Answer one request."""
        path = request.path.rstrip("/") or "/"
        if path.startswith("/slave(1)/"):
            path = path[len("/slave(1)") :]
        if self._views is None or self._executors is None:
            return http1.text(503, "Agent has not finished recovery")
        try:
            if path == "/api/v1/executor" or path.startswith("/api/v1/executor/"):
                return self._executors.handle(request)
            return self._views.handle(request, path)
        except requests.Refused as refusal:
            return refusal.response


def _listen(ip: str, port: int) -> socket.socket:
    """Listen where executors look for this agent, or, if that place is taken, anywhere."""
    if port:
        try:
            return listen(ip, port)
        except OSError as error:
            log.warning("port %d: %s; executors will not find their agent", port, error.strerror)
    return listen(ip, 0)


def main(options: AgentOptions, channel: socket.socket, watched: processes.Watched) -> None:
    """Run an agent in this (forked) process.

    Parameters
    ----------
    channel
        Its end of the launcher's socket pair.
    watched
        The reasons to end.
    """

    async def run() -> None:
        process = AgentProcess(options, channel)
        watched.stop_with(process.done)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, process.unregister)
        await process.run()
        # A fetch that hangs holds its thread for a minute, and nothing here needs a tidy end.
        os._exit(process.exit_code)

    asyncio.run(run())
