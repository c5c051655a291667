"""Validation of calls, FrameworkInfo, offers and tasks. Pure; every text is Mesos's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..checks import checker
from ..common import resources as res
from ..common.resources import Resources
from ..common.task_states import Json, can
from ..v1 import text_format
from ..v1.executor_calls import _BOTH, is_uuid
from . import container_validation
from .model import Agent, Framework, Offer

_PAYLOADS = {
    "SUBSCRIBE": "subscribe",
    "ACCEPT": "accept",
    "DECLINE": "decline",
    "ACCEPT_INVERSE_OFFERS": "accept_inverse_offers",
    "DECLINE_INVERSE_OFFERS": "decline_inverse_offers",
    "KILL": "kill",
    "SHUTDOWN": "shutdown",
    "ACKNOWLEDGE": "acknowledge",
    "RECONCILE": "reconcile",
    "MESSAGE": "message",
    "REQUEST": "request",
    "UPDATE_FRAMEWORK": "update_framework",
}


_RULE = "-" * 60


def scheduler_call(call: Json) -> str | None:
    """Check a scheduler's call; give what is wrong with it."""
    kind = call.get("type")
    if kind is None:
        return "Expecting 'type' to be present"
    if kind == "SUBSCRIBE":
        if "subscribe" not in call:
            return "Expecting 'subscribe' to be present"
        inner = call["subscribe"]["framework_info"].get("id", {}).get("value", "")
        if inner != call.get("framework_id", {}).get("value", ""):
            return "'framework_id' differs from 'subscribe.framework_info.id'"
        return None
    if "framework_id" not in call:
        return "Expecting 'framework_id' to be present"
    payload = _PAYLOADS.get(kind)
    if payload is not None and payload not in call:
        return f"Expecting '{payload}' to be present"
    if kind == "ACKNOWLEDGE" and not is_uuid(call["acknowledge"]["uuid"]):
        return "Not a valid UUID"
    if kind == "UPDATE_FRAMEWORK":
        inner = call["update_framework"]["framework_info"].get("id", {}).get("value", "")
        if inner != call["framework_id"]["value"]:
            return "'framework_id' differs from 'update_framework.framework_info.id'"
    return None


def role(name: str) -> str | None:
    """Check a role's name; give what is wrong with it."""
    if name == "*":
        return None
    if not name:
        return "Empty role name is invalid"
    if name.startswith("/"):
        return f"Role '{name}' cannot start with a slash"
    if name.endswith("/"):
        return f"Role '{name}' cannot end with a slash"
    for part in name.split("/"):
        if not part:
            return f"Role '{name}' cannot contain two adjacent slashes"
        if part in (".", "..", "*"):
            return f"Role '{name}' cannot include '{part}' as a component"
        if part.startswith("-"):
            return f"Role component '{part}' is invalid because it starts with a dash"
        if any(ch.isspace() or ch == "\x08" for ch in part):
            return f"Role component '{part}' is invalid because it contains backspace or whitespace"
    return None


def framework_info(info: Json, suppressed: Sequence[str]) -> str | None:
    """Check what a framework subscribes with; a fault is told as an ERROR event, not as a status code."""
    if can(info, "MULTI_ROLE"):
        if "role" in info:
            return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
        roles = info.get("roles", [])
        twice = sorted({name for name in roles if roles.count(name) > 1})
        if twice:
            return f"'FrameworkInfo.roles' contains duplicate items: {{ {', '.join(twice)} }}"
        for name in roles:
            fault = role(name)
            if fault is not None:
                return f"'FrameworkInfo.roles' contains invalid role: {fault}"
    else:
        if info.get("roles"):
            return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
        fault = role(info.get("role", "*"))
        if fault is not None:
            return f"'FrameworkInfo.role' is not a valid role: {fault}"
    if "id" in info:
        fault = identifier(info["id"]["value"])
        if fault is not None:
            return fault
    known = info.get("roles", []) if can(info, "MULTI_ROLE") else [info.get("role", "*")]
    unknown = sorted(set(suppressed) - set(known))
    if unknown:
        return f"Suppressed roles {{ {', '.join(unknown)} }} are not contained in the set of roles"
    return None


def framework_update(old: Json, new: Json) -> str | None:
    """Check what UPDATE_FRAMEWORK may not change."""
    for name in ("user", "checkpoint", "principal"):
        before, after = old.get(name, ""), new.get(name, "")
        if before != after:
            shown = [str(value).lower() if isinstance(value, bool) else value for value in (before, after)]
            return (
                f"Updating 'FrameworkInfo.{name}' is unsupported; "
                f"attempted to update from '{shown[0]}' to '{shown[1]}'"
            )
    return None


def identifier(value: str) -> str | None:
    """Check an id that becomes a directory's name."""
    if not value:
        return "ID must not be empty"
    if len(value) > 255:
        return "ID must not be greater than 255 characters"
    if value in (".", ".."):
        return f"'{value}' is disallowed"
    if any(ord(ch) < 32 or ord(ch) == 127 or ch in "/\\" for ch in value):
        return f"'{value}' contains invalid characters"
    return None


def offers(ids: Sequence[str], known: Mapping[str, Offer], framework: Framework) -> str | None:
    """Check the offers of an ACCEPT.

    Parameters
    ----------
    ids
        Of the call.
    known
        All outstanding offers.

    Returns
    -------
    str or None
        Mesos's text if they are not valid.
    """
    seen: set[str] = set()
    for offer_id in ids:
        if offer_id in seen:
            return f"Duplicate offer {offer_id} in offer list"
        seen.add(offer_id)
    first: Offer | None = None
    for offer_id in ids:
        offer = known.get(offer_id)
        if offer is None:
            return f"Offer {offer_id} is no longer valid"
        if offer.framework_id != framework.id:
            return (
                f"Offer {offer_id} has invalid framework {offer.framework_id} "
                f"while framework {framework.id} is expected"
            )
        if first is None:
            first = offer
        elif offer.role != first.role:
            return f"Aggregated offers must be allocated to the same role. Offer {offer_id} uses role '{offer.role}'"
        elif offer.agent_id != first.agent_id:
            return (
                "Aggregated offers must belong to one single agent. "
                f"Offer {offer_id} uses agent {offer.agent_id} and agent {first.agent_id}"
            )
    return None


def task(
    info: Json,
    framework: Framework,
    agent: Agent,
    offered: Resources,
    allocated_role: str,
    *,
    group: bool = False,
) -> str | None:
    """Check a TaskInfo against the offer it is launched on; give the text of its TASK_ERROR.

    Parameters
    ----------
    offered
        What is left of the offers when this task's turn comes.
    """
    task_id = info["task_id"]["value"]
    fault = identifier(task_id)
    if fault is not None:
        return fault
    if task_id in framework.tasks:
        return f"Task has duplicate ID: {task_id}"
    if info["agent_id"]["value"] != agent.id:
        return f"Task uses invalid agent {info['agent_id']['value']} while agent {agent.id} is expected"
    grace = info.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds", 0)
    if grace < 0:
        return "Task's 'kill_policy.grace_period' must be non-negative"
    if info.get("max_completion_time", {}).get("nanoseconds", 0) < 0:
        return "Task's 'max_completion_time' must be non-negative"
    if ("executor" in info) == ("command" in info):
        return _BOTH
    fault = _extras(info) or container_validation.limits(info, group=group)
    if fault is not None:
        return fault
    for whose, command in (
        ("Task", info.get("command")),
        ("Executor", info.get("executor", {}).get("command")),
    ):
        fault = None if command is None else _command(command)
        if fault is not None:
            return f"{whose}'s `CommandInfo` is invalid: {fault}"
    items = info.get("resources", [])
    try:
        res.check(items)
        wanted = Resources.from_json(items)
        if "executor" in info:
            fault = _executor(info["executor"], framework, agent)
            if fault is not None:
                return fault
    except res.ResourceError as error:
        return str(error)
    if not wanted:
        return "Task uses no resources"
    total, shown = wanted, list(items)
    if "executor" in info:
        key = (framework.id, info["executor"]["executor_id"]["value"])
        if key not in agent.executors:
            shown += info["executor"].get("resources", [])
            total = total + Resources.from_json(info["executor"].get("resources", []))
    if not offered.contains(total):
        text = res.text_of(items, allocated_role) if shown == items else total.text(allocated_role)
        return (
            f"Total resources {text} required by task and its executor "
            f"is more than available {offered.text(allocated_role)}"
        )
    return None


def _extras(info: Json) -> str | None:
    fault = container_validation.container(info.get("container"))
    if fault is not None:
        return f"Task's `ContainerInfo` is invalid: {fault}"
    for name, what in (("health_check", "health check"), ("check", "check")):
        if name in info:
            fault = checker.fault(info[name], health=name == "health_check")
            if fault is not None:
                return f"Task uses invalid {what}: {fault}"
    return None


def task_group(
    infos: Sequence[Json], executor: Json, framework: Framework, agent: Agent, offered: Resources, role: str
) -> str | None:
    """Check a LAUNCH_GROUP; give the text of its tasks' TASK_ERROR (one for all: a group starts whole or not).

    Parameters
    ----------
    infos, executor
        The TaskInfos and the ExecutorInfo.
    offered
        The offers' resources that are not used yet.
    role
        The offers'.

    Returns
    -------
    str or None
        Mesos's text if it is not valid.
    """
    if not infos:
        return "Task group cannot be empty"
    executor_id = executor["executor_id"]["value"]
    seen: set[str] = set()
    total = Resources()
    for info in infos:
        task_id = info["task_id"]["value"]
        if task_id in seen:
            return f"Task group includes duplicate task ID: {task_id}"
        seen.add(task_id)
        if "executor" in info:
            return f"Task '{task_id}' is invalid: 'TaskInfo.executor' must not be set"
        # The rules of a lone task, save that a group's tasks are weighed against the offer together.
        held = Resources.from_json(info.get("resources", []))
        fault = task({**info, "command": info.get("command", {})}, framework, agent, held, role, group=True)
        if fault is None and info.get("container", {}).get("type") == "DOCKER":
            fault = "Docker ContainerInfo is not supported on the task"
        if fault is not None:
            return f"Task '{task_id}' is invalid: {fault}"
        total = total + held
    fault = _executor(executor, framework, agent, group=True)
    if fault is not None:
        return fault
    if (framework.id, executor_id) not in agent.executors:
        own = Resources.from_json(executor.get("resources", []))
        for name, text, least in (("cpus", "CPUs", 0.01), ("mem", "memory", 32.0)):
            if own.amount(name) < least:
                shown = f"{own.amount(name):g}" if name in own.scalars else "None"
                unit = "MB" if name == "mem" else ""
                return (
                    f"Executor '{executor_id}' uses less {text} ({shown}{unit}) "
                    f"than the minimum required ({least:g}{unit})"
                )
        if not own.amount("disk"):
            return f"Executor '{executor_id}' uses no disk"
        total = total + own
    if not offered.contains(total):
        return (
            f"Total resources {total.text(role)} required by task group and its executor "
            f"is more than available {offered.text(role)}"
        )
    return None


def _command(command: Json) -> str | None:
    fault = container_validation.environment(command)
    if fault is not None:
        return fault
    for text in (command.get("value", ""), *command.get("arguments", [])):
        if "\0" in text:
            return "'CommandInfo' contains a NUL character"
    return None


def _as_given(info: Json) -> Json:
    """Leave out what the master fills in itself: the framework, and the role that resources are allocated to."""
    bare = {name: value for name, value in info.items() if name != "framework_id"}
    if "resources" in bare:
        bare["resources"] = [
            {name: value for name, value in item.items() if name != "allocation_info"}
            for item in bare["resources"]
        ]
    return bare


def _executor(info: Json, framework: Framework, agent: Agent, *, group: bool = False) -> str | None:
    executor_id = info["executor_id"]["value"]
    fault = identifier(executor_id)
    if fault is not None:
        return fault
    kind = info.get("type", "CUSTOM")
    if kind == "DEFAULT" and not group:
        return "'ExecutorInfo.type' must be 'CUSTOM'"
    if kind == "DEFAULT" and "command" in info:
        return "'ExecutorInfo.command' must not be set for 'DEFAULT' executor"
    if kind == "CUSTOM" and "command" not in info:
        return "'ExecutorInfo.command' must be set for 'CUSTOM' executor"
    fault = container_validation.container(info.get("container"))
    if fault is not None:
        return f"Executor's `ContainerInfo` is invalid: {fault}"
    expected = info.get("framework_id", {"value": framework.id})["value"]
    if expected != framework.id:
        return f"ExecutorInfo has an invalid FrameworkID (Actual: {expected} vs Expected: {framework.id})"
    if info.get("shutdown_grace_period", {}).get("nanoseconds", 0) < 0:
        return "ExecutorInfo's 'shutdown_grace_period' must be non-negative"
    res.check(info.get("resources", []))
    existing = agent.executors.get((framework.id, executor_id))
    if existing is not None and _as_given(existing.info) != _as_given(info):
        return (
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n"
            f"{_RULE}\nExisting ExecutorInfo:\n{_executor_text(existing.info, framework, existing.role)}\n"
            f"{_RULE}\nExecutorInfo:\n{_executor_text(info, framework, existing.role)}\n{_RULE}\n"
        )
    return None


def _executor_text(info: Json, framework: Framework, role: str) -> str:
    """Print an ExecutorInfo as the master has it: of a framework, its resources allocated to a role."""
    allocated = [{"allocation_info": {"role": role}, **one} for one in info.get("resources", [])]
    whole = {**info, "framework_id": {"value": framework.id}, "resources": allocated}
    return text_format.text("ExecutorInfo", whole)
