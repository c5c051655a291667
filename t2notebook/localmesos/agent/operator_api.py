"""Answers to operators' v1 calls about an agent's frameworks, executors, tasks and containers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..common.task_states import TERMINAL, Json
from .state.agent_state import AgentState
from .state.model import COMMAND_EXECUTOR, ExecutorRun, FrameworkRun, TaskRun


def answers(agent: AgentState, statistics: Callable[[ExecutorRun], Json]) -> dict[str, Callable[[], Json]]:
    """Give the calls that only read the agent's state, each with what answers it."""
    return {
        "GET_LOGGING_LEVEL": lambda: {"level": 0},
        "GET_AGENT": lambda: {"agent_info": agent.shown_info},
        "GET_FRAMEWORKS": lambda: _frameworks(agent),
        "GET_EXECUTORS": lambda: _executors(agent),
        "GET_TASKS": lambda: _tasks(agent),
        "GET_OPERATIONS": dict,
        "GET_RESOURCE_PROVIDERS": dict,
        "GET_STATE": lambda: {
            "get_tasks": _tasks(agent),
            "get_executors": _executors(agent),
            "get_frameworks": _frameworks(agent),
        },
        "GET_CONTAINERS": lambda: {
            "containers": [_container(run, statistics(run)) for run in _living(agent)]
        },
    }


def _living(agent: AgentState) -> list[ExecutorRun]:
    return [run for run in agent.executors() if run.pid is not None]


def _frameworks(agent: AgentState) -> Json:
    def shown(found: Iterable[FrameworkRun]) -> list[Json]:
        return [{"framework_info": framework.info} for framework in found]

    found = agent.frameworks.values()
    return {
        "frameworks": shown(one for one in found if one.executors),
        "completed_frameworks": shown(one for one in found if not one.executors),
    }


def _executors(agent: AgentState) -> Json:
    found = agent.frameworks.values()
    return {
        "executors": [_executor(run) for framework in found for run in framework.executors.values()],
        "completed_executors": [_executor(run) for framework in found for run in framework.completed],
    }


def _executor(run: ExecutorRun) -> Json:
    if not run.command:
        return {"executor_info": run.info}
    info = {**run.info, "resources": COMMAND_EXECUTOR.to_json(allocated=run.role)}
    order = ("executor_id", "framework_id", "command", "resources", "name", "source", "labels")
    return {"executor_info": {name: info[name] for name in order if name in info}}


def _tasks(agent: AgentState) -> Json:
    found = agent.frameworks.values()
    living = [(run, task) for f in found for run in f.executors.values() for task in run.tasks.values()]
    queued = [(run, task) for f in found for run in f.executors.values() for task in run.queued.values()]
    ended = [(run, task) for f in found for run in f.executors.values() for task in run.ended]
    completed = [(run, task) for f in found for run in f.completed for task in run.ended]
    return {
        "pending_tasks": [],
        "queued_tasks": [_task(agent, *one) for one in queued],
        "launched_tasks": [_task(agent, *one) for one in living if one[1].state not in TERMINAL],
        "terminated_tasks": [_task(agent, *one) for one in ended],
        "completed_tasks": [_task(agent, *one) for one in completed],
    }


def _task(agent: AgentState, run: ExecutorRun, task: TaskRun) -> Json:
    info = task.info
    shown: Json = {
        "name": info["name"],
        "task_id": info["task_id"],
        "framework_id": {"value": run.framework_id},
    }
    if not run.command:
        shown["executor_id"] = {"value": run.executor_id}
    shown |= {"agent_id": {"value": agent.identity.id}, "state": task.state, "resources": info["resources"]}
    if task.status is not None:
        shown["statuses"] = [{name: value for name, value in task.status.items() if name != "data"}]
        shown["status_update_state"] = task.status["state"]
        shown["status_update_uuid"] = task.status["uuid"]
    for name in ("labels", "discovery"):
        if name in info:
            shown[name] = info[name]
    return shown


def _container(run: ExecutorRun, statistics: Json) -> Json:
    numbers = statistics["statistics"]
    order = (
        *("timestamp", "cpus_user_time_secs", "cpus_system_time_secs", "cpus_soft_limit"),
        *("mem_limit_bytes", "mem_soft_limit_bytes", "mem_rss_bytes"),
    )
    return {
        "framework_id": {"value": run.framework_id},
        "executor_id": {"value": run.executor_id},
        "executor_name": run.info.get("name", ""),
        "container_id": {"value": run.container_id},
        "container_status": {"container_id": {"value": run.container_id}, "executor_pid": run.pid},
        "resource_statistics": {name: numbers[name] for name in order if name in numbers},
    }
