"""An agent's connection to the leading master, which is opened again after growing pauses, and when it falls silent."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator

from ..common import link
from ..common.link import Json, Link
from . import registration
from .options import AgentOptions

log = logging.getLogger(__name__)

#: Pings without an answer after which a connection is given up.
SILENT_PINGS = 15


class MasterConnection:
    """The connection of an agent to whichever master leads.

    Parameters
    ----------
    options
        Name the master, or the ZooKeeper that knows who leads.
    registration_message
        Returns what a master is told first.
    on_message
        Gets every message but the answers to pings.
    """

    def __init__(
        self,
        options: AgentOptions,
        registration_message: Callable[[], Json],
        on_message: Callable[[Json], None],
    ) -> None:
        self._options = options
        self._registration_message, self._on_message = registration_message, on_message
        self._loop = asyncio.get_running_loop()
        self._master: tuple[str, int] | None = options.master if options.zk is None else None
        self._link: Link | None = None
        self._heard = 0.0

    def send(self, message: Json) -> None:
        """Send a message; without a connection it is lost."""
        if self._link is not None:
            self._link.send(message)

    def ping(self) -> None:
        """Ask whether the master is there, and give up a connection on which nothing has come for long."""
        self.send({"op": "ping"})
        if self._link is not None and self._loop.time() - self._heard > SILENT_PINGS * self._options.ping:
            self._link.close()

    def close(self) -> None:
        """Close it; who stays connected opens another."""
        if self._link is not None:
            self._link.close()

    async def stay(self) -> None:
        """Be connected, again and again."""
        if self._options.zk is not None:
            self._detect(self._options.zk)
        asked, pauses = self._master, self._pauses()
        while True:
            lost = asyncio.Event()
            if self._master is None:
                await asyncio.sleep(0.05)
                continue
            if self._master != asked:
                asked, pauses = self._master, self._pauses()
            await asyncio.sleep(next(pauses))
            if self._master != asked:
                continue
            began = self._loop.time()
            try:
                await link.connect(
                    self._master,
                    self._options.secret,
                    self._message,
                    lambda _, lost=lost: lost.set(),  # type: ignore[misc]
                    self._connected,
                )
                await lost.wait()
            except OSError:
                pass
            self._link = None
            # A master that takes the connection and refuses the agent is asked less and less often.
            if self._loop.time() - began > 1.0:
                pauses = self._pauses()

    def _detect(self, uri: str) -> None:
        from ..common import zookeeper

        def changed(node: str | None, info: Json | None) -> None:
            log.info("leader: %s %s", node, info)
            self._master = None if info is None else (info["hostname"], info["port"])
            if self._link is not None:
                self._link.close()

        zookeeper.Observer(uri, changed, lambda: None, timeout=self._options.zk_session_timeout)

    def _pauses(self) -> Iterator[float]:
        return registration.pauses(self._options.registration_backoff_factor, random.random)

    def _connected(self, peer: Link) -> None:
        self._link = peer
        self._heard = self._loop.time()
        peer.send(self._registration_message())

    def _message(self, peer: Link, message: Json) -> None:
        self._heard = self._loop.time()
        if message["op"] != "pong":
            self._on_message(message)
