"""Checkpoints of what an agent knows of checkpointing frameworks, for the next agent to take up their executors.

Records: `framework ID`, `run CONTAINER`, `task CONTAINER TASK` (a TaskInfo without its data), `updates FRAMEWORK
TASK`. Tasks that their executor never got are not among them: their data must not lie in a file.
"""

from __future__ import annotations

from ...common.record_log import Checkpoint
from ...common.task_states import TERMINAL, Json
from .agent_state import AgentState
from .model import ExecutorRun, ExecutorState, FrameworkRun, TaskRun
from .status_update_manager import StatusUpdateManager

_LIVES, _ENDS, _ENDED = "lives", "ends", "ended"

_OF_A_TASK = (
    *("state", "status", "since", "healthy", "check_status", "unhealthy"),
    *("group", "container", "launched", "killing"),
)


_OF_A_RUN = (
    *("framework_id", "executor_id", "info", "original", "role", "directory"),
    *("command", "default", "launched"),
)


class StateLog:
    """Writes to a checkpoint, and reads what an earlier agent wrote; does nothing without one.

    Parameters
    ----------
    state, updates
        What is written down.
    checkpoint
        Where.
    """

    def __init__(
        self, state: AgentState, updates: StatusUpdateManager, checkpoint: Checkpoint | None
    ) -> None:
        self._state = state
        self._updates = updates
        self._checkpoint = checkpoint

    def has_updates(self, framework_id: str) -> bool:
        """Tell whether an update of a framework's tasks is not acknowledged."""
        return any(key[0] == framework_id for key, _ in self._updates.in_flight())

    def fault(self, framework: FrameworkRun) -> str | None:
        """Say why nothing new of a framework can be written down, if so: then it must not be started."""
        if self._checkpoint is None or not framework.info.get("checkpoint", False):
            return None
        self._checkpoint.mend()
        if not self._checkpoint.trouble:
            return None
        return f"Failed to checkpoint to '{self._checkpoint.path}': {self._checkpoint.trouble}"

    def save_run(self, run: ExecutorRun) -> None:
        """Write a run down, or that it is about to end, or ended (its sandbox can still be read then)."""
        framework = self._state.frameworks.get(run.framework_id)
        if self._checkpoint is None or framework is None:
            return
        if not framework.info.get("checkpoint", False):
            return
        if self._checkpoint.get("run", run.container_id) is None:
            if run.state is not ExecutorState.RUNNING:
                return
            self.save_framework(framework)
        state = _LIVES
        if run.state is ExecutorState.TERMINATED:
            state = _ENDED
        elif run.killed or run.destroyed or run.state is ExecutorState.TERMINATING:
            state = _ENDS
        record = {**{name: getattr(run, name) for name in _OF_A_RUN}, "state": state}
        self._checkpoint.put(("run", run.container_id), record)

    def save_task(self, run: ExecutorRun, task: TaskRun) -> None:
        """Write a task of a written run down; one that ended is left to its updates."""
        if self._checkpoint is None or self._checkpoint.get("run", run.container_id) is None:
            return
        info = {name: value for name, value in task.info.items() if name != "data"}
        record: Json = {"info": info, **{name: getattr(task, name) for name in _OF_A_TASK}}
        ended = task.state in TERMINAL
        self._checkpoint.put(("task", run.container_id, task.id), None if ended else record)

    def save_updates(self, key: tuple[str, str]) -> None:
        """Write down what of a task's updates is not acknowledged."""
        framework = self._state.frameworks.get(key[0])
        if self._checkpoint is None or framework is None or not framework.info.get("checkpoint", False):
            return
        if self._checkpoint.get("framework", framework.id) is None:
            self.save_framework(framework)
        self._checkpoint.put(("updates", *key), self._updates.dump(key))

    def save_framework(self, framework: FrameworkRun) -> None:
        """Write a framework down; one that leaves has no updates any more."""
        if self._checkpoint is None or not framework.info.get("checkpoint", False):
            return
        record = {"info": framework.info, "leaving": framework.leaving}
        self._checkpoint.put(("framework", framework.id), record)
        if framework.leaving:
            for key, _ in self._checkpoint.under("updates", framework.id):
                self._checkpoint.put(("updates", framework.id, *key), None)

    def forget_run(self, run: ExecutorRun) -> None:
        """Strike a run out."""
        if self._checkpoint is not None:
            self._checkpoint.put(("run", run.container_id), None)

    def forget_framework(self, framework: FrameworkRun) -> None:
        """Strike a framework out, its runs with it."""
        if self._checkpoint is not None:
            for run in framework.completed:
                self.forget_run(run)
            self._checkpoint.put(("framework", framework.id), None)

    def remembered(self, now: float) -> list[ExecutorRun]:
        """Take up what is written: frameworks, updates, ended runs; give the runs that had not ended.

        Parameters
        ----------
        now
            The runtime's clock.
        """
        found: list[ExecutorRun] = []
        if self._checkpoint is None:
            return found
        for (framework_id,), record in self._checkpoint.under("framework"):
            framework = FrameworkRun(framework_id, record["info"], leaving=record["leaving"])
            self._state.frameworks[framework_id] = framework
        for (framework_id, task_id), record in self._checkpoint.under("updates"):
            self._updates.restore((framework_id, task_id), record, now)
        tasks: dict[str, list[TaskRun]] = {}
        for (container_id, _), record in self._checkpoint.under("task"):
            task = TaskRun(record["info"], **{name: record.get(name) for name in _OF_A_TASK})
            tasks.setdefault(container_id, []).append(task)
        for (container_id,), record in self._checkpoint.under("run"):
            run = _run(container_id, record)
            if record["state"] == _ENDED:
                run.state = ExecutorState.TERMINATED
                self._state.frameworks[run.framework_id].completed.append(run)
                continue
            run.tasks = {task.id: task for task in tasks.get(container_id, [])}
            run.state = ExecutorState.RUNNING
            run.killed = record["state"] == _ENDS
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
