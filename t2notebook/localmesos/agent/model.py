"""What an agent remembers of its executors: their states, tasks and containers, and how the states may change."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from ..common.resources import Resources
from ..common.task_states import Json
from ..http.server import EventStream
from .limits import Limits

COMMAND_EXECUTOR = Resources.of(cpus=0.1, mem=32)
"""What Mesos adds to a command task for its executor."""


MAX_COMPLETED_FRAMEWORKS = 50
MAX_COMPLETED_EXECUTORS = 150
"""How many ended runs an agent remembers, each with its sandbox's place in the files API."""


class ExecutorState(Enum):
    """An executor's life on the agent."""

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
class Verdict:
    """What an executor's unfinished tasks end with, if not with plain "Executor terminated"."""

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

    def time_left(self, now: float) -> float | None:
        """Give the seconds until it has run too long; None when it may run for ever."""
        limit = self.info.get("max_completion_time")
        if limit is None:
            return None
        return max(0.0, grace_seconds(limit, 0.0) - (now - (now if self.since is None else self.since)))

    def forget_data(self) -> None:
        """Drop the secret."""
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
    verdict: Verdict | None = None
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
    def resources(self) -> Resources:
        """Give what the executor and its tasks hold."""
        total = COMMAND_EXECUTOR if self.command else Resources.from_json(self.info.get("resources", []))
        for task in (*self.queued.values(), *self.tasks.values()):
            total = total + task.resources
        return total

    @property
    def limits(self) -> Limits:
        """Give what its containers may use together (for a thousand tasks, too, this is asked at each change)."""
        own = COMMAND_EXECUTOR if self.command else Resources.from_json(self.info.get("resources", []))
        tasks = [one.limits for one in (*self.queued.values(), *self.tasks.values())]
        cpus = own.amount("cpus") + sum(one.cpus for one in tasks)
        mem = own.amount("mem") + sum(one.mem for one in tasks)
        cpu_limit = mem_limit = None
        # Who says nothing may use what it asked for.
        if any(one.cpu_limit is not None for one in tasks):
            cpu_limit = own.amount("cpus") + sum(one.most_cpus for one in tasks)
        if any(one.mem_limit is not None for one in tasks):
            mem_limit = own.amount("mem") + sum(one.most_mem for one in tasks)
        return Limits(cpus, mem, cpu_limit, mem_limit)

    @property
    def leaders(self) -> list[int]:
        """Give the first processes of its containers."""
        return [*([] if self.pid is None else [self.pid]), *self.nested_pids.values()]

    def move(self, state: ExecutorState) -> None:
        """Go to a state; one that the table does not allow is a fault of the program."""
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


def grace_seconds(info: Json | None, default: float) -> float:
    """Read a DurationInfo."""
    if info is None:
        return default
    return float(info["nanoseconds"]) / 1e9
