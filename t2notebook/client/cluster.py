"""The Mesos cluster that jobs go to: what it has and runs; starting and ending the embedded one."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from ..config import get_config, runtime_dir
from ..journal import is_owned, read_unfinished, session_directories
from ..mesos.cluster_page import ENDPOINTS, read_page
from ..model.errors import SessionError, Twister2Error
from ..model.overhead import with_executors
from . import locator
from .session_http import Connection
from .session_link import open_links

TIMEOUT = 5.0


def cluster_info() -> dict[str, Any] | None:
    """Return ``master``, ``pid`` of the user's embedded Mesos, or None if it does not run."""
    from ..localmesos import running

    info = running(runtime_dir())
    return None if info is None else {"master": info.master, "pid": info.pid}


def cluster_figures() -> dict[str, float]:
    """Return what the master that jobs go to has and runs; nothing if it cannot be asked now.

    Returns
    -------
    dict
        Of its metrics (Mesos, ``docs/monitoring.md``), without ``master/``: ``slaves_active``, ``cpus_total``,
        ``cpus_used``, ``mem_total`` (MiB), ``tasks_running``, ``frameworks_active``, ...
    """
    master = get_config().master
    try:
        if master != "local":
            # Only a session has what it takes to be let in.
            links = [link for link in open_links() if link.session["config"]["master"] == master]
            metrics = links[0].reach().get("/v1/cluster") if links else {}
        elif info := cluster_info():
            metrics = _ask(info["master"], "/metrics/snapshot")
        else:
            metrics = {}
    except (OSError, ValueError, Twister2Error):
        return {}
    return _of_master(metrics)


def cluster_page() -> dict[str, Any]:
    """Return what the page of the master that jobs go to shows; nothing if no master can be asked now.

    Returns
    -------
    dict
        As `t2notebook.mesos.cluster_page.read_page` says, and ``master``.

    Raises
    ------
    SessionError
        When the master does not answer; why.
    """
    master = get_config().master
    links = [link for link in open_links() if link.session["config"]["master"] == master]
    if links:
        return page_through(links[0].reach())
    return embedded_page() if master == "local" else {}


def page_through(connection: Connection) -> dict[str, Any]:
    """Return the page of the master that a session is subscribed to.

    Parameters
    ----------
    connection : Connection
        To the session; only a session has what it takes to be let in.

    Raises
    ------
    SessionError
        When the master, or the session, does not answer; why.
    """
    answers = {what: connection.get("/v1/cluster", what=what) for what in ENDPOINTS}
    return {"master": str(connection.get("/v1/info")["master"]), **read_page(answers)}


def embedded_page() -> dict[str, Any]:
    """Return the page of the user's embedded Mesos; nothing if it does not run.

    Raises
    ------
    SessionError
        When it does not answer.
    """
    if (info := cluster_info()) is None:
        return {}
    try:
        answers = {what: _ask(info["master"], path) for what, path in ENDPOINTS.items()}
    except (OSError, ValueError) as error:
        raise SessionError(f"the embedded Mesos does not answer: {error}") from None
    return {"master": info["master"], **read_page(answers)}


def _ask(master: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{master}{path}", timeout=TIMEOUT) as answer:
        return json.load(answer)


def _of_master(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name.removeprefix("master/"): float(value)
        for name, value in metrics.items()
        if name.startswith("master/")
    }


def start_cluster(idle: float = 3600.0) -> dict[str, Any]:
    """Start the user's embedded Mesos, if it does not run, and keep it for `idle` seconds without a
    framework.
    """
    from ..localmesos import shared

    config = get_config()
    cpus, mem = with_executors(config.local_cpus, config.local_mem)
    info = shared(runtime_dir(), agents=config.local_agents, cpus=cpus, mem=mem, idle=idle)
    return {"master": info.master, "pid": info.pid, "started": info.started}


def jobs_on_cluster() -> list[str]:
    """Return the ids of the unfinished jobs, of all kernels, that run on the embedded Mesos and would end with it."""
    found: list[str] = []
    for directory in session_directories(locator.sessions()):
        with contextlib.suppress(Exception):  # not a journal that we can read
            left = read_unfinished(directory)
            if left.meta.get("master") == "local" and is_owned(left.meta):
                found += left.jobs
    return found


def stop_cluster() -> bool:
    """End the user's embedded Mesos, with all that runs on it; return whether it ran."""
    from ..localmesos import running, stop

    was = running(runtime_dir()) is not None
    stop(runtime_dir())
    for link in open_links():  # a session ends with its cluster, and takes no more jobs
        if link.session["config"]["master"] == "local":
            link.await_end(5.0)
    return was
