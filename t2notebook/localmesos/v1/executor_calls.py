"""Executor calls of the v1 API: their validation."""

from __future__ import annotations

import base64

from ..common.task_states import Json

_EXECUTOR_PAYLOADS = {"SUBSCRIBE": "subscribe", "UPDATE": "update", "MESSAGE": "message"}

_BOTH = "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"


def executor_call(call: Json) -> str | None:
    """Check an executor's call; give what is wrong with it."""
    kind = call.get("type")
    if kind is None:
        return "Expecting 'type' to be present"
    payload = _EXECUTOR_PAYLOADS.get(kind)
    if payload is not None and payload not in call:
        return f"Expecting '{payload}' to be present"
    if kind == "UPDATE":
        status = call["update"]["status"]
        who = f"executor {call['executor_id']['value']} of framework {call['framework_id']['value']}"
        if "uuid" not in status:
            return "Expecting 'uuid' to be present"
        if not is_uuid(status["uuid"]):
            return "Not a valid UUID"
        if status.get("source") != "SOURCE_EXECUTOR":
            return f"Received Call from {who} with invalid source, expecting 'SOURCE_EXECUTOR'"
        if status["state"] == "TASK_STAGING":
            return f"Received TASK_STAGING from {who} which is not allowed"
    return None


def is_uuid(encoded: str) -> bool:
    """Tell whether base64 holds 16 bytes."""
    return len(base64.b64decode(encoded)) == 16
