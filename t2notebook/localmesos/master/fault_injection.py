"""The master's end of the fault channel: requests of the supervisor's that concern links, updates and offers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

from ..faults import faults
from .agent_links import AgentLinks
from .state import MasterState

Json = dict[str, Any]


class MasterFaults:
    """Puts faults in force.

    Parameters
    ----------
    state
        The master's.
    agent_links
        Its links to agents.
    changed
        Called when the master may have something to send.
    """

    def __init__(self, state: MasterState, agent_links: AgentLinks, changed: Callable[[], None]) -> None:
        self._state = state
        self._agent_links = agent_links
        self._changed = changed
        self._links = faults.LinkFaults()
        self._buffer = bytearray()

    def listen(self, channel: socket.socket) -> None:
        """Serve the supervisor (call inside the loop)."""
        channel.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(channel, self._readable, channel)

    def _readable(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            request = json.loads(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
            channel.sendall(json.dumps(self.request(request)).encode() + b"\n")

    def request(self, request: Json) -> Json:
        """Do what a checked request asks for; give the answer."""
        loop = asyncio.get_running_loop()
        if request["op"] == "rescind":
            index = faults.index_of(request["agent"]) if "agent" in request else None
            count = self._rescind(loop.time(), index)
            self._changed()
            return {"ok": True, "offers": count}
        self._links.add(loop.time(), request)
        self._agent_links.muted = set(self._links.dropped)
        if request["op"] == "heal":
            self._greet(faults.index_of(request["agent"]))
        elif request["op"] == "drop" and "seconds" in request:
            loop.call_later(request["seconds"] + 0.001, self._heal)
        return {"ok": True}

    def _heal(self) -> None:
        for index in self._links.healed(asyncio.get_running_loop().time()):
            self._agent_links.muted.discard(index)
            self._greet(index)

    def _greet(self, index: int) -> None:
        """Have an agent register anew: that settles what got lost."""
        self._agent_links.close(index)
        self._changed()

    def _rescind(self, now: float, index: int | None) -> int:
        before = len(self._state.offers)
        for agent in list(self._state.agents.values()):
            if index is None or (agent.link is not None and self._agent_links.index(agent.link) == index):
                self._state.rescind(now, agent)
        return before - len(self._state.offers)

    def update(self, name: str, message: Json, deliver: Callable[[Json], None]) -> None:
        """Deliver an agent's status update: at once and once, or as the faults have it.

        Parameters
        ----------
        name
            The agent's link.
        deliver
            Takes the message, each time that it is to be delivered.
        """
        index = self._agent_links.index(name)
        if not self._links or index is None:
            deliver(message)
            return

        def all_of_them() -> None:
            for _ in range(1 + self._links.times(index)):
                deliver(message)
            self._changed()

        delay = self._links.delay(index)
        if delay:
            asyncio.get_running_loop().call_later(delay, all_of_them)
        else:
            all_of_them()
