"""Command tasks: the agent itself is their executor, in the words of Mesos's command executor. No I/O."""

from __future__ import annotations

import signal
import time

from ...checks.checker import News, empty_status
from ...common.ids import new_uuid
from ...common.task_states import Json, can
from ..check_runner import Checks
from ..model import ExecutorRun, ExecutorState, TaskRun, Verdict, exit_message, grace_seconds

KILL_GRACE = 3.0
LINGER = 1.0
"""How long a command executor outlives its task, as Mesos's does."""


class CommandTasks(Checks):
    """Starting, timing, killing and ending command tasks."""

    def destroy(self, run: ExecutorRun) -> None:
        """Kill a container, whatever it does."""
        if not run.destroyed:
            run.destroyed = True
            if run.default:
                self._destroy_default(run)
                return
            if run.state is not ExecutorState.TERMINATED and not run.command:
                run.state = ExecutorState.TERMINATING
            if run.pid is not None:
                self.runtime.destroy(run.container_id)

    def _destroy_default(self, run: ExecutorRun) -> None:
        raise NotImplementedError

    def _command_started(self, run: ExecutorRun) -> None:
        run.move(ExecutorState.RUNNING)
        self.save_run(run)
        for task in list(run.queued.values()):
            del run.queued[task.id]
            task.forget_data()
            run.tasks[task.id] = task
            for state in ("TASK_STARTING", "TASK_RUNNING"):
                self.status(run, self._own_status(run, task, state))
            self._watch_command(run, task)

    def _watch_command(self, run: ExecutorRun, task: TaskRun) -> None:
        """Start a task's checks and the clock of its longest time."""
        if run.launched is not None:
            self._start_checks(run, task, run.launched, self._news)
        left = task.time_left(time.time())
        if left is not None:
            run.timers.append(self.runtime.later(left, self._too_long, run))

    def _news(self, run: ExecutorRun, task: TaskRun, news: News) -> None:
        """Tell what a check found."""
        if news.healthy is not None:
            task.healthy = news.healthy
        if news.check_status is not None:
            task.check_status = news.check_status
        self.status(run, self._own_status(run, task, "TASK_RUNNING", None, news.reason))
        if news.kill:
            task.unhealthy = True
            self._kill_own(run, task, None)

    def _too_long(self, run: ExecutorRun) -> None:
        run.verdict = Verdict("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED", "")
        self._kill_command(run, KILL_GRACE)

    def _kill_own(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        """Kill a task whose executor the agent is: TERM, and KILL after the grace period."""
        own = policy or task.info.get("kill_policy", {})
        framework = self.frameworks.get(run.framework_id)
        if framework is not None and can(framework.info, "TASK_KILLING_STATE") and not run.killed:
            self.status(run, self._own_status(run, task, "TASK_KILLING"))
        self._stop_checks(run, task.id)
        self._kill_command(run, grace_seconds(own.get("grace_period"), KILL_GRACE))

    def _kill_command(self, run: ExecutorRun, grace: float) -> None:
        if run.destroyed:
            return
        run.killed = True
        self.save_run(run)
        self.runtime.signal(run.container_id, signal.SIGTERM)
        run.timers.append(self.runtime.later(grace, self.destroy, run))

    def _command_ended(self, run: ExecutorRun, status: int) -> None:
        text = f"Command {exit_message(status)}"
        verdict = run.verdict
        for task in list(run.tasks.values()):
            self._stop_checks(run, task.id)
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
        if "check" in task.info:
            known = task.check_status if state == "TASK_RUNNING" else None
            status["check_status"] = known or empty_status(task.info["check"])
        if task.healthy is not None and (state == "TASK_RUNNING" or task.unhealthy):
            status["healthy"] = task.healthy
        return status | self._place(run, task, state)

    def _place(self, run: ExecutorRun, task: TaskRun, state: str) -> Json:
        """Give what a status says of the task's own container, if it has one."""
        return {}


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
