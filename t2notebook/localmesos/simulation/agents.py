"""Simulated agents: thousands of agents whose tasks only pass their time. No I/O.

To the master and to frameworks they are agents like others: they register, launch, tell STARTING, RUNNING and
an end in the words of Mesos's command executor, repeat what is not acknowledged, kill and reconcile. How long a
task takes is drawn from a distribution, save that `sleep SECONDS` takes its seconds; else nobody looks at what
it would run.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..agent.state.status_update_manager import Key, StatusUpdateManager
from ..common.ids import new_uuid
from ..common.resources import Resources
from ..common.task_states import TERMINAL, Json, can
from .durations import Draw

_KILLED = f"Command terminated with signal {signal.strsignal(signal.SIGTERM)}"


@dataclass
class _Task:
    """A task; of its TaskInfo only what a new master has to know of it."""

    key: Key
    agent: int
    executor_id: str
    container_id: str
    role: str
    info: Json
    state: str = "TASK_STAGING"
    status: Json | None = None


@dataclass
class _Executor:
    """A custom executor: it is there as long as one of its tasks is."""

    info: Json
    role: str
    container_id: str
    tasks: set[Key] = field(default_factory=set)


@dataclass
class _Agent:
    id: str | None = None
    tasks: dict[Key, _Task] = field(default_factory=dict)
    executors: dict[Key, _Executor] = field(default_factory=dict)


class SimulatedAgents:
    """A crowd of equal agents.

    Parameters
    ----------
    first
        The index of the first of them in the cluster.
    address
        Host and port that their AgentInfo names.
    draw
        Gives a task's seconds.

    Attributes
    ----------
    out
        (index within the crowd, message to the master), to be sent and cleared by the caller.
    """

    def __init__(
        self,
        count: int,
        resources: Resources,
        draw: Draw,
        *,
        first: int = 0,
        address: tuple[str, int] = ("127.0.0.1", 0),
        seed: int | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.out: list[tuple[int, Json]] = []
        self._agents = [_Agent() for _ in range(count)]
        order = ("cpus", "gpus", "mem", "disk", "ports")
        self._shown = sorted(resources.to_json(), key=lambda item: order.index(item["name"]))
        self._first = first
        self._address = address
        self._draw = draw
        self._random = random.Random(seed)
        self._wall = wall
        self._updates = StatusUpdateManager()
        self._frameworks: dict[str, Json] = {}
        self._tasks: dict[Key, _Task] = {}
        self._ends: list[tuple[float, int, Key]] = []
        self._serial = itertools.count()

    def registrations(self) -> Iterator[tuple[int, Json]]:
        """Give every agent's registration, for a new link."""
        for index in range(len(self._agents)):
            yield index, self._registration(index)

    def _registration(self, index: int) -> Json:
        agent, (host, port) = self._agents[index], self._address
        attributes = [{"name": "simulated", "type": "TEXT", "text": {"value": "true"}}]
        info: Json = {"hostname": f"sim{index + 1}", "port": port, "resources": self._shown}
        message: Json = {
            "op": "register",
            "index": self._first + index,
            "pid": f"slave({self._first + index + 1})@{host}:{port}",
            "agent_id": agent.id,
            "info": {**info, "attributes": attributes, "checkpoint": True},
        }
        return message if agent.id is None else message | self._report(agent)

    def _report(self, agent: _Agent) -> Json:
        tasks: list[Json] = []
        for key, task in agent.tasks.items():
            item: Json = {"framework_id": key[0], "task_id": key[1], "state": task.state}
            if task.state not in TERMINAL:
                custom = (key[0], task.executor_id) in agent.executors
                item |= {
                    "executor_id": task.executor_id if custom else "",
                    "role": task.role,
                    "info": task.info,
                }
            tasks.append({**item, "status": task.status or {}})
        executors = [
            {
                "framework_id": key[0],
                "executor_id": key[1],
                "info": executor.info,
                "original": executor.info,
                "role": executor.role,
            }
            for key, executor in agent.executors.items()
        ]
        frameworks = {key[0]: self._frameworks[key[0]] for key in (*agent.tasks, *agent.executors)}
        return {"tasks": tasks, "executors": executors, "frameworks": frameworks}

    def message(self, now: float, index: int, message: Json) -> None:
        """Handle the master's message to one agent.

        Parameters
        ----------
        now
            Seconds of the caller's steady clock.
        index
            The agent's number within the crowd.
        """
        agent, op = self._agents[index], message["op"]
        if op == "registered":
            agent.id = message["agent_id"]
            for key in agent.tasks:
                status = self._updates.first(key)
                if status is not None:
                    self._forward(self._tasks[key], status)
        elif op == "close":
            self.out.append((index, self._registration(index)))
        elif op == "run_task":
            self._run(now, index, agent, message)
        elif op == "kill_task":
            task = agent.tasks.get((message["framework_id"], message["task_id"]))
            if task is not None and task.state not in TERMINAL:
                if can(self._frameworks[message["framework_id"]], "TASK_KILLING_STATE"):
                    self._tell(now, task, "TASK_KILLING")
                self._end(now, task, "TASK_KILLED", _KILLED)
        elif op == "ack":
            self._acknowledged(now, (message["framework_id"], message["task_id"]), message["uuid"])
        elif op == "shutdown_executor":
            executor = agent.executors.get((message["framework_id"], message["executor_id"]))
            for key in list(executor.tasks) if executor is not None else ():
                text, reason = "Executor terminated", "REASON_EXECUTOR_TERMINATED"
                self._end(now, self._tasks[key], "TASK_FAILED", text, reason)
        elif op == "shutdown_framework":
            self._leave(agent, message["framework_id"])

    def tick(self, now: float) -> None:
        """End the tasks whose time is over."""
        while self._ends and self._ends[0][0] <= now:
            _, _, key = heapq.heappop(self._ends)
            task = self._tasks.get(key)
            if task is not None and task.state not in TERMINAL:
                self._end(now, task, "TASK_FINISHED", "Command exited with status 0")

    def next_time(self) -> float | None:
        """Give when the next task ends."""
        return self._ends[0][0] if self._ends else None

    def retry(self, now: float) -> None:
        """Send again what was not acknowledged in time."""
        for key, status in self._updates.due(now):
            self._forward(self._tasks[key], status)

    def _run(self, now: float, index: int, agent: _Agent, message: Json) -> None:
        info, framework_id = message["task"], message["framework_id"]
        self._frameworks[framework_id] = message["framework"]
        key = (framework_id, info["task_id"]["value"])
        executor_id, container_id = key[1], str(uuid.uuid4())
        if "executor" in info:
            executor_id = info["executor"]["executor_id"]["value"]
            executor = agent.executors.setdefault(
                (framework_id, executor_id), _Executor(info["executor"], message["role"], container_id)
            )
            executor.tasks.add(key)
            container_id = executor.container_id
        known = {name: info[name] for name in ("name", "resources", "labels", "discovery") if name in info}
        task = _Task(key, index, executor_id, container_id, message["role"], known)
        self._tasks[key] = agent.tasks[key] = task
        self._tell(now, task, "TASK_STARTING")
        self._tell(now, task, "TASK_RUNNING")
        seconds = _sleep(info.get("command", {}).get("value", ""))
        seconds = self._draw(self._random) if seconds is None else seconds
        heapq.heappush(self._ends, (now + seconds, next(self._serial), key))

    def _end(self, now: float, task: _Task, state: str, text: str, reason: str | None = None) -> None:
        self._tell(now, task, state, text, reason)
        agent, key = self._agents[task.agent], (task.key[0], task.executor_id)
        executor = agent.executors.get(key)
        if executor is not None:
            executor.tasks.discard(task.key)
            if not executor.tasks:
                del agent.executors[key]
                ids = {"agent_id": agent.id, "framework_id": key[0], "executor_id": key[1]}
                self.out.append((task.agent, {"op": "executor_exited", **ids, "status": 0}))

    def _leave(self, agent: _Agent, framework_id: str) -> None:
        for key in [key for key in agent.tasks if key[0] == framework_id]:
            del agent.tasks[key]
            del self._tasks[key]
            self._updates.forget(key)
        for key in [key for key in agent.executors if key[0] == framework_id]:
            del agent.executors[key]

    # Updates

    def _tell(
        self, now: float, task: _Task, state: str, text: str | None = None, reason: str | None = None
    ) -> None:
        status: Json = {"task_id": {"value": task.key[1]}, "state": state}
        if text is not None:
            status["message"] = text
        status["source"] = "SOURCE_EXECUTOR" if reason is None else "SOURCE_AGENT"
        if reason is not None:
            status["reason"] = reason
        address = {"protocol": "IPv4", "ip_address": self._address[0]}
        status |= {
            "agent_id": {"value": self._agents[task.agent].id},
            "executor_id": {"value": task.executor_id},
            "timestamp": self._wall(),
            "uuid": new_uuid(),
            "container_status": {
                "container_id": {"value": task.container_id},
                "network_infos": [{"ip_addresses": [address]}],
            },
        }
        task.state, task.status = state, status
        ready = self._updates.add(task.key, status, now)
        if ready is not None:
            self._forward(task, ready)

    def _acknowledged(self, now: float, key: Key, update: str) -> None:
        done, following = self._updates.acknowledge(key, update, now)
        task = self._tasks.get(key)
        if task is not None and following is not None:
            self._forward(task, following)
        if task is not None and done:
            del self._tasks[key]
            self._agents[task.agent].tasks.pop(key, None)

    def _forward(self, task: _Task, status: Json) -> None:
        message = {"op": "update", "agent_id": self._agents[task.agent].id, "framework_id": task.key[0]}
        latest = self._updates.latest(task.key) or status["state"]
        self.out.append((task.agent, {**message, "status": status, "latest_state": latest}))


def _sleep(command: str) -> float | None:
    found = re.fullmatch(r"\s*sleep\s+(\d+(?:\.\d+)?)\s*", command)
    return None if found is None else float(found[1])
