"""Stands between driver and scheduler while the journal may refuse a write: what could not be written down is
kept and done when there is room again; until then nothing is acknowledged and nothing launched.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..model.errors import JournalError, NotOwner
from .state import Scheduler

log = logging.getLogger(__name__)

#: Seconds between two attempts to write.
PAUSE = 0.5
#: Offers that come meanwhile are wanted again soon.
REFUSE_SECONDS = 5.0


class Runner:
    """The `Listener` of a driver, in front of its scheduler.

    Parameters
    ----------
    scheduler : Scheduler
    on_stall : callable
        Called with why nothing can be written, and with an empty string when it can be again.
    on_error : callable
        Called with the message when the master has ended the framework.
    on_message : callable
        Called with an executor's id and what it says.
    first : callable
        Gives what is to be awaited before an update is taken, or None. A mapping that it returns is taken in the
        update's place.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        on_stall: Callable[[str], None],
        on_error: Callable[[str], None],
        on_message: Callable[[str, str], None],
        first: Callable[[Mapping[str, Any]], Awaitable[Any] | None],
    ) -> None:
        self._scheduler = scheduler
        self._on_stall, self._on_error, self._on_message = on_stall, on_error, on_message
        self._first = first
        self._kept: deque[Callable[[], None]] = deque()
        self._retrying: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Task[None]] = set()
        self._held: set[tuple[str, str]] = set()

    @property
    def is_stalled(self) -> bool:
        """Whether something waits for the journal."""
        return self._retrying is not None

    def do(self, action: Callable[[], None]) -> None:
        """Do something that writes, now or as soon as it can be written; in order."""
        if self.is_stalled:
            self._kept.append(action)
            return
        try:
            action()
        except NotOwner:
            pass  # whoever owns the journal now does what is to be done
        except JournalError as error:
            self._kept.append(action)
            self.stall(str(error))

    def stall(self, why: str) -> None:
        """Acknowledge and launch nothing until the journal can be written again."""
        if not self.is_stalled:
            log.warning("%s", why)
            self._retrying = asyncio.get_running_loop().create_task(self._retry())
            self._on_stall(why)

    def close(self) -> None:
        """Drop what is kept; the next session finds out about it from Mesos."""
        for task in (self._retrying, *self._waiting):
            if task is not None:
                task.cancel()
        self._kept.clear()

    # What the driver tells.

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """Written down before anything is launched: no framework whose id is lost."""
        self.do(lambda: self._scheduler.subscribed(framework_id, master, local_host))

    def disconnected(self, why: str) -> None:
        """Passed on."""
        self._scheduler.disconnected(why)

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Taken while intents can be written, else declined at once."""
        why = ""
        if not self.is_stalled:
            try:
                self._scheduler.offers(offers)
                return
            except NotOwner:
                return
            except JournalError as error:
                why = str(error)
        if (driver := self._scheduler.driver) is not None:
            driver.declineOffer([offer["id"] for offer in offers], {"refuse_seconds": REFUSE_SECONDS})
        if why:
            self.stall(why)

    def rescinded(self, offer_id: str) -> None:
        """Passed on."""
        self._scheduler.rescinded(offer_id)

    def update(self, status: Mapping[str, Any]) -> None:
        """Taken when it can be written; a failed worker's after its traceback has been looked for."""
        key = status["task_id"]["value"], status.get("uuid", "")
        if key in self._held:
            return  # the same once more, since it is not acknowledged yet
        before = self._first(status)
        if before is None:
            self.do(lambda: self._scheduler.update(status))
            return
        self._held.add(key)

        async def later() -> None:
            try:
                more = await before
            finally:
                self._held.discard(key)
            told = more if isinstance(more, Mapping) else status
            self.do(lambda: self._scheduler.update(told))

        task = asyncio.get_running_loop().create_task(later())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """Passed on to who awaits an answer."""
        self._on_message(executor_id, data)

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """Passed on."""
        self._scheduler.executor_lost(agent_id, executor_id, status)

    def agent_lost(self, agent_id: str) -> None:
        """Passed on."""
        self._scheduler.agent_lost(agent_id)

    def error(self, message: str) -> None:
        """Passed on to who decides what it means."""
        self._on_error(message)

    def call_failed(self, call: Mapping[str, Any], why: str, certain: bool = True) -> None:
        """Its workers' ends are written down."""
        self.do(lambda: self._scheduler.call_failed(call, why, certain))

    # Inside.

    async def _retry(self) -> None:
        journal = self._scheduler.jobs.journal
        while True:
            await asyncio.sleep(PAUSE)
            try:
                journal.renew()
                while self._kept:
                    self._kept[0]()
                    self._kept.popleft()
                # Part of what was to follow from an event may have been cut off after it.
                self._retrying = None
                self._on_stall("")
                return
            except NotOwner:
                self._retrying = None
                self._kept.clear()
                return
            except JournalError:
                continue
            except Exception:
                log.exception("something that was put off failed")
                self._kept.popleft()
