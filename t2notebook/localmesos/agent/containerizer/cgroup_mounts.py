"""Detection of the control groups that containers can have here, by a trial: nothing else tells for sure."""

from __future__ import annotations

import os
from collections.abc import Callable

from ...common import processes
from .cgroups import V1, V2, Cgroups, Kind, read
from .limits import Limits


def detect(
    mountinfo: str | None = None,
    own: str | None = None,
    enters: Callable[[list[str]], bool] | None = None,
    *,
    cfs: bool = False,
) -> Cgroups | str:
    """Find out by a trial where containers can have groups, or say why nowhere.

    Parameters
    ----------
    mountinfo, own, enters
        For tests: /proc/self/mountinfo, /proc/self/cgroup, and what puts a process through procs_files.
    """
    try:
        if mountinfo is None:
            mountinfo = read("/proc/self", "mountinfo")
        if own is None:
            own = read("/proc/self", "cgroup")
    except OSError:
        return "this system has no control groups"
    why = "no memory controller is mounted"
    for kind, candidates in ((V1(), _v1_parents(mountinfo, own)), (V2(), _v2_parents(mountinfo, own))):
        for parents in candidates:
            fault = _trial(kind, parents, enters or _enters)
            if fault is None:
                return Cgroups(kind, parents, cfs)
            why = fault
    return why


def _trial(kind: Kind, parents: tuple[str, ...], enters: Callable[[list[str]], bool]) -> str | None:
    """Make a group, limit it, enter it, remove it; give what was refused."""
    owner = processes.identity(os.getpid())
    trial = Cgroups(kind, parents)
    try:
        for parent in parents:
            kind.prepare(trial.above(parent, owner))
        trial.limit(owner, "trial", Limits(1, 64))
        if not enters(trial.procs_files(owner, "trial")):
            return "no process may enter a new group"
        return None
    except (OSError, ValueError) as error:
        return str(error.strerror if isinstance(error, OSError) else error)
    finally:
        trial.close(owner)


def _enters(procs_files: list[str]) -> bool:
    """Put a process through procs_files (one of its own: this one may have threads, and must stay where it is)."""
    script = 'for door; do echo 0 > "$door" || exit 1; done 2> /dev/null'
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script, "sh", *procs_files], {})
    return os.waitpid(pid, 0)[1] == 0


def _mounts(mountinfo: str) -> list[tuple[str, str, str, set[str]]]:
    """Give (root within the hierarchy, mount point, file system, options of the hierarchy)."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) > 4 and len(kind) > 2 and kind[0] in ("cgroup", "cgroup2"):
            point = fields[4].replace("\\040", " ")
            found.append((fields[3], point, kind[0], set(kind[2].split(","))))
    return found


def _own_group(root: str, point: str, path: str) -> str:
    """Give the directory of one's own group: a container may see only a part of the hierarchy."""
    if root != "/" and (path + "/").startswith(root + "/"):
        path = path[len(root) :]
    parent = os.path.join(point, path.strip("/")).rstrip("/")
    return parent if os.path.isdir(parent) else point


def _v1_parents(mountinfo: str, own: str) -> list[tuple[str, ...]]:
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    found = {}
    for root, point, kind, options in _mounts(mountinfo):
        for controller in {"memory", "cpu"} & options:
            if kind == "cgroup" and controller in paths:
                found[controller] = _own_group(root, point, paths[controller])
    if "memory" not in found:
        return []
    both = [(found["memory"], found["cpu"])] if "cpu" in found else []
    return [*both, (found["memory"],)]


def _v2_parents(mountinfo: str, own: str) -> list[tuple[str, ...]]:
    """Give one's own group and those above, innermost first.

    A group that processes are in can have no limited groups below (save the root of all), but the one above has
    often been handed over as a whole: by systemd to a user, for one.
    """
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), None)
    for root, point, kind, _ in _mounts(mountinfo):
        if kind == "cgroup2" and path is not None:
            parent, found = _own_group(root, point, path), []
            while parent.startswith(point) and os.access(parent, os.W_OK):
                if "memory" in read(parent, "cgroup.controllers").split():
                    found.append((parent,))
                if parent == point:
                    break
                parent = os.path.dirname(parent)
            return list(found)
    return []
