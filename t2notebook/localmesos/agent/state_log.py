"""What an agent writes down of checkpointing frameworks, so that the next one can take up their executors. No I/O.

Records: `framework ID`, `run CONTAINER`, `task CONTAINER TASK` (a TaskInfo without its data), `updates FRAMEWORK
TASK`. Tasks that their executor never got are not among them: their data must not lie in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.record_log import Checkpoint
from ..common.task_states import TERMINAL, Json
from .model import ExecutorRun, ExecutorState, FrameworkRun, TaskRun

if TYPE_CHECKING:
    from .status_update_manager import UpdateStreams

LIVES, ENDS, ENDED = "lives", "ends", "ended"

_OF_A_TASK = (
    *("state", "status", "since", "healthy", "check_status", "unhealthy"),
    *("group", "container", "launched", "killing"),
)


class AgentMemory:
    """Writes to a checkpoint, and reads what an earlier agent wrote; does nothing without one."""

    frameworks: dict[str, FrameworkRun]
    updates: UpdateStreams
    checkpoint: Checkpoint | None = None

    def checkpoint_fault(self, framework: FrameworkRun) -> str | None:
        """Say why nothing new of a framework can be written down, if so: then it must not be started."""
        if self.checkpoint is None or not framework.info.get("checkpoint", False):
            return None
        self.checkpoint.mend()
        if not self.checkpoint.trouble:
            return None
        return f"Failed to checkpoint to '{self.checkpoint.path}': {self.checkpoint.trouble}"

    def save_run(self, run: ExecutorRun) -> None:
        """Write a run down, or that it is about to end, or ended (its sandbox can still be read then)."""
        framework = self.frameworks.get(run.framework_id)
        if self.checkpoint is None or framework is None:
            return
        if not framework.info.get("checkpoint", False):
            return
        if self.checkpoint.get("run", run.container_id) is None:
            if run.state is not ExecutorState.RUNNING:
                return
            self.save_framework(framework)
        state = LIVES
        if run.state is ExecutorState.TERMINATED:
            state = ENDED
        elif run.killed or run.destroyed or run.state is ExecutorState.TERMINATING:
            state = ENDS
        names = (
            "framework_id",
            "executor_id",
            "info",
            "original",
            "role",
            "directory",
            "command",
            "default",
            "launched",
        )
        record = {**{name: getattr(run, name) for name in names}, "state": state}
        self.checkpoint.put(("run", run.container_id), record)

    def save_task(self, run: ExecutorRun, task: TaskRun) -> None:
        """Write a task of a written run down; one that ended is left to its updates."""
        if self.checkpoint is None or self.checkpoint.get("run", run.container_id) is None:
            return
        info = {name: value for name, value in task.info.items() if name != "data"}
        record: Json = {"info": info, **{name: getattr(task, name) for name in _OF_A_TASK}}
        ended = task.state in TERMINAL
        self.checkpoint.put(("task", run.container_id, task.id), None if ended else record)

    def save_updates(self, key: tuple[str, str]) -> None:
        """Write down what of a task's updates is not acknowledged."""
        framework = self.frameworks.get(key[0])
        if self.checkpoint is None or framework is None or not framework.info.get("checkpoint", False):
            return
        if self.checkpoint.get("framework", framework.id) is None:
            self.save_framework(framework)
        self.checkpoint.put(("updates", *key), self.updates.dump(key))

    def save_framework(self, framework: FrameworkRun) -> None:
        """Write a framework down; one that leaves has no updates any more."""
        if self.checkpoint is None or not framework.info.get("checkpoint", False):
            return
        record = {"info": framework.info, "leaving": framework.leaving}
        self.checkpoint.put(("framework", framework.id), record)
        if framework.leaving:
            for key, _ in self.checkpoint.under("updates", framework.id):
                self.checkpoint.put(("updates", framework.id, *key), None)

    def forget_run(self, run: ExecutorRun) -> None:
        """Strike a run out."""
        if self.checkpoint is not None:
            self.checkpoint.put(("run", run.container_id), None)

    def forget_framework(self, framework: FrameworkRun) -> None:
        """Strike a framework out, its runs with it."""
        if self.checkpoint is not None:
            for run in framework.completed:
                self.forget_run(run)
            self.checkpoint.put(("framework", framework.id), None)

    def remembered(self, now: float) -> list[ExecutorRun]:
        """Take up what is written: frameworks, updates, ended runs; give the runs that had not ended."""
        found: list[ExecutorRun] = []
        if self.checkpoint is None:
            return found
        for (framework_id,), record in self.checkpoint.under("framework"):
            framework = FrameworkRun(framework_id, record["info"], leaving=record["leaving"])
            self.frameworks[framework_id] = framework
        for (framework_id, task_id), record in self.checkpoint.under("updates"):
            self.updates.restore((framework_id, task_id), record, now)
        tasks: dict[str, list[TaskRun]] = {}
        for (container_id, _), record in self.checkpoint.under("task"):
            task = TaskRun(record["info"], **{name: record.get(name) for name in _OF_A_TASK})
            tasks.setdefault(container_id, []).append(task)
        for (container_id,), record in self.checkpoint.under("run"):
            run = _run(container_id, record)
            if record["state"] == ENDED:
                run.state = ExecutorState.TERMINATED
                self.frameworks[run.framework_id].completed.append(run)
                continue
            run.tasks = {task.id: task for task in tasks.get(container_id, [])}
            run.state = ExecutorState.RUNNING
            run.killed = record["state"] == ENDS
            found.append(run)
        return found


def _run(container_id: str, record: Json) -> ExecutorRun:
    return ExecutorRun(
        record["framework_id"],
        record["executor_id"],
        record["info"],
        record["original"],
        record["role"],
        container_id,
        record["directory"],
        record["command"],
        default=record.get("default", False),
        launched=record["launched"],
    )
