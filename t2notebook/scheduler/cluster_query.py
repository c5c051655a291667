"""Asks the leading master what its agents have, and what our roles may: not at once, and not often."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from ..mesos.transport import Connection
from .placement.cluster_inventory import Cluster, read_cluster

log = logging.getLogger(__name__)

#: A job that has waited for so long is worth the question, seconds.
ASK_AFTER = 1.0
#: The answer holds for so long, seconds: on a large cluster it is some megabytes.
FRESH = 10.0
TIMEOUT = 10.0


class Capacity:
    """What the agents have; one question at a time.

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
        self._cluster: Cluster | None = None
        self._flags: Any = None
        self._task: asyncio.Task[None] | None = None
        self.stale_at = 0.0

    def ask(self, now: float, then: Callable[[Cluster | None], None]) -> None:
        """Have `then` called with what there is, or with None if that cannot be had.

        Parameters
        ----------
        now : float
            Seconds; an answer that is fresh enough is used again, at once.
        then : callable
            Not called after `close`, nor when a question is under way already.
        """
        if self._task is not None and not self._task.done():
            return
        if now < self.stale_at:
            then(self._cluster)
        else:
            self.stale_at = now + FRESH
            self._task = asyncio.create_task(self._ask(then))

    async def _ask(self, then: Callable[[Cluster | None], None]) -> None:
        self._cluster = None
        try:
            async with asyncio.timeout(TIMEOUT):
                slaves = await self._get("/slaves")
                # Of these two, what every master was always like is taken for granted if it does not tell.
                roles = await self._get("/roles")
                self._flags = self._flags or await self._get("/flags")
                left = slaves is None or slaves.get("slaves")
                metrics = None if left else await self._get("/metrics/snapshot")
            if slaves is not None:
                self._cluster = read_cluster(slaves, self._roles(), roles, self._flags, metrics)
        except Exception as error:  # it is for an explanation only: no reason to trouble anybody
            log.info("the master does not say what its agents have: %s", error)
        then(self._cluster)

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
        self.stale_at = 0.0
        self._flags = None

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
