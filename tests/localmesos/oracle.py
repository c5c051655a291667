"""What the recorded Mesos ever said, as a schema: every field at every path, its types, its order, its enum values.

The oracle is built from the traces when it is first asked. `check` holds any event or answer of ours against it:
a field that no recorded message has at that path, a value of another type, an enum name that v1 does not know,
or fields in another order are faults. `EXTRA` lists what v1 has and no trace happens to show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from t2notebook.localmesos.v1.messages import ENUMS
from tests.localmesos.traces import TRACES

Json = dict[str, Any]

ENUM_NAME = re.compile(r"(TASK|SOURCE|REASON|OPERATION)_[A-Z_]+")
OPERATIONS = "PENDING FINISHED FAILED ERROR DROPPED UNREACHABLE GONE_BY_OPERATOR RECOVERING UNKNOWN"
KNOWN_ENUMS = frozenset(name for names in ENUMS.values() for name in names) | {
    *(f"OPERATION_{state}" for state in OPERATIONS.split()),
    "TASK_RESOURCE_LIMITS",
}

# Messages of one type stand at many paths: what is seen at one of them may stand at all.
SHARED = {
    "framework_info": "FrameworkInfo",
    "agent_info": "AgentInfo",
    "executor_info": "ExecutorInfo",
    "executor": "ExecutorInfo",
    "resources": "Resource",
    "total_resources": "Resource",
    "allocated_resources": "Resource",
    "offered_resources": "Resource",
    "container_status": "ContainerStatus",
    "tasks": "Task",
    "unreachable_tasks": "Task",
    "completed_tasks": "Task",
    "launched_tasks": "Task",
    "queued_tasks": "Task",
    "terminated_tasks": "Task",
    "agents": "Agent",
    "frameworks": "Framework",
    "completed_frameworks": "Framework",
    "statuses": "TaskStatus",
    "status": "TaskStatus",
    "offers": "Offer",
    "command": "CommandInfo",
    "labels": "Labels",
    "discovery": "DiscoveryInfo",
}

# Free maps: their keys are names, not fields.
MAPS = ("attributes", "flags")

EXTRA: dict[str, tuple[str, ...]] = {
    "Event": ("rescind",),
    "Task": (
        "discovery",
        "health_check",
        "kill_policy",
        "max_completion_time",
        "user",
        "check",
        "executor_id",
    ),
    "Agent": ("reregistered_time",),
    "TaskStatus": ("unreachable_time", "reason", "message", "labels", "data", "healthy", "check_status"),
    "TaskStatus.check_status": ("tcp", "http"),
    "FrameworkInfo": ("role", "hostname", "principal", "webui_url", "labels"),
    "ExecutorInfo": ("type", "shutdown_grace_period", "discovery", "labels", "container", "data"),
    "CommandInfo": ("user", "uris", "environment", "arguments", "value"),
    "FAILURE.failure": ("status", "executor_id"),
    "RESCIND": ("rescind",),
}
"""Fields of v1 (`mesos.proto`, `scheduler.proto`, `master.proto`) that the recorded runs had no occasion for."""

ANYWHERE = frozenset({"healthy", "labels", "discovery", "reregistered_time", "role", "roles", "executor_ids"})
"""Optional fields of the older endpoints, too (`common/http.cpp`, `master/http.cpp`)."""

_OLD_EXECUTOR = {
    "executor_id": "ex",
    "name": "n",
    "framework_id": "ID",
    "command": {
        "shell": False,
        "value": "/bin/x",
        "argv": ["x"],
        "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "b"}]},
        "uris": [{"value": "http://x/y", "executable": False}],
    },
    "resources": {"disk": 0.0, "mem": 64.0, "gpus": 0.0, "cpus": 0.1},
    "role": "r1",
    "labels": [{"key": "l", "value": "v"}],
    "type": "CUSTOM",
    "slave_id": "ID-S0",
}
_OLD_TASKS = {
    "tasks": [],
    "queued_tasks": [
        {
            **{
                "id": "x",
                "name": "x",
                "slave_id": "ID-S0",
                "resources": _OLD_EXECUTOR["resources"],
                "role": "r1",
            },
            **{"command": _OLD_EXECUTOR["command"], "executor_id": "ex"},
        }
    ],
}
_RECOVERED = {"id": "ID-S0", "hostname": "127.0.0.1", "port": 5051, "attributes": {}}
UNTRACED: tuple[tuple[str, Json], ...] = (
    ("GET master /state", {"frameworks": [{"executors": [_OLD_EXECUTOR]}]}),
    ("GET master /frameworks", {"frameworks": [{"executors": [_OLD_EXECUTOR]}]}),
    ("GET master /slaves", {"recovered_slaves": [_RECOVERED]}),
    ("GET agent /state", {"frameworks": [{"executors": [{"labels": [], "type": "CUSTOM", **_OLD_TASKS}]}]}),
    ("TASK_ADDED", {"task_added": {"task": {"executor_id": {"value": "ex"}}}}),
    ("GET_EXECUTORS", {"get_executors": {"executors": [{"agent_id": {"value": "ID-S0"}}]}}),
    ("GET_STATE", {"get_state": {"get_executors": {"executors": [{"agent_id": {"value": "ID-S0"}}]}}}),
)
"""What a real master and agent of the same version answered where no trace shows it (custom executors, mostly)."""

ALIKE = {
    "completed_frameworks": "frameworks",
    "completed_executors": "executors",
    "completed_tasks": "tasks",
    "unreachable_tasks": "tasks",
}
"""Lists of the older endpoints whose members are printed by one function (`master/http.cpp`, `slave/http.cpp`): what is
seen in one may stand in the other."""

UNSEEN_KINDS = frozenset(
    {"RESCIND", "AGENT_ADDED", "AGENT_REMOVED", "FRAMEWORK_UPDATED", "KILL", "ACKNOWLEDGED"}
)
"""Events that no trace has."""


@dataclass
class Node:
    """What was seen at one path."""

    types: set[str] = field(default_factory=set)
    fields: dict[str, None] = field(default_factory=dict)
    after: set[tuple[str, str]] = field(default_factory=set)


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Walk a message: (path, value) of everything in it."""
    if isinstance(value, list):
        for item in value:
            yield from fields(item, path)
        return
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            inner = SHARED.get(name) if is_v1(path, name, item) else None
            yield from fields(item, inner or below(path, name))


def below(path: str, name: str) -> str:
    """Give the path of a field; one that is printed as another has the other's."""
    if name == "parent" and path.endswith(".container_id"):
        return path
    return f"{path}.{ALIKE.get(name, name) if path.startswith('GET ') else name}"


def is_v1(path: str, name: str, item: Any) -> bool:
    """Tell whether a name means the v1 message (the older endpoints use some of the same names otherwise)."""
    if path.startswith("GET ") or ".command" in path or "check" in path or "operation" in path:
        return False
    first = item[0] if isinstance(item, list) and item else item
    if not isinstance(first, dict):
        return False
    needed = {"tasks": "task_id", "status": "task_id", "statuses": "task_id", "resources": "type"}
    needed |= {
        "frameworks": "framework_info",
        "agents": "agent_info",
        "offers": "id",
        "executor": "executor_id",
    }
    return needed.get(name, next(iter(first), "")) in first


class Oracle:
    """The recorded messages, merged."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def learn(self, value: Any, path: str) -> None:
        for where, item in fields(value, path):
            node = self.nodes.setdefault(where, Node())
            node.types.add(kind_of(item))
            if isinstance(item, dict):
                names = list(item)
                node.fields.update(dict.fromkeys(names))
                node.after.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])

    def faults(self, value: Any, path: str) -> list[str]:
        """List what no recorded message has."""
        if path in UNSEEN_KINDS:
            return []
        found = []
        for where, item in fields(value, path):
            node = self.nodes.get(where)
            if node is None:
                if not self._extra(where):
                    found.append(f"{where} is unknown")
                continue
            if kind_of(item) not in node.types:
                found.append(f"{where} is a {kind_of(item)}, not {sorted(node.types)}")
            if (
                isinstance(item, str)
                and not where.endswith(".type")
                and ENUM_NAME.fullmatch(item)
                and item not in KNOWN_ENUMS
            ):
                found.append(f"{where}: {item} is no v1 name")
            if not isinstance(item, dict) or where.rsplit(".", 1)[-1] in MAPS:
                continue
            names = list(item)
            extra = ("parent",) if where.endswith(".container_id") else EXTRA.get(where, ())
            found += [
                f"{where}.{name} is unknown"
                for name in names
                if name not in {*node.fields, *extra, *ANYWHERE}
            ]
            for i, a in enumerate(names):
                for b in names[i + 1 :]:
                    if (b, a) in node.after and (a, b) not in node.after:
                        found.append(f"{where}: {a} stands before {b}")
        return found

    def _extra(self, where: str) -> bool:
        return (
            any(f".{name}" in where for name in ANYWHERE)
            or any(
                where == f"{path}.{name}" or where.startswith(f"{path}.{name}.")
                for path, names in EXTRA.items()
                for name in names
            )
            or where.split(".", 1)[0] in ("Labels", "DiscoveryInfo")
            or any(f".{one}." in where for one in MAPS)
        )


def lines(path: Path) -> Iterator[Json]:
    for line in path.read_text().splitlines():
        if line.strip():
            yield json.loads(line)


@cache
def oracle() -> Oracle:
    """Read all traces."""
    found = Oracle()
    for path in sorted(TRACES.glob("*/*.events.jsonl")):
        for line in lines(path):
            event = line.get("event")
            if isinstance(event, dict):
                found.learn(event, event["type"])
    for path in sorted(TRACES.glob("*/index.jsonl")):
        for one in lines(path):
            body = path.with_name(f"{one.get('file')}.body.json")
            if one.get("status") == 200 and body.exists():
                found.learn(json.loads(body.read_text()), path_of(one["request"]))
    for path, message in UNTRACED:
        found.learn(message, path)
    return found


def path_of(request: Json) -> str:
    """Name what answers a request."""
    if request["method"] == "POST" and "/api/v1" in request["path"]:
        return str(json.loads(request["body"])["type"])
    agent = not request["host"].endswith("5050")
    path = request["path"].split("?")[0].rstrip("/")
    for prefix in ("/master", "/slave(1)"):
        path = path.removeprefix(prefix)
    return f"GET {'agent' if agent else 'master'} {path}"


def check(value: Any, path: str) -> None:
    """Fail if ours says what the recorded Mesos never does."""
    faults = oracle().faults(value, path)
    assert not faults, "\n".join(sorted(set(faults))[:20])


NAMES = ("/flags", "/metrics/snapshot", "GET_FLAGS", "GET_METRICS", "/files/debug")
"""Answers that are names and values: `test_master_views.py` compares those. (/files/debug has paths.)"""


def check_answer(method: str, path: str, call: Any, document: Any) -> None:
    """Fail if an answer says what no recorded answer to such a question does, be it a master's or an agent's."""
    if method == "POST" and "/api/v1" in path and isinstance(call, dict):
        paths = [str(call.get("type"))]
    else:
        path = path.split("?", maxsplit=1)[0].rstrip("/").removeprefix("/master").removeprefix("/slave(1)")
        paths = [f"GET {who} {path}" for who in ("master", "agent")]
    known = [path for path in paths if path in oracle().nodes and not path.endswith(NAMES)]
    faults = [oracle().faults(document, path) for path in known]
    assert not faults or not all(faults), "\n".join(sorted(set(min(faults, key=len)))[:20])
