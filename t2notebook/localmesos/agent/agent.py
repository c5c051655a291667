"""An agent: the master's messages and the launcher's, handed to the parts that an agent is composed of.

The decisions are made here and in the parts; all that they need of the world (the link, the launcher, threads, timers)
is `Runtime`, which `main.AgentProcess` provides and tests can fake.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from ..common.record_log import Checkpoint
from ..common.task_states import Json
from .containerizer.paths import AgentIdentity
from .executor_launch import ExecutorLaunch
from .executors.check_runner import CheckRunner
from .executors.command import CommandExecutors
from .executors.custom import CustomExecutors
from .executors.default import DefaultExecutors
from .executors.executor import ExecutorKind
from .executors.lifecycle import Lifecycle
from .registration import report
from .state.agent_state import AgentState
from .state.container_limits import ContainerLimits
from .state.model import ContainerTermination, ExecutorRun, ExecutorState, FrameworkRun, TaskRun
from .state.parts import AgentParts
from .state.retention import Retention
from .state.runtime import Runtime
from .state.state_log import StateLog
from .state.status_update_manager import StatusUpdateManager
from .state.status_updates import StatusUpdates


class Agent:
    """One agent.

    Parameters
    ----------
    identity, info
        Its id, address and work directory; its AgentInfo.
    runtime
        The world.
    registration_timeout
        Seconds that a custom executor has to subscribe.
    checkpoint
        Where it writes down what the next agent needs; None writes nothing down.

    Attributes
    ----------
    state
        Its memory, for whoever shows it.
    """

    def __init__(
        self,
        identity: AgentIdentity,
        info: Json,
        runtime: Runtime,
        *,
        registration_timeout: float = 60.0,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        state = self.state = AgentState(identity, info)
        manager = self._manager = StatusUpdateManager()
        log = self._log = StateLog(state, manager, checkpoint)
        limits = self._limits = ContainerLimits(state, runtime)
        retention = self.retention = Retention(state, runtime, log)
        updates = self.updates = StatusUpdates(state, runtime, log, limits, manager)
        parts = AgentParts(state, runtime, log, limits, retention, updates)
        lifecycle = self._lifecycle = Lifecycle(parts)
        checks = self._checks = CheckRunner(runtime)
        self._runtime = runtime
        self._command = CommandExecutors(parts, lifecycle, checks)
        self._default = DefaultExecutors(parts, lifecycle, checks)
        self.custom = CustomExecutors(parts, lifecycle, registration_timeout=registration_timeout)
        self._launch = ExecutorLaunch(parts, lifecycle, self._kind_of)

    def _kind_of(self, run: ExecutorRun) -> ExecutorKind:
        if run.command:
            return self._command
        return self._default if run.default else self.custom

    @property
    def container_ids(self) -> set[str]:
        """Give the containers that have not ended."""
        return {*self.state.containers, *self._default.container_ids}

    # The master

    def message(self, message: Json) -> None:
        """Handle one message of the master."""
        op = message["op"]
        if op == "run_task":
            self._run_task(message)
        elif op == "run_group":
            self._run_group(message)
        elif op == "kill_task":
            self._kill_task(message["framework_id"], message["task_id"], message.get("kill_policy"))
        elif op == "ack":
            self.updates.acknowledge((message["framework_id"], message["task_id"]), message["uuid"])
        elif op == "message":
            run = self.state.find(message["framework_id"], message["executor_id"])
            if run is not None:
                run.send({"type": "MESSAGE", "message": {"data": message["data"]}})
        elif op == "shutdown_executor":
            run = self.state.find(message["framework_id"], message["executor_id"])
            if run is not None:
                self._shutdown(run)
        elif op == "shutdown_framework":
            framework = self.state.frameworks.get(message["framework_id"])
            if framework is not None:
                framework.leaving = True
                self._manager.forget_framework(framework.id)
                self._log.save_framework(framework)
                for run in list(framework.executors.values()):
                    self._shutdown(run)
        elif op == "update_framework" and message["framework_id"] in self.state.frameworks:
            framework = self.state.frameworks[message["framework_id"]]
            framework.info = message["framework"]
            self._log.save_framework(framework)
            self.updates.resend(framework.id)

    def report(self) -> Json:
        """Give what the master is told at a re-registration."""
        return report(self.state, self._manager)

    def _framework(self, message: Json) -> FrameworkRun:
        framework_id, info = message["framework_id"], message["framework"]
        framework = self.state.frameworks.get(framework_id)
        if framework is None:
            framework = self.state.frameworks[framework_id] = FrameworkRun(framework_id, info)
        framework.info = info
        self.retention.retain_framework(framework)
        return framework

    def _run_task(self, message: Json) -> None:
        """Launch a task, and its executor if there is none."""
        framework = self._framework(message)
        info = message["task"]
        command = "command" in info
        executor_id = (info["task_id"] if command else info["executor"]["executor_id"])["value"]
        task = TaskRun(info)
        if (fault := self._log.fault(framework)) is not None:
            tell_exit = not command and message["new_executor"]
            self._launch.refuse(framework, [task], executor_id, fault, tell_exit=tell_exit)
            return
        run = framework.executors.get(executor_id)
        if run is None:
            if not command and not message["new_executor"]:
                text = "No executor is expected to launch and there is no executor running"
                self.updates.drop(framework, task, executor_id, text, "REASON_EXECUTOR_TERMINATED")
                return
            self._launch.start(framework, executor_id, [task], message["role"])
        elif command or run.command:
            self._command.deliver(run, [task])
        else:
            self._deliver(framework, run, [task])

    def _run_group(self, message: Json) -> None:
        """Launch a task group, and its executor if there is none."""
        framework = self._framework(message)
        info, group = message["executor"], str(uuid.uuid4())
        executor_id = info["executor_id"]["value"]
        tasks = [TaskRun({**one, "executor": info}, group=group) for one in message["tasks"]]
        if (fault := self._log.fault(framework)) is not None:
            tell_exit = message["new_executor"]
            self._launch.refuse(framework, tasks, executor_id, fault, tell_exit=tell_exit)
            return
        run = framework.executors.get(executor_id)
        if run is not None:
            self._deliver(framework, run, tasks)
        elif message["new_executor"]:
            self._launch.start(framework, executor_id, tasks, message["role"])
        else:
            self._launch.refuse(framework, tasks, executor_id, "Executor terminated", tell_exit=False)

    def _deliver(self, framework: FrameworkRun, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Give tasks to an executor that is there; one that does not run yet gets them later."""
        if run.state is ExecutorState.REGISTERING:
            run.queued |= {task.id: task for task in tasks}
            self._limits.fit_soon(run)
        elif run.state is ExecutorState.RUNNING:
            self._kind_of(run).deliver(run, tasks)
        else:
            text = f"Executor {run.state.value}"
            self._launch.refuse(framework, tasks, run.executor_id, text, tell_exit=False)

    def _kill_task(self, framework_id: str, task_id: str, policy: Json | None) -> None:
        """Kill a task, wherever it is on its way."""
        framework = self.state.frameworks.get(framework_id)
        for run in [] if framework is None else list(framework.executors.values()):
            if task_id in run.queued:
                self._kill_queued(run, run.queued[task_id])
                return
            if task_id in run.tasks:
                self._kind_of(run).kill_task(run, run.tasks[task_id], policy)
                return

    def _kill_queued(self, run: ExecutorRun, task: TaskRun) -> None:
        text = "Killed before delivery to the executor"
        del run.queued[task.id]
        run.tasks[task.id] = task
        self.updates.from_agent(run, task, "TASK_KILLED", text, "REASON_TASK_KILLED_DURING_LAUNCH")
        if not run.queued and not run.tasks:
            self._kind_of(run).destroy(run)

    def _shutdown(self, run: ExecutorRun) -> None:
        if run.state not in (ExecutorState.TERMINATING, ExecutorState.TERMINATED):
            self._kind_of(run).shutdown(run)

    # The launcher and the isolator

    def container_started(self, container_id: str, pid: int) -> None:
        """Note that the launcher forked a container's first process."""
        run = self.state.containers.get(container_id)
        if self._default.container_started(container_id, pid) or run is None:
            return
        run.pid = run.first_pid = pid
        if run.destroyed:
            self._runtime.destroy(container_id)
        else:
            self._kind_of(run).started(run)

    def container_failed(self, container_id: str, error: str) -> None:
        """Note that the launcher could not fork."""
        self._exited(container_id, None, f"Failed to fork: {error}")

    def container_exited(self, container_id: str, status: int, error: str | None = None) -> None:
        """Note that nothing is left of a container.

        Parameters
        ----------
        status
            The raw wait status of its first process.
        error
            Why that did not come as far as its command.
        """
        self._exited(container_id, status, error)

    def _exited(self, container_id: str, status: int | None, error: str | None) -> None:
        failure = None if error is None else f"Failed to launch container: {error}"
        if self._default.container_exited(container_id, status, failure):
            return
        run = self.state.containers.get(container_id)
        if self._checks.container_exited(container_id, status) or run is None:
            return
        kind = self._kind_of(run)
        self._lifecycle.check_memory(run, kind.destroy)
        if failure is not None and run.pending_termination is None:
            reason = "REASON_CONTAINER_LAUNCH_FAILED"
            run.pending_termination = ContainerTermination("TASK_FAILED", reason, failure)
        kind.ended(run, status)

    def over_memory(self, container_id: str, message: str) -> None:
        """Kill a container that used more memory than it has, whole.

        Parameters
        ----------
        message
            Mesos's.
        """
        run = self.state.containers.get(container_id)
        if not self._default.over_memory(container_id, message) and run is not None:
            self._lifecycle.over_memory(run, message, self._kind_of(run).destroy)

    # Recovery

    def recover(self, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Take up what an earlier agent left: what lives goes on, what does not is ended.

        Parameters
        ----------
        living, ended
            Containers: pid of the first process, raw wait status. One in neither went with its machine.
        """
        runs = self._log.remembered(self._runtime.now())
        for run in runs:
            self.state.frameworks[run.framework_id].executors[run.executor_id] = run
            self.state.containers[run.container_id] = run
            for task in run.tasks.values():
                # What had been told before the agent died may have been all that was missing.
                task.state = self._manager.latest((run.framework_id, task.id)) or task.state
        known = {run.container_id for run in runs}
        known |= {task.container for run in runs for task in run.tasks.values() if task.container}
        for run in runs:
            self._kind_of(run).recover(run, living, ended)
        for container_id in living.keys() - known:
            self._runtime.destroy(container_id)
