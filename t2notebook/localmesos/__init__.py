"""An embedded Mesos: a master and agents, processes of their own, behind the real v1 HTTP API on loopback.

`LocalMesos` starts a cluster that lives and dies with its caller; `shared` and its kin keep one cluster a user.
Names are imported on first use: the cluster's own processes import this package, too, and need none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster.local_mesos import LocalMesos
    from .cluster.shared import SharedHandle, SharedInfo, running, shared, spawn_shared, stop
    from .cluster.spawn import StartError

__all__ = [
    "LocalMesos",
    "SharedHandle",
    "SharedInfo",
    "StartError",
    "running",
    "shared",
    "spawn_shared",
    "stop",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = {"LocalMesos": "local_mesos", "StartError": "spawn"}.get(name, "shared")
    value = getattr(import_module(f"{__name__}.cluster.{home}"), name)
    globals()[name] = value
    return value
