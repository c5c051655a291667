"""Task groups: the agent itself is the default executor, each task a container nested in the executor's. No I/O.

It does what `mesos-default-executor` does: all of a group starts together; a task that fails or is killed takes its
group with it; when nothing is left, the executor is gone.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...checks.checker import News
from ...common.task_states import TERMINAL, Json, can
from ..containerizer import sandbox
from ..containerizer.paths import nested_path
from ..containerizer.sandbox import SandboxError, User
from ..containerizer.volumes import prepare
from ..state.model import ContainerTermination, ExecutorRun, ExecutorState, TaskRun, exit_message, seconds_of
from ..state.parts import AgentParts
from ..state.runtime import Fetching
from .check_runner import CheckRunner
from .executor import KILL_GRACE, note_check, own_status
from .lifecycle import Lifecycle

EXECUTOR_ENDS = 0.05
"""The default executor takes so many seconds to end after its last task."""


@dataclass
class Nested:
    """A task's container.

    Attributes
    ----------
    pending_termination
        The end that the task is told of, if not what its exit status says; without a message, its exit status's.
    """

    id: str
    run: ExecutorRun
    task: TaskRun
    directory: str
    user: User
    pid: int | None = None
    killing: bool = False
    destroyed: bool = False
    pending_termination: ContainerTermination | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class DefaultExecutors:
    """Starts, kills and ends the tasks of groups.

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
        self._limits, self._updates = parts.limits, parts.updates
        self._lifecycle = lifecycle
        self._checks = checks
        self._nested: dict[str, Nested] = {}

    @property
    def container_ids(self) -> set[str]:
        """Give the nested containers that have not ended."""
        return set(self._nested)

    def started(self, run: ExecutorRun) -> None:
        """Do nothing: the agent is the executor, and no process was forked for it."""

    def deliver(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Start tasks in an executor that runs."""
        started = []
        for task in tasks:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
        self._limits.fit(run)
        for task in tasks:
            container_id = str(uuid.uuid4())
            directory = nested_path(run.directory, container_id)
            container = task.info.get("container")
            name = (
                task.info.get("command", {}).get("user")
                or self._state.frameworks[run.framework_id].info["user"]
            )
            variables = task.info.get("command", {}).get("environment", {}).get("variables", [])
            try:
                user = sandbox.find_user(name, directory)
                sandbox.make_nested_sandbox(run.directory, directory, task.id, user)
                fault = prepare(container, variables, directory, run.directory, user)
            except SandboxError as error:
                fault = str(error)
            if fault is not None:
                self._updates.from_agent(run, task, "TASK_FAILED", fault, "REASON_CONTAINER_LAUNCH_FAILED")
                continue
            task.container = container_id
            nested = self._nested[container_id] = Nested(container_id, run, task, directory, user)
            self._tell(run, task, "TASK_STARTING")
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

        self._runtime.fetch(Fetching(uris, nested.directory, nested.user, cancelled), done)

    def _nested_fetched(self, nested: Nested, failure: str | None) -> None:
        run, task = nested.run, nested.task
        if nested.killing or run.destroyed:
            self._nested_ended(nested, None)
            return
        if failure is not None:
            whole = f"{run.container_id}.{nested.id}"
            text = f"Failed to launch container: Failed to fetch all URIs for container '{whole}': {failure}"
            nested.pending_termination = _not_launched(text)
            self._nested_ended(nested, None)
            return
        framework, command = self._state.frameworks[run.framework_id], task.info["command"]
        checkpoint = framework.info.get("checkpoint", False)
        env = sandbox.environment(
            self._state.identity,
            run.framework_id,
            run.executor_id,
            nested.directory,
            checkpoint=checkpoint,
            grace=seconds_of(run.info.get("shutdown_grace_period"), KILL_GRACE),
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
            self._runtime.limit(nested.id, task.limits)
        self._log.save_task(run, task)
        self._runtime.launch(task.launched)

    def _tell(
        self, run: ExecutorRun, task: TaskRun, state: str, text: str | None = None, reason: str | None = None
    ) -> None:
        status = own_status(run, task, state, text, reason)
        nested = self._nested.get(task.container or "")
        if nested is not None:
            container_id = {"value": nested.id, "parent": {"value": run.container_id}}
            if state == "TASK_RUNNING":
                own = {"container_id": container_id, "executor_pid": nested.pid}
                status["container_status"] = {**self._updates.container_status(run), **own}
            else:
                status["container_status"] = {"container_id": container_id}
        self._updates.from_executor(run, status)

    # Nested containers

    def container_started(self, container_id: str, pid: int) -> bool:
        """Note a container's start.

        Returns
        -------
        bool
            Whether it is that of a group's task.
        """
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        nested.pid = pid
        run, task = nested.run, nested.task
        run.nested_pids[nested.id] = pid
        task.forget_data()
        if nested.destroyed or run.destroyed:
            self._runtime.destroy(container_id)
            return True
        if nested.killing:
            self._runtime.signal(container_id, signal.SIGTERM)
            return True
        self._tell(run, task, "TASK_RUNNING")
        self._watch(nested)
        return True

    def _watch(self, nested: Nested) -> None:
        """Start a task's checks and the clock of its longest time."""
        run, task = nested.run, nested.task
        if task.launched is not None:
            self._checks.start(run, task, task.launched, self._checked)
        remaining = task.remaining_time(time.time())
        if remaining is not None:
            nested.timers.append(self._runtime.later(remaining, self._too_long, nested))

    def _checked(self, run: ExecutorRun, task: TaskRun, news: News) -> None:
        note_check(task, news)
        self._tell(run, task, "TASK_RUNNING", None, news.reason)
        if news.kill:
            task.unhealthy = True
            self.kill_task(run, task, None)

    def _too_long(self, nested: Nested) -> None:
        reason = "REASON_MAX_COMPLETION_TIME_REACHED"
        nested.pending_termination = ContainerTermination("TASK_FAILED", reason, "")
        self._kill_nested(nested, None)

    def container_exited(self, container_id: str, status: int | None, failure: str | None = None) -> bool:
        """Note a container's end.

        Parameters
        ----------
        status
            The raw wait status, if it came so far.
        failure
            Mesos's message if it did not come as far as its command.

        Returns
        -------
        bool
            Whether it was that of a group's task.
        """
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        self._check_memory(nested)
        if failure is not None:
            nested.pending_termination = _not_launched(failure)
        self._nested_ended(nested, status)
        return True

    def _check_memory(self, nested: Nested) -> None:
        """Find out whether the kernel killed something of a container that ended just now, for its memory."""
        self._lifecycle.check_memory(nested.run, self.destroy)
        message = self._runtime.over_memory(nested.id) if nested.task.alone else None
        if message is not None:
            self.over_memory(nested.id, message)

    def over_memory(self, container_id: str, message: str) -> bool:
        """Kill a group's task that is limited by itself and used more memory than it has.

        Returns
        -------
        bool
            Whether the container is that of a group's task.
        """
        nested = self._nested.get(container_id)
        if nested is None:
            return False
        if nested.pending_termination is None or not nested.pending_termination.message:
            reason = "REASON_CONTAINER_LIMITATION_MEMORY"
            nested.pending_termination = ContainerTermination("TASK_FAILED", reason, message)
            self._destroy_nested(nested)
        return True

    def _nested_ended(self, nested: Nested, status: int | None) -> None:
        run, task = nested.run, nested.task
        run.nested_pids.pop(nested.id, None)
        for timer in nested.timers:
            timer.cancel()
        self._checks.stop(run, task.id)
        if task.alone:
            self._runtime.release(nested.id)
        if (end := run.pending_termination) is not None:
            del self._nested[nested.id]
            self._updates.from_agent(run, task, end.state, end.message, end.reason)
        else:
            text = None if status is None else f"Command {exit_message(status)}"
            if (end := nested.pending_termination) is not None:
                state, reason, text = end.state, end.reason, end.message or text
            elif nested.killing:
                state, reason = "TASK_KILLED", None
            else:
                state, reason = ("TASK_FINISHED" if status == 0 else "TASK_FAILED"), None
            self._tell(run, task, state, text, reason)
            del self._nested[nested.id]
            if state != "TASK_FINISHED":
                self._kill_group(run, task.group)
        self._end_if_empty(run)

    # Recovery

    def recover(self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Take a default executor's tasks up again: those that live go on, the others end as they did meanwhile.

        Parameters
        ----------
        living, ended
            As `ExecutorKind.recover` has them.
        """
        run.sized = True
        self._limits.fit(run)
        user = User(self._state.frameworks[run.framework_id].info["user"])
        found, failed = [], set()
        for task in list(run.tasks.values()):
            if task.state in TERMINAL:
                # Its last update was written, and then the agent died.
                run.tasks.pop(task.id)
                run.ended.append(task)
                self._log.save_task(run, task)
                failed |= {task.group} if task.state != "TASK_FINISHED" else set()
                continue
            container_id = task.container or ""
            directory = nested_path(run.directory, container_id)
            nested = self._nested[container_id] = Nested(container_id, run, task, directory, user)
            nested.killing = task.killing
            found.append(nested)
        for nested in found:
            pid = living.get(nested.id)
            if pid is not None:
                self._recover_nested(nested, pid)
            elif nested.id in self._nested:
                if nested.id not in ended:
                    text = "Failed to launch container: The agent restarted meanwhile"
                    nested.pending_termination = _not_launched(text)
                self._check_memory(nested)
                self._nested_ended(nested, ended.get(nested.id))
        for group in failed:
            self._kill_group(run, group)
        if run.killed:
            self.destroy(run)
        self._end_if_empty(run)

    def _recover_nested(self, nested: Nested, pid: int) -> None:
        run, task = nested.run, nested.task
        nested.pid = run.nested_pids[nested.id] = pid
        if task.alone:
            self._runtime.limit(nested.id, task.limits)
        if nested.killing:
            self._destroy_nested(nested)
            return
        if task.state != "TASK_RUNNING":
            self._tell(run, task, "TASK_RUNNING")
        self._watch(nested)

    def _end_if_empty(self, run: ExecutorRun) -> None:
        if not run.tasks and not run.queued and run.state is not ExecutorState.TERMINATED:
            run.timers.append(self._runtime.later(EXECUTOR_ENDS, self._executor_ends, run))

    def _executor_ends(self, run: ExecutorRun) -> None:
        """End the executor, unless another group came meanwhile."""
        if run.tasks or run.queued or run.state is ExecutorState.TERMINATED:
            return
        self._lifecycle.release(run)
        self._lifecycle.end(run, 0)

    def ended(self, run: ExecutorRun, status: int | None) -> None:
        """End an executor that could not be started, its tasks with it."""
        self._lifecycle.release(run)
        self._lifecycle.end(run, status)

    # Killing

    def _kill_group(self, run: ExecutorRun, group: str | None) -> None:
        for nested in self._of(run):
            if nested.task.group == group:
                self._kill_nested(nested, None)

    def _kill_nested(self, nested: Nested, policy: Json | None) -> None:
        if nested.killing:
            return
        framework = self._state.frameworks.get(nested.run.framework_id)
        # Before anybody hears of it: an agent that dies then must not let the task live.
        nested.killing = nested.task.killing = True
        self._log.save_task(nested.run, nested.task)
        if framework is not None and can(framework.info, "TASK_KILLING_STATE"):
            self._tell(nested.run, nested.task, "TASK_KILLING")
        self._checks.stop(nested.run, nested.task.id)
        own = policy or nested.task.info.get("kill_policy", {})
        if nested.pid is not None:
            self._runtime.signal(nested.id, signal.SIGTERM)
        grace = seconds_of(own.get("grace_period"), KILL_GRACE)
        nested.timers.append(self._runtime.later(grace, self._destroy_nested, nested))

    def _destroy_nested(self, nested: Nested) -> None:
        nested.destroyed = nested.killing = True
        if nested.pid is not None:
            self._runtime.destroy(nested.id)

    def kill_task(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        """Send a task SIGTERM, and SIGKILL after the grace period; its group follows when it is dead.

        Parameters
        ----------
        policy
            The call's KillPolicy, which wins over the task's.
        """
        for nested in self._of(run):
            if nested.task is task:
                self._kill_nested(nested, policy)

    def shutdown(self, run: ExecutorRun) -> None:
        """Kill all its tasks, each with its grace period."""
        run.move(ExecutorState.TERMINATING)
        self._log.save_run(run)
        for nested in self._of(run):
            self._kill_nested(nested, None)
        self._end_if_empty(run)

    def destroy(self, run: ExecutorRun) -> None:
        """Kill all its tasks' containers."""
        if run.destroyed:
            return
        run.destroyed = True
        self._log.save_run(run)
        for nested in self._of(run):
            self._destroy_nested(nested)
        self._end_if_empty(run)

    def _of(self, run: ExecutorRun) -> list[Nested]:
        return [nested for nested in self._nested.values() if nested.run is run]


def _not_launched(message: str) -> ContainerTermination:
    return ContainerTermination("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", message)
