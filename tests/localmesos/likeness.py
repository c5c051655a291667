"""Messages of two clusters without what differs from run to run: ids, uuids, times, ports, what is offered."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection
from typing import Any

from tests.localmesos.client import Json

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
VOLATILE = ("timestamp", "uuid", "executor_pid", "nanoseconds", "port", "pid")


def canonical(value: Any, key: str = "", parent: str = "") -> Any:
    """Give a message without what differs from run to run."""
    if isinstance(value, dict):
        return {name: canonical(item, name, key) for name, item in value.items()}
    if isinstance(value, list):
        return [canonical(item, key, parent) for item in value]
    if key in VOLATILE:
        return type(value).__name__
    if isinstance(value, str):
        text = re.sub(r"'/\S*/slaves/", "'/slaves/", value)
        return re.sub(r"-(\d{4}|[OS]\d+)\b", lambda m: "-" + m[1][0], UUID.sub("ID", text))
    return value


OTHERWISE = frozenset(
    (
        *("flags", "version", "build_date", "build_time", "build_user", "git_sha", "git_branch", "git_tag"),
        *("start_time", "elected_time", "registered_time", "reregistered_time", "unregistered_time"),
        *("offers", "offered_resources", "resources"),  # offers come and go by chance
    )
)
"""What a /state has, that differs from run to run, or that speaks of the implementation."""
HASHED = frozenset(
    {"frameworks", "completed_frameworks", "tasks", "unreachable_tasks", "executors", "slaves"}
)
"""Lists that Mesos gives in the order of a hash table."""


def settled(document: Any, key: str = "") -> Any:
    """Give an older endpoint's answer without what differs from run to run."""
    if isinstance(document, dict):
        return {
            name: type(item).__name__
            if name in OTHERWISE and "slave_id" not in document
            else settled(item, name)
            for name, item in document.items()
        }
    if isinstance(document, list):
        found = [settled(item, key) for item in document]
        return sorted(found, key=json.dumps) if key in HASHED else found
    if isinstance(document, str):
        return re.sub(r"(127\.0\.0\.1:)\d+", r"\1PORT", str(canonical(document, key)))
    return canonical(document, key)


def of_frameworks(document: Json, ids: Collection[str]) -> Json:
    """Give an older endpoint's answer with these frameworks only: other stories were told to the same cluster."""
    lists = [name for name in ("frameworks", "completed_frameworks") if name in document]
    return {**document, **{name: [one for one in document[name] if one["id"] in ids] for name in lists}}


def difference(mine: Any, theirs: Any) -> str:
    """Show where two documents differ."""
    texts = [json.dumps(one, indent=1).splitlines() for one in (theirs, mine)]
    return "\n".join(difflib.unified_diff(*texts, "recorded", "ours", lineterm="", n=2))
