"""The clusters that living sessions are subscribed to, and the embedded one: what they have, and what of it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..client.cluster import cluster_info, embedded_page, page_through
from ..client.session_http import Connection, SessionStopped
from ..model.errors import Twister2Error

#: Of a master's metrics (Mesos, ``docs/monitoring.md``).
FIGURES = (
    "slaves_active",
    "cpus_total",
    "cpus_used",
    "mem_total",
    "mem_used",
    "gpus_total",
    "gpus_used",
    "tasks_running",
)


def clusters(sessions: Iterable[Connection]) -> list[dict[str, Any]]:
    """Return one record a master, with its figures or with ``error``, why there are none.

    Parameters
    ----------
    sessions : iterable of Connection
        To the living sessions; only a session has what it takes to be let in by its master.
    """
    found: dict[str, dict[str, Any]] = {}
    silent = ""
    for connection in sessions:
        try:
            # A session does not know the embedded cluster's address from the beginning.
            master = str(connection.get("/v1/info")["master"])
        except SessionStopped as error:
            silent = str(error)
            continue
        except Twister2Error:
            continue  # it has just ended
        record = found.setdefault(
            master, {"master": master, "sessions": 0, "is_embedded": False, "error": ""}
        )
        record["sessions"] += 1
        if "cpus_total" in record:
            continue
        try:
            metrics = connection.get("/v1/cluster")
        except Twister2Error as error:
            record["error"] = str(error)
            continue
        record["error"] = ""
        record.update({name: metrics.get(f"master/{name}", 0.0) for name in FIGURES})
    if info := cluster_info():
        record = found.setdefault(
            str(info["master"]),
            {"master": str(info["master"]), "sessions": 0, "error": silent or "no session uses it now"},
        )
        record["is_embedded"] = True
    return sorted(found.values(), key=lambda record: str(record["master"]))


def cluster_page(sessions: Iterable[Connection], master: str) -> dict[str, Any]:
    """Return the page of a master, as `t2notebook.client.cluster.cluster_page` does in a kernel.

    Parameters
    ----------
    sessions : iterable of Connection
        To the living sessions.
    master : str
        Its address; ``local`` is the embedded one, wherever it is now.

    Returns
    -------
    dict
        Empty where nobody knows this master.

    Raises
    ------
    Twister2Error
        When the master is known, and does not answer; why.
    """
    page = through_session(sessions, master, page_through)
    if page is None and (info := cluster_info()) is not None and master in ("local", str(info["master"])):
        return embedded_page()
    return page or {}


def through_session(
    sessions: Iterable[Connection], master: str, ask: Callable[[Connection], dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the answer of a session that is subscribed to a master; None where there is none.

    Parameters
    ----------
    sessions : iterable of Connection
    master : str
        Its address; ``local`` is the embedded one; ``session-KEY`` that of the kernel's own session, by its place.
    ask : callable
        What to ask the session.

    Raises
    ------
    Twister2Error
        When those that there are do not answer; why.
    """
    trouble: Twister2Error | None = None
    for connection in sessions:
        try:
            info = connection.get("/v1/info")
            is_its = master == str(info["master"]) or (master == str(info["config"]["master"]) == "local")
            if is_its or (master.startswith("session-") and connection.path.name.startswith(master)):
                return ask(connection)
        except Twister2Error as error:  # another session may tell
            trouble = error
    if trouble is not None:
        raise trouble
    return None
