"""Registration with a master: the report of an agent that registers again, and the pauses between attempts. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..common.task_states import TERMINAL, Json
from .state.agent_state import AgentState
from .state.model import ExecutorRun, TaskRun
from .state.status_update_manager import StatusUpdateManager

_OF_A_TASK_INFO = ("task_id", "name", "resources", "labels", "discovery")
"""A master that never heard of the task needs these; the executor's info comes by itself."""

EAGER_START, EAGER_MAX = 0.01, 1.0
REGISTER_RETRY_INTERVAL_MAX = 60.0


def pauses(factor: float | None, random: Callable[[], float]) -> Iterator[float]:
    """Yield the seconds to wait before each attempt to register.

    Parameters
    ----------
    factor
        Mesos's `--registration_backoff_factor`: its agents wait at random, at the most so many seconds and twice as
        many each time, up to a minute (`Slave::detected`, `Slave::doReliableRegistration` in its src/slave/slave.cpp).
        None: at once, and after failures up to a second.
    random
        Gives a number from 0 to 1.
    """
    if factor is None:
        yield 0.0
    most, limit = (EAGER_START, EAGER_MAX) if factor is None else (factor, REGISTER_RETRY_INTERVAL_MAX)
    while True:
        yield most if factor is None else most * random()
        most = min(2 * most, limit)


def report(state: AgentState, updates: StatusUpdateManager) -> Json:
    """Give the tasks, executors and frameworks that an agent has, unacknowledged ends among them."""
    in_flight = updates.in_flight()
    present = [framework for framework in state.frameworks.values() if not framework.leaving]
    runs = [run for framework in present for run in framework.executors.values()]
    tasks = [_task(run, task) for run in runs for task in (*run.queued.values(), *run.tasks.values())]
    for key, status in in_flight:
        latest = updates.latest(key) or status["state"]
        if latest in TERMINAL:
            tasks.append({"framework_id": key[0], "task_id": key[1], "state": latest, "status": status})
    waiting = {key[0] for key, _ in in_flight}
    return {
        "tasks": tasks,
        "executors": [_executor(run) for run in runs if not run.command],
        "frameworks": {one.id: one.info for one in present if one.executors or one.id in waiting},
    }


def _executor(run: ExecutorRun) -> Json:
    return {
        "framework_id": run.framework_id,
        "executor_id": run.executor_id,
        "info": run.info,
        "original": run.original,
        "role": run.role,
    }


def _task(run: ExecutorRun, task: TaskRun) -> Json:
    item: Json = {"framework_id": run.framework_id, "task_id": task.id, "state": task.state}
    item |= {"status": task.status or {}, "role": run.role}
    item["info"] = {name: task.info[name] for name in _OF_A_TASK_INFO if name in task.info}
    item["executor_id"] = "" if run.command else run.executor_id
    return item
