"""Status updates on their way from executors and the agent itself to the master, and acknowledgements back. No I/O."""

from __future__ import annotations

import time

from ...common.ids import new_uuid
from ...common.task_states import TERMINAL, Json, state_for
from ...v1 import schema
from .agent_state import AgentState
from .container_limits import ContainerLimits
from .model import ExecutorRun, FrameworkRun, TaskRun
from .runtime import Runtime
from .state_log import StateLog
from .status_update_manager import Key, StatusUpdateManager

SHRINKS = 0.1
"""A task's end may wait so long (seconds) until its share is taken from its container; others then end as well."""


class StatusUpdates:
    """Takes updates, writes them down, and sends them until they are acknowledged.

    Parameters
    ----------
    state, runtime, log, limits, manager
        The parts of the agent that it works with.
    """

    def __init__(
        self,
        state: AgentState,
        runtime: Runtime,
        log: StateLog,
        limits: ContainerLimits,
        manager: StatusUpdateManager,
    ) -> None:
        self._state = state
        self._runtime = runtime
        self._log = log
        self._limits = limits
        self._manager = manager

    # In

    def from_executor(self, run: ExecutorRun, status: Json) -> None:
        """Take an executor's update, and acknowledge it to the executor (if it is of a task it was given)."""
        task_id = status["task_id"]["value"]
        full = {**status, "agent_id": {"value": self._state.identity.id}}
        full.setdefault("timestamp", time.time())
        known = run.has_had(task_id)
        if "container_status" not in full and ((known and run.pid is not None) or run.command):
            full["container_status"] = self.container_status(run)
        self._queue(run, run.tasks.get(task_id), full)
        if known and not run.own:
            acknowledged = {"task_id": status["task_id"], "uuid": status["uuid"]}
            run.send({"type": "ACKNOWLEDGED", "acknowledged": acknowledged})

    def from_agent(
        self, run: ExecutorRun, task: TaskRun, state: str, message: str, reason: str | None
    ) -> None:
        """Tell of the agent's own accord how a task ended.

        Parameters
        ----------
        message, reason
            Mesos's.
        """
        self._queue(run, task, self._own(task, run.executor_id, state, message, reason))

    def drop(
        self, framework: FrameworkRun, task: TaskRun, executor_id: str, message: str, reason: str
    ) -> None:
        """Tell that a task never started.

        Parameters
        ----------
        executor_id
            Of the executor that it was meant for.
        message, reason
            Mesos's.
        """
        self._add(
            self._own(task, executor_id, state_for(framework.info, "TASK_DROPPED"), message, reason),
            framework.id,
        )

    def _own(self, task: TaskRun, executor_id: str, state: str, message: str, reason: str | None) -> Json:
        status: Json = {"task_id": task.info["task_id"], "state": state, "message": message}
        status["source"] = "SOURCE_AGENT"
        if reason is not None:
            status["reason"] = reason
        ids = {
            "agent_id": {"value": self._state.identity.id},
            "executor_id": {"value": executor_id},
        }
        return {**status, **ids, "timestamp": time.time(), "uuid": new_uuid()}

    def container_status(self, run: ExecutorRun) -> Json:
        """Give the ContainerStatus of an executor."""
        ip = self._state.identity.ip
        address = {"protocol": "IPv6" if ":" in ip else "IPv4", "ip_address": ip}
        status: Json = {
            "container_id": {"value": run.container_id},
            "network_infos": [{"ip_addresses": [address]}],
        }
        if run.first_pid is not None:
            status["executor_pid"] = run.first_pid
        return status

    def _queue(self, run: ExecutorRun, task: TaskRun | None, status: Json) -> None:
        ordered = {f.name: status[f.name] for f in schema.fields_of("TaskStatus") if f.name in status}
        if task is not None:
            task.state, task.status = ordered["state"], ordered
            if task.state == "TASK_RUNNING" and task.since is None:
                task.since = ordered["timestamp"]
            if ordered["state"] in TERMINAL:
                run.tasks.pop(task.id, None)
                run.ended = [*run.ended, task][-100:]
                self._limits.fit_soon(run, SHRINKS)
        framework = self._state.frameworks.get(run.framework_id)
        if framework is not None and not framework.leaving:
            self._add(ordered, run.framework_id)
        if task is not None:
            # After the update: an agent that dies in between then still knows how the task ended.
            self._log.save_task(run, task)

    def _add(self, status: Json, framework_id: str) -> None:
        key = (framework_id, status["task_id"]["value"])
        sent_now = self._manager.add(key, status, self._runtime.now())
        self._log.save_updates(key)
        self._forward(key, sent_now)

    # Out

    def _forward(self, key: Key, status: Json | None) -> None:
        if status is not None:
            latest = self._manager.latest(key) or status["state"]
            ids = {"agent_id": self._state.identity.id, "framework_id": key[0]}
            self._runtime.send({"op": "update", **ids, "status": status, "latest_state": latest})

    def acknowledge(self, key: Key, uuid: str) -> None:
        """Take a framework's acknowledgement, and send the task's next update."""
        _, following = self._manager.acknowledge(key, uuid, self._runtime.now())
        self._log.save_updates(key)
        self._forward(key, following)

    def retry(self) -> None:
        """Send again what was not acknowledged in time."""
        for key, status in self._manager.due(self._runtime.now()):
            self._forward(key, status)

    def resend(self, framework_id: str | None = None) -> None:
        """Send again all that is not acknowledged, of one framework or of all: the link or the framework is new.

        (Mesos, `Slave::updateFramework`.)
        """
        for key, status in self._manager.in_flight():
            if framework_id is None or key[0] == framework_id:
                self._forward(key, status)
