"""The master of a session: of the embedded Mesos, named by the settings, or leading as ZooKeeper has it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

from ..mesos.credentials import Credentials, uses_tls
from ..mesos.detector import MasterDetector, find
from .embedded import Cluster

#: Seconds without a master after which the reason is told, again and again.
PATIENCE = 0.5


class Master:
    """The master that all frameworks of a session subscribe to.

    Parameters
    ----------
    config : mapping
        The fields of `Config`.
    secrets : mapping
        The fields of `Secrets`.
    cluster : Cluster or None
        The embedded Mesos, which may be starting meanwhile; None for a master elsewhere.

    Attributes
    ----------
    address : str
        As the settings have it, or of the one that was found to lead; empty before it is looked for.
    """

    def __init__(
        self, config: Mapping[str, Any], secrets: Mapping[str, str], cluster: Cluster | None
    ) -> None:
        self.address = ""
        self._config, self._secrets, self._cluster = config, secrets, cluster
        self._detector: MasterDetector | None = None

    async def find(self, waiting: Callable[[str], None]) -> None:
        """Look for it until it is known.

        Parameters
        ----------
        waiting : callable
            Called again and again with the reason why none is known.

        Raises
        ------
        SessionError
            When the embedded Mesos cannot start.
        ValueError
            When the settings name none.
        """
        if self._cluster is not None:
            self.address = await asyncio.get_running_loop().run_in_executor(None, self._cluster.wait)
            self._detector = find(self.address)
            return
        self.address = self._config["master"]
        # Whether we speak TLS to masters that ZooKeeper names, which does not say: those whom settings of TLS are for.
        tls = uses_tls(self._config)
        self._detector = find(self.address, self._secrets.get("zookeeper", ""), tls=tls)
        while self._detector.current is None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._detector.leader()
            except TimeoutError:
                waiting(self._detector.trouble)
        if self.address.startswith("zk://"):
            self.address = str(self._detector.current)

    @property
    def detector(self) -> MasterDetector:
        """The detector of the leading master, after `find`."""
        assert self._detector is not None
        return self._detector

    @property
    def trouble(self) -> str:
        """The reason why none is known; empty if one is, and before it is looked for."""
        return self._detector.trouble if self._detector is not None else ""

    @property
    def credentials(self) -> Credentials:
        """The credentials for it and its agents.

        Raises
        ------
        AccessError
            When certificates or keys cannot be used.
        """
        if self._cluster is not None:
            return Credentials()
        principal, secret = self._secrets.get("principal", ""), self._secrets.get("secret", "")
        return Credentials.from_settings(self._config, principal, secret)

    async def is_gone(self) -> bool:
        """Return whether it was that of an embedded Mesos which has ended; of a master elsewhere nobody can tell."""
        if self._cluster is None:
            return False
        return await asyncio.get_running_loop().run_in_executor(None, self._cluster.is_gone)

    def explain(self, error: Exception) -> str:
        """Return why there is no way to it, in one line.

        Parameters
        ----------
        error : Exception
            What looking for it, or serving those who come from there, has raised.
        """
        if isinstance(error, socket.gaierror):
            where = f"the master {self.address!r} cannot be found ({error.strerror})"
            return f"{where}; see t2.configure(master=...)"
        return str(error) or type(error).__name__

    async def stop(self) -> None:
        """Look for it no more."""
        if self._detector is not None:
            await self._detector.stop()
