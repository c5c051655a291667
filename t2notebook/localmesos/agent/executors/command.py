"""Command tasks: the agent itself is their executor, in the words of Mesos's command executor. No I/O."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

from ...checks.checker import News
from ...common.task_states import Json, can
from ..state.model import (
    ContainerTermination,
    ExecutorRun,
    ExecutorState,
    TaskRun,
    exit_message,
    seconds_of,
)
from ..state.parts import AgentParts
from .check_runner import CheckRunner
from .executor import KILL_GRACE, note_check, own_status
from .lifecycle import Lifecycle

LINGER = 1.0
"""A command executor outlives its task by so many seconds, as Mesos's does."""


class CommandExecutors:
    """Starts, times, kills and ends command tasks: one task a container.

    Parameters
    ----------
    parts, lifecycle, checks
        The parts of the agent that it works with.
    """

    def __init__(
        self,
        parts: AgentParts,
        lifecycle: Lifecycle,
        checks: CheckRunner,
    ) -> None:
        self._state, self._runtime, self._log = parts.state, parts.runtime, parts.log
        self._updates = parts.updates
        self._lifecycle = lifecycle
        self._checks = checks

    def started(self, run: ExecutorRun) -> None:
        """Tell that its task runs."""
        run.move(ExecutorState.RUNNING)
        self._log.save_run(run)
        for task in list(run.queued.values()):
            del run.queued[task.id]
            task.forget_data()
            run.tasks[task.id] = task
            for state in ("TASK_STARTING", "TASK_RUNNING"):
                self._tell(run, task, state)
            self._watch(run, task)

    def _tell(
        self, run: ExecutorRun, task: TaskRun, state: str, text: str | None = None, reason: str | None = None
    ) -> None:
        self._updates.from_executor(run, own_status(run, task, state, text, reason))

    def _watch(self, run: ExecutorRun, task: TaskRun) -> None:
        """Start a task's checks and the clock of its longest time."""
        if run.launched is not None:
            self._checks.start(run, task, run.launched, self._checked)
        remaining = task.remaining_time(time.time())
        if remaining is not None:
            run.timers.append(self._runtime.later(remaining, self._too_long, run))

    def _checked(self, run: ExecutorRun, task: TaskRun, news: News) -> None:
        note_check(task, news)
        self._tell(run, task, "TASK_RUNNING", None, news.reason)
        if news.kill:
            task.unhealthy = True
            self.kill_task(run, task, None)

    def _too_long(self, run: ExecutorRun) -> None:
        reason = "REASON_MAX_COMPLETION_TIME_REACHED"
        run.pending_termination = ContainerTermination("TASK_FAILED", reason, "")
        self._kill(run, KILL_GRACE)

    def deliver(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Refuse: the executor is there for its one task."""
        framework = self._state.frameworks[run.framework_id]
        for task in tasks:
            text = "Cannot reuse an already existing executor for a command task"
            self._updates.drop(framework, task, run.executor_id, text, "REASON_TASK_INVALID")

    def kill_task(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        """Send the task SIGTERM, and SIGKILL after the grace period.

        Parameters
        ----------
        policy
            The call's KillPolicy, which wins over the task's.
        """
        framework, first = self._state.frameworks.get(run.framework_id), not run.killed
        if not run.destroyed:
            # Before anybody hears of it: an agent that dies then must not let the task live.
            run.killed = True
            self._log.save_run(run)
        if framework is not None and can(framework.info, "TASK_KILLING_STATE") and first:
            self._tell(run, task, "TASK_KILLING")
        self._checks.stop(run, task.id)
        own = policy or task.info.get("kill_policy", {})
        self._kill(run, seconds_of(own.get("grace_period"), KILL_GRACE))

    def shutdown(self, run: ExecutorRun) -> None:
        """Kill the task, with its grace period if it runs."""
        if run.state is ExecutorState.REGISTERING:
            self.destroy(run)
        else:
            self._kill(run, KILL_GRACE)

    def _kill(self, run: ExecutorRun, grace: float) -> None:
        if run.destroyed:
            return
        run.killed = True
        self._log.save_run(run)
        self._runtime.signal(run.container_id, signal.SIGTERM)
        run.timers.append(self._runtime.later(grace, self.destroy, run))

    def destroy(self, run: ExecutorRun) -> None:
        """Kill the task's container."""
        if not run.destroyed:
            run.destroyed = True
            if run.pid is not None:
                self._runtime.destroy(run.container_id)

    def ended(self, run: ExecutorRun, status: int | None) -> None:
        """Tell how the task ended; the executor lingers."""
        self._lifecycle.release(run)
        if status is None or not run.tasks:
            self._lifecycle.end(run, status)
            return
        self._end_tasks(run, status)
        if self._state.frameworks[run.framework_id].leaving:
            self._lifecycle.end(run, status)
        else:
            run.timers.append(self._runtime.later(LINGER, self._lifecycle.remove, run))

    def _end_tasks(self, run: ExecutorRun, status: int) -> None:
        text, end = f"Command {exit_message(status)}", run.pending_termination
        for task in list(run.tasks.values()):
            self._checks.stop(run, task.id)
            if end is not None and end.message:
                self._updates.from_agent(run, task, end.state, end.message, end.reason)
            elif end is not None:
                self._tell(run, task, end.state, text, end.reason)
            elif run.killed:
                self._tell(run, task, "TASK_KILLED", text)
            else:
                self._tell(run, task, "TASK_FINISHED" if status == 0 else "TASK_FAILED", text)

    def recover(self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Watch a task that lives as before.

        Parameters
        ----------
        living, ended
            As `ExecutorKind.recover` has them.
        """
        if self._lifecycle.recover(run, self, living, ended):
            for task in run.tasks.values():
                self._watch(run, task)


def command_executor(task: Json) -> Json:
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
