"""Containers as an agent makes them: sandbox, environment, user, command line, and the request to launch one."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
from dataclasses import dataclass
from typing import Any

from ...common.durations import duration
from ...common.task_states import Json
from .paths import AgentIdentity

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(Exception):
    """The sandbox cannot be made; the text is Mesos's."""


@dataclass(frozen=True)
class User:
    """The user of a container; `uid` is None when it is the agent's own."""

    name: str
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()


def find_user(name: str, directory: str) -> User:
    """Find a container's user. Only root can be another one: everybody else's containers are his own.

    Raises
    ------
    SandboxError
        There is no such user.
    """
    if os.geteuid() != 0:
        return User(name)
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, UnicodeEncodeError):
        if name == "root":
            return User(name)  # a container without a passwd database
        raise SandboxError(
            f"Failed to create executor directory '{directory}': "
            f"Failed to chown directory to '{name}': No such user '{name}'"
        ) from None
    if entry.pw_uid == 0:
        return User(name)
    return User(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def image_fault(container: Json | None, *, engine: bool) -> str | None:
    """Say in Mesos's words why a container cannot be: there is no container engine, or nothing that unpacks images.

    The text is a whole message.
    """
    if container is None:
        return None
    if container["type"] == "DOCKER":
        if engine:
            return None
        return (
            "None of the enabled containerizers (mesos) could create a container "
            "for the provided TaskInfo/ExecutorInfo message"
        )
    image = container.get("mesos", {}).get("image")
    if image is None:
        return None
    return f"Failed to launch container: Unsupported container image: {image.get('type', 'UNKNOWN')}"


def make_sandbox(directory: str, user: User) -> None:
    """Make a run's directory, its stdout and stderr, and point `latest` at it.

    Raises
    ------
    SandboxError
        The file system does not let us.
    """
    try:
        runs = os.path.dirname(directory)
        os.makedirs(runs, exist_ok=True)
        os.mkdir(directory)
        os.chmod(directory, 0o750)  # as Mesos does: whatever this process's mask is
        for name in ("stdout", "stderr"):
            os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        if user.uid is not None and user.gid is not None:
            for path in (directory, *(os.path.join(directory, name) for name in ("stdout", "stderr"))):
                os.chown(path, user.uid, user.gid)
        _link_latest(directory)
    except OSError as error:
        raise SandboxError(f"Failed to create executor directory '{directory}': {error.strerror}") from None


def point_latest(agent: AgentIdentity) -> None:
    """Make an agent's directory, and point `slaves/latest` at it."""
    directory = os.path.join(agent.work_dir, "slaves", agent.id)
    os.makedirs(directory, exist_ok=True)
    _link_latest(directory)


def _link_latest(directory: str) -> None:
    around, name = os.path.split(directory)
    fresh = os.path.join(around, f".latest-{name}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(directory, fresh)
    os.replace(fresh, os.path.join(around, "latest"))


def make_nested_sandbox(parent: str, directory: str, task_id: str, user: User) -> None:
    """Make a nested container's directory in its executor's sandbox, and point `tasks/<id>` at it.

    Parameters
    ----------
    parent, directory
        The executor's sandbox; the nested one.

    Raises
    ------
    SandboxError
        The file system does not let us.
    """
    try:
        os.makedirs(directory)
        os.chmod(directory, 0o750)
        for name in ("stdout", "stderr"):
            os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        if user.uid is not None and user.gid is not None:
            for path in (directory, *(os.path.join(directory, name) for name in ("stdout", "stderr"))):
                os.chown(path, user.uid, user.gid)
        tasks = os.path.join(parent, "tasks")
        os.makedirs(tasks, exist_ok=True)
        os.symlink(directory, os.path.join(tasks, task_id))
    except OSError as error:
        raise SandboxError(f"Failed to create container directory '{directory}': {error.strerror}") from None


def environment(
    agent: AgentIdentity,
    framework_id: str,
    executor_id: str,
    directory: str,
    *,
    checkpoint: bool,
    grace: float,
    role: str | None,
    variables: list[Json],
) -> dict[str, str]:
    """Give an executor's environment: minimal, without HOME and USER, as recorded.

    Parameters
    ----------
    role
        What MESOS_ALLOCATION_ROLE says (command tasks only).
    variables
        The command's own, which win.
    """
    env = {
        "LIBPROCESS_IP": agent.ip,
        "LIBPROCESS_PORT": "0",
        "MESOS_AGENT_ENDPOINT": f"{agent.ip}:{agent.port}",
        "MESOS_CHECKPOINT": "1" if checkpoint else "0",
        "MESOS_DIRECTORY": directory,
        "MESOS_EXECUTOR_ID": executor_id,
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": duration(grace),
        "MESOS_FRAMEWORK_ID": framework_id,
        "MESOS_HTTP_COMMAND_EXECUTOR": "0",
        "MESOS_SANDBOX": directory,
        "MESOS_SLAVE_ID": agent.id,
        "MESOS_SLAVE_PID": agent.pid,
        "PATH": PATH,
    }
    if checkpoint:
        env["MESOS_RECOVERY_TIMEOUT"] = "15mins"
        env["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = "2secs"
    if role is not None:
        env["MESOS_ALLOCATION_ROLE"] = role
    return env | values_of(variables)


def secret_fault(variables: list[Json]) -> str | None:
    """Say in Mesos's words why a secret variable has no value here: nothing knows what references mean."""
    for variable in variables:
        secret = variable.get("secret", {})
        if "reference" in secret:
            return "Default secret resolver cannot resolve references"
        if variable.get("type") == "SECRET" and "value" not in secret:
            return "Secret has no value"
    return None


def values_of(variables: list[Json]) -> dict[str, str]:
    """Give the values of a command's environment variables, secrets among them (`environment_secret`)."""
    found = {}
    for variable in variables:
        if variable.get("type") == "SECRET":
            value = variable.get("secret", {}).get("value", {}).get("data", "")
            found[variable["name"]] = os.fsdecode(base64.b64decode(value))
        else:
            found[variable["name"]] = variable.get("value", "")
    return found


def launch_request(
    container_id: str,
    command: Json,
    env: dict[str, str],
    directory: str,
    user: User,
    *,
    checkpoint: bool = False,
    limited: str | None = None,
) -> dict[str, Any]:
    """Give what the launcher needs to start a container.

    Parameters
    ----------
    checkpoint
        It outlives an agent that was killed.
    limited
        The container whose limits hold for it, if not its own.
    """
    return {
        "op": "launch",
        "id": container_id,
        **command_line(command),
        "env": env,
        "cwd": directory,
        "stdout": os.path.join(directory, "stdout"),
        "stderr": os.path.join(directory, "stderr"),
        "uid": user.uid,
        "gid": user.gid,
        "groups": list(user.groups),
        "checkpoint": checkpoint,
        "limited": limited or container_id,
    }


def command_line(command: Json) -> Json:
    """Give a CommandInfo's program and arguments."""
    if command.get("shell", True):
        return {"path": "/bin/sh", "argv": ["sh", "-c", command.get("value", "")]}
    path = command.get("value", "")
    return {"path": path, "argv": list(command.get("arguments", [])) or [path]}
