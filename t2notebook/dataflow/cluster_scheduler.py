"""The Dask scheduler of a cluster, which is started beside the notebook or taken over: its address, keys and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distributed.utils import format_dashboard_link

from ..config import get_config
from . import certificates, network, options, scheduler_link, scheduler_task
from .agent.tls import MemorySecurity
from .requirements import DataflowError


class ClusterScheduler:
    """The Dask scheduler of a cluster.

    Parameters
    ----------
    name : str
        The cluster's.
    scheduler_options : mapping
        Further arguments of `distributed.Scheduler`.
    dashboard_address : str or None
        ``host:port``; None: no dashboard.
    security : bool
        TLS, with certificates that are made for this cluster.
    left : Path or None
        The socket of one that another kernel has left, which is taken over; None: it is started.

    Attributes
    ----------
    address : str
        For clients and workers; empty until it is known.
    keys : dict or None
        The cluster's certificates and keys; None without TLS, or until it is taken over.

    Raises
    ------
    DataflowError
        When an option cannot travel.
    """

    def __init__(
        self,
        name: str,
        scheduler_options: Mapping[str, Any] | None = None,
        dashboard_address: str | None = None,
        *,
        security: bool = False,
        left: Path | None = None,
    ) -> None:
        self._name, self._left = name, left
        self._options = dict(scheduler_options or {})
        options.pack(self._options, "scheduler_options")
        self._dashboard_address = dashboard_address
        self.keys: dict[str, str] | None = certificates.make() if security else None
        self.address = ""
        self._link: scheduler_link.SchedulerLink | None = None

    @property
    def is_left(self) -> bool:
        """Whether it is one that another kernel has left."""
        return self._left is not None

    async def start(self, *, detach: bool, state: Mapping[str, Any], on_known: Callable[[], None]) -> None:
        """Start its process, and wait until it listens.

        Parameters
        ----------
        detach : bool
            Whether it goes on without this kernel.
        state : mapping
            All that another kernel would need to take the cluster over.
        on_known : callable
            Called as soon as `address` is known, if that is before it listens.

        Raises
        ------
        DataflowError
            When it does not start.
        """
        loop = asyncio.get_running_loop()
        config = get_config()
        listen = await loop.run_in_executor(None, network.listen_address, config)
        given = dict(self._options)
        with network.reserved_port(listen.bind) as port:
            if is_known := bool(port) and "port" not in given:
                given["port"] = port
                scheme = "tls" if self.keys else "tcp"
                self.address = network.address(scheme, listen.advertise or listen.bind, port)
            task = scheduler_task.make(
                self._name,
                listen,
                self.keys,
                self._dashboard_address,
                given,
                detach=detach,
                state=state,
            )
            self._link = await scheduler_link.SchedulerLink.prepare(task)
            await self._link.start(config.executor_linger)
            if is_known:
                # Workers take about as long to start as the scheduler does, and wait for it.
                on_known()
            await self._link.listening()
            self.address = self._link.told["address"]

    async def take_over(self) -> dict[str, Any]:
        """Hold one that another kernel has left; return what that kept of the cluster.

        Raises
        ------
        DataflowError
            When it does not answer, or another kernel holds it.
        """
        assert self._left is not None
        try:
            self._link = await scheduler_link.SchedulerLink.attach(self._left)
        except (OSError, TimeoutError, ValueError) as error:
            raise DataflowError(f"the Dask scheduler of {self._name!r} does not answer: {error}") from None
        told = self._link.told
        self.address, self.keys = told["address"], told["keys"]
        state: dict[str, Any] = told["state"]
        return state

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return 0 if self._link is None else self._link.pid

    def security(self) -> MemorySecurity | None:
        """Return what a client connects with; None without TLS."""
        return MemorySecurity.of(self.keys) if self.keys else None

    def dashboard_link(self, port: int | None) -> str:
        """Return the dashboard's URL; empty if there is none.

        Parameters
        ----------
        port : int or None
            As the scheduler says.
        """
        if not port or self._link is None or (not self.is_left and self._dashboard_address is None):
            return ""
        host, _, _ = (self._dashboard_address or "").rpartition(":")
        return str(format_dashboard_link(host or "127.0.0.1", port))

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Have `on_gone` called when its process ends unasked."""
        assert self._link is not None
        self._link.watch(on_gone)

    def how_it_ended(self) -> tuple[str, str]:
        """Return in words how its process has ended, as far as is known, and the end of its log."""
        assert self._link is not None
        log_text = scheduler_link.tail(self._link.log)
        return self._link.how_it_ended(), log_text

    def keep(self, state: dict[str, Any]) -> None:
        """Leave with its process what another kernel would need."""
        if self._link is not None:
            self._link.keep(state)

    def detach(self) -> None:
        """Hold it no more."""
        if self._link is not None:
            self._link.detach()

    async def end(self) -> None:
        """End its process, and wait for that."""
        if self._link is not None:
            await self._link.end()

    def end_now(self) -> None:
        """End its process, and wait for that, without an event loop."""
        if self._link is not None:
            self._link.end_now()
