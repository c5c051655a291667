"""How many workers fit: what is said is what matching would place."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.job import MAX, Placement
from t2notebook.scheduler.placement.cluster_inventory import AgentReport, Cluster, RoleReport
from t2notebook.scheduler.placement.forecast import attributes_of_cluster, forecast
from t2notebook.scheduler.placement.matcher import match
from t2notebook.scheduler.placement.requests import RunningExecutor
from tests.scheduler.placement.cluster import offer, request

OVERHEAD = 0.1


def cluster(*cpus: float, used: dict[int, float] | None = None, **fields: Any) -> Cluster:
    """Return agents that hold so many whole cpus of workers each, in one executor."""
    reports = [
        AgentReport(offer(number, some + OVERHEAD), used={"cpus": round(1000 * (used or {}).get(number, 0))})
        for number, some in enumerate(cpus)
    ]
    return Cluster(tuple(reports), **fields)


def test_now_and_later() -> None:
    found = forecast(cluster(4, 4, 8, used={2: 8.1}), request(6), gpus=False)
    assert (found.now.workers, found.now.agents) == (8, 2)
    assert (found.later.workers, found.later.agents) == (16, 3)
    assert sum(found.planned.values()) == 6 and not found.waiting and not found.quota
    assert found.largest["cpus"] == 8000


def test_workers_that_have_to_wait_are_where_something_ends() -> None:
    found = forecast(cluster(4, 4, used={1: 4.1}), request(6), gpus=False)
    assert (found.planned, found.waiting) == ({"S0": 4}, {"S1": 2})


def test_what_fits_nowhere_is_said_so() -> None:
    found = forecast(cluster(4, 4), request(1, cpu=5), gpus=False)
    assert (found.now.workers, found.later.workers, found.planned, found.waiting) == (0, 0, {}, {})


def test_a_warm_executor_needs_nothing_more_for_itself() -> None:
    busy = cluster(4, used={0: OVERHEAD})
    assert forecast(busy, request(1), gpus=False).now.workers == 3
    warm = RunningExecutor("e", "S0")
    assert forecast(busy, request(1), [warm], gpus=False).now.workers == 4


def test_an_executor_of_another_job_is_no_help() -> None:
    busy = cluster(4, used={0: OVERHEAD})
    assert forecast(busy, request(1), [RunningExecutor("e", "S0", "b", 1)], gpus=False).now.workers == 3


def test_a_quota_bounds_what_fits_now() -> None:
    role = RoleReport({"cpus": 3100}, {}, {"cpus": 1000})
    found = forecast(cluster(4, 4, own_roles=("ads",), roles={"ads": role}), request(1), gpus=False)
    assert (found.now.workers, found.quota) == (2, "ads")
    assert found.later.workers == 8


def test_agents_that_take_nothing_do_not_count() -> None:
    away = AgentReport(offer(1, 4 + OVERHEAD), absent="is deactivated")
    found = forecast(Cluster((*cluster(4).agents, away)), request(1), gpus=False)
    assert (found.now.workers, found.later.workers) == (4, 4)


def test_attributes_are_what_there_is_to_choose_from() -> None:
    assert attributes_of_cluster(cluster(1, 1, 1, 1), gpus=False) == {
        "rack": ["r0", "r1", "r2"],
        "zone": ["a", "b"],
    }


def test_spread_over_a_small_and_a_large_agent() -> None:
    spread = Placement(where="spread:hostname")
    found = forecast(cluster(4, 2), request(1, placement=spread), gpus=False)
    assert found.now.workers == 5  # of six, three would have to be on the small one
    unique = Placement(where="unique:hostname")
    assert forecast(cluster(4, 2), request(1, placement=unique), gpus=False).now.workers == 2


PLACEMENTS = st.sampled_from(["", "rack=r1", "zone!=a", "unique:hostname", "unique:rack"])


@given(
    cpus=st.lists(st.integers(0, 6), max_size=6),
    workers=st.integers(1, 30),
    cpu=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    each=st.sampled_from([1, 2, MAX]),
    where=PLACEMENTS,
)
def test_what_is_planned_is_what_would_be_launched(
    cpus: list[int], workers: int, cpu: float, each: int | str, where: str
) -> None:
    agents = cluster(*cpus)
    asked = request(workers, cpu, each, placement=Placement(where=where))
    found = forecast(agents, asked, gpus=False)
    free = [one.left() for one in agents.agents]
    plan = match(free, [asked], gpus=False)
    launched: dict[str, int] = {}
    for launch in plan.launches:
        launched[launch.agent] = launched.get(launch.agent, 0) + 1
    assert found.planned == launched
    # An executor is opened for whole groups only, but for a job's last one.
    if each == 2:
        assert sum(launched.values()) <= found.now.workers + 1
        return
    assert sum(launched.values()) == min(workers, found.now.workers)
    more = request(found.now.workers + 1, cpu, each, placement=Placement(where=where))
    assert len(list(match(free, [more], gpus=False).launches)) == found.now.workers
