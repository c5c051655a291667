"""The v1 operator API of the master: POST /api/v1."""

from __future__ import annotations

from collections.abc import Callable

from t2notebook.localmesos import calls, http1
from t2notebook.localmesos.agent_views import AGENT_CAPABILITIES, BUILD, v1_json, validate_call
from t2notebook.localmesos.master_state import VERSION, MasterState, nanoseconds, offer_json, sum_of
from t2notebook.localmesos.records import Framework, Json, Task

Teardown = Callable[[str], bool]


class OperatorApi:
    """Answers operators' calls; the one change is a teardown, which the caller does."""

    def __init__(
        self,
        master: MasterState,
        flags: Callable[[], dict[str, str]],
        metrics: Callable[[], dict[str, float]],
    ) -> None:
        self._master = master
        self._flags = flags
        self._metrics = metrics

    def handle(self, request: http1.Request, teardown: Teardown) -> http1.Response:
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
                "registered_time": nanoseconds(agent.registered),
            }
            if agent.reregistered is not None:
                shown["reregistered_time"] = nanoseconds(agent.reregistered)
            shown["total_resources"] = [{**item, "role": "*"} for item in agent.info["resources"]]
            allocated = agent.allocated()
            if allocated:
                shown["allocated_resources"] = allocated.to_json("*", allocated="*")
            if agent.offers:
                offered = sum_of(offer.resources for offer in agent.offers.values())
                shown["offered_resources"] = offered.to_json("*", allocated="*")
            shown["capabilities"] = [{"type": name} for name in AGENT_CAPABILITIES]
            agents.append(shown)
        return {"agents": agents, "recovered_agents": []}

    def _v1_frameworks(self) -> Json:
        shown = {"frameworks": [self._v1_framework(one) for one in self._master.frameworks.values()]}
        shown["completed_frameworks"] = [self._v1_framework(one) for one in self._master.completed]
        return shown

    def _v1_framework(self, framework: Framework) -> Json:
        shown: Json = {
            "framework_info": framework.info,
            "active": framework.connected,
            "connected": framework.connected,
            "recovered": False,
            "registered_time": nanoseconds(framework.registered),
            "reregistered_time": nanoseconds(framework.reregistered),
        }
        if framework.unregistered:
            shown["unregistered_time"] = nanoseconds(framework.unregistered)
        if framework.offers:
            agents = self._master.agents
            offers = framework.offers.values()
            shown["offers"] = [offer_json(offer, agents[offer.agent_id], refined=True) for offer in offers]
        used = self._master.used_by(framework)
        if used:
            shown["allocated_resources"] = used.to_json("*", allocated=_role(framework))
        if framework.offers:
            offered = sum_of(offer.resources for offer in framework.offers.values())
            shown["offered_resources"] = offered.to_json("*", allocated=_role(framework))
        return {**shown, "offer_constraints": {}}

    def _v1_tasks(self) -> Json:
        alive, unreachable, done = self._master.all_tasks()
        return {
            "tasks": [_v1_task(task) for task in alive],
            "unreachable_tasks": [_v1_task(task) for task in unreachable],
            "completed_tasks": [_v1_task(task) for task in done],
        }

    def _v1_executors(self) -> Json:
        return {
            "executors": [
                {"executor_info": executor.info, "agent_id": {"value": agent.id}}
                for agent in self._master.agents.values()
                for executor in agent.executors.values()
            ],
        }


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


def _role(framework: Framework) -> str:
    return framework.roles[0] if framework.roles else "*"
