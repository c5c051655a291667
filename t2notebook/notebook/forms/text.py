"""A forecast in words: what fits, and what the agents have. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...views.snapshot import mebibytes
from ..rendering.text import align
from .values import ResourceValues

#: Agents that are listed in text.
SHOWN = 20


def fits_text(found: Mapping[str, Any], values: ResourceValues) -> str:
    """Say how many workers of a size fit now and later.

    Parameters
    ----------
    found : mapping
        What `t2notebook.client.forecasts.forecast` returned.
    values : ResourceValues
    """
    now, later = found["now"], found["later"]
    if not later["workers"]:
        return f"No agent can hold a worker of this size{_largest(found)}."
    text = f"Fits now: {_workers(now['workers'])} of this size"
    text += f" on {_agents(now['agents'])}" if now["workers"] else ""
    if later["workers"] > now["workers"]:
        text += f"; {later['workers']:,} after running tasks end"
    if found["quota"]:
        text += f" (the quota of the role {found['quota']} bounds it)"
    return f"{text}."


def tone(found: Mapping[str, Any], values: ResourceValues) -> str:
    """Return ``good`` if all workers start now, ``waiting`` if some have to wait, ``bad`` if not all ever fit."""
    if values.workers <= found["now"]["workers"]:
        return "good"
    return "waiting" if values.workers <= found["later"]["workers"] else "bad"


def plan_text(found: Mapping[str, Any], values: ResourceValues) -> str:
    """Say what would become of the workers that are asked for; empty if all start at once."""
    now, later = found["now"]["workers"], found["later"]["workers"]
    if values.workers <= now or not later:
        return ""
    if values.workers <= later:
        return f"Of {values.workers:,} workers, {now:,} start at once; the others wait until something ends."
    return (
        f"Of {values.workers:,} workers, never more than {later:,} run at the same time: the others wait until "
        "some of these have ended."
    )


def forecast_text(found: Mapping[str, Any], values: ResourceValues) -> str:
    """Return all of it as lines, for a terminal."""
    total, used = found["total"], found["used"]
    facts = [
        f"{_agents(found['number_of_agents'])} of {found['master']}: "
        f"{used['cpus']:.4g} of {total['cpus']:.4g} cpus and {mebibytes(used['mem'])} of {mebibytes(total['mem'])} used"
    ]
    if found["absent"]:
        facts.append(f"{_agents(found['absent'])} more cannot be used now")
    lines = [*facts, fits_text(found, values)]
    if text := plan_text(found, values):
        lines.append(text)
    lines.append("(an upper bound: others may be quicker, and Mesos may hold something back for them)")
    agents = found["agents"][:SHOWN]
    if agents:
        rows = [["host", "cpus used", "memory used", "planned", "waiting"]]
        for one in agents:
            cpus = f"{one['used']['cpus']:.4g} of {one['total']['cpus']:.4g}"
            mem = f"{mebibytes(one['used']['mem'])} of {mebibytes(one['total']['mem'])}"
            rows.append([one["host"], cpus, mem, _number(one["planned"]), _number(one["waiting"])])
        lines += ["", *align(rows, right=[False, False, False, True, True])]
        if (left := found["number_of_agents"] - len(agents)) > 0:
            lines.append(f"... and {_agents(left)} more")
    return "\n".join(lines)


def hint(advice: str) -> dict[str, Any]:
    """Return what earlier jobs of a name have used as text, and the ``cpus`` and ``ram`` that would do; nothing of
    nothing.
    """
    if not advice:
        return {}
    first = advice.partition("; ")[0]
    found: dict[str, Any] = {"text": f"The last job of this name {first}."}
    for option, amount in re.findall(r"--(cpus|ram) ([0-9.]+)", first):
        found[option] = float(amount)
    return found


def _largest(found: Mapping[str, Any]) -> str:
    largest = found["largest"]
    if largest["cpus"] <= 0:
        return ""
    have = [f"{largest['cpus']:.4g} cpus", f"{mebibytes(largest['mem'])} of memory"]
    if largest["gpus"]:
        have.append(f"{largest['gpus']:g} GPUs")
    return f": one can have {' and '.join(have)} at the most, though maybe not on the same agent"


def _workers(count: int) -> str:
    return f"{count:,} worker{'s' * (count != 1)}"


def _agents(count: int) -> str:
    return f"{count:,} agent{'s' * (count != 1)}"


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
