"""Finding and being the leading master through ZooKeeper, in the form that Mesos's clients detect.

Each master has an ephemeral, sequential node `json.info_NNNNNNNNNN` with its MasterInfo; the lowest leads. kazoo
runs threads of its own; whatever they find is handed to the process's loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

PREFIX = "json.info_"
SESSION_SECONDS = 10.0

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

        logging.getLogger("kazoo").setLevel(logging.WARNING)
        self._loop = asyncio.get_running_loop()
        self._states = KazooState
        self._on_leader, self._on_lost = on_leader, on_lost
        self._info = info
        self._timeout = timeout
        self._leader: str | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.node: str | None = None
        hosts, self._path = parse(uri)
        endless = {"max_tries": -1, "max_delay": 1.0}
        self._client = KazooClient(
            hosts, timeout=timeout, connection_retry=dict(endless), command_retry=dict(endless)
        )
        self._client.add_listener(self._state_changed)
        self._starting = self._loop.run_in_executor(None, self._start)

    def stop(self) -> None:
        """End the session, which removes the node at once."""
        self._on_leader = lambda *_: None
        self._on_lost = lambda: None
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
        self._client.start_async().wait()
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
