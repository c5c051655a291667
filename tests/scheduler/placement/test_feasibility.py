from __future__ import annotations

from typing import Any

import pytest

from t2notebook.model.job import Placement
from t2notebook.scheduler.placement.cluster_inventory import AgentReport, Cluster, read_cluster
from t2notebook.scheduler.placement.feasibility import find_infeasible, scarcities
from t2notebook.scheduler.placement.offers import Offer
from t2notebook.scheduler.placement.requests import ResourceRequest
from tests.scheduler.placement.cluster import offer, request


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


def why(agents: list[Offer], *requests: ResourceRequest, gpus: bool = True) -> str:
    found = find_infeasible(Cluster.of(agents), requests, gpus)
    return found["a"].sentence if "a" in found else ""


@pytest.mark.parametrize(
    ("roles", "cpus"), [(("*",), 3000), (("grp",), 4000), (("grp/mine",), 4000), (("grp", "other"), 12000)]
)
def test_totals_are_what_the_framework_may_have(roles: tuple[str, ...], cpus: int) -> None:
    total = read_cluster({"slaves": [agent(1)]}, roles).agents[0].total
    assert (total.free["cpus"], total.free["ports"], total.host) == (cpus, 1_000_000, "h1")
    assert total.attributes == {"rack": ("r1",), "level": (2000,)}


def test_agents_that_are_going_do_not_count() -> None:
    going = [agent(1, active=False), agent(2, deactivated=True), agent(3, drain_info={"state": "DRAINING"})]
    cluster = read_cluster({"slaves": [*going, agent(4)]}, ["*"])
    assert [one.host for one in cluster.open(gpus=False)] == ["h4"]
    assert [one.absent for one in cluster.agents] == [
        "is disconnected from the master",
        "is deactivated",
        "is being drained",
        "",
    ]


def test_what_fits_on_an_empty_agent_is_no_trouble() -> None:
    assert (
        find_infeasible(Cluster.of([offer(1), offer(2)]), [request(99), request(1, cpu=3.9, job="b")]) == {}
    )


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            request(1, cpu=8),
            "no agent of this cluster can hold such a worker: 8.1 cpus asked, 0.1 of it for the executor, "
            "the largest of 2 agents has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do",
        ),
        (
            request(1, cpu=4),
            "no agent of this cluster can hold such a worker: 4.1 cpus asked, 0.1 of it for the executor, "
            "the largest of 2 agents has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do",
        ),
        (
            request(4, cpu=2, per_executor=2),
            "no agent of this cluster can hold 2 such workers in one executor: 4.1 cpus asked, 0.1 of it for the "
            "executor, the largest of 2 agents has 4.0; at most 1.95 cpus and 2016.0 MiB memory for each would do",
        ),
        (
            request(1, ports=3),
            "no agent of this cluster can hold such a worker: 3 ports asked, the largest of 2 agents has 0",
        ),
        (
            request(1, cpu=3, placement=Placement(nodes=("h1",)), gpus=2),
            "no agent of this cluster that it may run on can hold such a worker: 2 GPUs asked, the only one has 0",
        ),
        (
            request(1, placement=Placement(nodes=("h7", "h8"))),
            "no agent of this cluster is among the nodes h7, h8; there are h1, h2",
        ),
        (
            request(1, placement=Placement(where="rack=r9")),
            "no agent of this cluster satisfies rack=r9; rack is r1, r2",
        ),
        (
            request(1, placement=Placement(where="shelf=1")),
            "no agent of this cluster satisfies shelf=1; none has shelf",
        ),
        (
            request(1, placement=Placement(where="rack=r1,zone=a")),
            "no agent of this cluster satisfies all of rack=r1,zone=a",
        ),
        (
            request(8, placement=Placement(gang=True)),
            "this cluster cannot hold the whole gang: 6 of 8 workers would fit on its 2 agents if nothing else ran "
            "there",
        ),
        (
            request(3, placement=Placement(gang=True, where="unique:hostname")),
            "this cluster cannot hold the whole gang: 2 of 3 workers would fit on its 2 agents if nothing else ran "
            "there",
        ),
    ],
)
def test_what_can_never_fit_is_said_in_one_sentence(wanted: ResourceRequest, sentence: str) -> None:
    assert why([offer(1), offer(2)], wanted) == sentence


def test_two_things_that_no_agent_has_at_once() -> None:
    agents = [offer(1, 4.0, 64_000), offer(2, 64.0, 4096)]
    wanted = request(1, cpu=16, placement=Placement())
    large = ResourceRequest("a", [0], type(wanted.resource)(cpu=16, ram_mega_bytes=32_000))
    assert why(agents, wanted) == ""
    assert why(agents, large) == (
        "no agent of this cluster can hold such a worker: none of 2 agents has 16.1 cpus and 32064.0 MiB memory at "
        "once; at most 3.9 cpus and 63936.0 MiB memory for a worker would do"
    )


def test_without_agents_or_without_gpus_that_is_said() -> None:
    assert why([], request(1)) == "this cluster has no agents"
    assert why([offer(1, gpus=4)], request(1, gpus=1), gpus=False).startswith(
        "GPUs are asked for, and Mesos offers none"
    )
    assert why([offer(1, gpus=4)], request(1, gpus=1)) == ""


def test_there_is_a_row_for_every_agent() -> None:
    infeasible = find_infeasible(Cluster.of([offer(1), offer(2, 2.0)]), [request(1, cpu=8)])["a"]
    assert [(row.host, row.lacked, row.offered, row.asked) for row in infeasible.vetoes] == [
        ("h2", "cpus", 2.0, 8.1),
        ("h1", "cpus", 4.0, 8.1),
    ]
    assert infeasible.vetoes[0].message == "h2: 2.0 cpus in all, 8.1 asked, 0.1 of it for the executor"


def test_one_hopeless_kind_of_worker_makes_the_job_hopeless_and_no_other() -> None:
    mixed = [request([0]), request([1], cpu=64), request(1, job="b")]
    assert set(find_infeasible(Cluster.of([offer(1)]), mixed)) == {"a"}


# Agents that are not offered at all.

KEPT = "and Mesos keeps such agents from this session; set t2.configure(gpus=True), then submit again"


def test_that_every_agent_has_gpus_is_said_with_what_to_do() -> None:
    cluster = Cluster.of([offer(1, gpus=4), offer(2, gpus=1)])
    infeasible = find_infeasible(cluster, [request(1)], gpus=False)["a"]
    assert infeasible.sentence == f"every agent of this cluster has GPUs, {KEPT}"
    assert [(row.host, row.lacked, row.message) for row in infeasible.vetoes] == [
        ("h1", "gpus", "h1: has 4 GPUs, so Mesos keeps it from this session; set t2.configure(gpus=True)"),
        ("h2", "gpus", "h2: has 1 GPU, so Mesos keeps it from this session; set t2.configure(gpus=True)"),
    ]
    assert find_infeasible(cluster, [request(1)], gpus=True) == {}


def test_a_master_that_does_not_filter_gpus_keeps_nothing() -> None:
    records = {
        "slaves": [
            agent(
                1, unreserved_resources_full=[scalar("gpus", 2.0), scalar("cpus", 3.0), scalar("mem", 900.0)]
            )
        ]
    }
    told = read_cluster(records, ["*"], None, {"flags": {"filter_gpu_resources": "false"}})
    assert find_infeasible(told, [request(1)], gpus=False) == {}
    assert (
        "every agent of this cluster has GPUs"
        in find_infeasible(read_cluster(records, ["*"]), [request(1)], gpus=False)["a"].sentence
    )


@pytest.mark.parametrize(
    ("gpus", "sentence"),
    [
        (False, f"h2 could hold it, but has GPUs, {KEPT}"),
        (True, ""),
    ],
)
def test_agents_with_gpus_that_would_do_are_named_beside_those_that_are_too_small(
    gpus: bool, sentence: str
) -> None:
    found = why([offer(1), offer(2, 16.0, gpus=1)], request(1, cpu=8), gpus=gpus)
    assert found.endswith(sentence)
    assert bool(found) is bool(sentence)
    assert found.count("4.0") == bool(sentence)


def away(number: int, text: str, cpus: float = 4.0) -> AgentReport:
    return AgentReport(offer(number, cpus), text)


@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        ([away(1, "is deactivated")], "no agent of this cluster takes tasks: h1 is deactivated"),
        (
            [away(1, "is being drained"), away(2, "is disconnected from the master")],
            "no agent of this cluster takes tasks: h1 is being drained, h2 is disconnected from the master",
        ),
        (
            [*(away(n, "has been drained") for n in range(4)), away(9, "is deactivated")],
            "no agent of this cluster takes tasks: 4 agents have been drained, 1 agent is deactivated",
        ),
        (
            [away(1, "is deactivated"), AgentReport(offer(2, gpus=1))],
            f"every agent of this cluster that takes tasks has GPUs, {KEPT}",
        ),
        (
            [away(1, "is deactivated", 16.0), AgentReport(offer(2))],
            "no agent of this cluster can hold such a worker: 8.1 cpus asked, 0.1 of it for the executor, "
            "the only one has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do; h1 could hold it, but "
            "is deactivated",
        ),
    ],
)
def test_agents_that_take_no_tasks_are_named(agents: list[AgentReport], sentence: str) -> None:
    infeasible = find_infeasible(Cluster(tuple(agents)), [request(1, cpu=8)], gpus=False)["a"]
    assert infeasible.sentence == sentence
    assert {row.host for row in infeasible.vetoes} == {one.host for one in agents}


@pytest.mark.parametrize(
    ("lost", "sentence"), [(0, ""), (1, "; 1 is unreachable"), (3, "; 3 are unreachable")]
)
def test_agents_that_are_unreachable_are_counted_where_no_other_is_left(lost: int, sentence: str) -> None:
    cluster = read_cluster({"slaves": []}, ["*"], None, None, {"master/slaves_unreachable": float(lost)})
    assert find_infeasible(cluster, [request(1)])["a"].sentence == f"this cluster has no agents{sentence}"


def test_a_new_master_whose_agents_have_not_returned() -> None:
    cluster = read_cluster({"slaves": [], "recovered_slaves": [{"id": "S1", "hostname": "h1"}]}, ["*"])
    sentence = "no agent of this cluster takes tasks: h1 has not returned to the new master yet"
    assert find_infeasible(cluster, [request(1)])["a"].sentence == sentence


def test_what_is_reserved_for_others_is_named_when_it_would_do() -> None:
    cluster = read_cluster({"slaves": [agent(1)]}, ["*"])
    sentence = find_infeasible(cluster, [request(1, cpu=8)])["a"].sentence
    assert sentence.endswith("would do; h1 could hold it, with what is reserved there for the role other")


# What could be had, and is not offered now.


def scarce(
    records: list[dict[str, Any]], wanted: ResourceRequest, roles: Any = None, *, gpus: bool = False
) -> str:
    cluster = read_cluster({"slaves": records}, ["mine"], roles)
    assert find_infeasible(cluster, [wanted], gpus) == {}
    infeasible = scarcities(cluster, [wanted], gpus)[wanted.job_id]
    return "; ".join(filter(None, (infeasible.sentence, infeasible.besides)))


def quotas(**more: dict[str, Any]) -> dict[str, Any]:
    return {"roles": [{"name": name, "weight": 1.0, "quota": quota} for name, quota in more.items()]}


@pytest.mark.parametrize(
    ("record", "roles", "sentence"),
    [
        (
            {"used_resources_full": [scalar("cpus", 2.5, role="*", allocation_info={"role": "b"})]},
            None,
            "nothing large enough is free: h1: 0.5 of 3.0 cpus free, 1.1 asked",
        ),
        (
            {"offered_resources_full": [scalar("cpus", 3.0, role="*", allocation_info={"role": "b"})]},
            None,
            "what is free on h1 is offered to another framework now",
        ),
        ({}, None, "h1 has room, but the master has not offered it to this session yet"),
        (
            {"used_resources_full": [scalar("cpus", 8.0, reservations=[{"role": "other"}])]},
            None,
            "h1 has room, but the master has not offered it to this session yet",
        ),
        (
            {},
            quotas(mine={"limit": {"cpus": 4.0}, "consumed": {"cpus": 3.0}}),
            "the quota of the role mine allows 4.0 cpus, of which 3.0 are in use; 1.1 more asked",
        ),
        (
            {},
            quotas(
                mine={"limit": {"cpus": 9.0}}, batch={"guarantee": {"cpus": 2.0}, "consumed": {"cpus": 1.0}}
            ),
            "h1 has room, but Mesos may hold it back for the guaranteed quota of the role batch",
        ),
        (
            {},
            quotas(batch={"guarantee": {"cpus": 2.0}, "consumed": {"cpus": 2.0}}),
            "h1 has room, but the master has not offered it to this session yet",
        ),
    ],
)
def test_why_the_master_offers_nothing_now(record: dict[str, Any], roles: Any, sentence: str) -> None:
    assert scarce([agent(1, **record)], request(1), roles) == sentence


def test_agents_with_gpus_are_named_while_the_others_are_in_use() -> None:
    busy = agent(1, used_resources_full=[scalar("cpus", 3.0)])
    idle = agent(2, unreserved_resources_full=[*agent(2)["unreserved_resources_full"], scalar("gpus", 1.0)])
    sentence = scarce([busy, idle], request(1))
    assert (
        sentence
        == f"nothing large enough is free: h1: 0.0 of 3.0 cpus free, 1.1 asked; h2 could hold it, but has GPUs, {KEPT}"
    )
    assert "GPUs" not in scarce([busy, idle], request(1), gpus=True)


def test_a_gang_that_finds_room_for_some_of_it() -> None:
    cluster = read_cluster(
        {
            "slaves": [
                agent(1, used_resources_full=[scalar("cpus", 1.5)]),
                agent(2, used_resources_full=[scalar("cpus", 3.0)]),
            ]
        },
        ["*"],
    )
    gang = request(4, placement=Placement(gang=True))
    assert (
        scarcities(cluster, [gang])["a"].sentence
        == "what is free holds some of its workers, but not the whole gang"
    )


def test_a_reason_is_found_once_for_all_that_ask_the_same_and_no_agents_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With 10,000 agents, each compared with each for each job that waits, a session did nothing else for a minute."""

    def compared(*_: Any) -> bool:
        raise AssertionError("agents are compared")

    monkeypatch.setattr(AgentReport, "__eq__", compared)
    reports = [
        AgentReport(offer(number, 4), used={"cpus": 4000 if number % 3 else 0}, offered={"cpus": 4000})
        for number in range(30)
    ]
    cluster = Cluster(tuple(reports))
    found = scarcities(cluster, [request(5, job="a"), request(5, job="b"), request(5, cpu=2, job="c")])
    assert found["a"] is found["b"] and found["c"] is not found["a"]
    assert found["a"].sentence.startswith("what is free on h0, h12, h15")
    lacked = [veto.lacked for veto in found["a"].vetoes]
    assert (lacked.count("cpus"), lacked.count("offer")) == (20, 10)
