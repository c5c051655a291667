"""The master's page at /: agents, frameworks, tasks; plain HTML without scripts."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence

from t2notebook.localmesos.master_state import VERSION, MasterState
from t2notebook.localmesos.records import Agent
from t2notebook.localmesos.resources import Resources


def page(master: MasterState) -> str:
    """Give the page."""
    alive, unreachable, done = master.all_tasks()
    agents = [
        (a.id, f"{a.hostname}:{a.info['port']}", _short(a.total), _short(a.allocated()), _status_of(a))
        for a in master.agents.values()
    ]
    frameworks = [
        (
            f.id,
            f.info["name"],
            f.info["user"],
            "connected" if f.connected else "waiting",
            str(len(f.tasks)),
        )
        for f in master.frameworks.values()
    ]
    tasks = [
        (t.id, t.name, t.state, t.agent_id, _short(t.resources))
        for t in (*alive, *unreachable, *reversed(done))
    ]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mesos (embedded)</title>"
        "<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}"
        "th,td{text-align:left;padding:.2em .8em;border-bottom:1px solid #ccc}</style>"
        f"<h1>Mesos {VERSION} (embedded)</h1><p>Master {html.escape(master.id)} "
        f"at {html.escape(master.ip)}:{master.port}, since {time.ctime(master.started)}</p>"
        + _table("Agents", ("id", "address", "has", "used", "state"), agents)
        + _table("Frameworks", ("id", "name", "user", "state", "tasks"), frameworks)
        + _table("Tasks", ("id", "name", "state", "agent", "resources"), tasks[:200])
    )


def _status_of(agent: Agent) -> str:
    if not agent.reachable:
        return "unreachable"
    return "active" if agent.link is not None else "disconnected"


def _short(resources: Resources) -> str:
    return f"{resources.amount('cpus'):g} cpus, {resources.amount('mem'):g} MiB"


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}{body}</table>"
