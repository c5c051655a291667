"""State of the resource form as its view draws it: what is chosen, and in words what of it fits. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .resource_values import ResourceValues
from .snapshot import mebibytes


def form_state(
    values: ResourceValues,
    line: str,
    sequence: int = 0,
    *,
    found: Mapping[str, Any] | None = None,
    trouble: str = "",
) -> dict[str, Any]:
    """Return the state of a form, as its view draws it, without what only a kernel has to say.

    Parameters
    ----------
    values : ResourceValues
    line : str
        The first line of a cell that asks for the same.
    sequence : int
        The page's number of these values.
    found : mapping, optional
        What `t2notebook.client.forecasts.forecast` returned.
    trouble : str
        Why there is no such answer.
    """
    return {
        "values": values.to_dict(),
        "sequence": sequence,
        "line": line,
        "cell": "",
        "problem": "",
        "notice": "",
        "forecast": found,
        "trouble": trouble,
        "fits": fits_text(found, values) if found else "",
        "plan": plan_text(found, values) if found else "",
        "tone": tone(found, values) if found else "",
        "hint": {},
        "submits": 0,
    }


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
    text += f" on {agents_text(now['agents'])}" if now["workers"] else ""
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


def agents_text(count: int) -> str:
    """Return a number of agents in words."""
    return f"{count:,} agent{'s' * (count != 1)}"


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
