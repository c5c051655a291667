"""Custom executors: what an agent says to them when they subscribe, and the tasks that it gives them. No I/O."""

from __future__ import annotations

import itertools

from ...common.task_states import Json, can
from ...http.server import EventStream
from ..model import ExecutorRun, ExecutorState, TaskRun
from ..recovery import Recovery


class CustomExecutors(Recovery):
    """The calls of executors that are processes of their own."""

    def subscribe(self, run: ExecutorRun, stream: EventStream, call: Json) -> None:
        """Register an executor, or take it back after its connection broke."""
        if run.stream is not None:
            run.stream.close()
        run.stream = stream
        if run.state is ExecutorState.REGISTERING:
            run.move(ExecutorState.RUNNING)
            run.cancel_timers()
            self.save_run(run)
        framework = self.frameworks[run.framework_id]
        subscribed = {
            "executor_info": run.info,
            "framework_info": framework.info,
            "agent_info": {name: value for name, value in self.info.items() if name != "checkpoint"},
            "container_id": {"value": run.container_id},
        }
        self._to_executor(run, {"type": "SUBSCRIBED", "subscribed": subscribed})
        backlog, run.backlog = run.backlog, []
        for event in backlog:
            self._to_executor(run, event)
        for update in call.get("subscribe", {}).get("unacknowledged_updates", []):
            self.status(run, update["status"])
        if run.container_id in self.reconnecting:
            self._reconnected(run, call.get("subscribe", {}))
        if run.state is ExecutorState.TERMINATING:
            self._to_executor(run, {"type": "SHUTDOWN"})
            return
        for _, found in itertools.groupby(list(run.queued.values()), lambda task: task.group or task.id):
            self._give(run, *found)

    def _give(self, run: ExecutorRun, *tasks: TaskRun) -> None:
        """Give an executor a task, or a task group."""
        if tasks[0].group is None:
            event = {"type": "LAUNCH", "launch": {"task": tasks[0].info}}
        else:
            infos = [{k: v for k, v in task.info.items() if k != "executor"} for task in tasks]
            event = {"type": "LAUNCH_GROUP", "launch_group": {"task_group": {"tasks": infos}}}
        for task in tasks:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
        self._resize_soon(run)
        self.save_given(run, tasks)
        framework = self.frameworks[run.framework_id]
        if (fault := self.checkpoint_fault(framework)) is not None:
            lost = "TASK_DROPPED" if can(framework.info, "PARTITION_AWARE") else "TASK_LOST"
            for task in tasks:
                self._agent_status(run, task, lost, fault, "REASON_EXECUTOR_TERMINATED")
            return
        self._to_executor(run, event)
        for task in tasks:
            task.forget_data()

    def executor_message(self, run: ExecutorRun, data: str) -> None:
        """Forward an executor's message."""
        ids = {"agent_id": self.place.id, "framework_id": run.framework_id, "executor_id": run.executor_id}
        self.runtime.send({"op": "executor_message", **ids, "data": data})
