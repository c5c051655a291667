"""Recovery: a new agent takes up the executors and command tasks of one that was killed. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from ..common.task_states import Json, can
from .containerizer import sandbox
from .model import ExecutorRun, TaskRun, Verdict
from .task_status import AgentUpdates

REREGISTRATION = 10.0
"""How long a living executor has to come back. (Mesos: 2 s, which is also the longest pause between an executor's
attempts; a loaded machine needs more.)"""


class Recovery(AgentUpdates):
    """What follows from an earlier agent's records and what its launcher says of its containers."""

    def recover(self, living: Mapping[str, int], ended: Mapping[str, int | None]) -> None:
        """Take up what lives, and end what does not.

        Parameters
        ----------
        living, ended
            Containers: pid of the leader, raw wait status. One of which nobody knows went with its machine.
        """
        runs = self.remembered(self.runtime.now())
        for run in runs:
            framework = self.frameworks[run.framework_id]
            framework.executors[run.executor_id] = run
            self._containers[run.container_id] = run
            for task in run.tasks.values():
                # What had been told before the agent died may have been all that was missing.
                task.state = self.updates.latest((run.framework_id, task.id)) or task.state
        known = {run.container_id for run in runs}
        known |= {task.container for run in runs for task in run.tasks.values() if task.container}
        for run in runs:
            if run.default:
                self._recover_groups(run, living, ended)
                continue
            pid = living.get(run.container_id)
            if pid is None:
                self._judge(run)
                self._ended(run, ended.get(run.container_id))
                continue
            run.pid = run.first_pid = pid
            run.sized = True
            self._resize(run)
            if run.killed:
                self.destroy(run)
            elif run.command:
                for task in run.tasks.values():
                    self._watch_command(run, task)
            else:
                self.reconnecting.add(run.container_id)
                run.timers.append(self.runtime.later(REREGISTRATION, self._not_back, run))
        for container_id in living.keys() - known:
            self.runtime.destroy(container_id)

    def _not_back(self, run: ExecutorRun) -> None:
        text = f"Executor did not reregister within {sandbox.duration(REREGISTRATION)}"
        run.verdict = Verdict("TASK_FAILED", "REASON_EXECUTOR_REREGISTRATION_TIMEOUT", text)
        self.reconnecting.discard(run.container_id)
        self.destroy(run)

    def _reconnected(self, run: ExecutorRun, subscribe: Json) -> None:
        """Take an executor back: tasks that it never got are lost, since nobody has their data any more."""
        self.reconnecting.discard(run.container_id)
        run.cancel_timers()
        has = {info["task_id"]["value"] for info in subscribe.get("unacknowledged_tasks", [])}
        lost = (
            "TASK_DROPPED" if can(self.frameworks[run.framework_id].info, "PARTITION_AWARE") else "TASK_LOST"
        )
        for task in [one for one in run.tasks.values() if one.state == "TASK_STAGING" and one.id not in has]:
            self._agent_status(
                run, task, lost, "Task launched during agent restart", "REASON_AGENT_RESTARTED"
            )

    def _watch_command(self, run: ExecutorRun, task: TaskRun) -> None:
        raise NotImplementedError

    def _recover_groups(
        self, run: ExecutorRun, living: Mapping[str, int], ended: Mapping[str, int | None]
    ) -> None:
        raise NotImplementedError

    def _judge(self, run: ExecutorRun) -> None:
        raise NotImplementedError

    def destroy(self, run: ExecutorRun) -> None:
        raise NotImplementedError

    def _ended(self, run: ExecutorRun, status: int | None) -> None:
        raise NotImplementedError

    def save_given(self, run: ExecutorRun, tasks: tuple[TaskRun, ...]) -> None:
        """Write tasks down before their executor gets them."""
        for task in tasks:
            self.save_task(run, task)
