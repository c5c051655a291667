"""The simulator's process: thousands of simulated agents on one link to the master.

They share the link: a message "many" holds (agent's index, message) pairs, in both directions, and one ping
stands for all.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from ..common import link, processes
from ..common.link import Json, Link
from ..common.resources import Resources
from ..http import http1
from ..http.server import HttpServer, listen
from . import durations
from .agents import SimulatedAgents

log = logging.getLogger(__name__)

PING_SECONDS = 1.0
CHUNK = 200
"""Agents that register at once: offers of the first go out before the last is heard of."""


@dataclass(frozen=True)
class SimulatorOptions:
    """Settings of the simulator.

    Attributes
    ----------
    first
        The index of the first simulated agent in the cluster.
    duration
        A distribution as `durations.parse` reads it.
    """

    count: int
    first: int
    resources: Resources
    duration: str
    ip: str
    master: tuple[str, int]
    secret: str


class Simulator:
    """Everything of the simulated agents that does I/O."""

    def __init__(self, options: SimulatorOptions, port: int) -> None:
        self.options = options
        self.agents = SimulatedAgents(
            options.count,
            options.resources,
            durations.parse(options.duration),
            first=options.first,
            address=(options.ip, port),
        )
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until told to stop."""
        work = [self._loop.create_task(self._stay_connected()), self._loop.create_task(self._every_second())]
        await self.done.wait()
        for task in work:
            task.cancel()
        if self._link is not None:
            self._link.close()

    async def _stay_connected(self) -> None:
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
                await lost.wait()
            except OSError:
                pass
            self._link = None
            await asyncio.sleep(0.05)

    def _connected(self, peer: Link) -> None:
        self._link = peer
        pairs = list(self.agents.registrations())
        for start in range(0, len(pairs), CHUNK):
            peer.send({"op": "many", "messages": pairs[start : start + CHUNK]})

    def _message(self, peer: Link, message: Json) -> None:
        if message["op"] == "many":
            now = self._loop.time()
            for index, one in message["messages"]:
                self.agents.message(now, index, one)
            self._flush()

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self._link is not None:
                self._link.send({"op": "ping"})
            self.agents.retry(self._loop.time())
            self._flush()

    def _tick(self) -> None:
        self._timer = None
        self.agents.tick(self._loop.time())
        self._flush()

    def _flush(self) -> None:
        if self.agents.out:
            pairs, self.agents.out = self.agents.out, []
            if self._link is not None:
                self._link.send({"op": "many", "messages": pairs})
        due = self.agents.next_time()
        if due is not None and (self._timer is None or due < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._tick)


def main(options: SimulatorOptions, watched: processes.Watched) -> None:
    """Run the simulated agents in this (forked) process."""
    processes.rarely_collect_garbage()

    async def run() -> None:
        listening = listen(options.ip, 0)
        # Their sandboxes are empty, and there are none.
        server = HttpServer(lambda _: http1.not_found())
        await server.start(listening)
        simulator = Simulator(options, listening.getsockname()[1])
        watched.stop_with(simulator.done)
        await simulator.run()
        server.stop()

    asyncio.run(run())
