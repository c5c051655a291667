"""The task of a Dask scheduler's process, which it is given as a record: where it listens, for whom, and how long."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dask

from . import certificates, network, options, scheduler_link, scheduler_process, settings

#: Seconds for which a dead kernel's cluster is kept.
GRACE = 5.0


def make(
    name: str,
    listen: network.ListenAddress,
    keys: Mapping[str, str] | None,
    dashboard_address: str | None,
    scheduler_options: Mapping[str, Any],
    *,
    detach: bool,
    state: Mapping[str, Any],
) -> dict[str, Any]:
    """Return such a task, JSON-ready.

    Parameters
    ----------
    name : str
        The cluster's.
    listen : ListenAddress
    keys : mapping or None
        The cluster's certificates and keys; without, there is no TLS.
    dashboard_address : str or None
        ``host:port``; None: no dashboard.
    scheduler_options : mapping
        Further arguments of `distributed.Scheduler`.
    detach : bool
        Whether it goes on without its kernel.
    state : mapping
        All that another kernel would need to take the cluster over.
    """
    path = scheduler_link.socket_path(name)
    roles = ("scheduler", "client", "worker")
    return {
        "name": name,
        "pid": os.getpid(),
        "socket": str(path),
        "log": str(scheduler_link.log_path(path)),
        "path": scheduler_process.module_path(),
        "host": listen.bind,
        "contact_host": listen.advertise,
        "keys": certificates.of_role(keys, *roles) if keys else None,
        "dashboard_address": _dashboard(dashboard_address),
        "options": options.pack(scheduler_options, "scheduler_options"),
        "dask": settings.dask_settings(),
        "grace": float(dask.config.get("t2notebook.grace", GRACE)),
        "detach": detach,
        "state": dict(state),
    }


def _dashboard(address: str | None) -> str | None:
    """Return where the dashboard listens: on this machine only, unless a host is given."""
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    return f"{host or '127.0.0.1'}:{port}"
