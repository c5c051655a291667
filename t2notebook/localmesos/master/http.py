"""Views of a master and its cluster: /state and its kin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ..common import attributes
from ..common.ids import VERSION
from ..common.task_states import Json
from ..http import files, http1
from ..http import metrics as shared_metrics
from ..http.responses import BUILD, old_command, old_json, role_amounts, small_answer, version
from ..http.server import EventStream
from ..v1.capabilities import AGENT_CAPABILITIES
from . import metrics, unsupported_routes
from .model import Agent, Executor, Framework, Task
from .operator_api import OperatorApi, Subscribe, Teardown
from .state import MASTER_CAPABILITIES, MasterState, sum_of
from .webui import page


class MasterViews:
    """Answers questions; the one change is an operator's teardown, which the caller does."""

    def __init__(self, master: MasterState, work_dir: str) -> None:
        self._master = master
        self._work_dir = work_dir
        self._files = files.Files()
        self._operator = OperatorApi(master, self._flags, partial(metrics.of_master, master), self._files)

    def handle(
        self, request: http1.Request, path: str, teardown: Teardown, subscribe: Subscribe
    ) -> http1.Response | EventStream:
        """Answer one request.

        Parameters
        ----------
        path
            Without a leading `/master` and a trailing slash.
        teardown, subscribe
            Remove a framework; open an operator's stream of events.
        """
        if path == "/api/v1" or path.startswith("/api/v1/"):
            return self._operator.handle(request, teardown, subscribe)
        if path == "/":
            return page()
        if path.startswith("/files/"):
            return self._files.get(request, path)
        if path.startswith(("/logging/", "/system/")):
            return small_answer(request, path)
        if path == "/health":
            return http1.Response(200)
        if path == "/redirect":
            where = f"//{self._master.ip}:{self._master.port}"
            return http1.Response(307, headers=[("Location", where)])
        changing = unsupported_routes.answer(request, path)
        if changing is not None:
            return changing
        if path == "/teardown":
            return self._old_teardown(request, teardown)
        # /version is libprocess's own and not under /master.
        if path == "/version" and not request.path.startswith("/master"):
            return old_json(version(), request)
        if path == "/metrics/snapshot":
            fault = shared_metrics.timeout_fault(request.query.get("timeout"))
            if fault is not None:
                return http1.text(400, fault)
            return old_json(metrics.of_master(self._master), request)
        views: dict[str, Callable[[http1.Request], Any]] = {
            "/state": self._state,
            "/slaves": self._slaves,
            "/frameworks": self._frameworks,
            "/tasks": self._tasks,
            "/flags": lambda _: {"flags": self._flags()},
            "/roles": self._roles,
            "/state-summary": self._summary,
            "/weights": lambda _: [{"role": k, "weight": v} for k, v in sorted(self._master.weights.items())],
            "/quota": lambda _: {},
            "/maintenance/schedule": lambda _: {},
            "/maintenance/status": lambda _: {},
        }
        view = views.get(path)
        return http1.not_found() if view is None else old_json(view(request), request)

    def _old_teardown(self, request: http1.Request, teardown: Teardown) -> http1.Response:
        if request.method != "POST":
            return http1.method_not_allowed("POST", request.method)
        values = parse_qs(request.body.decode("latin-1")).get("frameworkId")
        if not values:
            return http1.text(400, "Missing 'frameworkId' query parameter in the request body")
        if not teardown(values[0]):
            return http1.text(400, "No framework found with specified ID")
        return http1.Response(200)

    def _state(self, _: http1.Request) -> Json:
        master, agents = self._master, self._master.agents.values()
        pid = f"master@{master.ip}:{master.port}"
        return {
            "version": VERSION,
            **BUILD,
            "start_time": master.started,
            "elected_time": master.elected or master.started,
            "id": master.id,
            "pid": pid,
            "hostname": master.ip,
            "capabilities": list(MASTER_CAPABILITIES),
            "activated_slaves": float(sum(agent.link is not None for agent in agents)),
            "deactivated_slaves": float(sum(agent.reachable and agent.link is None for agent in agents)),
            "unreachable_slaves": float(sum(not agent.reachable for agent in agents)),
            "leader": pid,
            "leader_info": {"id": master.id, "pid": pid, "port": master.port, "hostname": master.ip},
            "flags": self._flags(),
            "slaves": [_slave(agent) for agent in agents if agent.reachable],
            "recovered_slaves": self._recovered(),
            "frameworks": [self._framework(one) for one in master.frameworks.values()],
            "completed_frameworks": [self._framework(one) for one in master.completed],
            "orphan_tasks": [],
            "unregistered_frameworks": [],
        }

    def _roles(self, _: http1.Request) -> Json:
        master, roles = self._master, []
        for role in master.role_names():
            held, offered = master.allocated_to(role), master.offered_to(role)
            quota: Json = {"role": role, "guarantee": {}, "limit": {}, "consumed": role_amounts(held)}
            roles.append(
                {
                    "name": role,
                    "weight": master.weights.get(role, 1.0),
                    "quota": quota,
                    "resources": role_amounts(held + offered),
                    "allocated": role_amounts(held),
                    "offered": role_amounts(offered),
                    "reserved": {},
                    "frameworks": [framework.id for framework in master.frameworks_in(role)],
                }
            )
        return {"roles": roles}

    def _summary(self, _: http1.Request) -> Json:
        master = self._master
        groups = master.all_tasks()
        tasks = [task for group in groups for task in group]
        slaves = []
        for agent in (one for one in master.agents.values() if one.reachable):
            mine = [task for task in tasks if task.agent_id == agent.id]
            users = {"framework_ids": sorted({task.framework_id for task in mine})}
            slaves.append({**_slave(agent), **_counts(mine), **users})
        frameworks = []
        for framework in master.frameworks.values():
            full = self._framework(framework)
            own = [task for task in tasks if task.framework_id == framework.id]
            ids = {"slave_ids": sorted({task.agent_id for task in own})}
            head = {name: full[name] for name in _SUMMARY if name in full}
            frameworks.append({**head, **_counts(own), **ids})
        return {"hostname": master.ip, "slaves": slaves, "frameworks": frameworks}

    def _recovered(self) -> list[Json]:
        return [
            {
                "id": agent_id,
                "hostname": info["hostname"],
                "port": info["port"],
                "attributes": attributes.summary(info.get("attributes", [])),
            }
            for agent_id, info in self._master.recovered.items()
        ]

    def _slaves(self, request: http1.Request) -> Json:
        wanted = request.query.get("slave_id")
        agents = [a for a in self._master.agents.values() if a.reachable and wanted in (None, a.id)]
        return {"slaves": [_slave_full(agent) for agent in agents], "recovered_slaves": self._recovered()}

    def _frameworks(self, request: http1.Request) -> Json:
        wanted = request.query.get("framework_id")

        def shown(found: Iterable[Framework]) -> list[Json]:
            return [self._framework(one) for one in found if wanted in (None, one.id)]

        return {
            "frameworks": shown(self._master.frameworks.values()),
            "completed_frameworks": shown(self._master.completed),
            "unregistered_frameworks": [],
        }

    def _tasks(self, request: http1.Request) -> Json:
        query = request.query
        tasks = [task for group in self._master.all_tasks() for task in group]
        for name, attribute in (("task_id", "id"), ("framework_id", "framework_id")):
            if name in query:
                tasks = [task for task in tasks if getattr(task, attribute) == query[name]]
        if query.get("order") != "asc":
            # Newest first, as Mesos does when it is not asked otherwise.
            tasks.sort(key=lambda task: task.statuses[0]["timestamp"] if task.statuses else 0.0, reverse=True)
        offset, limit = _int(query.get("offset"), 0), _int(query.get("limit"), 100)
        return {"tasks": [_task(task) for task in tasks[offset : offset + limit]]}

    def _framework(self, framework: Framework) -> Json:
        info, used = framework.info, self._master.used_by(framework)
        again = {"reregistered_time": framework.reregistered}
        offered = sum_of(offer.resources for offer in framework.offers.values())
        executors = [
            _executor(framework, executor_id, executor, agent)
            for agent in self._master.agents.values()
            for (framework_id, executor_id), executor in agent.executors.items()
            if framework_id == framework.id
        ]
        offers = [
            {
                "id": offer.id,
                "framework_id": offer.framework_id,
                "allocation_info": {"role": offer.role},
                "slave_id": offer.agent_id,
                "resources": offer.resources.summary(),
            }
            for offer in framework.offers.values()
        ]
        return {
            "id": framework.id,
            "name": info["name"],
            "used_resources": used.summary(),
            "offered_resources": offered.summary(),
            "capabilities": [one["type"] for one in info.get("capabilities", []) if "type" in one],
            "hostname": info.get("hostname", ""),
            "webui_url": info.get("webui_url", ""),
            "active": framework.connected,
            "connected": framework.connected,
            "recovered": framework.recovered,
            "user": info["user"],
            "failover_timeout": info.get("failover_timeout", 0.0),
            "checkpoint": info.get("checkpoint", False),
            "registered_time": framework.registered,
            "unregistered_time": framework.unregistered,
            "resources": (used + offered).summary(),
            **(again if framework.reregistered != framework.registered else {}),
            **({"roles": framework.roles} if framework.can("MULTI_ROLE") else {"role": framework.roles[0]}),
            "tasks": [_task(task) for task in framework.tasks.values()],
            "unreachable_tasks": [_task(task) for task in framework.unreachable.values()],
            "completed_tasks": [_task(task) for task in framework.completed],
            "offers": offers,
            "executors": executors,
            **(info.get("labels") or {}),
            "offer_constraints": {},
        }

    def _flags(self) -> dict[str, str]:
        master = self._master
        return {
            "agent_ping_timeout": f"{master.agent_timeout:g}secs",
            "allocation_interval": "1secs",
            "allocator": "hierarchical",
            "authenticate_http_frameworks": "false",
            "filter_gpu_resources": "true",
            "framework_sorter": "drf",
            "hostname": master.ip,
            "ip": master.ip,
            "max_agent_ping_timeouts": "1",
            "max_completed_frameworks": "50",
            "max_completed_tasks_per_framework": "1000",
            "min_allocatable_resources": "cpus:0.01|mem:32",
            "port": str(master.port),
            "role_sorter": "drf",
            "root_submissions": "true",
            "work_dir": self._work_dir,
        }


_SUMMARY = (
    *("id", "name", "used_resources", "offered_resources", "capabilities", "hostname", "webui_url"),
    *("active", "connected", "recovered"),
)
_STATES = "STAGING STARTING RUNNING KILLING FINISHED KILLED FAILED LOST ERROR UNREACHABLE"


def _counts(tasks: Iterable[Task]) -> dict[str, int]:
    states = [task.state for task in tasks]
    return {f"TASK_{state}": states.count(f"TASK_{state}") for state in _STATES.split()}


def _executor(framework: Framework, executor_id: str, executor: Executor, agent: Agent) -> Json:
    """Show a custom executor as `common/http.cpp` does."""
    info = executor.info
    return {
        "executor_id": executor_id,
        "name": info.get("name", ""),
        "framework_id": framework.id,
        "command": old_command(info.get("command", {})),
        "resources": executor.resources.summary(),
        **({"role": executor.role} if executor.resources else {}),
        **(info.get("labels") or {}),
        **({"type": info["type"]} if "type" in info else {}),
        "slave_id": agent.id,
    }


def _int(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() else default


def _task(task: Task) -> Json:
    shown: Json = {
        "id": task.id,
        "name": task.name,
        "framework_id": task.framework_id,
        "executor_id": task.executor_id,
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": task.resources.summary(),
        "role": task.role,
        "statuses": [
            {
                name: status[name]
                for name in ("state", "timestamp", "healthy", "labels", "container_status")
                if name in status
            }
            for status in task.statuses
        ],
    }
    for status in shown["statuses"]:
        if "container_status" in status:
            kept = ("container_id", "network_infos")
            status["container_status"] = {k: v for k, v in status["container_status"].items() if k in kept}
    if task.labels is not None:
        shown["labels"] = task.labels.get("labels", [])
    if task.discovery is not None:
        shown["discovery"] = task.discovery
    return shown


def _slave(agent: Agent) -> Json:
    offered = sum_of(offer.resources for offer in agent.offers.values())
    shown: Json = {
        "id": agent.id,
        "hostname": agent.hostname,
        "port": agent.info["port"],
        "attributes": attributes.summary(agent.info.get("attributes", [])),
        "pid": agent.pid,
        "registered_time": agent.registered,
    }
    if agent.reregistered is not None:
        shown["reregistered_time"] = agent.reregistered
    return {
        **shown,
        "resources": agent.total.summary(),
        "used_resources": agent.allocated().summary(),
        "offered_resources": offered.summary(),
        "reserved_resources": {},
        "unreserved_resources": agent.total.summary(),
        "active": agent.link is not None,
        "deactivated": False,
        "version": VERSION,
        "capabilities": list(AGENT_CAPABILITIES),
    }


def _slave_full(agent: Agent) -> Json:
    offered = sum_of(offer.resources for offer in agent.offers.values())
    return {
        **_slave(agent),
        "reserved_resources_full": {},
        "unreserved_resources_full": [{**item, "role": "*"} for item in agent.info["resources"]],
        "used_resources_full": agent.allocated().to_json("*", allocated="*"),
        "offered_resources_full": offered.to_json("*", allocated="*"),
    }
