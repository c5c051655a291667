"""The v1 messages about agents, frameworks and tasks that operators get, in answers and in events alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.ids import VERSION, nanoseconds
from ..common.task_states import Json
from ..v1 import schema
from ..v1.capabilities import AGENT_CAPABILITIES
from .model import Agent, Executor, Framework, Task
from .state import offer_json, sum_of

if TYPE_CHECKING:
    from .state import MasterState


def agent_json(agent: Agent) -> Json:
    """Give `master.Response.GetAgents.Agent`."""
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
    return shown


def framework_head(framework: Framework) -> Json:
    """Give what every message about a framework begins with."""
    return {
        "framework_info": framework.info,
        "active": framework.connected,
        "connected": framework.connected,
        "recovered": framework.recovered,
        "registered_time": nanoseconds(framework.registered),
        "reregistered_time": nanoseconds(framework.reregistered),
    }


def framework_event(framework: Framework) -> Json:
    """Give the framework of FRAMEWORK_ADDED and FRAMEWORK_UPDATED."""
    unregistered = nanoseconds(framework.unregistered)
    return {"framework": {**framework_head(framework), "unregistered_time": unregistered}}


def framework_json(master: MasterState, framework: Framework) -> Json:
    """Give `master.Response.GetFrameworks.Framework`."""
    shown = framework_head(framework)
    if framework.unregistered:
        shown["unregistered_time"] = nanoseconds(framework.unregistered)
    role = framework.roles[0] if framework.roles else "*"
    offers = framework.offers.values()
    if offers:
        shown["offers"] = [offer_json(one, master.agents[one.agent_id], refined=True) for one in offers]
    used = master.used_by(framework)
    if used:
        shown["allocated_resources"] = used.to_json("*", allocated=role)
    if offers:
        offered = sum_of(offer.resources for offer in offers)
        shown["offered_resources"] = offered.to_json("*", allocated=role)
    return {**shown, "offer_constraints": {}}


def executor_json(framework_id: str, executor: Executor) -> Json:
    """Give a custom executor's ExecutorInfo as the master has it: of a framework, its resources allocated."""
    allocated = {"allocation_info": {"role": executor.role}}
    resources = [{**one, **allocated} for one in executor.info.get("resources", [])]
    whole = {**executor.info, "framework_id": {"value": framework_id}}
    return schema.in_order("ExecutorInfo", {**whole, "resources": resources} if resources else whole)


def task_json(task: Task) -> Json:
    """Give a v1 Task."""
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
