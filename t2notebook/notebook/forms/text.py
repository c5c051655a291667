"""A forecast as lines for a terminal, and what earlier jobs have used as a hint. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...views.form_state import agents_text, fits_text, plan_text
from ...views.resource_values import ResourceValues
from ...views.snapshot import mebibytes
from ..rendering.text import align

#: Agents that are listed in text.
SHOWN = 20


def forecast_text(found: Mapping[str, Any], values: ResourceValues) -> str:
    """Return all of it as lines, for a terminal."""
    total, used = found["total"], found["used"]
    facts = [
        f"{agents_text(found['number_of_agents'])} of {found['master']}: "
        f"{used['cpus']:.4g} of {total['cpus']:.4g} cpus and {mebibytes(used['mem'])} of {mebibytes(total['mem'])} used"
    ]
    if found["absent"]:
        facts.append(f"{agents_text(found['absent'])} more cannot be used now")
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
            lines.append(f"... and {agents_text(left)} more")
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


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
