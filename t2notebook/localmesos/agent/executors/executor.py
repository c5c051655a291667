"""The interface of the three kinds of executors, and the statuses that an agent sends where it is the executor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from ...checks.checker import News, empty_status
from ...common.ids import new_uuid
from ...common.task_states import Json
from ..state.model import ExecutorRun, TaskRun

KILL_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL of a task without a KillPolicy (`DEFAULT_KILL_POLICY_GRACE_PERIOD`)."""

SHUTDOWN_GRACE = 5.0
"""Seconds of an executor without a `shutdown_grace_period` (`DEFAULT_EXECUTOR_SHUTDOWN_GRACE_PERIOD`)."""


class ExecutorKind(Protocol):
    """The agent's side of one kind of executors: custom, command or default."""

    def started(self, run: ExecutorRun) -> None:
        """Note that its container's first process was forked."""

    def deliver(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Give a running executor a task, or a task group."""

    def kill_task(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        """Kill a task that it has.

        Parameters
        ----------
        policy
            The call's KillPolicy, which wins over the task's.
        """

    def shutdown(self, run: ExecutorRun) -> None:
        """Ask a living executor to end; after its grace period it is made to."""

    def destroy(self, run: ExecutorRun) -> None:
        """Kill it, whatever it does."""

    def ended(self, run: ExecutorRun, status: int | None) -> None:
        """Note that nothing is left of its container.

        Parameters
        ----------
        status
            The raw wait status of the first process; None if there was none.
        """

    def recover(self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Take up an executor of an earlier agent.

        Parameters
        ----------
        living, ended
            Containers: pid of the first process, raw wait status. One in neither went with its machine.
        """


def own_status(
    run: ExecutorRun, task: TaskRun, state: str, message: str | None = None, reason: str | None = None
) -> Json:
    """Give a status of a task whose executor the agent is, as Mesos's executor would send it.

    Parameters
    ----------
    message, reason
        Left out if None.
    """
    status: Json = {"task_id": task.info["task_id"], "state": state}
    if message is not None:
        status["message"] = message
    status["source"] = "SOURCE_EXECUTOR"
    if reason is not None:
        status["reason"] = reason
    status |= {"executor_id": {"value": run.executor_id}, "timestamp": time.time(), "uuid": new_uuid()}
    if "check" in task.info:
        known = task.check_status if state == "TASK_RUNNING" else None
        status["check_status"] = known or empty_status(task.info["check"])
    if task.healthy is not None and (state == "TASK_RUNNING" or task.unhealthy):
        status["healthy"] = task.healthy
    return status


def note_check(task: TaskRun, news: News) -> None:
    """Remember what a check found."""
    if news.healthy is not None:
        task.healthy = news.healthy
    if news.check_status is not None:
        task.check_status = news.check_status
