"""Metrics of a master and of the machine for /metrics/snapshot: gauges, and counts of events of agents and tasks.

The names are Mesos's; which of its names are missing, and why, stands in `docs/embedded-mesos-differences.md`.
"""

from __future__ import annotations

from ..common.task_states import TERMINAL
from ..http.metrics import of_resources, of_system
from .state import MasterState, sum_of

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
        "master/elected": 0.0 if master.elected is None else 1.0,
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
