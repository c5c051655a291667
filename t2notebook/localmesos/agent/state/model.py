"""Executors and tasks as an agent knows them: states, containers, limits; the table of an executor's states."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from ...common.resources import Resources
from ...common.task_states import Json
from ...http import recordio
from ...http.server import EventStream
from ..containerizer.limits import Limits

COMMAND_EXECUTOR = Resources.of(cpus=0.1, mem=32)
"""Mesos adds it to a command task, for its executor."""

MAX_COMPLETED_FRAMEWORKS = 50
MAX_COMPLETED_EXECUTORS = 150
"""Ended runs that an agent remembers, each with its sandbox in the files API."""


class ExecutorState(Enum):
    """States of an executor on the agent, as Mesos's."""

    REGISTERING = "registering"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


EXECUTOR_TRANSITIONS = {
    ExecutorState.REGISTERING: {ExecutorState.RUNNING, ExecutorState.TERMINATING, ExecutorState.TERMINATED},
    ExecutorState.RUNNING: {ExecutorState.TERMINATING, ExecutorState.TERMINATED},
    ExecutorState.TERMINATING: {ExecutorState.TERMINATED},
    ExecutorState.TERMINATED: set(),
}


@dataclass(frozen=True)
class ContainerTermination:
    """The end that a container's unfinished tasks are told of, where it is not what its exit status says.

    Attributes
    ----------
    message
        Mesos's; empty to say the exit status all the same.
    """

    state: str
    reason: str | None
    message: str


@dataclass
class TaskRun:
    """A task on the agent. `TaskInfo.data` is dropped as soon as the executor has it.

    Attributes
    ----------
    healthy, check_status
        What its checks said last.
    unhealthy
        It is killed because its health check failed too often.
    group
        The task group that it came with.
    container, launched, killing
        Of a group's task: its own container, its launch request, and whether it is being killed.
    since
        When it began to run (seconds since 1970).
    """

    info: Json
    state: str = "TASK_STAGING"
    status: Json | None = None
    healthy: bool | None = None
    check_status: Json | None = None
    unhealthy: bool = False
    group: str | None = None
    container: str | None = None
    launched: Json | None = None
    killing: bool = False
    since: float | None = None

    @property
    def id(self) -> str:
        """Give the task's id."""
        return str(self.info["task_id"]["value"])

    @property
    def resources(self) -> Resources:
        """Give what it holds."""
        return Resources.from_json(self.info["resources"])

    @property
    def alone(self) -> bool:
        """Tell whether a group's task is limited by itself, not with its executor."""
        return not self.info.get("container", {}).get("linux_info", {}).get("share_cgroups", True)

    @cached_property
    def limits(self) -> Limits:
        """Give what it may use."""
        held, given = self.resources, self.info.get("limits", {})
        most = {name: float(value["value"]) for name, value in given.items()}
        return Limits(held.amount("cpus"), held.amount("mem"), most.get("cpus"), most.get("mem"))

    def remaining_time(self, now: float) -> float | None:
        """Give the seconds until it has run too long; None when it may run for ever."""
        limit = self.info.get("max_completion_time")
        if limit is None:
            return None
        return max(0.0, seconds_of(limit, 0.0) - (now - (now if self.since is None else self.since)))

    def forget_data(self) -> None:
        """Drop `TaskInfo.data`, which may be secret."""
        self.info = {name: value for name, value in self.info.items() if name != "data"}


@dataclass
class ExecutorRun:
    """One run of an executor: one container.

    Attributes
    ----------
    command, default
        The agent itself is the executor: of one command task, or of task groups.
    launched
        A command task's launch request.
    pid, first_pid
        The leader while it lives, and what it was (a last status still names it).
    queued
        Tasks that wait for the executor's registration.
    tasks
        Tasks that the executor has and that are not terminal.
    backlog
        Events for an executor whose stream is broken.
    pending_termination
        Decided before its container ended, as in Mesos.
    sized
        Its container has been given its limits.
    collected
        Its sandbox is gone.
    """

    framework_id: str
    executor_id: str
    info: Json
    original: Json
    role: str
    container_id: str
    directory: str
    command: bool
    default: bool = False
    state: ExecutorState = ExecutorState.REGISTERING
    pid: int | None = None
    first_pid: int | None = None
    stream: EventStream | None = None
    backlog: list[Json] = field(default_factory=list)
    queued: dict[str, TaskRun] = field(default_factory=dict)
    tasks: dict[str, TaskRun] = field(default_factory=dict)
    ended: list[TaskRun] = field(default_factory=list)
    pending_termination: ContainerTermination | None = None
    launched: Json | None = None
    killed: bool = False
    destroyed: bool = False
    sized: bool = False
    collected: bool = False
    resizing: asyncio.TimerHandle | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    nested_pids: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Give (framework id, executor id)."""
        return self.framework_id, self.executor_id

    @property
    def own(self) -> bool:
        """Tell whether the agent itself is the executor."""
        return self.command or self.default

    @property
    def has_engine(self) -> bool:
        """Tell whether a container engine has made its container."""
        return self.launched is not None and "engine" in self.launched

    @property
    def resources(self) -> Resources:
        """Give what the executor and its tasks hold."""
        total = COMMAND_EXECUTOR if self.command else Resources.from_json(self.info.get("resources", []))
        for task in (*self.queued.values(), *self.tasks.values()):
            total = total + task.resources
        return total

    @property
    def limits(self) -> Limits:
        """Give what its containers may use together."""
        own = COMMAND_EXECUTOR if self.command else Resources.from_json(self.info.get("resources", []))
        tasks = [one.limits for one in (*self.queued.values(), *self.tasks.values())]
        cpus = own.amount("cpus") + sum(one.cpus for one in tasks)
        mem = own.amount("mem") + sum(one.mem for one in tasks)
        cpu_limit = mem_limit = None
        # A task without limits may use what it asked for.
        if any(one.cpu_limit is not None for one in tasks):
            cpu_limit = own.amount("cpus") + sum(one.most_cpus for one in tasks)
        if any(one.mem_limit is not None for one in tasks):
            mem_limit = own.amount("mem") + sum(one.most_mem for one in tasks)
        return Limits(cpus, mem, cpu_limit, mem_limit)

    @property
    def leaders(self) -> list[int]:
        """Give the first processes of its containers."""
        return [*([] if self.pid is None else [self.pid]), *self.nested_pids.values()]

    def send(self, event: Json) -> None:
        """Send an event to a custom executor; one whose stream is broken gets it when it is back."""
        if self.own:
            return
        if self.stream is None:
            self.backlog.append(event)
        else:
            self.stream.send(recordio.encode_event(event))

    def has_had(self, task_id: str) -> bool:
        """Tell whether a task was given to it."""
        return task_id in self.tasks or any(one.id == task_id for one in self.ended)

    def move(self, state: ExecutorState) -> None:
        """Go to a state.

        Raises
        ------
        AssertionError
            The table does not allow it: a fault of the program.
        """
        if state not in EXECUTOR_TRANSITIONS[self.state]:
            raise AssertionError(f"executor {self.executor_id}: {self.state} -> {state}")
        self.state = state

    def cancel_timers(self) -> None:
        """Stop whatever waits for this executor."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


@dataclass
class FrameworkRun:
    """A framework on the agent."""

    id: str
    info: Json
    executors: dict[str, ExecutorRun] = field(default_factory=dict)
    completed: deque[ExecutorRun] = field(default_factory=lambda: deque(maxlen=MAX_COMPLETED_EXECUTORS))
    leaving: bool = False


def exit_message(status: int) -> str:
    """Say a raw wait status in Mesos's words (`WSTRINGIFY`)."""
    if os.WIFSIGNALED(status):
        core = " (core dumped)" if os.WCOREDUMP(status) else ""
        return f"terminated with signal {signal.strsignal(os.WTERMSIG(status))}{core}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def seconds_of(info: Json | None, default: float) -> float:
    """Read a DurationInfo; `default` stands for a missing one."""
    if info is None:
        return default
    return float(info["nanoseconds"]) / 1e9
