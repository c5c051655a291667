"""Status updates on their way from an agent to its master, and what else every part of an agent does. No I/O."""

from __future__ import annotations

import time
from typing import Any

from ..common.ids import new_uuid
from ..common.task_states import TERMINAL, Json, can
from ..http import recordio
from ..v1 import schema
from .containerizer.sandbox import AgentPlace
from .gc_policy import Garbage
from .model import ExecutorRun, FrameworkRun, TaskRun
from .runtime import Runtime
from .status_update_manager import UpdateStreams

SHRINKS = 0.1
"""A task's end may wait so long (seconds) until its share is taken from its container; others then end as well."""


class AgentUpdates(Garbage):
    """What an agent knows, and how it tells of its tasks."""

    def __init__(
        self, place: AgentPlace, info: Json, runtime: Runtime, *, registration_timeout: float = 60.0
    ) -> None:
        self.place = place
        self.info = info
        self.runtime = runtime
        self.registration_timeout = registration_timeout
        self.started = time.time()
        self.updates = UpdateStreams()
        self.frameworks: dict[str, FrameworkRun] = {}
        self.counters: dict[str, int] = {}
        self.reconnecting: set[str] = set()
        self._containers: dict[str, ExecutorRun] = {}
        self._checks: dict[tuple[str, str], list[Any]] = {}
        self._probes: dict[str, Any] = {}
        self._nested: dict[str, Any] = {}

    @property
    def container_ids(self) -> set[str]:
        """Give the containers that have not ended."""
        return {*self._containers, *self._nested}

    def status(self, run: ExecutorRun, status: Json) -> None:
        """Take an executor's status update, and acknowledge it to the executor (if it is of a task it was given)."""
        task_id = status["task_id"]["value"]
        task = run.tasks.get(task_id)
        full = {**status, "agent_id": {"value": self.place.id}}
        full.setdefault("timestamp", time.time())
        known = task is not None or task_id in {one.id for one in run.ended}
        if "container_status" in full:
            pass
        elif (known and run.pid is not None) or run.command:
            full["container_status"] = self._container_status(run)
        self._queue(run, task, full)
        if known and not run.own:
            acknowledged = {"task_id": status["task_id"], "uuid": status["uuid"]}
            self._to_executor(run, {"type": "ACKNOWLEDGED", "acknowledged": acknowledged})

    def _resize(self, run: ExecutorRun) -> None:
        """Fit the limits of a container that is there to the tasks in it."""
        run.resizing = None
        if run.sized and run.container_id in self._containers:
            self.runtime.limit(run.container_id, run.limits)

    def _resize_soon(self, run: ExecutorRun, seconds: float = 0.0) -> None:
        """Fit them once for all tasks that come or go now: of a thousand, each costs a look at all."""
        due = self.runtime.now() + seconds
        if run.resizing is not None:
            if run.resizing.when() <= due:
                return
            run.resizing.cancel()
        run.resizing = self.runtime.later(seconds, self._resize, run)

    def _container_status(self, run: ExecutorRun) -> Json:
        address = {"protocol": "IPv6" if ":" in self.place.ip else "IPv4", "ip_address": self.place.ip}
        status: Json = {
            "container_id": {"value": run.container_id},
            "network_infos": [{"ip_addresses": [address]}],
        }
        if run.first_pid is not None:
            status["executor_pid"] = run.first_pid
        return status

    def _agent_status(
        self, run: ExecutorRun, task: TaskRun, state: str, message: str, reason: str | None
    ) -> None:
        """Tell a status of the agent's own about a task that ended without its executor saying so."""
        status: Json = {"task_id": task.info["task_id"], "state": state, "message": message}
        status["source"] = "SOURCE_AGENT"
        if reason is not None:
            status["reason"] = reason
        status["agent_id"] = {"value": self.place.id}
        status["executor_id"] = {"value": run.executor_id}
        status |= {"timestamp": time.time(), "uuid": new_uuid()}
        self._queue(run, task, status)

    def _queue(self, run: ExecutorRun, task: TaskRun | None, status: Json) -> None:
        ordered = {f.name: status[f.name] for f in schema.fields_of("TaskStatus") if f.name in status}
        if task is not None:
            task.state, task.status = ordered["state"], ordered
            if task.state == "TASK_RUNNING" and task.since is None:
                task.since = ordered["timestamp"]
            if ordered["state"] in TERMINAL:
                run.tasks.pop(task.id, None)
                run.ended = [*run.ended, task][-100:]
                self._resize_soon(run, SHRINKS)
        framework = self.frameworks.get(run.framework_id)
        if framework is not None and not framework.leaving:
            self._add(ordered, run.framework_id)
        if task is not None:
            # After the update: an agent that dies in between then still knows how the task ended.
            self.save_task(run, task)

    def _add(self, status: Json, framework_id: str) -> None:
        key = (framework_id, status["task_id"]["value"])
        sent_now = self.updates.add(key, status, self.runtime.now())
        self.save_updates(key)
        self._forward(key, sent_now)

    def _drop(self, framework: FrameworkRun, task: TaskRun, executor_id: str, text: str, reason: str) -> None:
        """Tell that a task never started."""
        state = "TASK_DROPPED" if can(framework.info, "PARTITION_AWARE") else "TASK_LOST"
        status: Json = {
            "task_id": task.info["task_id"],
            "state": state,
            "message": text,
            "source": "SOURCE_AGENT",
        }
        status |= {
            "reason": reason,
            "agent_id": {"value": self.place.id},
            "executor_id": {"value": executor_id},
        }
        self._add(status | {"timestamp": time.time(), "uuid": new_uuid()}, framework.id)

    def _forward(self, key: tuple[str, str], status: Json | None) -> None:
        if status is not None:
            latest = self.updates.latest(key) or status["state"]
            message = {"op": "update", "agent_id": self.place.id, "framework_id": key[0], "status": status}
            self.runtime.send({**message, "latest_state": latest})

    def _acknowledged(self, key: tuple[str, str], update: str) -> None:
        _, following = self.updates.acknowledge(key, update, self.runtime.now())
        self.save_updates(key)
        self._forward(key, following)

    def retry(self) -> None:
        """Send again what was not acknowledged in time."""
        for key, status in self.updates.due(self.runtime.now()):
            self._forward(key, status)

    def resume(self, framework_id: str) -> None:
        """Send a framework that has just subscribed what it has not acknowledged (Mesos, Slave::updateFramework)."""
        for key, status in self.updates.in_flight():
            if key[0] == framework_id:
                self._forward(key, status)

    def _to_executor(self, run: ExecutorRun, event: Json) -> None:
        if run.own:
            return
        if run.stream is None:
            run.backlog.append(event)
            return
        run.stream.send(recordio.encode_event(event))

    def _tell_exit(self, framework_id: str, executor_id: str, status: int | None) -> None:
        ids = {"agent_id": self.place.id, "framework_id": framework_id, "executor_id": executor_id}
        self.runtime.send({"op": "executor_exited", **ids, "status": status})

    # Registration

    def report(self) -> Json:
        """Give what the master is told at a re-registration."""
        tasks, executors = [], []
        for framework in self.frameworks.values():
            if framework.leaving:
                continue
            for run in framework.executors.values():
                if not run.command:
                    executors.append(
                        {
                            "framework_id": framework.id,
                            "executor_id": run.executor_id,
                            "info": run.info,
                            "original": run.original,
                            "role": run.role,
                        }
                    )
                for task in (*run.queued.values(), *run.tasks.values()):
                    item: Json = {"framework_id": framework.id, "task_id": task.id, "state": task.state}
                    item |= {"status": task.status or {}, "role": run.role}
                    # What a master that never heard of the task needs; the executor's info comes by itself.
                    kept = ("task_id", "name", "resources", "labels", "discovery")
                    item["info"] = {name: task.info[name] for name in kept if name in task.info}
                    item["executor_id"] = "" if run.command else run.executor_id
                    tasks.append(item)
        for key, status in self.updates.in_flight():
            latest = self.updates.latest(key) or status["state"]
            if latest in TERMINAL:
                tasks.append({"framework_id": key[0], "task_id": key[1], "state": latest, "status": status})
        return {
            "tasks": tasks,
            "executors": executors,
            "frameworks": {f.id: f.info for f in self.frameworks.values() if self._reported(f)},
        }

    def _reported(self, framework: FrameworkRun) -> bool:
        if framework.leaving:
            return False
        waiting = any(key[0] == framework.id for key, _ in self.updates.in_flight())
        return bool(framework.executors) or waiting

    def registered(self) -> None:
        """Send again what is unacknowledged, now that there is a new link."""
        for key, status in self.updates.in_flight():
            self._forward(key, status)
