"""The front page of a Mesos master as one record: agents, resources, tasks by state, newest tasks. Pure.

It has what the master's own page shows (Mesos, ``src/webui``), from the same endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: What is asked of a master, by a short name.
ENDPOINTS = {
    "metrics": "/metrics/snapshot",
    "agents": "/slaves",
    "tasks": "/tasks?limit=300&order=desc",
    "version": "/version",
}
RESOURCES = ("cpus", "gpus", "mem", "disk")
#: States of tasks as the page counts them, in its order, by the names of the master's metrics.
STATES = ("staging", "starting", "running", "unreachable", "killing", "finished", "killed", "failed", "lost")
#: Agents that are told one by one, and tasks of each kind.
MOST_AGENTS, MOST_TASKS = 400, 100
_ENDED = frozenset(
    {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED"}
    | {"TASK_GONE", "TASK_GONE_BY_OPERATOR"}
)


def read_page(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a master's page; JSON-ready.

    Parameters
    ----------
    answers : mapping
        The master's answers by the names of `ENDPOINTS`; None for what it does not tell.

    Returns
    -------
    dict
        ``version``; ``agents`` (``active``, ``inactive``, ``unreachable``); ``tasks`` by state; ``resources``, each
        with ``total``, ``allocated``, ``offered``, ``idle`` (cpus, GPUs, MiB); ``hosts``, the agents one by one;
        ``active``, ``unreachable`` and ``completed``, the newest tasks.
    """
    metrics = answers.get("metrics") or {}
    found = (answers.get("agents") or {}).get("slaves", ())
    slaves = sorted(found, key=lambda one: (one.get("hostname", ""), one["id"]))
    hosts = {one["id"]: one.get("hostname", "") for one in slaves}
    tasks = [_task(one, hosts) for one in (answers.get("tasks") or {}).get("tasks", ())]

    def count(name: str) -> int:
        return int(metrics.get(f"master/{name}", 0))

    return {
        "version": (answers.get("version") or {}).get("version", ""),
        "agents": {
            "active": count("slaves_active"),
            "inactive": count("slaves_inactive"),
            "unreachable": count("slaves_unreachable"),
        },
        "tasks": {state: count(f"tasks_{state}") for state in STATES},
        "resources": [_resource(name, slaves) for name in RESOURCES],
        "hosts": [_agent(one) for one in slaves[:MOST_AGENTS]],
        "number_of_agents": len(slaves),
        "active": _some(one for one in tasks if one["state"] not in _ENDED and not _is_away(one)),
        "unreachable": _some(filter(_is_away, tasks)),
        "completed": _some(one for one in tasks if one["state"] in _ENDED),
    }


def _is_away(task: Mapping[str, Any]) -> bool:
    return bool(task["state"] == "TASK_UNREACHABLE")


def _some(tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found = list(tasks)[:MOST_TASKS]
    return [{**one, "state": one["state"].removeprefix("TASK_")} for one in found]


def _resource(name: str, slaves: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = {
        key: sum(float(one.get(part, {}).get(name, 0)) for one in slaves if one.get("active", True))
        for key, part in (
            ("total", "resources"),
            ("allocated", "used_resources"),
            ("offered", "offered_resources"),
        )
    }
    idle = max(0.0, found["total"] - found["allocated"] - found["offered"])
    return {"name": name, **{key: round(value, 3) for key, value in {**found, "idle": idle}.items()}}


def _agent(record: Mapping[str, Any]) -> dict[str, Any]:
    def amounts(part: str) -> dict[str, float]:
        return {name: float(record.get(part, {}).get(name, 0)) for name in RESOURCES}

    return {
        "agent": record["id"],
        "host": record.get("hostname", ""),
        "total": amounts("resources"),
        "used": amounts("used_resources"),
        "planned": 0,
        "waiting": 0,
    }


def _task(record: Mapping[str, Any], hosts: Mapping[str, str]) -> dict[str, Any]:
    times = [(one.get("state"), one.get("timestamp")) for one in record.get("statuses", ())]
    started = next((time for state, time in times if state in ("TASK_STARTING", "TASK_RUNNING")), None)
    agent = record.get("slave_id", "")
    return {
        "framework": record.get("framework_id", ""),
        "task": record.get("id", ""),
        "name": record.get("name", ""),
        "role": record.get("role", ""),
        "state": record.get("state", ""),
        "started": started,
        "stopped": times[-1][1] if times and record.get("state") in _ENDED else None,
        "host": hosts.get(agent, agent),
    }
