"""Task groups: the agent itself is the default executor, each task a container nested in the executor's. No I/O.

What it does is what `mesos-default-executor` does: all of a group starts together; a task that fails or is killed
takes its group with it; when nothing is left, the executor is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from dataclasses import dataclass, field

from t2notebook.localmesos import containers
from t2notebook.localmesos.agent_commands import KILL_GRACE, CommandTasks
from t2notebook.localmesos.containers import SandboxError, User
from t2notebook.localmesos.records import Json, can
from t2notebook.localmesos.runs import ExecutorRun, ExecutorState, TaskRun, exit_message, grace_seconds

EXECUTOR_ENDS = 0.05
"""How long the default executor takes to end after its last task."""


@dataclass
class Nested:
    """One task's container.

    Attributes
    ----------
    verdict
        State and reason that it ends with, if not with what its exit status says.
    """

    id: str
    run: ExecutorRun
    task: TaskRun
    directory: str
    user: User
    pid: int | None = None
    launched: Json | None = None
    killing: bool = False
    destroyed: bool = False
    verdict: tuple[str, str | None] | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class TaskGroups(CommandTasks):
    """Starting, killing and ending the tasks of groups."""

    def _launch_group(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Start tasks in an executor that runs."""
        started = []
        for task in tasks:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
            container_id = str(uuid.uuid4())
            directory = os.path.join(run.directory, "containers", container_id)
            command = task.info.get("command", {})
            name = command.get("user") or self.frameworks[run.framework_id].info["user"]
            try:
                user = containers.find_user(name, directory)
                containers.make_nested_sandbox(run.directory, directory, task.id, user)
            except SandboxError as error:
                self._agent_status(run, task, "TASK_FAILED", str(error), "REASON_CONTAINER_LAUNCH_FAILED")
                continue
            nested = Nested(container_id, run, task, directory, user)
            self._nested[container_id] = nested
            self.status(run, self._nested_status(nested, "TASK_STARTING"))
            started.append(nested)
        for nested in started:
            uris = nested.task.info.get("command", {}).get("uris", [])
            if uris:
                self._fetch_nested(nested, uris)
            else:
                self._nested_fetched(nested, None)
        if len(started) < len(tasks):
            self._kill_group(run, tasks[0].group)

    def _fetch_nested(self, nested: Nested, uris: list[Json]) -> None:
        def cancelled() -> bool:
            return nested.killing

        def done(failure: str | None) -> None:
            self._nested_fetched(nested, failure)

        self.runtime.fetch(uris, nested.directory, nested.user, cancelled, done)

    def _nested_fetched(self, nested: Nested, failure: str | None) -> None:
        run, task = nested.run, nested.task
        if nested.killing or run.destroyed:
            self._nested_ended(nested, None)
            return
        if failure is not None:
            nested.verdict = ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
            whole = f"{run.container_id}.{nested.id}"
            text = f"Failed to launch container: Failed to fetch all URIs for container '{whole}': {failure}"
            self._nested_ended(nested, None, text)
            return
        framework, command = self.frameworks[run.framework_id], task.info["command"]
        env = containers.environment(
            self.place,
            run.framework_id,
            run.executor_id,
            nested.directory,
            checkpoint=framework.info.get("checkpoint", False),
            grace=grace_seconds(run.info.get("shutdown_grace_period"), KILL_GRACE),
            role=run.role,
            variables=command.get("environment", {}).get("variables", []),
        )
        nested.launched = containers.launch_request(nested.id, command, env, nested.directory, nested.user)
        self.runtime.launch(nested.launched)

    def _nested_started(self, container_id: str, pid: int) -> bool:
        """Note a container's start; False if it is no task's of a group."""
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        nested.pid = pid
        run, task = nested.run, nested.task
        run.nested_pids[nested.id] = pid
        task.forget_data()
        if nested.destroyed or run.destroyed:
            self.runtime.destroy(container_id)
            return True
        if nested.killing:
            self.runtime.signal(container_id, signal.SIGTERM)
            return True
        self.status(run, self._nested_status(nested, "TASK_RUNNING"))
        assert nested.launched is not None
        self._start_checks(run, task, nested.launched)
        limit = task.info.get("max_completion_time")
        if limit is not None:
            nested.timers.append(self.runtime.later(grace_seconds(limit, 0.0), self._nested_too_long, nested))
        return True

    def _nested_too_long(self, nested: Nested) -> None:
        nested.verdict = ("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED")
        self._kill_nested(nested, None)

    def _nested_exited(self, container_id: str, status: int | None, error: str | None = None) -> bool:
        """Note a container's end; False if it is no task's of a group."""
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        if error is not None:
            nested.verdict = ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
        self._nested_ended(nested, status, error and f"Failed to launch container: Failed to fork: {error}")
        return True

    def _nested_ended(self, nested: Nested, status: int | None, text: str | None = None) -> None:
        run, task = nested.run, nested.task
        del self._nested[nested.id]
        run.nested_pids.pop(nested.id, None)
        for timer in nested.timers:
            timer.cancel()
        self._stop_checks(run, task.id)
        if run.verdict is not None:
            self._agent_status(run, task, run.verdict.state, run.verdict.message, run.verdict.reason)
        else:
            if nested.verdict is not None:
                state, reason = nested.verdict
            elif nested.killing:
                state, reason = "TASK_KILLED", None
            else:
                state, reason = ("TASK_FINISHED" if status == 0 else "TASK_FAILED"), None
            if text is None and status is not None:
                text = f"Command {exit_message(status)}"
            self.status(run, self._nested_status(nested, state, text, reason))
            if state != "TASK_FINISHED":
                self._kill_group(run, task.group)
        self._end_if_empty(run)

    def _end_if_empty(self, run: ExecutorRun) -> None:
        if not run.tasks and not run.queued and run.state is not ExecutorState.TERMINATED:
            run.timers.append(self.runtime.later(EXECUTOR_ENDS, self._default_ended, run))

    def _default_ended(self, run: ExecutorRun) -> None:
        """End the executor, unless another group came meanwhile."""
        if run.tasks or run.queued or run.state is ExecutorState.TERMINATED:
            return
        self._containers.pop(run.container_id, None)
        if not self.frameworks[run.framework_id].leaving:
            self._tell_exit(run, 0)
        self._gone(run)

    def _gone(self, run: ExecutorRun) -> None:
        raise NotImplementedError

    # Killing

    def _kill_group(self, run: ExecutorRun, group: str | None) -> None:
        for nested in list(self._nested.values()):
            if nested.run is run and nested.task.group == group:
                self._kill_nested(nested, None)

    def _kill_nested(self, nested: Nested, policy: Json | None) -> None:
        if nested.killing:
            return
        framework = self.frameworks.get(nested.run.framework_id)
        if framework is not None and can(framework.info, "TASK_KILLING_STATE"):
            self.status(nested.run, self._nested_status(nested, "TASK_KILLING"))
        nested.killing = True
        self._stop_checks(nested.run, nested.task.id)
        own = policy or nested.task.info.get("kill_policy", {})
        if nested.pid is not None:
            self.runtime.signal(nested.id, signal.SIGTERM)
        grace = grace_seconds(own.get("grace_period"), KILL_GRACE)
        nested.timers.append(self.runtime.later(grace, self._destroy_nested, nested))

    def _destroy_nested(self, nested: Nested) -> None:
        nested.destroyed = nested.killing = True
        if nested.pid is not None:
            self.runtime.destroy(nested.id)

    def _kill_own(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        if run.command:
            super()._kill_own(run, task, policy)
            return
        for nested in list(self._nested.values()):
            if nested.run is run and nested.task is task:
                self._kill_nested(nested, policy)

    def _shutdown_default(self, run: ExecutorRun) -> None:
        run.move(ExecutorState.TERMINATING)
        for nested in list(self._nested.values()):
            if nested.run is run:
                self._kill_nested(nested, None)
        self._end_if_empty(run)

    def _destroy_default(self, run: ExecutorRun) -> None:
        for nested in list(self._nested.values()):
            if nested.run is run:
                self._destroy_nested(nested)
        self._end_if_empty(run)

    # Statuses

    def _nested_status(
        self, nested: Nested, state: str, message: str | None = None, reason: str | None = None
    ) -> Json:
        status = super()._own_status(nested.run, nested.task, state, message, reason)
        container_id = {"value": nested.id, "parent": {"value": nested.run.container_id}}
        place: Json = {"container_id": container_id}
        if state == "TASK_RUNNING":
            place = {**self._container_status(nested.run), "container_id": container_id}
            place["executor_pid"] = nested.pid
        return {**status, "container_status": place}

    def _own_status(
        self,
        run: ExecutorRun,
        task: TaskRun,
        state: str,
        message: str | None = None,
        reason: str | None = None,
    ) -> Json:
        for nested in self._nested.values():
            if nested.run is run and nested.task is task:
                return self._nested_status(nested, state, message, reason)
        return super()._own_status(run, task, state, message, reason)
