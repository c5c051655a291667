"""Custom executors: their subscriptions, the tasks that they are given, their return after an agent's death. No I/O."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from ...common.durations import duration
from ...common.task_states import Json, state_for
from ...http.server import EventStream
from ..state.model import ContainerTermination, ExecutorRun, ExecutorState, TaskRun, seconds_of
from ..state.parts import AgentParts
from .executor import SHUTDOWN_GRACE
from .lifecycle import Lifecycle

REREGISTRATION = 10.0
"""A living executor has so many seconds to come back after its agent's death. (Mesos: 2 s, which is also the longest
pause between an executor's attempts; a loaded machine needs more.)"""


class CustomExecutors:
    """Executors that are processes of their own and speak the executor API.

    Parameters
    ----------
    registration_timeout
        Seconds that one has from its start to its subscription.
    """

    def __init__(
        self,
        parts: AgentParts,
        lifecycle: Lifecycle,
        *,
        registration_timeout: float,
    ) -> None:
        self._state, self._runtime, self._log = parts.state, parts.runtime, parts.log
        self._limits, self._updates = parts.limits, parts.updates
        self._lifecycle = lifecycle
        self._registration_timeout = registration_timeout

    # The executor API

    def subscribe(self, run: ExecutorRun, stream: EventStream, call: Json) -> None:
        """Register an executor, or take it back after its connection broke.

        Parameters
        ----------
        stream
            Where its events go from now on.
        call
            The SUBSCRIBE.
        """
        if run.stream is not None:
            run.stream.close()
        run.stream = stream
        if run.state is ExecutorState.REGISTERING:
            run.move(ExecutorState.RUNNING)
            run.cancel_timers()
            self._log.save_run(run)
        subscribed = {
            "executor_info": run.info,
            "framework_info": self._state.frameworks[run.framework_id].info,
            "agent_info": self._state.shown_info,
            "container_id": {"value": run.container_id},
        }
        run.send({"type": "SUBSCRIBED", "subscribed": subscribed})
        backlog, run.backlog = run.backlog, []
        for event in backlog:
            run.send(event)
        for update in call.get("subscribe", {}).get("unacknowledged_updates", []):
            self._updates.from_executor(run, update["status"])
        if run.container_id in self._state.reconnecting:
            self._reconnected(run, call.get("subscribe", {}))
        if run.state is ExecutorState.TERMINATING:
            run.send({"type": "SHUTDOWN"})
            return
        for _, found in itertools.groupby(list(run.queued.values()), lambda task: task.group or task.id):
            self.deliver(run, list(found))

    def message(self, run: ExecutorRun, data: str) -> None:
        """Forward an executor's message to its framework."""
        ids = {"framework_id": run.framework_id, "executor_id": run.executor_id}
        message = {"op": "executor_message", "agent_id": self._state.identity.id, **ids}
        self._runtime.send({**message, "data": data})

    # The agent's side

    def started(self, run: ExecutorRun) -> None:
        """Give it its time to register."""
        if run.state is ExecutorState.REGISTERING:
            timeout = self._registration_timeout
            run.timers.append(self._runtime.later(timeout, self._not_registered, run))

    def _not_registered(self, run: ExecutorRun) -> None:
        if run.state is ExecutorState.REGISTERING:
            text = f"Executor did not register within {duration(self._registration_timeout)}"
            reason = "REASON_EXECUTOR_REGISTRATION_TIMEOUT"
            run.pending_termination = ContainerTermination("TASK_FAILED", reason, text)
            self.destroy(run)

    def deliver(self, run: ExecutorRun, tasks: list[TaskRun]) -> None:
        """Give an executor a task, or a task group."""
        if tasks[0].group is None:
            event = {"type": "LAUNCH", "launch": {"task": tasks[0].info}}
        else:
            infos = [{k: v for k, v in task.info.items() if k != "executor"} for task in tasks]
            event = {"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": infos}}}
        for task in tasks:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
        self._limits.fit_soon(run)
        for task in tasks:
            self._log.save_task(run, task)
        framework = self._state.frameworks[run.framework_id]
        if (fault := self._log.fault(framework)) is not None:
            lost = state_for(framework.info, "TASK_DROPPED")
            for task in tasks:
                self._updates.from_agent(run, task, lost, fault, "REASON_EXECUTOR_TERMINATED")
            return
        run.send(event)
        for task in tasks:
            task.forget_data()

    def kill_task(self, run: ExecutorRun, task: TaskRun, policy: Json | None) -> None:
        """Ask the executor to kill a task.

        Parameters
        ----------
        policy
            The call's KillPolicy, which wins over the task's.
        """
        kill: Json = {"task_id": {"value": task.id}}
        if policy is not None:
            kill["kill_policy"] = policy
        run.send({"type": "KILL", "kill": kill})

    def shutdown(self, run: ExecutorRun) -> None:
        """Ask an executor to end; after its grace period it is made to."""
        run.move(ExecutorState.TERMINATING)
        self._log.save_run(run)
        if run.stream is None:
            self.destroy(run)
            return
        run.send({"type": "SHUTDOWN"})
        grace = seconds_of(run.info.get("shutdown_grace_period"), SHUTDOWN_GRACE)
        run.timers.append(self._runtime.later(grace, self.destroy, run))

    def destroy(self, run: ExecutorRun) -> None:
        """Kill an executor's container."""
        if run.destroyed:
            return
        run.destroyed = True
        if run.state is not ExecutorState.TERMINATED:
            run.state = ExecutorState.TERMINATING
        if run.pid is not None:
            self._runtime.destroy(run.container_id)

    def ended(self, run: ExecutorRun, status: int | None) -> None:
        """End its tasks, too."""
        self._lifecycle.release(run)
        self._lifecycle.end(run, status)

    # Recovery

    def recover(self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Wait for an executor that lives to subscribe again.

        Parameters
        ----------
        living, ended
            As `ExecutorKind.recover` has them.
        """
        if self._lifecycle.recover(run, self, living, ended):
            self._state.reconnecting.add(run.container_id)
            run.timers.append(self._runtime.later(REREGISTRATION, self._not_back, run))

    def _not_back(self, run: ExecutorRun) -> None:
        text = f"Executor did not reregister within {duration(REREGISTRATION)}"
        reason = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT"
        run.pending_termination = ContainerTermination("TASK_FAILED", reason, text)
        self._state.reconnecting.discard(run.container_id)
        self.destroy(run)

    def _reconnected(self, run: ExecutorRun, subscribe: Json) -> None:
        """Take an executor back: tasks that it never got are lost, since nobody has their data any more."""
        self._state.reconnecting.discard(run.container_id)
        run.cancel_timers()
        has = {info["task_id"]["value"] for info in subscribe.get("unacknowledged_tasks", [])}
        lost = state_for(self._state.frameworks[run.framework_id].info, "TASK_DROPPED")
        text, reason = "Task launched during agent restart", "REASON_AGENT_RESTARTED"
        for task in [one for one in run.tasks.values() if one.state == "TASK_STAGING" and one.id not in has]:
            self._updates.from_agent(run, task, lost, text, reason)
