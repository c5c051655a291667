"""Finding and being the leading master through ZooKeeper, in the form that Mesos's clients detect.

Each master has an ephemeral, sequential node `json.info_NNNNNNNNNN` with its MasterInfo; the lowest leads. kazoo
runs threads of its own; whatever they find is handed to the process's loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

PREFIX = "json.info_"
SESSION_SECONDS = 10.0

CONNECT_SECONDS = 2.0
"""The longest that a server may take to accept a connection. (kazoo gives it a whole session's time, in which the
session can end.)"""

ATTEMPT_SECONDS = 1.0
"""Pause between attempts to reach the first server."""

log = logging.getLogger(__name__)


def parse(uri: str) -> tuple[str, str]:
    """Split `zk://host:port,host:port/path` into what kazoo wants: hosts and path.

    Raises
    ------
    ValueError
        It is not of this form.
    """
    match = re.fullmatch(r"zk://(?:[^@/]+@)?([^/@]+)(/.+)", uri)
    if match is None:
        raise ValueError(f"'{uri}' is not zk://host:port,host:port/path")
    return match[1], match[2].rstrip("/")


def servers_of(hosts: str) -> list[tuple[str, int]]:
    """Split `host:port,host:port`; a port that is not given is ZooKeeper's own, 2181."""
    found = []
    for one in hosts.split(","):
        host, colon, port = one.rpartition(":")
        found.append((host.strip("[]"), int(port)) if colon and port.isdigit() else (one.strip("[]"), 2181))
    return found


def wait_reachable(
    servers: list[tuple[str, int]], stopped: threading.Event, *, pause: float = ATTEMPT_SECONDS
) -> None:
    """Wait until one of several servers accepts a connection.

    Attempts are made side by side: one that began before its server was there may be held for tens of seconds by the
    resolver or by packets that nobody answered, when a new one would succeed at once.

    Parameters
    ----------
    servers
        Hosts and ports.
    stopped
        Ends the waiting.
    pause
        Seconds between attempts.
    """
    reached = threading.Event()

    def attempt(server: tuple[str, int]) -> None:
        try:
            socket.create_connection(server, timeout=CONNECT_SECONDS).close()
        except OSError:
            return
        reached.set()

    while not stopped.is_set():
        for server in servers:
            threading.Thread(target=attempt, args=(server,), daemon=True).start()
        if reached.wait(pause):
            return


class Observer:
    """Follows who leads, inside a running loop; with an info of one's own, contends as well.

    Parameters
    ----------
    on_leader
        Gets the leader's node and MasterInfo, or None twice, whenever that changes.
    on_lost
        Called once, when this process's session is over: others no longer see its node.
    info
        The MasterInfo of a master that wants to lead.
    """

    def __init__(
        self,
        uri: str,
        on_leader: Callable[[str | None, Json | None], None],
        on_lost: Callable[[], None],
        *,
        info: Json | None = None,
        timeout: float = SESSION_SECONDS,
    ) -> None:
        from kazoo.client import KazooClient, KazooState
        from kazoo.handlers.threading import SequentialThreadingHandler

        logging.getLogger("kazoo").setLevel(logging.WARNING)
        self._loop = asyncio.get_running_loop()
        self._states = KazooState
        self._on_leader, self._on_lost = on_leader, on_lost
        self._info = info
        self._timeout = timeout
        self._leader: str | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.node: str | None = None
        self._stopped = threading.Event()
        hosts, self._path = parse(uri)
        self._servers = servers_of(hosts)
        endless = {"max_tries": -1, "max_delay": 1.0}
        self._client = KazooClient(
            hosts,
            timeout=timeout,
            handler=_with_short_connects(SequentialThreadingHandler()),
            connection_retry=dict(endless),
            command_retry=dict(endless),
        )
        self._client.add_listener(self._state_changed)
        self._starting = self._loop.run_in_executor(None, self._start)

    def stop(self) -> None:
        """End the session, which removes the node at once."""
        self._on_leader = lambda *_: None
        self._on_lost = lambda: None
        self._stopped.set()
        self._client.stop()
        self._client.close()

    def _start(self) -> None:
        """Join in (in a thread: it lasts until there is a ZooKeeper)."""
        try:
            self._join()
        except Exception:
            log.exception("cannot join the election")
            self._loop.call_soon_threadsafe(self._lost)

    def _join(self) -> None:
        wait_reachable(self._servers, self._stopped)
        if self._stopped.is_set():
            return
        connected = self._client.start_async()
        while not connected.wait(0.1):
            if self._stopped.is_set():
                return
        self._client.retry(self._client.ensure_path, self._path)
        if self._info is not None:
            data = json.dumps(self._info, separators=(",", ":"), sort_keys=True).encode()
            path = f"{self._path}/{PREFIX}"
            node = self._client.create(path, data, ephemeral=True, sequence=True)
            self.node = node.rsplit("/", 1)[1]
        self._client.ChildrenWatch(self._path, self._children)

    def _children(self, children: list[str]) -> None:
        from kazoo.exceptions import NoNodeError

        nodes = sorted(one for one in children if one.startswith(PREFIX))
        for node in nodes:
            try:
                data, _ = self._client.get(f"{self._path}/{node}")
                self._tell(node, json.loads(data))
                return
            except NoNodeError:
                continue
            except ValueError:
                log.error("%s holds no JSON", node)
        self._tell(None, None)

    def _tell(self, node: str | None, info: Json | None) -> None:
        def tell() -> None:
            if node != self._leader:
                self._leader = node
                self._on_leader(node, info)

        self._loop.call_soon_threadsafe(tell)

    def _state_changed(self, state: str) -> None:
        self._loop.call_soon_threadsafe(self._note, state)

    def _note(self, state: str) -> None:
        """Count a session as lost after its time, for while ZooKeeper is away nobody says so."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if state == self._states.LOST:
            self._lost()
        elif state == self._states.SUSPENDED:
            self._expiry = self._loop.call_later(self._timeout, self._lost)

    def _lost(self) -> None:
        callback, self._on_lost = self._on_lost, lambda: None
        callback()


def _with_short_connects(handler: Any) -> Any:
    """Give a kazoo handler whose attempts to connect end after `CONNECT_SECONDS`."""
    create_connection = handler.create_connection

    def connect(*args: Any, **options: Any) -> Any:
        options["timeout"] = min(options.get("timeout", CONNECT_SECONDS), CONNECT_SECONDS)
        return create_connection(*args, **options)

    handler.create_connection = connect
    return handler
