"""Task groups: the agent itself is the default executor, each task a container nested in the executor's. No I/O.

What it does is what `mesos-default-executor` does: all of a group starts together; a task that fails or is killed
takes its group with it; when nothing is left, the executor is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...common.task_states import TERMINAL, Json, can
from ..containerizer import sandbox
from ..containerizer.sandbox import SandboxError, User
from ..containerizer.volumes import prepare
from ..model import ExecutorRun, ExecutorState, TaskRun, exit_message, grace_seconds
from ..runtime import Fetching
from .command import KILL_GRACE, CommandTasks

EXECUTOR_ENDS = 0.05
"""How long the default executor takes to end after its last task."""


@dataclass
class Nested:
    """One task's container.

    Attributes
    ----------
    verdict
        State and reason that it ends with, if not with what its exit status says.
    limitation
        Mesos's message, if it used too much memory.
    """

    id: str
    run: ExecutorRun
    task: TaskRun
    directory: str
    user: User
    pid: int | None = None
    killing: bool = False
    destroyed: bool = False
    verdict: tuple[str, str | None] | None = None
    limitation: str | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class TaskGroups(CommandTasks):
    """Starting, killing and ending the tasks of groups."""

    def _launch_group(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Start tasks in an executor that runs."""
        started = []
        for task in tasks:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
        self._resize(run)
        for task in tasks:
            container_id = str(uuid.uuid4())
            directory = os.path.join(run.directory, "containers", container_id)
            container = task.info.get("container")
            name = task.info.get("command", {}).get("user") or self.frameworks[run.framework_id].info["user"]
            variables = task.info.get("command", {}).get("environment", {}).get("variables", [])
            try:
                user = sandbox.find_user(name, directory)
                sandbox.make_nested_sandbox(run.directory, directory, task.id, user)
                fault = prepare(container, variables, directory, run.directory, user)
            except SandboxError as error:
                fault = str(error)
            if fault is not None:
                self._agent_status(run, task, "TASK_FAILED", fault, "REASON_CONTAINER_LAUNCH_FAILED")
                continue
            task.container = container_id
            nested = self._nested[container_id] = Nested(container_id, run, task, directory, user)
            self.status(run, self._own_status(run, task, "TASK_STARTING"))
            started.append(nested)
        for nested in started:
            uris = nested.task.info.get("command", {}).get("uris", [])
            if uris:
                self._fetch_nested(nested, uris)
            else:
                self._nested_fetched(nested, None)
        if len(started) < len(tasks):
            self._kill_group(run, tasks[0].group)
            self._end_if_empty(run)

    def _fetch_nested(self, nested: Nested, uris: list[Json]) -> None:
        def cancelled() -> bool:
            return nested.killing

        def done(failure: str | None) -> None:
            self._nested_fetched(nested, failure)

        self.runtime.fetch(Fetching(uris, nested.directory, nested.user, cancelled), done)

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
        checkpoint = framework.info.get("checkpoint", False)
        env = sandbox.environment(
            self.place,
            run.framework_id,
            run.executor_id,
            nested.directory,
            checkpoint=checkpoint,
            grace=grace_seconds(run.info.get("shutdown_grace_period"), KILL_GRACE),
            role=run.role,
            variables=command.get("environment", {}).get("variables", []),
        )
        task.launched = sandbox.launch_request(
            nested.id,
            command,
            env,
            nested.directory,
            nested.user,
            checkpoint=checkpoint,
            limited=nested.id if task.alone else run.container_id,
        )
        if task.alone:
            self.runtime.limit(nested.id, task.limits)
        self.save_task(run, task)
        self.runtime.launch(task.launched)

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
        self.status(run, self._own_status(run, task, "TASK_RUNNING"))
        self._watch_nested(nested)
        return True

    def _watch_nested(self, nested: Nested) -> None:
        """Start a task's checks and the clock of its longest time."""
        run, task = nested.run, nested.task
        if task.launched is not None:
            self._start_checks(run, task, task.launched, self._news)
        left = task.time_left(time.time())
        if left is not None:
            nested.timers.append(self.runtime.later(left, self._nested_too_long, nested))

    def _nested_too_long(self, nested: Nested) -> None:
        nested.verdict = ("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED")
        self._kill_nested(nested, None)

    def _nested_exited(self, container_id: str, status: int | None, text: str | None = None) -> bool:
        """Note a container's end, with Mesos's message if it never began; False if it is no task's of a group."""
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        self._judge_nested(nested)
        if text is not None:
            nested.verdict = ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
        self._nested_ended(nested, status, text)
        return True

    def _judge_nested(self, nested: Nested) -> None:
        """Find out whether the kernel killed of a container what ended just now."""
        self._judge(nested.run)
        text = self.runtime.over_memory(nested.id) if nested.task.alone else None
        if text is not None:
            self._nested_over_memory(nested.id, text)

    def _nested_over_memory(self, container_id: str, text: str) -> bool:
        """Kill a group's task that is limited by itself; False if it is none."""
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        if nested.limitation is None:
            nested.limitation = text
            nested.verdict = ("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY")
            self._destroy_nested(nested)
        return True

    def _nested_ended(self, nested: Nested, status: int | None, text: str | None = None) -> None:
        run, task = nested.run, nested.task
        run.nested_pids.pop(nested.id, None)
        for timer in nested.timers:
            timer.cancel()
        self._stop_checks(run, task.id)
        if task.alone:
            self.runtime.release(nested.id)
        if run.verdict is not None:
            del self._nested[nested.id]
            self._agent_status(run, task, run.verdict.state, run.verdict.message, run.verdict.reason)
        else:
            if nested.verdict is not None:
                state, reason = nested.verdict
            elif nested.killing:
                state, reason = "TASK_KILLED", None
            else:
                state, reason = ("TASK_FINISHED" if status == 0 else "TASK_FAILED"), None
            text = text or nested.limitation
            if text is None and status is not None:
                text = f"Command {exit_message(status)}"
            last = self._own_status(run, task, state, text, reason)
            del self._nested[nested.id]
            self.status(run, last)
            if state != "TASK_FINISHED":
                self._kill_group(run, task.group)
        self._end_if_empty(run)

    # Recovery

    def _recover_groups(
        self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]
    ) -> None:
        """Take a default executor's tasks up again: those that live go on, the others end as they did meanwhile."""
        run.sized = True
        self._resize(run)
        user = User(self.frameworks[run.framework_id].info["user"])
        found, failed = [], set()
        for task in list(run.tasks.values()):
            if task.state in TERMINAL:
                # Its last update was written, and then the agent died.
                run.tasks.pop(task.id)
                run.ended.append(task)
                self.save_task(run, task)
                failed |= {task.group} if task.state != "TASK_FINISHED" else set()
                continue
            container_id = task.container or ""
            directory = os.path.join(run.directory, "containers", container_id)
            nested = self._nested[container_id] = Nested(container_id, run, task, directory, user)
            nested.killing = task.killing
            found.append(nested)
        for nested in found:
            pid = living.get(nested.id)
            if pid is not None:
                self._recover_nested(nested, pid)
            elif nested.id in self._nested:
                text = None
                if nested.id not in ended:
                    nested.verdict = ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
                    text = "Failed to launch container: The agent restarted meanwhile"
                self._judge_nested(nested)
                self._nested_ended(nested, ended.get(nested.id), text)
        for group in failed:
            self._kill_group(run, group)
        if run.killed:
            self.destroy(run)
        self._end_if_empty(run)

    def _recover_nested(self, nested: Nested, pid: int) -> None:
        run, task = nested.run, nested.task
        nested.pid = run.nested_pids[nested.id] = pid
        if task.alone:
            self.runtime.limit(nested.id, task.limits)
        if nested.killing:
            self._destroy_nested(nested)
            return
        if task.state != "TASK_RUNNING":
            self.status(run, self._own_status(run, task, "TASK_RUNNING"))
        self._watch_nested(nested)

    def _end_if_empty(self, run: ExecutorRun) -> None:
        if not run.tasks and not run.queued and run.state is not ExecutorState.TERMINATED:
            run.timers.append(self.runtime.later(EXECUTOR_ENDS, self._default_ended, run))

    def _default_ended(self, run: ExecutorRun) -> None:
        """End the executor, unless another group came meanwhile."""
        if run.tasks or run.queued or run.state is ExecutorState.TERMINATED:
            return
        self._containers.pop(run.container_id, None)
        self.runtime.release(run.container_id)
        if not self.frameworks[run.framework_id].leaving:
            self._tell_exit(run.framework_id, run.executor_id, 0)
        self._gone(run)

    def _gone(self, run: ExecutorRun) -> None:
        raise NotImplementedError

    def _judge(self, run: ExecutorRun) -> None:
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
            self.status(nested.run, self._own_status(nested.run, nested.task, "TASK_KILLING"))
        nested.killing = nested.task.killing = True
        self.save_task(nested.run, nested.task)
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
        self.save_run(run)
        for nested in list(self._nested.values()):
            if nested.run is run:
                self._kill_nested(nested, None)
        self._end_if_empty(run)

    def _destroy_default(self, run: ExecutorRun) -> None:
        self.save_run(run)
        for nested in list(self._nested.values()):
            if nested.run is run:
                self._destroy_nested(nested)
        self._end_if_empty(run)

    # Statuses

    def _place(self, run: ExecutorRun, task: TaskRun, state: str) -> Json:
        nested = self._nested.get(task.container or "")
        if nested is None:
            return super()._place(run, task, state)
        container_id = {"value": nested.id, "parent": {"value": run.container_id}}
        if state != "TASK_RUNNING":
            return {"container_status": {"container_id": container_id}}
        place = {**self._container_status(run), "container_id": container_id, "executor_pid": nested.pid}
        return {"container_status": place}
