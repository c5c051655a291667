"""Metrics that master and agent share: resources and the system."""

from __future__ import annotations

import os
import re

from ..common.resources import Resources

RESOURCES = ("cpus", "gpus", "mem", "disk")


def of_resources(who: str, total: Resources, used: Resources) -> dict[str, float]:
    """Give a master's or a slave's totals; nothing here is revocable.

    Parameters
    ----------
    who
        "master" or "slave": the names' prefix.
    """
    metrics = {}
    for name in RESOURCES:
        amount = total.amount(name)
        metrics[f"{who}/{name}_total"] = amount
        metrics[f"{who}/{name}_used"] = used.amount(name)
        metrics[f"{who}/{name}_percent"] = used.amount(name) / amount if amount else 0.0
        metrics |= {f"{who}/{name}_revocable_{one}": 0.0 for one in ("total", "used", "percent")}
    return metrics


def of_system() -> dict[str, float]:
    """Give the machine's metrics, as far as it tells them."""
    metrics = {"system/cpus_total": float(os.cpu_count() or 0)}
    try:
        names = ("system/load_1min", "system/load_5min", "system/load_15min")
        metrics |= dict(zip(names, os.getloadavg(), strict=True))
        page = os.sysconf("SC_PAGE_SIZE")
        metrics["system/mem_total_bytes"] = float(page * os.sysconf("SC_PHYS_PAGES"))
        metrics["system/mem_free_bytes"] = float(page * os.sysconf("SC_AVPHYS_PAGES"))
    except (OSError, ValueError):
        pass
    return metrics


def timeout_fault(text: str | None) -> str | None:
    """Say in Mesos's words what is wrong with a timeout ("5secs"); None if nothing is, or if there is none."""
    if text is None:
        return None
    number, unit = re.fullmatch(r"([\d.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if not unit:
        fault = f"Invalid duration '{text}'"
    elif not re.fullmatch(r"\d+\.?\d*|\.\d+", number):
        fault = f"Failed to convert '{number}' to number"
    elif unit not in _UNITS:
        *most, last = (f"'{one}'" for one in _UNITS)
        fault = f"Unknown duration unit '{unit}'; supported units are {', '.join(most)}, and {last}"
    else:
        return None
    return f"Invalid timeout '{text}': {fault}.\n"


_UNITS = ("ns", "us", "ms", "secs", "mins", "hrs", "days", "weeks")
