from __future__ import annotations

from typing import Any

import pytest

from t2notebook.model.job import Placement
from t2notebook.scheduler.demands import Demand
from t2notebook.scheduler.offers import Offer
from t2notebook.scheduler.totals import totals_of, verdicts
from tests.scheduler.cluster import demand, offer


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def agent(number: int, **more: Any) -> dict[str, Any]:
    """An agent as ``/slaves`` of a real Mesos 1.12 tells of it."""
    return {
        "id": f"S{number}",
        "hostname": f"h{number}",
        "attributes": {"rack": "r1", "level": 2.0},
        "active": True,
        "deactivated": False,
        "unreserved_resources_full": [
            scalar("cpus", 3.0, role="*"),
            scalar("mem", 4096.0, role="*"),
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31999}]}},
        ],
        "reserved_resources_full": {"grp": [scalar("cpus", 1.0, role="grp")], "other": [scalar("cpus", 8.0)]},
        **more,
    }


def why(agents: list[Offer], *demands: Demand, gpus: bool = True) -> str:
    found = verdicts(agents, demands, gpus)
    return found["a"].sentence if "a" in found else ""


@pytest.mark.parametrize(
    ("roles", "cpus"), [(("*",), 3000), (("grp",), 4000), (("grp/mine",), 4000), (("grp", "other"), 12000)]
)
def test_totals_are_what_the_framework_may_have(roles: tuple[str, ...], cpus: int) -> None:
    (total,) = totals_of({"slaves": [agent(1)]}, roles)
    assert (total.free["cpus"], total.free["ports"], total.host) == (cpus, 1_000_000, "h1")
    assert total.attributes == {"rack": ("r1",), "level": (2000,)}


def test_agents_that_are_going_do_not_count() -> None:
    going = [agent(1, active=False), agent(2, deactivated=True), agent(3, drain_info={"state": "DRAINING"})]
    assert [total.host for total in totals_of({"slaves": [*going, agent(4)]}, ["*"])] == ["h4"]


def test_what_fits_on_an_empty_agent_is_no_trouble() -> None:
    assert verdicts([offer(1), offer(2)], [demand(99), demand(1, cpu=3.9, job="b")]) == {}


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            demand(1, cpu=8),
            "no agent of this cluster can hold such a worker: 8.1 cpus asked, 0.1 of it for the executor, "
            "the largest of 2 agents has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do",
        ),
        (
            demand(1, cpu=4),
            "no agent of this cluster can hold such a worker: 4.1 cpus asked, 0.1 of it for the executor, "
            "the largest of 2 agents has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do",
        ),
        (
            demand(4, cpu=2, per_executor=2),
            "no agent of this cluster can hold 2 such workers in one executor: 4.1 cpus asked, 0.1 of it for the "
            "executor, the largest of 2 agents has 4.0; at most 1.95 cpus and 2016.0 MiB memory for each would do",
        ),
        (
            demand(1, ports=3),
            "no agent of this cluster can hold such a worker: 3 ports asked, the largest of 2 agents has 0",
        ),
        (
            demand(1, cpu=3, placement=Placement(nodes=("h1",)), gpus=2),
            "no agent of this cluster that it may run on can hold such a worker: 2 GPUs asked, the only one has 0",
        ),
        (
            demand(1, placement=Placement(nodes=("h7", "h8"))),
            "no agent of this cluster is among the nodes h7, h8; there are h1, h2",
        ),
        (
            demand(1, placement=Placement(where="rack=r9")),
            "no agent of this cluster satisfies rack=r9; rack is r1, r2",
        ),
        (
            demand(1, placement=Placement(where="shelf=1")),
            "no agent of this cluster satisfies shelf=1; none has shelf",
        ),
        (
            demand(1, placement=Placement(where="rack=r1,zone=a")),
            "no agent of this cluster satisfies all of rack=r1,zone=a",
        ),
        (
            demand(8, placement=Placement(gang=True)),
            "this cluster cannot hold the whole gang: 6 of 8 workers would fit on its 2 agents if nothing else ran "
            "there",
        ),
        (
            demand(3, placement=Placement(gang=True, where="unique:hostname")),
            "this cluster cannot hold the whole gang: 2 of 3 workers would fit on its 2 agents if nothing else ran "
            "there",
        ),
    ],
)
def test_what_can_never_fit_is_said_in_one_sentence(wanted: Demand, sentence: str) -> None:
    assert why([offer(1), offer(2)], wanted) == sentence


def test_two_things_that_no_agent_has_at_once() -> None:
    agents = [offer(1, 4.0, 64_000), offer(2, 64.0, 4096)]
    wanted = demand(1, cpu=16, placement=Placement())
    large = Demand("a", [0], type(wanted.resource)(cpu=16, ram_mega_bytes=32_000))
    assert why(agents, wanted) == ""
    assert why(agents, large) == (
        "no agent of this cluster can hold such a worker: none of 2 agents has 16.1 cpus and 32064.0 MiB memory at "
        "once; at most 3.9 cpus and 63936.0 MiB memory for a worker would do"
    )


def test_without_agents_or_without_gpus_that_is_said() -> None:
    assert why([], demand(1)) == "this cluster has no agents"
    assert why([offer(1, gpus=4)], demand(1, gpus=1), gpus=False).startswith(
        "GPUs are asked for, and Mesos offers none"
    )
    assert why([offer(1, gpus=4)], demand(1, gpus=1)) == ""


def test_there_is_a_row_for_every_agent() -> None:
    verdict = verdicts([offer(1), offer(2, 2.0)], [demand(1, cpu=8)])["a"]
    assert [(row.host, row.lacked, row.offered, row.asked) for row in verdict.refusals] == [
        ("h2", "cpus", 2.0, 8.1),
        ("h1", "cpus", 4.0, 8.1),
    ]
    assert verdict.refusals[0].message == "h2: 2.0 cpus in all, 8.1 asked, 0.1 of it for the executor"


def test_one_hopeless_kind_of_worker_makes_the_job_hopeless_and_no_other() -> None:
    mixed = [demand([0]), demand([1], cpu=64), demand(1, job="b")]
    assert set(verdicts([offer(1)], mixed)) == {"a"}
