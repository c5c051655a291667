"""What a master tells about itself and its cluster: /state and its kin, the v1 operator API, a small page."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from t2notebook.localmesos import calls, http1
from t2notebook.localmesos.agent_views import AGENT_CAPABILITIES, BUILD, old_json, v1_json, validate_call, version
from t2notebook.localmesos.master import MASTER_CAPABILITIES, VERSION, Master, offer_json
from t2notebook.localmesos.records import TERMINAL, Agent, Framework, Json, Task
from t2notebook.localmesos.resources import Resources

Teardown = Callable[[str], bool]


class MasterViews:
    """Answers questions; the one change is an operator's teardown, which the caller does."""

    def __init__(self, master: Master, work_dir: str) -> None:
        self._master = master
        self._work_dir = work_dir

    def handle(self, request: http1.Request, path: str, teardown: Teardown) -> http1.Response:
        """Answer one request."""
        if path == "/api/v1" or path.startswith("/api/v1/"):
            return self._v1(request, teardown)
        if path == "/":
            return http1.Response(200, self._page().encode(), [("Content-Type", "text/html; charset=utf-8")])
        if path == "/health":
            return http1.Response(200)
        if path == "/redirect":
            where = f"//{self._master.ip}:{self._master.port}"
            return http1.Response(307, headers=[("Location", where)])
        if path == "/teardown":
            return self._old_teardown(request, teardown)
        # /version is libprocess's own and not under /master.
        if path == "/version" and not request.path.startswith("/master"):
            return old_json(version(), request)
        if path == "/metrics/snapshot":
            return old_json(self._metrics(), request)
        views: dict[str, Callable[[http1.Request], Json]] = {
            "/state": self._state,
            "/slaves": self._slaves,
            "/frameworks": self._frameworks,
            "/tasks": self._tasks,
            "/flags": lambda _: {"flags": self._flags()},
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

    # v1

    def _v1(self, request: http1.Request, teardown: Teardown) -> http1.Response:
        call = calls.read(request, "master.Call", "master::Call", validate_call("master"))
        calls.check_accept(request)
        kind = call["type"]
        if kind == "GET_HEALTH":
            return v1_json(kind, {"healthy": True})
        if kind == "GET_VERSION":
            return v1_json(kind, {"version_info": {"version": VERSION, **BUILD}})
        if kind == "GET_FLAGS":
            return v1_json(kind, {"flags": [{"name": k, "value": v} for k, v in self._flags().items()]})
        if kind == "GET_METRICS":
            return v1_json(kind, {"metrics": [{"name": k, "value": v} for k, v in self._metrics().items()]})
        if kind == "GET_MASTER":
            started = self._master.started
            info = {"master_info": self._master.info, "start_time": started, "elected_time": started}
            return v1_json(kind, info)
        if kind == "GET_AGENTS":
            return v1_json(kind, self._v1_agents())
        if kind == "GET_FRAMEWORKS":
            return v1_json(kind, self._v1_frameworks())
        if kind == "GET_TASKS":
            return v1_json(kind, self._v1_tasks())
        if kind == "GET_EXECUTORS":
            return v1_json(kind, self._v1_executors())
        if kind == "GET_STATE":
            parts = {
                "get_tasks": self._v1_tasks(),
                "get_executors": self._v1_executors(),
                "get_frameworks": self._v1_frameworks(),
                "get_agents": self._v1_agents(),
            }
            return v1_json(kind, parts)
        if kind in ("LIST_FILES", "READ_FILE"):
            return http1.text(404, "")
        if kind == "TEARDOWN":
            if not teardown(call["teardown"]["framework_id"]["value"]):
                return http1.text(400, "No framework found with specified ID")
            return http1.Response(202)
        return http1.text(501, "501 Not Implemented.")

    def _v1_agents(self) -> Json:
        agents = []
        for agent in self._master.agents.values():
            if not agent.reachable:
                continue
            shown: Json = {
                "agent_info": agent.info,
                "active": agent.link is not None,
                "deactivated": False,
                "version": VERSION,
                "pid": agent.pid,
                "registered_time": _nanoseconds(agent.registered),
            }
            if agent.reregistered is not None:
                shown["reregistered_time"] = _nanoseconds(agent.reregistered)
            shown["total_resources"] = [{**item, "role": "*"} for item in agent.info["resources"]]
            allocated = agent.allocated()
            if allocated:
                shown["allocated_resources"] = allocated.to_json("*", allocated="*")
            if agent.offers:
                offered = _sum(offer.resources for offer in agent.offers.values())
                shown["offered_resources"] = offered.to_json("*", allocated="*")
            shown["capabilities"] = [{"type": name} for name in AGENT_CAPABILITIES]
            agents.append(shown)
        return {"agents": agents, "recovered_agents": []}

    def _v1_frameworks(self) -> Json:
        shown = {"frameworks": [self._v1_framework(one) for one in self._master.frameworks.values()]}
        shown["completed_frameworks"] = [self._v1_framework(one) for one in self._master.completed]
        return {**shown, "recovered_frameworks": []}

    def _v1_framework(self, framework: Framework) -> Json:
        shown: Json = {
            "framework_info": framework.info,
            "active": framework.connected,
            "connected": framework.connected,
            "recovered": False,
            "registered_time": _nanoseconds(framework.registered),
            "reregistered_time": _nanoseconds(framework.reregistered),
        }
        if framework.unregistered:
            shown["unregistered_time"] = _nanoseconds(framework.unregistered)
        if framework.offers:
            agents = self._master.agents
            offers = framework.offers.values()
            shown["offers"] = [offer_json(offer, agents[offer.agent_id], refined=True) for offer in offers]
        used = self._used(framework)
        if used:
            shown["allocated_resources"] = used.to_json("*", allocated=_role(framework))
        if framework.offers:
            offered = _sum(offer.resources for offer in framework.offers.values())
            shown["offered_resources"] = offered.to_json("*", allocated=_role(framework))
        return shown

    def _v1_tasks(self) -> Json:
        alive, unreachable, done = self._all_tasks()
        return {
            "tasks": [_v1_task(task) for task in alive],
            "unreachable_tasks": [_v1_task(task) for task in unreachable],
            "completed_tasks": [_v1_task(task) for task in done],
            "orphan_tasks": [],
        }

    def _v1_executors(self) -> Json:
        return {
            "executors": [
                {"executor_info": executor.info, "agent_id": {"value": agent.id}}
                for agent in self._master.agents.values()
                for executor in agent.executors.values()
            ],
            "orphan_executors": [],
        }

    def _all_tasks(self) -> tuple[list[Task], list[Task], list[Task]]:
        living = list(self._master.frameworks.values())
        alive = [task for framework in living for task in framework.tasks.values()]
        unreachable = [task for framework in living for task in framework.unreachable.values()]
        done = [task for framework in (*living, *self._master.completed) for task in framework.completed]
        return alive, unreachable, done

    # Old endpoints

    def _state(self, _: http1.Request) -> Json:
        master, agents = self._master, self._master.agents.values()
        pid = f"master@{master.ip}:{master.port}"
        return {
            "version": VERSION,
            **BUILD,
            "start_time": master.started,
            "elected_time": master.started,
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
            "recovered_slaves": [],
            "frameworks": [self._framework(one) for one in master.frameworks.values()],
            "completed_frameworks": [self._framework(one) for one in master.completed],
            "orphan_tasks": [],
            "unregistered_frameworks": [],
        }

    def _slaves(self, request: http1.Request) -> Json:
        wanted = request.query.get("slave_id")
        agents = [a for a in self._master.agents.values() if a.reachable and wanted in (None, a.id)]
        return {"slaves": [_slave_full(agent) for agent in agents], "recovered_slaves": []}

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
        tasks = [task for group in self._all_tasks() for task in group]
        for name, attribute in (("task_id", "id"), ("framework_id", "framework_id")):
            if name in query:
                tasks = [task for task in tasks if getattr(task, attribute) == query[name]]
        if query.get("order") != "asc":
            # Newest first, as Mesos does when it is not asked otherwise.
            tasks.sort(key=lambda task: task.statuses[0]["timestamp"] if task.statuses else 0.0, reverse=True)
        offset, limit = _int(query.get("offset"), 0), _int(query.get("limit"), 100)
        return {"tasks": [_task(task) for task in tasks[offset : offset + limit]]}

    def _used(self, framework: Framework) -> Resources:
        used = _sum(task.resources for task in framework.tasks.values() if task.state not in TERMINAL)
        for agent in self._master.agents.values():
            for (framework_id, _), executor in agent.executors.items():
                if framework_id == framework.id:
                    used = used + executor.resources
        return used

    def _framework(self, framework: Framework) -> Json:
        info, used = framework.info, self._used(framework)
        offered = _sum(offer.resources for offer in framework.offers.values())
        executors = [
            {
                "executor_id": executor_id,
                "name": executor.info.get("name", ""),
                "framework_id": framework.id,
                "source": executor.info.get("source", ""),
                "resources": executor.resources.summary(),
                "role": executor.role,
                "slave_id": agent.id,
            }
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
            "recovered": False,
            "user": info["user"],
            "failover_timeout": info.get("failover_timeout", 0.0),
            "checkpoint": info.get("checkpoint", False),
            "registered_time": framework.registered,
            "unregistered_time": framework.unregistered,
            "resources": (used + offered).summary(),
            "roles": framework.roles,
            "tasks": [_task(task) for task in framework.tasks.values()],
            "unreachable_tasks": [_task(task) for task in framework.unreachable.values()],
            "completed_tasks": [_task(task) for task in framework.completed],
            "offers": offers,
            "executors": executors,
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

    def _metrics(self) -> dict[str, float]:
        master = self._master
        agents = [agent for agent in master.agents.values() if agent.reachable]
        total, used = _sum(a.total for a in agents), _sum(a.allocated() for a in agents)
        frameworks = master.frameworks.values()
        metrics: dict[str, float] = {
            "allocator/mesos/offer_filters/roles/*/active": float(master.allocator.filters_active()),
            "master/elected": 1.0,
            "master/uptime_secs": master.wall() - master.started,
            "master/outstanding_offers": float(len(master.offers)),
            "master/slaves_active": float(sum(a.link is not None for a in agents)),
            "master/slaves_connected": float(sum(a.link is not None for a in agents)),
            "master/slaves_disconnected": float(sum(a.link is None for a in agents)),
            "master/slaves_inactive": 0.0,
            "master/slaves_unreachable": float(len(master.agents) - len(agents)),
            "master/frameworks_active": float(sum(f.connected for f in frameworks)),
            "master/frameworks_connected": float(sum(f.connected for f in frameworks)),
            "master/frameworks_disconnected": float(sum(not f.connected for f in frameworks)),
            "master/frameworks_inactive": 0.0,
        }
        for name in ("cpus", "gpus", "mem", "disk"):
            amount = total.amount(name)
            metrics[f"master/{name}_total"] = amount
            metrics[f"master/{name}_used"] = used.amount(name)
            metrics[f"master/{name}_percent"] = used.amount(name) / amount if amount else 0.0
        tasks = [task for framework in frameworks for task in framework.tasks.values()]
        for state in ("staging", "starting", "running", "killing"):
            metrics[f"master/tasks_{state}"] = float(sum(t.state == f"TASK_{state.upper()}" for t in tasks))
        metrics["master/tasks_unreachable"] = float(sum(len(f.unreachable) for f in frameworks))
        for state in TERMINAL:
            name = state.lower().replace("task_", "tasks_")
            metrics[f"master/{name}"] = float(master.counters.get(name, 0))
        return dict(sorted(metrics.items()))

    # The page

    def _page(self) -> str:
        master = self._master
        alive, unreachable, done = self._all_tasks()
        agents = [
            (a.id, f"{a.hostname}:{a.info['port']}", _short(a.total), _short(a.allocated()), _status_of(a))
            for a in master.agents.values()
        ]
        frameworks = [
            (f.id, f.info["name"], f.info["user"], "connected" if f.connected else "waiting", str(len(f.tasks)))
            for f in master.frameworks.values()
        ]
        tasks = [
            (t.id, t.name, t.state, t.agent_id, _short(t.resources)) for t in (*alive, *unreachable, *reversed(done))
        ]
        return (
            "<!doctype html><html lang=en><meta charset=utf-8><title>Mesos (embedded)</title>"
            "<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}"
            "th,td{text-align:left;padding:.2em .8em;border-bottom:1px solid #ccc}</style>"
            f"<h1>Mesos {VERSION} (embedded)</h1><p>Master {html.escape(master.id)} "
            f"at {html.escape(master.ip)}:{master.port}, since {time.ctime(master.started)}</p>"
            + _table("Agents", ("id", "address", "has", "used", "state"), agents)
            + _table("Frameworks", ("id", "name", "user", "state", "tasks"), frameworks)
            + _table("Tasks", ("id", "name", "state", "agent", "resources"), tasks[:200])
        )


def _status_of(agent: Agent) -> str:
    if not agent.reachable:
        return "unreachable"
    return "active" if agent.link is not None else "disconnected"


def _short(resources: Resources) -> str:
    return f"{resources.amount('cpus'):g} cpus, {resources.amount('mem'):g} MiB"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}{body}</table>"


def _sum(found: Iterable[Resources]) -> Resources:
    total = Resources()
    for one in found:
        total = total + one
    return total


def _int(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() else default


def _nanoseconds(seconds: float) -> Json:
    return {"nanoseconds": int(seconds * 1e9)}


def _role(framework: Framework) -> str:
    return framework.roles[0] if framework.roles else "*"


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
            {name: status[name] for name in ("state", "timestamp", "healthy", "labels", "container_status") if name in status}
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


def _v1_task(task: Task) -> Json:
    shown: Json = {
        "name": task.name,
        "task_id": {"value": task.id},
        "framework_id": {"value": task.framework_id},
    }
    if task.executor_id:
        shown["executor_id"] = {"value": task.executor_id}
    shown |= {"agent_id": {"value": task.agent_id}, "state": task.state, "resources": task.resources_json}
    if task.statuses:
        shown["statuses"] = task.statuses
    if task.update_state is not None:
        shown["status_update_state"] = task.update_state
    if task.update_uuid is not None:
        shown["status_update_uuid"] = task.update_uuid
    if task.labels is not None:
        shown["labels"] = task.labels
    if task.discovery is not None:
        shown["discovery"] = task.discovery
    return shown


def _slave(agent: Agent) -> Json:
    offered = _sum(offer.resources for offer in agent.offers.values())
    attributes = {one["name"]: one["text"]["value"] for one in agent.info.get("attributes", [])}
    shown: Json = {
        "id": agent.id,
        "hostname": agent.hostname,
        "port": agent.info["port"],
        "attributes": attributes,
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
    offered = _sum(offer.resources for offer in agent.offers.values())
    return {
        **_slave(agent),
        "reserved_resources_full": {},
        "unreserved_resources_full": [{**item, "role": "*"} for item in agent.info["resources"]],
        "used_resources_full": agent.allocated().to_json("*", allocated="*"),
        "offered_resources_full": offered.to_json("*", allocated="*"),
    }
