"""The hooks of `distributed.deploy.Cluster`, which have private names, under public ones; nobody else uses them.

They are checked here, when it is imported: a version of distributed that has others is named in one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import distributed
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.utils import Log, Logs
from tornado.ioloop import IOLoop

from .requirements import DataflowError

_NEEDED = ("_start", "_close", "_get_logs", "_update_worker_status")
if _missing := [name for name in _NEEDED if not callable(getattr(Cluster, name, None))]:
    raise DataflowError(
        f"distributed {distributed.__version__} is not understood: its Cluster has no {', '.join(_missing)}; "
        "an older one may do"
    )


class HookedCluster(Cluster):
    """A cluster whose life is told by `on_start`, `on_close`, `on_worker` and `workers_logs`, which a subclass has.

    Parameters
    ----------
    asynchronous : bool
    loop : tornado.ioloop.IOLoop, optional
    name : str
    scheduler_sync_interval : float
    """

    def __init__(self, asynchronous: bool, loop: Any, name: str, scheduler_sync_interval: Any = 1) -> None:
        if loop is None and asynchronous:
            loop = IOLoop.current()
        super().__init__(
            asynchronous=asynchronous,
            loop=loop,
            quiet=True,
            name=name,
            scheduler_sync_interval=scheduler_sync_interval,
        )

    _starting: asyncio.Task[None] | None = None
    #: The connection to the Dask scheduler, whose handlers are its methods.
    scheduler_comm: Any
    #: The scheduler's description of itself and of its workers.
    scheduler_info: Any

    # What a subclass has.

    async def on_start(self) -> None:
        """Start what `scheduler_comm` is to be connected with, and set that."""
        raise NotImplementedError

    async def on_started(self) -> None:
        """Go on when the scheduler is known."""

    async def on_close(self) -> None:
        """End everything, while `scheduler_comm` may still be open."""

    async def on_closed(self) -> None:
        """Do what is left when no connection to the scheduler is open any more."""

    def on_worker(self, joined: bool) -> None:
        """Take note that a worker has joined the scheduler, or left."""

    async def workers_logs(self, wanted: Any) -> dict[str, str]:
        """Return the logs of workers by their names; `wanted` is True or addresses."""
        raise NotImplementedError

    # What it can do.

    def begin(self) -> None:
        """Start the cluster, unless that is for an event loop of the caller's to do.

        What goes wrong is raised, and nothing is left of the cluster.
        """
        if not self.called_from_running_loop:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException:
                try:
                    self.sync(self._abandon)
                finally:
                    self._loop_runner.stop()
                raise

    async def begin_here(self) -> None:
        """Start the cluster on this event loop, once."""
        if self.status == Status.created:
            await self._start()

    def stop_adapting(self) -> None:
        """Turn adaptivity off, as a wish for so many workers does."""
        with contextlib.suppress(AttributeError):
            self._adaptive.stop()

    def take_note(self, text: str) -> None:
        """Add a line to the cluster's own log."""
        self._cluster_manager_logs.append((datetime.datetime.now(), text))

    async def end(self) -> None:
        """Close the cluster on its event loop."""
        await self._close()

    def close(self, timeout: float | None = None) -> Awaitable[None] | None:
        """Close the cluster, with all its workers."""
        was_closed = self.status == Status.closed
        awaitable: Awaitable[None] | None = super().close(timeout)
        if not self.asynchronous and not was_closed:
            self._loop_runner.stop()
        return awaitable

    def get_logs(self, cluster: bool = True, scheduler: bool = True, workers: Any = True) -> Any:
        """Return logs by where they come from, as `distributed` does; workers' also when the cluster is closed.

        Parameters
        ----------
        cluster, scheduler : bool
        workers : bool or sequence of str
            All of them, none, or of these addresses or names.
        """
        if self.asynchronous or self.status != Status.closed:
            return super().get_logs(cluster, scheduler, workers)
        with ThreadPoolExecutor(
            1
        ) as thread:  # its own event loop has ended, and the caller's thread may run one
            return thread.submit(asyncio.run, self._get_logs(cluster, scheduler, workers)).result()

    async def _abandon(self) -> None:
        """End a start that nobody waits for any more: an interrupt ends only the waiting."""
        if self._starting is not None:
            if not self._starting.cancelling():  # twice, and it would not end in good order
                self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)

    # The hooks.

    async def _start(self) -> None:
        self.status = Status.starting
        self._starting = asyncio.current_task()
        try:
            await self.on_start()
            await super()._start()
            await self.on_started()
        except BaseException:
            self.status = Status.failed
            await self._close()
            raise

    async def _close(self) -> None:
        if self.status in (Status.closing, Status.closed):
            return
        self.status = Status.closing
        self.stop_adapting()
        try:
            await self.on_close()
        finally:
            await super()._close()
            await self.on_closed()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove" and msg not in self.scheduler_info["workers"]:
            return
        super()._update_worker_status(op, msg)
        self.on_worker(op == "add")

    async def _get_logs(self, cluster: bool = True, scheduler: bool = True, workers: Any = True) -> Logs:
        scheduler = scheduler and self.scheduler_comm is not None  # workers' logs outlast the cluster
        logs: Logs = await super()._get_logs(cluster=cluster, scheduler=scheduler, workers=False)
        if workers:
            for name, text in (await self.workers_logs(workers)).items():
                logs[name] = Log(text)
        return logs
