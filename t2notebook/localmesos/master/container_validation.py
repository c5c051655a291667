"""Validation of containers, environments and limits, in Mesos's words (`common/validation.cpp`). Pure."""

from __future__ import annotations

import base64

from ..common.resources import Resources
from ..common.task_states import Json

_SOURCES = {
    "DOCKER_VOLUME": ("docker_volume", "DOCKER_VOLUME volume"),
    "HOST_PATH": ("host_path", "HOST_PATH volume"),
    "SANDBOX_PATH": ("sandbox_path", "SANDBOX_PATH volume"),
    "SECRET": ("secret", "SECRET volume"),
    "CSI_VOLUME": ("csi_volume", "CSI volume"),
}


def container(info: Json | None) -> str | None:
    """Check a ContainerInfo."""
    if info is None:
        return None
    for volume in info.get("volumes", []):
        fault = _volume(volume)
        if fault is not None:
            return f"Invalid volume: {fault}"
    if info["type"] == "DOCKER" and "docker" not in info:
        return "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"
    return None


def _volume(volume: Json) -> str | None:
    if sum(name in volume for name in ("host_path", "image", "source")) != 1:
        return "Only one of them should be set: 'host_path', 'image' and 'source'"
    if "source" in volume:
        found = _SOURCES.get(volume["source"].get("type"))
        if found is None:
            return "'source.type' is unknown"
        if found[0] not in volume["source"]:
            return f"'source.{found[0]}' is not set for {found[1]}"
    return None


def environment(command: Json) -> str | None:
    """Check a CommandInfo's environment."""
    for variable in command.get("environment", {}).get("variables", []):
        who = f"Environment variable '{variable['name']}'"
        if variable.get("type") == "SECRET":
            if "secret" not in variable:
                return f"{who} of type 'SECRET' must have a secret set"
            if "value" in variable:
                return f"{who} of type 'SECRET' must not have a value set"
            fault = _secret(variable["secret"])
            if fault is not None:
                return f"{who} specifies an invalid secret: {fault}"
            if b"\0" in base64.b64decode(variable["secret"].get("value", {}).get("data", "")):
                return (
                    f"{who} specifies a secret containing null bytes, which is not allowed in the environment"
                )
        elif "value" not in variable:
            return f"{who} of type 'VALUE' must have a value set"
        elif "secret" in variable:
            return f"{who} of type 'VALUE' must not have a secret set"
        if "\0" in variable["name"] + variable.get("value", "") or "=" in variable["name"]:
            return f"{who} is invalid"
    return None


def _secret(secret: Json) -> str | None:
    kind, reference, value = secret.get("type"), secret.get("reference"), secret.get("value")
    if kind == "REFERENCE":
        if reference is None:
            return "Secret of type REFERENCE must have the 'reference' field set"
        if value is not None:
            return f"Secret '{reference['name']}' of type REFERENCE must not have the 'value' field set"
    if kind == "VALUE":
        if value is None:
            return "Secret of type VALUE must have the 'value' field set"
        if reference is not None:
            return "Secret of type VALUE must not have the 'reference' field set"
    return None


def limits(info: Json, *, group: bool) -> str | None:
    """Check `TaskInfo.limits` (a number of MiB or cpus each, or Infinity)."""
    found = info.get("limits", {})
    if not found:
        return None
    shares = info.get("container", {}).get("linux_info", {}).get("share_cgroups", True)
    if group and shares:
        return (
            "Resource limits may only be set for tasks within a task group when the 'share_cgroups' field is "
            "set to 'false'."
        )
    if set(found) - {"cpus", "mem"}:
        return "Only cpus and mem may be included in a task's resource limits"
    asked = Resources.from_json(info.get("resources", []))
    for name, what, least in (("cpus", "CPU", "cpu"), ("mem", "memory", "memory")):
        if name not in found:
            continue
        if name not in asked.scalars:
            return f"When a {what} limit is specified, a {what} request must also be specified"
        if not float(found[name]["value"]) >= asked.amount(name):
            return f"The {least} limit must be greater than or equal to the {least} request"
    return None
