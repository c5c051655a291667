"""An embedded Mesos: a master and agents, processes of their own, behind the real v1 HTTP API on loopback.

`LocalMesos` starts a cluster that lives and dies with its caller; `shared` and its kin keep one cluster a user.
This module is light to import; the cluster's own code is imported by the cluster's processes only.
"""

from __future__ import annotations

from t2notebook.localmesos.control import LocalMesos, StartError
from t2notebook.localmesos.shared import SharedHandle, SharedInfo, running, shared, spawn_shared, stop

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
