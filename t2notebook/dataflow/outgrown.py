"""Tasks that outgrow their worker: the Dask scheduler lets them fail, before they kill worker after worker."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

log = logging.getLogger("distributed.scheduler.t2")

#: How many workers that have gone are remembered with what they ran.
REMEMBERED = 1000


class Outgrown(SchedulerPlugin):
    """Lets a task fail that has ended a worker for lack of memory, instead of being tried on the next ones.

    Dask counts the workers that died under a task, whatever they died of, up to its ``allowed-failures``. Of memory,
    the count is set to its end: the worker says so itself before it ends, or Mesos does after.
    """

    name = "t2-outgrown"

    def __init__(self) -> None:
        self._scheduler: Any = None
        self._ran: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def start(self, scheduler: Any) -> None:
        """Offer our handlers to workers and to the cluster."""
        self._scheduler = scheduler
        scheduler.handlers["t2_outgrown"] = self.outgrown
        scheduler.handlers["t2_ended_for_memory"] = self.ended_for_memory
        scheduler.handlers["t2_unreadable"] = self.unreadable

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Remember what a worker was given, by the worker's name; the last few are enough.

        Parameters
        ----------
        key
            The task's.
        start, finish : str
            States of `distributed`'s scheduler.
        *args, **kwargs
            The rest of the plugin's protocol.
        """
        if finish != "processing":
            return
        task = self._scheduler.tasks.get(key)
        worker = getattr(task, "processing_on", None)
        if worker is not None:
            name = str(worker.name)
            self._ran[name] = (*self._ran.get(name, ())[-15:], key)
            self._ran.move_to_end(name)
            if len(self._ran) > REMEMBERED:
                self._ran.popitem(last=False)

    async def outgrown(self, worker: str, keys: list[Any], used: int, limit: int) -> None:
        """Take a worker's word that it uses more than it may, and what it runs.

        Parameters
        ----------
        worker : str
            Its address.
        keys : list
            Of the tasks that it runs.
        used, limit : int
            Bytes.
        """
        state = self._scheduler.workers.get(worker)
        name = worker if state is None else str(state.name)
        log.error(
            "worker %s uses %d MiB of its %d MiB while it runs %s; it is started anew, and these tasks are not "
            "tried again: ask for more memory a worker (ram_mega_bytes), or for smaller pieces",
            name,
            used >> 20,
            limit >> 20,
            ", ".join(map(str, keys)) or "no task",
        )
        self._give_up(keys)

    async def ended_for_memory(self, name: str, message: str) -> list[str]:
        """Take Mesos's word that a worker was ended for lack of memory; return the tasks that it had been given."""
        keys = self._suspects(name)
        if keys:
            log.error(
                "worker %s was ended: %s; it had been given %s", name, message, ", ".join(map(str, keys))
            )
        self._give_up(keys)
        return [str(key) for key in keys]

    async def unreadable(self, name: str, why: str) -> None:
        """Take a worker's word that it cannot unpickle what it was given; others could not, either."""
        keys = self._suspects(name)
        log.error("worker %s cannot unpickle a task (%s), one of %s", name, why, ", ".join(map(str, keys)))
        self._give_up(keys)

    def _suspects(self, name: str) -> list[Any]:
        """Return the tasks that a worker was given and that have not been done since it has gone."""
        given = ((key, self._scheduler.tasks.get(key)) for key in self._ran.pop(name, ()))
        return [key for key, task in given if task is not None and task.suspicious]

    def _give_up(self, keys: Iterable[Any]) -> None:
        """Let the next loss of their worker be the last."""
        for key in keys:
            task = self._scheduler.tasks.get(key)
            if task is not None:
                task.suspicious = max(task.suspicious, self._scheduler.allowed_failures)
