"""The listener of a driver: what it is told, and pymesos's interface of callbacks in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from . import _pymesos


class Listener(Protocol):
    """Callbacks of the driver, called on the event loop; an exception is logged and goes no further."""

    def subscribed(self, framework_id: str, master: Mapping[str, Any], local_host: str) -> None:
        """Take note that the framework is subscribed, or is again.

        Parameters
        ----------
        framework_id : str
        master : mapping
            Its MasterInfo.
        local_host : str
            This machine's address on the way to the master.
        """

    def disconnected(self, why: str) -> None:
        """Take note that the stream is gone; the driver goes on trying."""

    def offers(self, offers: list[Mapping[str, Any]]) -> None:
        """Take offers."""

    def rescinded(self, offer_id: str) -> None:
        """Take note that an offer is void."""

    def update(self, status: Mapping[str, Any]) -> None:
        """Take a status update of a task."""

    def message(self, agent_id: str, executor_id: str, data: str) -> None:
        """Take a message of an executor.

        Parameters
        ----------
        agent_id, executor_id : str
        data : str
            Base64.
        """

    def executor_lost(self, agent_id: str, executor_id: str, status: int | None) -> None:
        """Take note that an executor has ended.

        Parameters
        ----------
        agent_id, executor_id : str
        status : int or None
            Its exit status, as wait(2) has it.
        """

    def agent_lost(self, agent_id: str) -> None:
        """Take note that an agent is gone."""

    def error(self, message: str) -> None:
        """Take note that the master has ended the framework; the driver has stopped."""

    def call_failed(self, call: Mapping[str, Any], why: str, certain: bool = True) -> None:
        """Take note that a call failed.

        Parameters
        ----------
        call : mapping
        why : str
        certain : bool
            Whether the master cannot have carried it out.
        """


class Callbacks(_pymesos.load().Scheduler):  # type: ignore[misc]
    """pymesos's callback interface, handed on to the listener in plain values."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def resourceOffers(self, driver: Any, offers: list[Mapping[str, Any]]) -> None:
        self._listener.offers(offers)

    def offerRescinded(self, driver: Any, offer_id: Mapping[str, Any]) -> None:
        self._listener.rescinded(offer_id["value"])

    def statusUpdate(self, driver: Any, status: Mapping[str, Any]) -> None:
        self._listener.update(status)

    def frameworkMessage(self, driver: Any, executor_id: Any, agent_id: Any, data: str) -> None:
        self._listener.message(agent_id["value"], executor_id["value"], data)

    def processHeartBeat(self, driver: Any) -> None:
        pass
