"""Asks the leading master what its agents have in all: not at once, and not often."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection

from .offers import Offer
from .totals import totals_of
from .transport import Connection

log = logging.getLogger(__name__)

#: A job that has waited for so long is worth the question, seconds.
ASK_AFTER = 1.0
#: The answer holds for so long, seconds: on a large cluster it is some megabytes.
FRESH = 10.0
TIMEOUT = 10.0


class Capacity:
    """What the agents have in all; one question at a time.

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
        self._totals: list[Offer] | None = None
        self._task: asyncio.Task[None] | None = None
        self.stale_at = 0.0

    def ask(self, now: float, then: Callable[[list[Offer] | None], None]) -> None:
        """Have `then` called with the totals, or with None if they cannot be had.

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
            then(self._totals)
        else:
            self.stale_at = now + FRESH
            self._task = asyncio.create_task(self._ask(then))

    async def _ask(self, then: Callable[[list[Offer] | None], None]) -> None:
        self._totals = None
        try:
            async with asyncio.timeout(TIMEOUT):
                connection = await self._connect()
                try:
                    answer = await connection.get("/slaves", {})
                finally:
                    connection.close()
            if answer.code == 200:
                self._totals = totals_of(json.loads(answer.body), self._roles())
            else:
                log.info("/slaves: the master answered %d: %s", answer.code, answer.text)
        except Exception as error:  # it is for an explanation only: no reason to trouble anybody
            log.info("the master does not say what its agents have: %s", error)
        then(self._totals)

    def forget(self) -> None:
        """Another master leads, or none: what the last one said is void."""
        self.stale_at = 0.0

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
