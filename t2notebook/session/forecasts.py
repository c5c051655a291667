"""Answers to "how many workers of this kind fit": from what the master says of its agents, at most a second old."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..model.job import ComputeResource, Placement
from ..scheduler.placement.cluster_inventory import AgentReport, Cluster
from ..scheduler.placement.forecast import Forecast, attributes_of_cluster, forecast
from ..scheduler.placement.requests import ResourceRequest, RunningExecutor
from .framework import Framework

#: Seconds for which what the master said is taken to hold, for whoever asks.
FRESH = 0.9
#: Agents that are told one by one, those with planned workers first.
SHOWN = 400
_RESOURCES = ("cpus", "mem", "disk", "gpus")


class Unknown(Exception):
    """The master does not say what it has; why."""


class Forecasts:
    """Asks the master of a framework, and packs workers into what it has.

    Parameters
    ----------
    framework : Framework
        The session's own.
    gpus : bool
        Whether it has the capability GPU_RESOURCES.
    """

    def __init__(self, framework: Framework, gpus: bool) -> None:
        self._framework, self._gpus = framework, gpus
        self._cluster: Cluster | None = None
        self._asked = 0.0
        self._lock = asyncio.Lock()

    async def of(self, workers: int, resource: ComputeResource, placement: Placement) -> dict[str, Any]:
        """Return how many workers fit, where they would be, and what there is to choose from; a JSON-ready record.

        Parameters
        ----------
        workers : int
            Those that are asked for.
        resource : ComputeResource
            Of each of them.
        placement : Placement

        Raises
        ------
        Unknown
        """
        cluster = await self._current()
        runner = self._framework.runner
        executors = runner.executors() if runner is not None else []
        request = ResourceRequest("", range(workers), resource, placement, number_of_workers=workers)
        # A large cluster takes a while: beside the loop, on which workers' answers wait.
        return await asyncio.to_thread(_record, cluster, request, executors, self._gpus)

    async def _current(self) -> Cluster:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._cluster is None or now - self._asked > FRESH:
                self._cluster = None
                runner = self._framework.runner
                if runner is None or self._framework.driver is None:
                    raise Unknown(self._framework.trouble or "no master has been found yet")
                self._cluster = await runner.cluster()
                if self._cluster is None:
                    raise Unknown(self._framework.trouble or "the master does not say what its agents have")
                # As old as the answer is, not as the question.
                self._asked = asyncio.get_running_loop().time()
            return self._cluster


def request_of(record: Mapping[str, Any]) -> tuple[int, ComputeResource, Placement]:
    """Read a question.

    Raises
    ------
    SubmitError
        When a figure cannot be.
    """
    resource = ComputeResource(
        cpu=record["cpu"],
        ram_mega_bytes=record["ram_mega_bytes"],
        disk_giga_bytes=record.get("disk_giga_bytes", 0.0),
        instances=record["workers"],
        workers_per_executor=record.get("workers_per_executor", "max"),
        gpus=record.get("gpus", 0),
        ports=record.get("ports", 0),
    )
    placement = Placement(nodes=tuple(record.get("nodes", ())), where=record.get("where", ""))
    return resource.instances, resource, placement


def _record(
    cluster: Cluster, request: ResourceRequest, executors: list[RunningExecutor], gpus: bool
) -> dict[str, Any]:
    found = forecast(cluster, request, executors, gpus=gpus)
    agents = [_agent(one, found) for one in cluster.open(gpus=gpus)]
    total = {name: sum(one["total"][name] for one in agents) for name in _RESOURCES}
    used = {name: sum(one["used"][name] for one in agents) for name in _RESOURCES}
    shown = sorted(agents, key=lambda one: not (one["planned"] or one["waiting"]))[:SHOWN]
    return {
        "now": {"workers": found.now.workers, "agents": found.now.agents},
        "later": {"workers": found.later.workers, "agents": found.later.agents},
        "quota": found.quota,
        "largest": {name: found.largest[name] / 1000 for name in _RESOURCES},
        "agents": sorted(shown, key=lambda one: (one["host"], one["agent"])),
        "number_of_agents": len(agents),
        "absent": len(cluster.absent) + cluster.unreachable,
        "kept": len(cluster.kept(gpus=gpus)),
        "total": total,
        "used": used,
        "hosts": sorted({one["host"] for one in agents})[:SHOWN],
        "attributes": {
            name: values[:SHOWN] for name, values in attributes_of_cluster(cluster, gpus=gpus).items()
        },
    }


def _agent(report: AgentReport, found: Forecast) -> dict[str, Any]:
    agent = report.total.agent
    return {
        "agent": agent,
        "host": report.host,
        "total": {name: report.total.free.get(name, 0) / 1000 for name in _RESOURCES},
        "used": {name: report.used.get(name, 0) / 1000 for name in _RESOURCES},
        "planned": found.planned.get(agent, 0),
        "waiting": found.waiting.get(agent, 0),
    }
