"""The agent: executors and tasks on one machine, from a launch to the last acknowledged update.

The decisions are here; what they need of the world (the link, the launcher, threads, timers) is `Runtime`,
which `agent_process` provides and tests can fake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from t2notebook.localmesos import containers, recordio, schema
from t2notebook.localmesos.containers import AgentPlace, SandboxError, User
from t2notebook.localmesos.master_state import new_uuid
from t2notebook.localmesos.records import TERMINAL, Json, can
from t2notebook.localmesos.runs import (
    ExecutorRun,
    ExecutorState,
    FrameworkRun,
    TaskRun,
    Verdict,
    exit_message,
    grace_seconds,
)
from t2notebook.localmesos.server import EventStream
from t2notebook.localmesos.updates import UpdateStreams

log = logging.getLogger(__name__)

SHUTDOWN_GRACE = 5.0
KILL_GRACE = 3.0
LINGER = 1.0
"""How long a command executor outlives its task, as Mesos's does."""

EXECUTOR_HEARTBEAT = 30 * 60.0


class Runtime(Protocol):
    """What an agent needs of the world."""

    def send(self, message: Json) -> None:
        """Send a message to the master."""

    def launch(self, request: Json) -> None:
        """Have the launcher start a container."""

    def signal(self, container_id: str, signum: int) -> None:
        """Signal every process of a container."""

    def destroy(self, container_id: str) -> None:
        """Kill a container; `container_exited` is called when nothing is left of it."""

    def fetch(self, run: ExecutorRun, uris: list[Json], user: User) -> None:
        """Fetch, and call `fetched` with None or what went wrong."""

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Call something later."""

    def now(self) -> float:
        """Give a steady clock's time."""


class Agent:
    """One agent."""

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
        self._containers: dict[str, ExecutorRun] = {}
        self._running: dict[tuple[str, str], str] = {}

    # From the master

    def message(self, message: Json) -> None:
        """Handle one message of the master."""
        op = message["op"]
        if op == "run_task":
            self.run_task(message)
        elif op == "kill_task":
            self.kill_task(message["framework_id"], message["task_id"], message.get("kill_policy"))
        elif op == "ack":
            self._acknowledged((message["framework_id"], message["task_id"]), message["uuid"])
        elif op == "message":
            run = self.find(message["framework_id"], message["executor_id"])
            if run is not None and not run.command:
                self._to_executor(run, {"type": "MESSAGE", "message": {"data": message["data"]}})
        elif op == "shutdown_executor":
            run = self.find(message["framework_id"], message["executor_id"])
            if run is not None:
                self.shutdown(run)
        elif op == "shutdown_framework":
            framework = self.frameworks.get(message["framework_id"])
            if framework is not None:
                framework.leaving = True
                self.updates.forget_framework(framework.id)
                for run in list(framework.executors.values()):
                    self.shutdown(run)
        elif op == "update_framework" and message["framework_id"] in self.frameworks:
            self.frameworks[message["framework_id"]].info = message["framework"]

    def find(self, framework_id: str, executor_id: str) -> ExecutorRun | None:
        """Find a living run."""
        framework = self.frameworks.get(framework_id)
        return None if framework is None else framework.executors.get(executor_id)

    def run_task(self, message: Json) -> None:
        """Launch a task, and its executor if there is none."""
        framework = self.frameworks.setdefault(
            message["framework_id"], FrameworkRun(message["framework_id"], message["framework"])
        )
        framework.info = message["framework"]
        info = message["task"]
        command = "command" in info
        executor_id = (info["task_id"] if command else info["executor"]["executor_id"])["value"]
        task = TaskRun(info)
        run = framework.executors.get(executor_id)
        if run is None:
            if not command and not message["new_executor"]:
                text = "No executor is expected to launch and there is no executor running"
                self._drop(framework, task, executor_id, text, "REASON_EXECUTOR_TERMINATED")
                return
            self._start(framework, executor_id, task, message["role"])
        elif command or run.command:
            text = "Cannot reuse an already existing executor for a command task"
            self._drop(framework, task, executor_id, text, "REASON_TASK_INVALID")
        elif run.state is ExecutorState.REGISTERING:
            run.queued[task.id] = task
        elif run.state is ExecutorState.RUNNING:
            self._give(run, task)
        else:
            self._drop(
                framework, task, executor_id, f"Executor {run.state.value}", "REASON_EXECUTOR_TERMINATED"
            )

    def _start(self, framework: FrameworkRun, executor_id: str, task: TaskRun, role: str) -> None:
        command = "command" in task.info
        container_id = str(uuid.uuid4())
        directory = containers.sandbox_path(self.place, framework.id, executor_id, container_id)
        info = _command_executor(task.info) if command else task.info["executor"]
        if command:
            info["framework_id"] = {"value": framework.id}
        run = ExecutorRun(
            framework.id, executor_id, info, _original(info), role, container_id, directory, command
        )
        cmd = task.info["command"] if command else info["command"]
        try:
            user = containers.find_user(cmd.get("user") or framework.info["user"], directory)
            containers.make_sandbox(directory, user)
        except SandboxError as error:
            self._drop(framework, task, executor_id, str(error), "REASON_EXECUTOR_TERMINATED")
            if not command:
                self._tell_exit(run, None)
            return
        run.queued[task.id] = task
        framework.executors[executor_id] = run
        self._containers[container_id] = run
        uris = cmd.get("uris", [])
        if uris:
            self.runtime.fetch(run, uris, user)
        else:
            self.fetched(run, user, None)

    def fetched(self, run: ExecutorRun, user: User, failure: str | None) -> None:
        """Go on after the fetcher: launch, or tell why not."""
        if run.destroyed:
            self._ended(run, None)
            return
        if failure is not None:
            text = f"Failed to launch container: Failed to fetch all URIs for container '{run.container_id}': {failure}"
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text)
            self._ended(run, None)
            return
        framework = self.frameworks[run.framework_id]
        task = next(iter(run.queued.values())) if run.command else None
        command = task.info["command"] if task is not None else run.info["command"]
        env = containers.environment(
            self.place,
            run.framework_id,
            run.executor_id,
            run.directory,
            checkpoint=framework.info.get("checkpoint", False),
            grace=grace_seconds(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE),
            role=run.role if run.command else None,
            variables=command.get("environment", {}).get("variables", []),
        )
        self.runtime.launch(containers.launch_request(run.container_id, command, env, run.directory, user))

    def container_started(self, container_id: str, pid: int) -> None:
        """Note that the launcher forked a container's first process."""
        run = self._containers.get(container_id)
        if run is None:
            return
        run.pid = pid
        if run.destroyed:
            self.runtime.destroy(container_id)
        elif run.command:
            self._command_started(run)
        elif run.state is ExecutorState.REGISTERING:
            run.timers.append(self.runtime.later(self.registration_timeout, self._not_registered, run))

    def container_failed(self, container_id: str, error: str) -> None:
        """Note that the launcher could not fork."""
        run = self._containers.get(container_id)
        if run is not None:
            text = f"Failed to launch container: Failed to fork: {error}"
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text)
            self._ended(run, None)

    def _not_registered(self, run: ExecutorRun) -> None:
        if run.state is ExecutorState.REGISTERING:
            text = f"Executor did not register within {containers.duration(self.registration_timeout)}"
            run.verdict = Verdict("TASK_FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT", text)
            self._destroy(run)

    # Command tasks: the executor is the agent itself

    def _command_started(self, run: ExecutorRun) -> None:
        run.move(ExecutorState.RUNNING)
        for task in list(run.queued.values()):
            del run.queued[task.id]
            task.forget_data()
            run.tasks[task.id] = task
            for state in ("TASK_STARTING", "TASK_RUNNING"):
                self.status(run, self._own_status(run, task, state))
            limit = task.info.get("max_completion_time")
            if limit is not None:
                run.timers.append(self.runtime.later(grace_seconds(limit, 0.0), self._too_long, run))

    def _too_long(self, run: ExecutorRun) -> None:
        run.verdict = Verdict("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED", "")
        self._kill_command(run, KILL_GRACE)

    def _kill_command(self, run: ExecutorRun, grace: float) -> None:
        if run.destroyed:
            return
        run.killed = True
        self.runtime.signal(run.container_id, 15)
        run.timers.append(self.runtime.later(grace, self._destroy, run))

    def _command_ended(self, run: ExecutorRun, status: int) -> None:
        text = f"Command {exit_message(status)}"
        verdict = run.verdict
        for task in list(run.tasks.values()):
            if verdict is not None and verdict.message:
                self._agent_status(run, task, verdict.state, verdict.message, verdict.reason)
                continue
            if verdict is not None:
                state, reason = verdict.state, verdict.reason
            elif run.killed:
                state, reason = "TASK_KILLED", None
            else:
                state, reason = ("TASK_FINISHED" if status == 0 else "TASK_FAILED"), None
            self.status(run, self._own_status(run, task, state, text, reason))

    def _own_status(
        self,
        run: ExecutorRun,
        task: TaskRun,
        state: str,
        message: str | None = None,
        reason: str | None = None,
    ) -> Json:
        status: Json = {"task_id": task.info["task_id"], "state": state}
        if message is not None:
            status["message"] = message
        status["source"] = "SOURCE_EXECUTOR"
        if reason is not None:
            status["reason"] = reason
        status |= {"executor_id": {"value": run.executor_id}, "timestamp": time.time(), "uuid": new_uuid()}
        return status

    # Killing

    def kill_task(self, framework_id: str, task_id: str, policy: Json | None) -> None:
        """Kill a task, wherever it is on its way."""
        framework = self.frameworks.get(framework_id)
        for run in [] if framework is None else list(framework.executors.values()):
            if task_id in run.queued:
                self._kill_queued(run, run.queued[task_id])
                return
            task = run.tasks.get(task_id)
            if task is None:
                continue
            if run.command:
                own = policy or task.info.get("kill_policy", {})
                if framework is not None and can(framework.info, "TASK_KILLING_STATE") and not run.killed:
                    self.status(run, self._own_status(run, task, "TASK_KILLING"))
                self._kill_command(run, grace_seconds(own.get("grace_period"), KILL_GRACE))
            else:
                kill: Json = {"task_id": {"value": task_id}}
                if policy is not None:
                    kill["kill_policy"] = policy
                self._to_executor(run, {"type": "KILL", "kill": kill})
            return

    def _kill_queued(self, run: ExecutorRun, task: TaskRun) -> None:
        text = "Killed before delivery to the executor"
        del run.queued[task.id]
        run.tasks[task.id] = task
        self._agent_status(run, task, "TASK_KILLED", text, "REASON_TASK_KILLED_DURING_LAUNCH")
        if not run.queued and not run.tasks:
            self._destroy(run)

    def shutdown(self, run: ExecutorRun) -> None:
        """Ask an executor to end; after its grace period it is made to."""
        if run.state in (ExecutorState.TERMINATING, ExecutorState.TERMINATED):
            return
        grace = grace_seconds(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE)
        if run.command:
            if run.state is ExecutorState.REGISTERING:
                self._destroy(run)
            else:
                self._kill_command(run, KILL_GRACE)
            return
        run.move(ExecutorState.TERMINATING)
        if run.stream is None:
            self._destroy(run)
            return
        self._to_executor(run, {"type": "SHUTDOWN"})
        run.timers.append(self.runtime.later(grace, self._destroy, run))

    def _destroy(self, run: ExecutorRun) -> None:
        if not run.destroyed:
            run.destroyed = True
            if run.state is not ExecutorState.TERMINATED and not run.command:
                run.state = ExecutorState.TERMINATING
            if run.pid is not None:
                self.runtime.destroy(run.container_id)

    def exceeds_memory(self, run: ExecutorRun, limit: int, used: int) -> None:
        """Kill a container that uses more memory than it has (bytes)."""
        text = f"Memory limit exceeded: Requested: {limit >> 20}MB Maximum Used: {used >> 20}MB"
        run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", text)
        self._destroy(run)

    # The end of containers

    def container_exited(self, container_id: str, status: int) -> None:
        """Note that nothing is left of a container; `status` is the leader's raw wait status."""
        run = self._containers.get(container_id)
        if run is not None:
            self._ended(run, status)

    def _ended(self, run: ExecutorRun, status: int | None) -> None:
        del self._containers[run.container_id]
        run.cancel_timers()
        run.pid = None
        if run.stream is not None:
            run.stream.close()
            run.stream = None
        framework = self.frameworks[run.framework_id]
        if run.command and status is not None and run.tasks:
            self._command_ended(run, status)
            if not framework.leaving:
                run.timers.append(self.runtime.later(LINGER, self._gone, run))
                return
        if not run.command and not framework.leaving:
            self._tell_exit(run, status)
        verdict = run.verdict or Verdict("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "Executor terminated")
        for task in [*run.queued.values(), *run.tasks.values()]:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
            self._agent_status(run, task, verdict.state, verdict.message, verdict.reason)
        self._gone(run)

    def _gone(self, run: ExecutorRun) -> None:
        if run.state is not ExecutorState.TERMINATED:
            run.state = ExecutorState.TERMINATED
        framework = self.frameworks.get(run.framework_id)
        if framework is not None and framework.executors.get(run.executor_id) is run:
            del framework.executors[run.executor_id]
            framework.completed.append(run)
            if framework.leaving and not framework.executors:
                for key in [key for key in self._running if key[0] == framework.id]:
                    del self._running[key]

    def _tell_exit(self, run: ExecutorRun, status: int | None) -> None:
        self.runtime.send(
            {
                "op": "executor_exited",
                "agent_id": self.place.id,
                "framework_id": run.framework_id,
                "executor_id": run.executor_id,
                "status": status,
            }
        )

    # Executors' calls

    def subscribe(self, run: ExecutorRun, stream: EventStream, call: Json) -> None:
        """Register an executor, or take it back after its connection broke."""
        if run.stream is not None:
            run.stream.close()
        run.stream = stream
        if run.state is ExecutorState.REGISTERING:
            run.move(ExecutorState.RUNNING)
            run.cancel_timers()
        framework = self.frameworks[run.framework_id]
        subscribed = {
            "executor_info": run.info,
            "framework_info": framework.info,
            "agent_info": {name: value for name, value in self.info.items() if name != "checkpoint"},
            "container_id": {"value": run.container_id},
        }
        self._to_executor(run, {"type": "SUBSCRIBED", "subscribed": subscribed})
        backlog, run.backlog = run.backlog, []
        for event in backlog:
            self._to_executor(run, event)
        for update in call.get("subscribe", {}).get("unacknowledged_updates", []):
            self.status(run, update["status"])
        if run.state is ExecutorState.TERMINATING:
            self._to_executor(run, {"type": "SHUTDOWN"})
            return
        for task in list(run.queued.values()):
            del run.queued[task.id]
            self._give(run, task)

    def _give(self, run: ExecutorRun, task: TaskRun) -> None:
        self._to_executor(run, {"type": "LAUNCH", "launch": {"task": task.info}})
        task.forget_data()
        run.tasks[task.id] = task

    def executor_message(self, run: ExecutorRun, data: str) -> None:
        """Forward an executor's message."""
        ids = {"agent_id": self.place.id, "framework_id": run.framework_id, "executor_id": run.executor_id}
        self.runtime.send({"op": "executor_message", **ids, "data": data})

    def _to_executor(self, run: ExecutorRun, event: Json) -> None:
        if run.command:
            return
        if run.stream is None:
            run.backlog.append(event)
            return
        run.stream.send(recordio.encode_event(event))

    # Status updates

    def status(self, run: ExecutorRun, status: Json) -> None:
        """Take an executor's status update, and acknowledge it to the executor."""
        task_id = status["task_id"]["value"]
        task = run.tasks.get(task_id)
        full = {**status, "agent_id": {"value": self.place.id}}
        full.setdefault("timestamp", time.time())
        if (
            (task is not None or task_id in {one.id for one in run.ended}) and run.pid is not None
        ) or run.command:
            full["container_status"] = self._container_status(run)
        self._queue(run, task, full)
        if not run.command:
            acknowledged = {"task_id": status["task_id"], "uuid": status["uuid"]}
            self._to_executor(run, {"type": "ACKNOWLEDGED", "acknowledged": acknowledged})

    def _container_status(self, run: ExecutorRun) -> Json:
        address = {"protocol": "IPv6" if ":" in self.place.ip else "IPv4", "ip_address": self.place.ip}
        status: Json = {
            "container_id": {"value": run.container_id},
            "network_infos": [{"ip_addresses": [address]}],
        }
        if run.pid is not None:
            status["executor_pid"] = run.pid
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
            if ordered["state"] in TERMINAL:
                run.tasks.pop(task.id, None)
                run.ended = [*run.ended, task][-100:]
        framework = self.frameworks.get(run.framework_id)
        if framework is None or framework.leaving:
            return
        key = (run.framework_id, ordered["task_id"]["value"])
        self._forward(key, self.updates.add(key, ordered, self.runtime.now()))

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
        status |= {"timestamp": time.time(), "uuid": new_uuid()}
        key = (framework.id, task.id)
        self._forward(key, self.updates.add(key, status, self.runtime.now()))

    def _forward(self, key: tuple[str, str], status: Json | None) -> None:
        if status is not None:
            latest = self.updates.latest(key) or status["state"]
            message = {"op": "update", "agent_id": self.place.id, "framework_id": key[0], "status": status}
            self.runtime.send({**message, "latest_state": latest})

    def _acknowledged(self, key: tuple[str, str], update: str) -> None:
        _, following = self.updates.acknowledge(key, update, self.runtime.now())
        self._forward(key, following)

    def retry(self) -> None:
        """Send again what was not acknowledged in time."""
        for key, status in self.updates.due(self.runtime.now()):
            self._forward(key, status)

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
                    item = {"framework_id": framework.id, "task_id": task.id, "state": task.state}
                    tasks.append({**item, "status": task.status or {}})
        for key, status in self.updates.in_flight():
            latest = self.updates.latest(key) or status["state"]
            if latest in TERMINAL:
                tasks.append({"framework_id": key[0], "task_id": key[1], "state": latest, "status": status})
        return {
            "tasks": tasks,
            "executors": executors,
            "frameworks": [f.id for f in self.frameworks.values() if not f.leaving],
        }

    def registered(self) -> None:
        """Send again what is unacknowledged, now that there is a new link."""
        for key, status in self.updates.in_flight():
            self._forward(key, status)


def _command_executor(task: Json) -> Json:
    """Make up the ExecutorInfo that Mesos gives a command task."""
    task_id = task["task_id"]["value"]
    shown = task["command"].get("value", "")
    text = shown if len(shown) <= 15 else shown[:12] + "..."
    prefix = "sh -c '" + text + "'" if task["command"].get("shell", True) else text
    info: Json = {
        "executor_id": {"value": task_id},
        "framework_id": {"value": ""},
        "command": {"shell": False, "value": "mesos-executor", "arguments": ["mesos-executor"]},
        "name": f"Command Executor (Task: {task_id}) (Command: {prefix})",
        "source": task_id,
    }
    if "labels" in task:
        info["labels"] = task["labels"]
    return info


def _original(info: Json) -> Json:
    """Give the ExecutorInfo as its framework sent it (the master compares that)."""
    resources = [
        {k: v for k, v in item.items() if k != "allocation_info"} for item in info.get("resources", [])
    ]
    return {**info, "resources": resources} if resources else dict(info)


def sandbox_exists(run: ExecutorRun) -> bool:
    """Tell whether a run's sandbox is still there."""
    return os.path.isdir(run.directory)
