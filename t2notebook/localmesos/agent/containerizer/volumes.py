"""Volumes of containers without images: sandbox and host paths that a container finds in its sandbox.

Mesos mounts them, where it may; here there are links, as Mesos's own `filesystem/posix` makes for persistent
volumes: so a path in the sandbox is had, one elsewhere is not (unless it is there already), and a volume that is
to be read only can be written to. The texts are those of `isolators/volume/{host,sandbox}_path.cpp`.
"""

from __future__ import annotations

import os

from ...common.task_states import Json
from .sandbox import User, image_fault, secret_fault

_NO_MOUNTS = (
    "The 'linux' launcher and 'filesystem/linux' isolator must be enabled to support {} volume with absolute "
    "container path"
)


class VolumeError(Exception):
    """A volume that is not to be had; the text says why."""


def source_of(volume: Json, sandbox: str, parent: str | None) -> tuple[str, str]:
    """Find out what a volume shows.

    Parameters
    ----------
    sandbox, parent
        The container's sandbox, and its parent's if it is nested.
    engine
        There is a container engine; it mounts the volumes of its containers itself.

    Returns
    -------
    tuple
        The kind (HOST_PATH or SANDBOX_PATH) and the absolute path.

    Raises
    ------
    VolumeError
        There is nothing here that could make such a volume, or it contradicts itself.
    """
    source = volume.get("source", {})
    kind = source.get("type")
    if "host_path" in volume:
        # Mesos's old way of saying it: a relative one means the sandbox.
        path = volume["host_path"]
        kind = "HOST_PATH" if os.path.isabs(path) else "SANDBOX_PATH"
        source = {"host_path": {"path": path}, "sandbox_path": {"type": "SELF", "path": path}}
    if "image" in volume:
        raise VolumeError(f"Unsupported container image: {volume['image'].get('type', 'UNKNOWN')}")
    if kind == "HOST_PATH":
        path = source["host_path"]["path"]
        if not os.path.isabs(path):
            raise VolumeError(f"Path '{path}' in HOST_PATH volume is not absolute")
        if not os.path.exists(path):
            raise VolumeError(f"Path '{path}' in HOST_PATH volume does not exist")
        return kind, path
    if kind != "SANDBOX_PATH":
        raise VolumeError(f"Volumes of type {kind} are not supported by the embedded Mesos")
    path, relation = source["sandbox_path"]["path"], source["sandbox_path"].get("type")
    if os.path.isabs(path):
        raise VolumeError(f"Path '{path}' in SANDBOX_PATH volume is absolute")
    if relation == "SELF":
        if not os.path.isabs(volume["container_path"]):
            raise VolumeError("'container_path' is relative for SANDBOX_PATH volume SELF type")
        root = sandbox
    elif relation == "PARENT":
        if parent is None:
            raise VolumeError("SANDBOX_PATH volume PARENT type only works for nested container")
        root = parent
    else:
        raise VolumeError("Unknown SANDBOX_PATH volume type")
    found = os.path.normpath(os.path.join(root, path))
    if found != root and not found.startswith(root + os.sep):
        raise VolumeError(f"Path '{path}' in SANDBOX_PATH volume leads out of the sandbox")
    return kind, found


def prepare(
    container: Json | None,
    variables: list[Json],
    sandbox: str,
    parent: str | None,
    user: User,
    *,
    engine: bool = False,
) -> str | None:
    """Make what a container needs before its launch.

    Parameters
    ----------
    variables
        Of its command's environment.
    sandbox, parent
        The container's sandbox, and its parent's if it is nested.

    Returns
    -------
    str or None
        Mesos's message if something cannot be had.
    """
    whole = image_fault(container, engine=engine)
    if whole is not None:
        return whole
    fault = secret_fault(variables)
    try:
        if fault is None and (container is None or container["type"] != "DOCKER"):
            provide(container, sandbox, parent, user)
    except VolumeError as error:
        fault = str(error)
    return None if fault is None else f"Failed to launch container: {fault}"


def provide(container: Json | None, sandbox: str, parent: str | None, user: User) -> None:
    """Make a container's volumes.

    Parameters
    ----------
    sandbox, parent
        The container's sandbox, and its parent's if it is nested.
    user
        The owner of what is made.

    Raises
    ------
    VolumeError
        One is not to be had.
    """
    for volume in (container or {}).get("volumes", []):
        kind, source = source_of(volume, sandbox, parent)
        try:
            if kind == "SANDBOX_PATH" and not os.path.exists(source):
                os.makedirs(source)
                if user.uid is not None and user.gid is not None:
                    os.chown(source, user.uid, user.gid)
            _link(kind, source, volume["container_path"], sandbox)
        except OSError as error:
            raise VolumeError(f"Failed to provide the volume at '{source}': {error.strerror}") from None


def _link(kind: str, source: str, path: str, sandbox: str) -> None:
    if os.path.isabs(path):
        if os.path.realpath(path) == os.path.realpath(source):
            return  # the container shares the host's file system
        raise VolumeError(_NO_MOUNTS.format(kind))
    target = os.path.normpath(os.path.join(sandbox, path))
    if not target.startswith(sandbox + os.sep):
        raise VolumeError(f"Container path '{path}' leads out of the sandbox")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.symlink(source, target)
