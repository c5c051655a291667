"""The launch of an executor: its sandbox, what it fetches, its container. No I/O but the making of directories."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ..common.task_states import Json
from .containerizer import sandbox
from .containerizer.docker import command_line
from .containerizer.paths import sandbox_path
from .containerizer.sandbox import SandboxError, User
from .containerizer.volumes import VolumeError, prepare
from .executors.command import command_executor
from .executors.executor import SHUTDOWN_GRACE, ExecutorKind
from .executors.lifecycle import Lifecycle
from .state.model import ContainerTermination, ExecutorRun, ExecutorState, FrameworkRun, TaskRun, seconds_of
from .state.parts import AgentParts
from .state.runtime import Fetching


class ExecutorLaunch:
    """Starts executors with their first tasks.

    Parameters
    ----------
    kind_of
        Gives what looks after an executor.
    """

    def __init__(
        self,
        parts: AgentParts,
        lifecycle: Lifecycle,
        kind_of: Callable[[ExecutorRun], ExecutorKind],
    ) -> None:
        self._state, self._runtime, self._log = parts.state, parts.runtime, parts.log
        self._limits, self._retention, self._updates = parts.limits, parts.retention, parts.updates
        self._lifecycle = lifecycle
        self._kind_of = kind_of

    def start(self, framework: FrameworkRun, executor_id: str, tasks: list[TaskRun], role: str) -> None:
        """Start an executor for a task or a task group.

        Parameters
        ----------
        tasks
            Of one executor; a command task is its own.
        role
            The role of the offer that they were launched on.
        """
        task = tasks[0]
        command = "executor" not in task.info
        container_id = str(uuid.uuid4())
        directory = sandbox_path(self._state.identity, framework.id, executor_id, container_id)
        info = command_executor(task.info) if command else task.info["executor"]
        if command:
            info["framework_id"] = {"value": framework.id}
        run = ExecutorRun(
            framework.id, executor_id, info, _original(info), role, container_id, directory, command
        )
        run.default = info.get("type") == "DEFAULT"
        cmd = task.info["command"] if command else info.get("command", {})
        try:
            user = sandbox.find_user(cmd.get("user") or framework.info["user"], directory)
            sandbox.make_sandbox(directory, user)
            self._retention.retain_executor(run)
        except SandboxError as error:
            self.refuse(framework, tasks, executor_id, str(error), tell_exit=not command)
            self._retention.discard_framework(framework)
            return
        run.queued |= {one.id: one for one in tasks}
        framework.executors[executor_id] = run
        self._state.containers[container_id] = run
        # A group's tasks have containers of their own.
        container = info.get("container") or (task.info.get("container") if command else None)
        variables = cmd.get("environment", {}).get("variables", [])
        engine = self._runtime.has_engine()
        fault = prepare(container, variables, directory, None, user, engine=engine)
        if fault is not None:
            self._fail(run, fault)
        elif run.default:
            run.move(ExecutorState.RUNNING)
            run.sized = True
            self._log.save_run(run)
            self._kind_of(run).deliver(run, tasks)
        elif uris := cmd.get("uris", []):
            wanted = Fetching(uris, directory, user, lambda: run.destroyed)
            self._runtime.fetch(wanted, lambda failure: self._fetched(run, user, failure))
        else:
            self._fetched(run, user, None)

    def refuse(
        self, framework: FrameworkRun, tasks: list[TaskRun], executor_id: str, text: str, *, tell_exit: bool
    ) -> None:
        """Drop tasks whose executor cannot be started here.

        Parameters
        ----------
        text
            Mesos's message.
        tell_exit
            The master takes the executor for started.
        """
        for one in tasks:
            self._updates.drop(framework, one, executor_id, text, "REASON_EXECUTOR_TERMINATED")
        if tell_exit:
            self._lifecycle.tell_exit(framework.id, executor_id, None)

    def _fail(self, run: ExecutorRun, message: str) -> None:
        reason = "REASON_CONTAINER_LAUNCH_FAILED"
        run.pending_termination = ContainerTermination("TASK_FAILED", reason, message)
        self._kind_of(run).ended(run, None)

    def _fetched(self, run: ExecutorRun, user: User, failure: str | None) -> None:
        """Go on after the fetcher: launch, or tell why not."""
        if run.destroyed:
            self._kind_of(run).ended(run, None)
            return
        if failure is not None:
            whole = f"Failed to fetch all URIs for container '{run.container_id}': {failure}"
            self._fail(run, f"Failed to launch container: {whole}")
            return
        if (container := _of_engine(run)) is None:
            self._launch(run, user, None)
            return
        docker = container["docker"]

        def provided(failure: str | None) -> None:
            if run.destroyed:
                self._kind_of(run).ended(run, None)
            elif failure is not None:
                self._fail(run, failure)
            else:
                self._launch(run, user, container)

        self._runtime.provide_image(
            docker["image"], pull=docker.get("force_pull_image", False), done=provided
        )

    def _launch(self, run: ExecutorRun, user: User, container: Json | None) -> None:
        """Start the container.

        Parameters
        ----------
        container
            The ContainerInfo, if an engine is to make it.
        """
        framework = self._state.frameworks[run.framework_id]
        task = next(iter(run.queued.values())) if run.command else None
        command = task.info["command"] if task is not None else run.info["command"]
        checkpoint = framework.info.get("checkpoint", False)
        env = sandbox.environment(
            self._state.identity,
            run.framework_id,
            run.executor_id,
            run.directory,
            checkpoint=checkpoint,
            grace=seconds_of(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE),
            role=run.role if run.command else None,
            variables=command.get("environment", {}).get("variables", []),
        )
        if container is None:
            run.launched = sandbox.launch_request(
                run.container_id, command, env, run.directory, user, checkpoint=checkpoint
            )
        else:
            engine, owner = self._runtime.engine()
            limits = run.limits
            wanted = command_line.Container(
                run.container_id, container, command, env, run.directory, user, limits, owner
            )
            try:
                run.launched = command_line.launch_request(engine, wanted, checkpoint=checkpoint)
            except VolumeError as error:
                self._fail(run, f"Failed to launch container: {error}")
                return
        run.sized = True
        self._limits.fit(run)
        self._runtime.launch(run.launched)


def _of_engine(run: ExecutorRun) -> Json | None:
    """Give the ContainerInfo of an executor, or command task, that runs in a container of an engine."""
    task = next(iter(run.queued.values()), None) if run.command else None
    container: Json | None = run.info.get("container") if task is None else task.info.get("container")
    return container if container is not None and container["type"] == "DOCKER" else None


def _original(info: Json) -> Json:
    """Give the ExecutorInfo as its framework sent it (the master compares that)."""
    resources = [
        {k: v for k, v in item.items() if k != "allocation_info"} for item in info.get("resources", [])
    ]
    return {**info, "resources": resources} if resources else dict(info)
