"""The agent: executors and tasks on one machine, from a launch to the last acknowledged update.

The decisions are here and in its bases; what they need of the world (the link, the launcher, threads, timers)
is `Runtime`, which `agent_process` provides and tests can fake.
"""

from __future__ import annotations

import uuid

from ..common.task_states import Json
from .containerizer import sandbox
from .containerizer.sandbox import SandboxError, User
from .containerizer.volumes import prepare
from .executors.command import KILL_GRACE, LINGER, command_executor
from .executors.custom import CustomExecutors
from .executors.default import TaskGroups
from .model import (
    MAX_COMPLETED_FRAMEWORKS,
    ExecutorRun,
    ExecutorState,
    FrameworkRun,
    TaskRun,
    Verdict,
    grace_seconds,
)
from .runtime import Fetching

SHUTDOWN_GRACE = 5.0
EXECUTOR_HEARTBEAT = 30 * 60.0


class Agent(TaskGroups, CustomExecutors):
    """One agent."""

    def message(self, message: Json) -> None:
        """Handle one message of the master."""
        op = message["op"]
        if op == "run_task":
            self.run_task(message)
        elif op == "run_group":
            self.run_group(message)
        elif op == "kill_task":
            self.kill_task(message["framework_id"], message["task_id"], message.get("kill_policy"))
        elif op == "ack":
            self._acknowledged((message["framework_id"], message["task_id"]), message["uuid"])
        elif op == "message":
            run = self.find(message["framework_id"], message["executor_id"])
            if run is not None:
                self._to_executor(run, {"type": "MESSAGE", "message": {"data": message["data"]}})
        elif op == "shutdown_executor":
            run = self.find(message["framework_id"], message["executor_id"])
            if run is not None:
                self.shutdown(run)
        elif op == "shutdown_framework":
            framework = self.frameworks.get(message["framework_id"])
            if framework is not None:
                framework.leaving = True
                self.updates.forget_framework(framework.id)
                self.save_framework(framework)
                for run in list(framework.executors.values()):
                    self.shutdown(run)
        elif op == "update_framework" and message["framework_id"] in self.frameworks:
            framework = self.frameworks[message["framework_id"]]
            framework.info = message["framework"]
            self.save_framework(framework)
            self.resume(framework.id)

    def _framework(self, message: Json) -> FrameworkRun:
        framework_id, info = message["framework_id"], message["framework"]
        framework = self.frameworks.get(framework_id)
        if framework is None:
            framework = self.frameworks[framework_id] = FrameworkRun(framework_id, info)
        framework.info = info
        self._keep_framework(framework)
        return framework

    def find(self, framework_id: str, executor_id: str) -> ExecutorRun | None:
        """Find a living run."""
        framework = self.frameworks.get(framework_id)
        return None if framework is None else framework.executors.get(executor_id)

    def run_task(self, message: Json) -> None:
        """Launch a task, and its executor if there is none."""
        framework = self._framework(message)
        info = message["task"]
        command = "command" in info
        executor_id = (info["task_id"] if command else info["executor"]["executor_id"])["value"]
        task = TaskRun(info)
        if (fault := self.checkpoint_fault(framework)) is not None:
            self._refuse(
                framework, [task], executor_id, fault, tell_exit=not command and message["new_executor"]
            )
            return
        run = framework.executors.get(executor_id)
        if run is None:
            if not command and not message["new_executor"]:
                text = "No executor is expected to launch and there is no executor running"
                self._drop(framework, task, executor_id, text, "REASON_EXECUTOR_TERMINATED")
                return
            self._start(framework, executor_id, [task], message["role"])
        elif command or run.command:
            text = "Cannot reuse an already existing executor for a command task"
            self._drop(framework, task, executor_id, text, "REASON_TASK_INVALID")
        elif run.state is ExecutorState.REGISTERING:
            run.queued[task.id] = task
            self._resize_soon(run)
        elif run.state is ExecutorState.RUNNING:
            self._give(run, task)
        else:
            self._drop(
                framework, task, executor_id, f"Executor {run.state.value}", "REASON_EXECUTOR_TERMINATED"
            )

    def run_group(self, message: Json) -> None:
        """Launch a task group, and its executor if there is none."""
        framework = self._framework(message)
        info, group = message["executor"], str(uuid.uuid4())
        executor_id = info["executor_id"]["value"]
        tasks = [TaskRun({**one, "executor": info}, group=group) for one in message["tasks"]]
        if (fault := self.checkpoint_fault(framework)) is not None:
            self._refuse(framework, tasks, executor_id, fault, tell_exit=message["new_executor"])
            return
        run = framework.executors.get(executor_id)
        if run is None and message["new_executor"]:
            self._start(framework, executor_id, tasks, message["role"])
        elif run is None or run.state in (ExecutorState.TERMINATING, ExecutorState.TERMINATED):
            text = "Executor terminated" if run is None else f"Executor {run.state.value}"
            for task in tasks:
                self._drop(framework, task, executor_id, text, "REASON_EXECUTOR_TERMINATED")
        elif run.state is ExecutorState.REGISTERING:
            run.queued |= {task.id: task for task in tasks}
            self._resize_soon(run)
        elif run.default:
            self._launch_group(run, tasks)
        else:
            self._give(run, *tasks)

    def _start(self, framework: FrameworkRun, executor_id: str, tasks: list[TaskRun], role: str) -> None:
        task = tasks[0]
        command = "executor" not in task.info
        container_id = str(uuid.uuid4())
        directory = sandbox.sandbox_path(self.place, framework.id, executor_id, container_id)
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
            self._keep_executor(run)
        except SandboxError as error:
            self._refuse(framework, tasks, executor_id, str(error), tell_exit=not command)
            self._discard_framework(framework)
            return
        run.queued |= {one.id: one for one in tasks}
        framework.executors[executor_id] = run
        self._containers[container_id] = run
        uris = cmd.get("uris", [])
        # A group's tasks have containers of their own.
        container = info.get("container") or (task.info.get("container") if command else None)
        variables = cmd.get("environment", {}).get("variables", [])
        fault = prepare(container, variables, directory, None, user)
        if fault is not None:
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", fault)
            self._ended(run, None)
        elif run.default:
            run.move(ExecutorState.RUNNING)
            run.sized = True
            self.save_run(run)
            self._launch_group(run, tasks)
        elif uris:
            wanted = Fetching(uris, directory, user, lambda: run.destroyed)
            self.runtime.fetch(wanted, lambda failure: self.fetched(run, user, failure))
        else:
            self.fetched(run, user, None)

    def _refuse(
        self, framework: FrameworkRun, tasks: list[TaskRun], executor_id: str, text: str, *, tell_exit: bool
    ) -> None:
        """Drop tasks whose executor cannot be started here; the master takes it for started."""
        for one in tasks:
            self._drop(framework, one, executor_id, text, "REASON_EXECUTOR_TERMINATED")
        if tell_exit:
            self._tell_exit(framework.id, executor_id, None)

    def fetched(self, run: ExecutorRun, user: User, failure: str | None) -> None:
        """Go on after the fetcher: launch, or tell why not."""
        if run.destroyed:
            self._ended(run, None)
            return
        if failure is not None:
            text = f"Failed to launch container: Failed to fetch all URIs for container '{run.container_id}': {failure}"
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text)
            self._ended(run, None)
            return
        framework = self.frameworks[run.framework_id]
        task = next(iter(run.queued.values())) if run.command else None
        command = task.info["command"] if task is not None else run.info["command"]
        env = sandbox.environment(
            self.place,
            run.framework_id,
            run.executor_id,
            run.directory,
            checkpoint=framework.info.get("checkpoint", False),
            grace=grace_seconds(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE),
            role=run.role if run.command else None,
            variables=command.get("environment", {}).get("variables", []),
        )
        run.launched = sandbox.launch_request(
            run.container_id,
            command,
            env,
            run.directory,
            user,
            checkpoint=framework.info.get("checkpoint", False),
        )
        run.sized = True
        self._resize(run)
        self.runtime.launch(run.launched)

    def container_started(self, container_id: str, pid: int) -> None:
        """Note that the launcher forked a container's first process."""
        run = self._containers.get(container_id)
        if self._nested_started(container_id, pid) or run is None:
            return
        run.pid = run.first_pid = pid
        if run.destroyed:
            self.runtime.destroy(container_id)
        elif run.command:
            self._command_started(run)
        elif run.state is ExecutorState.REGISTERING:
            run.timers.append(self.runtime.later(self.registration_timeout, self._not_registered, run))

    def container_failed(self, container_id: str, error: str) -> None:
        """Note that the launcher could not fork."""
        text = f"Failed to launch container: Failed to fork: {error}"
        if self._nested_exited(container_id, None, text) or self._probe_ended(container_id, None):
            return
        run = self._containers.get(container_id)
        if run is not None:
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text)
            self._ended(run, None)

    def _not_registered(self, run: ExecutorRun) -> None:
        if run.state is ExecutorState.REGISTERING:
            text = f"Executor did not register within {sandbox.duration(self.registration_timeout)}"
            run.verdict = Verdict("TASK_FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT", text)
            self.destroy(run)

    # Killing

    def kill_task(self, framework_id: str, task_id: str, policy: Json | None) -> None:
        """Kill a task, wherever it is on its way."""
        framework = self.frameworks.get(framework_id)
        for run in [] if framework is None else list(framework.executors.values()):
            if task_id in run.queued:
                self._kill_queued(run, run.queued[task_id])
                return
            task = run.tasks.get(task_id)
            if task is None:
                continue
            if run.own:
                self._kill_own(run, task, policy)
            else:
                kill: Json = {"task_id": {"value": task_id}}
                if policy is not None:
                    kill["kill_policy"] = policy
                self._to_executor(run, {"type": "KILL", "kill": kill})
            return

    def _kill_queued(self, run: ExecutorRun, task: TaskRun) -> None:
        text = "Killed before delivery to the executor"
        del run.queued[task.id]
        run.tasks[task.id] = task
        self._agent_status(run, task, "TASK_KILLED", text, "REASON_TASK_KILLED_DURING_LAUNCH")
        if not run.queued and not run.tasks:
            self.destroy(run)

    def shutdown(self, run: ExecutorRun) -> None:
        """Ask an executor to end; after its grace period it is made to."""
        if run.state in (ExecutorState.TERMINATING, ExecutorState.TERMINATED):
            return
        grace = grace_seconds(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE)
        if run.command:
            if run.state is ExecutorState.REGISTERING:
                self.destroy(run)
            else:
                self._kill_command(run, KILL_GRACE)
            return
        if run.default:
            self._shutdown_default(run)
            return
        run.move(ExecutorState.TERMINATING)
        self.save_run(run)
        if run.stream is None:
            self.destroy(run)
            return
        self._to_executor(run, {"type": "SHUTDOWN"})
        run.timers.append(self.runtime.later(grace, self.destroy, run))

    def over_memory(self, container_id: str, text: str) -> None:
        """Kill a container that used more memory than it has, whole; `text` is Mesos's message about it."""
        run = self._containers.get(container_id)
        if not self._nested_over_memory(container_id, text) and run is not None and not run.destroyed:
            run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", text)
            self.destroy(run)

    def _judge(self, run: ExecutorRun) -> None:
        """Find out whether the kernel killed of a container what ended just now."""
        text = self.runtime.over_memory(run.container_id) if run.verdict is None else None
        if text is not None:
            self.over_memory(run.container_id, text)

    # The end of containers

    def container_exited(self, container_id: str, status: int, error: str | None = None) -> None:
        """Note that nothing is left of a container.

        Parameters
        ----------
        status
            The leader's raw wait status.
        error
            Why it did not come as far as its command.
        """
        text = None if error is None else f"Failed to launch container: {error}"
        if self._nested_exited(container_id, status, text) or self._probe_ended(container_id, status):
            return
        run = self._containers.get(container_id)
        if run is not None:
            self._judge(run)
            if text is not None and run.verdict is None:
                run.verdict = Verdict("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text)
            self._ended(run, status)

    def _ended(self, run: ExecutorRun, status: int | None) -> None:
        del self._containers[run.container_id]
        self.runtime.release(run.container_id)
        run.cancel_timers()
        run.pid = None
        if run.stream is not None:
            run.stream.close()
            run.stream = None
        framework = self.frameworks[run.framework_id]
        if run.command and status is not None and run.tasks:
            self._command_ended(run, status)
            if not framework.leaving:
                run.timers.append(self.runtime.later(LINGER, self._gone, run))
                return
        if not run.command and not framework.leaving:
            self._tell_exit(run.framework_id, run.executor_id, status)
        verdict = run.verdict or Verdict("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "Executor terminated")
        for task in [*run.queued.values(), *run.tasks.values()]:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
            self._agent_status(run, task, verdict.state, verdict.message, verdict.reason)
        self._gone(run)

    def _gone(self, run: ExecutorRun) -> None:
        if run.state is not ExecutorState.TERMINATED:
            run.state = ExecutorState.TERMINATED
        framework = self.frameworks.get(run.framework_id)
        if framework is not None and framework.executors.get(run.executor_id) is run:
            del framework.executors[run.executor_id]
            if len(framework.completed) == framework.completed.maxlen:
                self.forget_run(framework.completed[0])
            framework.completed.append(run)
            self.save_run(run)
            self._discard(framework, run)
            left = [one.id for one in self.frameworks.values() if one.leaving and not one.executors]
            for framework_id in left[:-MAX_COMPLETED_FRAMEWORKS]:
                self.forget_framework(self.frameworks.pop(framework_id))


def _original(info: Json) -> Json:
    """Give the ExecutorInfo as its framework sent it (the master compares that)."""
    resources = [
        {k: v for k, v in item.items() if k != "allocation_info"} for item in info.get("resources", [])
    ]
    return {**info, "resources": resources} if resources else dict(info)
