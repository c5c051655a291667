"""Responses that master and agent share: JSON of both APIs, version, small answers."""

from __future__ import annotations

import json
import os

from ..common.ids import VERSION
from ..common.resources import Resources
from ..common.task_states import Json
from . import http1

BUILD: Json = {"build_date": "2024-08-01 00:00:00 UTC", "build_time": 1722470400.0, "build_user": ""}


def old_json(value: object, request: http1.Request) -> http1.Response:
    """Answer an old endpoint: Content-Type after Content-Length, and jsonp."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    callback = request.query.get("jsonp")
    if callback is not None:
        return http1.Response(
            200, f"{callback}(".encode() + body + b");", late_headers=[("Content-Type", "text/javascript")]
        )
    return http1.Response(200, body, late_headers=[("Content-Type", http1.JSON)])


def v1_json(kind: str, payload: Json | None = None) -> http1.Response:
    """Answer a v1 operator call."""
    value: Json = {"type": kind}
    if payload is not None:
        value[kind.lower()] = payload
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return http1.Response(200, body, [("Content-Type", http1.JSON)])


def version() -> Json:
    """Give what /version says."""
    return {**BUILD, "version": VERSION}


def old_command(command: Json) -> Json:
    """Give a CommandInfo as the older endpoints do (`common/http.cpp`)."""
    uris = [
        {"value": one["value"], "executable": one.get("executable", False)} for one in command.get("uris", [])
    ]
    shown: Json = {name: command[name] for name in ("shell", "value") if name in command}
    shown["argv"] = command.get("arguments", [])
    if "environment" in command:
        shown["environment"] = command["environment"]
    return {**shown, "uris": uris}


def without_pid(container_status: Json) -> Json:
    """Give a ContainerStatus as the older endpoints do."""
    return {name: value for name, value in container_status.items() if name != "executor_pid"}


def role_amounts(held: Resources) -> dict[str, float]:
    """Give resources as /roles does: scalars, and of ranges how many, by name."""
    amounts = {name: value / 1000.0 for name, value in held.scalars.items()}
    for name, spans in held.ranges.items():
        amounts[name] = float(sum(end - begin + 1 for begin, end in spans))
    return dict(sorted(amounts.items()))


def small_answer(request: http1.Request, path: str) -> http1.Response:
    """Answer /logging/toggle (it shows the level, and changes nothing here) and /system/stats.json."""
    if path == "/logging/toggle":
        return http1.text(200, "0\n")
    if path != "/system/stats.json":
        return http1.not_found()
    load = os.getloadavg()
    pages = {name: os.sysconf(f"SC_{name}") for name in ("PAGE_SIZE", "PHYS_PAGES", "AVPHYS_PAGES")}
    stats = {
        "avg_load_15min": load[2],
        "avg_load_1min": load[0],
        "avg_load_5min": load[1],
        "cpus_total": os.cpu_count(),
        "mem_free_bytes": pages["AVPHYS_PAGES"] * pages["PAGE_SIZE"],
        "mem_total_bytes": pages["PHYS_PAGES"] * pages["PAGE_SIZE"],
    }
    body = json.dumps(stats, separators=(",", ":")).encode()
    return http1.Response(200, body, late_headers=[("Content-Type", http1.JSON)])
