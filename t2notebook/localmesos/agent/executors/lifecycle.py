"""Steps in the life of every executor: taken up from an earlier agent, ended, forgotten. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..state.model import MAX_COMPLETED_FRAMEWORKS, ContainerTermination, ExecutorRun, ExecutorState
from ..state.parts import AgentParts
from .executor import ExecutorKind

_TERMINATED = ContainerTermination("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "Executor terminated")


class Lifecycle:
    """The return and the end of executors, as far as they are the same for all kinds.

    Parameters
    ----------
    parts
        The parts of the agent that it works with.
    """

    def __init__(
        self,
        parts: AgentParts,
    ) -> None:
        self._state, self._runtime, self._log = parts.state, parts.runtime, parts.log
        self._limits, self._retention, self._updates = parts.limits, parts.retention, parts.updates

    def tell_exit(self, framework_id: str, executor_id: str, status: int | None) -> None:
        """Tell the master that an executor is gone.

        Parameters
        ----------
        status
            The raw wait status, if there is one.
        """
        ids = {
            "agent_id": self._state.identity.id,
            "framework_id": framework_id,
            "executor_id": executor_id,
        }
        self._runtime.send({"op": "executor_exited", **ids, "status": status})

    def over_memory(self, run: ExecutorRun, message: str, destroy: Callable[[ExecutorRun], None]) -> None:
        """Kill an executor that used more memory than it has, its tasks with it.

        Parameters
        ----------
        message
            Mesos's.
        destroy
            Kills it.
        """
        if not run.destroyed:
            reason = "REASON_CONTAINER_LIMITATION_MEMORY"
            run.pending_termination = ContainerTermination("TASK_FAILED", reason, message)
            destroy(run)

    def check_memory(self, run: ExecutorRun, destroy: Callable[[ExecutorRun], None]) -> None:
        """Find out whether the kernel killed something of a container that ended just now, for its memory."""
        message = None if run.pending_termination is not None else self._runtime.over_memory(run.container_id)
        if message is not None:
            self.over_memory(run, message, destroy)

    def recover(
        self,
        run: ExecutorRun,
        kind: ExecutorKind,
        living: Mapping[str, int],
        ended: Mapping[str, int | None],
    ) -> bool:
        """Take up the container of an earlier agent, or note its end; return whether it lives and is to go on.

        Parameters
        ----------
        living, ended
            As `ExecutorKind.recover` has them.
        """
        pid = living.get(run.container_id)
        if pid is None:
            self.check_memory(run, kind.destroy)
            kind.ended(run, ended.get(run.container_id))
            return False
        run.pid = run.first_pid = pid
        run.sized = True
        self._limits.fit(run)
        if run.killed:
            kind.destroy(run)
        return not run.killed

    def release(self, run: ExecutorRun) -> None:
        """Forget a container: nothing of it is left."""
        self._state.containers.pop(run.container_id, None)
        self._runtime.release(run.container_id)
        run.cancel_timers()
        run.pid = None
        if run.stream is not None:
            run.stream.close()
            run.stream = None

    def end(self, run: ExecutorRun, status: int | None) -> None:
        """End an executor whose container was released: the master and the frameworks hear of it.

        Parameters
        ----------
        status
            The raw wait status, if there is one.
        """
        if not run.command and not self._state.frameworks[run.framework_id].leaving:
            self.tell_exit(run.framework_id, run.executor_id, status)
        end = run.pending_termination or _TERMINATED
        for task in [*run.queued.values(), *run.tasks.values()]:
            run.queued.pop(task.id, None)
            run.tasks[task.id] = task
            self._updates.from_agent(run, task, end.state, end.message, end.reason)
        self.remove(run)

    def remove(self, run: ExecutorRun) -> None:
        """Move an executor to the completed ones of its framework."""
        if run.state is not ExecutorState.TERMINATED:
            run.state = ExecutorState.TERMINATED
        framework = self._state.frameworks.get(run.framework_id)
        if framework is None or framework.executors.get(run.executor_id) is not run:
            return
        del framework.executors[run.executor_id]
        if len(framework.completed) == framework.completed.maxlen:
            self._log.forget_run(framework.completed[0])
        framework.completed.append(run)
        self._log.save_run(run)
        self._retention.discard(framework, run)
        gone = [one.id for one in self._state.frameworks.values() if one.leaving and not one.executors]
        for framework_id in gone[:-MAX_COMPLETED_FRAMEWORKS]:
            self._log.forget_framework(self._state.frameworks.pop(framework_id))
