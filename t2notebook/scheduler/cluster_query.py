"""A question to the leading master: what its agents have, and what our roles may."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from ..mesos.transport import Connection
from .placement.cluster_inventory import Cluster, read_cluster

log = logging.getLogger(__name__)

TIMEOUT = 10.0


class ClusterQuery:
    """Asks a master what its agents have.

    Parameters
    ----------
    connect : callable
        Opens a connection to the leading master.
    roles : callable
        Returns the framework's roles.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], roles: Callable[[], Collection[str]]
    ) -> None:
        self._connect, self._roles = connect, roles
        self._flags: Any = None

    async def ask(self) -> Cluster | None:
        """Return what there is, or None if that cannot be had."""
        try:
            async with asyncio.timeout(TIMEOUT):
                slaves = await self._get("/slaves")
                # Of these two, what every master was always like is taken for granted if it does not tell.
                roles = await self._get("/roles")
                self._flags = self._flags or await self._get("/flags")
                left = slaves is None or slaves.get("slaves")
                metrics = None if left else await self._get("/metrics/snapshot")
            if slaves is not None:
                return read_cluster(slaves, self._roles(), roles, self._flags, metrics)
        except Exception as error:  # it is for an explanation only: no reason to trouble anybody
            log.info("the master does not say what its agents have: %s", error)
        return None

    async def _get(self, path: str) -> Any:
        """Return what the master answers, or None if it does not say."""
        connection = await self._connect()
        try:
            answer = await connection.get(path, {})
        finally:
            connection.close()
        if answer.code == 200:
            return json.loads(answer.body)
        log.info("%s: the master answered %d: %s", path, answer.code, answer.text)
        return None

    def forget(self) -> None:
        """Another master leads, or none: what the last one said is void."""
        self._flags = None
