"""Calls, built by pymesos's builders; with the fields that these leave out, and never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import _pymesos


class Calls(_pymesos.load().MesosSchedulerDriver):  # type: ignore[misc]
    """A `MesosSchedulerDriver` whose calls all reach `_send`, complete, also while it is not subscribed."""

    #: While a call is built; `connected` has to be true then, or pymesos's builders just return.
    _is_building = False

    def _send(self, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        raise NotImplementedError

    def kill(self, task_id: str, agent_id: str = "", grace_seconds: float | None = None) -> None:
        """KILL a task, with its agent and a kill policy.

        Parameters
        ----------
        task_id, agent_id : str
        grace_seconds : float, optional
            Seconds between SIGTERM and SIGKILL; by default as the task was launched.
        """
        kill: dict[str, Any] = {"task_id": {"value": task_id}}
        if agent_id:
            kill["agent_id"] = {"value": agent_id}
        if grace_seconds is not None:
            kill["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_seconds * 1e9)}}
        self._call("KILL", kill=kill)

    def reconcile(self, tasks: Iterable[tuple[str, str]]) -> None:
        """RECONCILE ``(task id, agent id)`` pairs, or implicitly if there are none."""
        items = [
            {"task_id": {"value": task_id}, **({"agent_id": {"value": agent_id}} if agent_id else {})}
            for task_id, agent_id in tasks
        ]
        self._call("RECONCILE", reconcile={"tasks": items})

    def again(self, call: Mapping[str, Any]) -> None:
        """Make a call that was refused once more, for the framework as it is now."""
        self._call(call["type"], **{k: v for k, v in call.items() if k not in ("type", "framework_id")})

    def shutdown_executor(self, agent_id: str, executor_id: str) -> None:
        """SHUTDOWN an executor."""
        self._call(
            "SHUTDOWN", shutdown={"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}}
        )

    def killTask(self, task_id: Mapping[str, Any]) -> None:
        """KILL by pymesos's name; it knows no agent and no policy."""
        self.kill(task_id["value"])

    def reconcileTasks(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        """RECONCILE by pymesos's name, which drops the agents."""
        self.reconcile(
            [(task["task_id"]["value"], task.get("agent_id", {}).get("value", "")) for task in tasks]
        )

    def acknowledgeOperationStatusUpdate(self, status: Mapping[str, Any]) -> None:
        """ACKNOWLEDGE_OPERATION_STATUS, of which pymesos makes the whole status (``scheduler.proto`` has four ids)."""
        names = ("agent_id", "resource_provider_id", "uuid", "operation_id")
        content = {
            name: status[name]["value"] if name == "uuid" and isinstance(status[name], dict) else status[name]
            for name in names
            if name in status
        }
        if "uuid" in content and "operation_id" in content:
            self._call("ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status=content)

    def _call(self, kind: str, **content: Any) -> None:
        self._send({"type": kind, "framework_id": {"value": self.framework_id or ""}, **content})


def _reporting(name: str) -> Callable[..., None]:
    """Wrap one of pymesos's builders of calls: what cannot go out is built all the same, and reported."""
    build = getattr(_pymesos.load().MesosSchedulerDriver, name)

    def call(self: Calls, *arguments: Any, **named: Any) -> None:
        if not self.framework_id:
            raise RuntimeError(f"{name} needs a framework: nothing has been subscribed yet")
        self._is_building = True
        try:
            build(self, *arguments, **named)
        finally:
            self._is_building = False

    call.__name__, call.__doc__ = name, build.__doc__
    return call


for _name in (
    "acceptInverseOffers",
    "acceptOffers",
    "acknowledgeStatusUpdate",
    "declineInverseOffer",
    "declineOffer",
    "launchTasks",
    "reconcileOperations",
    "requestResources",
    "reviveOffers",
    "sendFrameworkMessage",
    "suppressOffers",
):
    setattr(Calls, _name, _reporting(_name))
