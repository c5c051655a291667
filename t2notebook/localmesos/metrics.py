"""What /metrics/snapshot says of a master and of the machine: gauges, and counts of what happened to agents and tasks.

The names are Mesos's; which of its names are missing, and why, stands in `tests/localmesos/known_differences.md`.
"""

from __future__ import annotations

import os
import re

from t2notebook.localmesos.master_state import MasterState, sum_of
from t2notebook.localmesos.records import TERMINAL
from t2notebook.localmesos.resources import Resources

RESOURCES = ("cpus", "gpus", "mem", "disk")

_COUNTED = (
    *("slave_registrations", "slave_reregistrations", "slave_removals", "slave_removals/reason_registered"),
    *("slave_removals/reason_unhealthy", "slave_removals/reason_unregistered", "recovery_slave_removals"),
    *("slave_unreachable_scheduled", "slave_unreachable_completed", "slave_unreachable_canceled"),
    *("slave_shutdowns_scheduled", "slave_shutdowns_completed", "slave_shutdowns_canceled"),
)


def of_master(master: MasterState) -> dict[str, float]:
    """Give a master's metrics, by name."""
    agents = [agent for agent in master.agents.values() if agent.reachable]
    connected = float(sum(agent.link is not None for agent in agents))
    frameworks = master.frameworks.values()
    subscribed = float(sum(framework.connected for framework in frameworks))
    metrics: dict[str, float] = {
        "allocator/mesos/offer_filters/roles/*/active": float(master.allocator.filters_active()),
        "master/elected": 1.0,
        "master/uptime_secs": master.wall() - master.started,
        "master/outstanding_offers": float(len(master.offers)),
        "master/operator_event_stream_subscribers": float(len(master.operators)),
        "master/slaves_active": connected,
        "master/slaves_connected": connected,
        "master/slaves_disconnected": len(agents) - connected,
        "master/slaves_inactive": 0.0,
        "master/slaves_unreachable": float(len(master.agents) - len(agents) + len(master.unreachable_ids)),
        "master/frameworks_active": subscribed,
        "master/frameworks_connected": subscribed,
        "master/frameworks_disconnected": len(frameworks) - subscribed,
        "master/frameworks_inactive": 0.0,
    }
    total, used = sum_of(one.total for one in agents), sum_of(one.allocated() for one in agents)
    metrics |= of_resources("master", total, used)
    offered = sum_of(offer.resources for offer in master.offers.values())
    for name in ("cpus", "mem", "disk"):
        held = used.amount(name) + offered.amount(name)
        metrics[f"allocator/mesos/resources/{name}/total"] = total.amount(name)
        metrics[f"allocator/mesos/resources/{name}/offered_or_allocated"] = held
    tasks = [task.state for framework in frameworks for task in framework.tasks.values()]
    for state in ("staging", "starting", "running", "killing"):
        metrics[f"master/tasks_{state}"] = float(tasks.count(f"TASK_{state.upper()}"))
    metrics["master/tasks_unreachable"] = float(sum(len(one.unreachable) for one in frameworks))
    for name in (*_COUNTED, *(state.lower().replace("task_", "tasks_") for state in TERMINAL)):
        metrics[f"master/{name}"] = float(master.counters.get(name, 0))
    return dict(sorted({**metrics, **of_system()}.items()))


def of_resources(who: str, total: Resources, used: Resources) -> dict[str, float]:
    """Give a master's or a slave's totals; nothing here is revocable."""
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
