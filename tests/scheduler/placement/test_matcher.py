from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.container_image import ContainerImage
from t2notebook.model.job import MAX, Placement
from t2notebook.scheduler.placement.host_health import Excluded
from t2notebook.scheduler.placement.matcher import match
from t2notebook.scheduler.placement.offers import Offer
from t2notebook.scheduler.placement.requests import ResourceRequest, RunningExecutor, WorkerLocation
from tests.scheduler.placement import cluster
from tests.scheduler.placement.cluster import check, hosts, messages, offer, placed, request


def where(text: str, *nodes: str) -> Placement:
    return Placement(nodes, text)


def test_an_offer_takes_as_many_as_fit_with_the_executor_counted() -> None:
    plan = match([offer(1), offer(2), offer(3)], [request(4)])
    assert Counter(hosts(plan)) == {"h1": 3, "h2": 1}
    assert [declined.id for declined in plan.declined] == ["O3"]
    assert plan.vetoes == []


def test_workers_share_executors_exactly_as_asked() -> None:
    plan = match([offer(1, 8.0)], [request(5, per_executor=2)])
    assert sorted(Counter(executor for _, executor, _ in placed(plan)).values()) == [1, 2, 2]


def test_an_executor_is_not_split_where_agents_are_small() -> None:
    """Before, an agent with room for one of two was given one, and no executor held the two that were asked for."""
    plan = match([offer(1, 1.5), offer(2, 3.0), offer(3, 1.5)], [request(4, per_executor=2)])
    assert placed(plan) == [("h2", "executor-0", 0), ("h2", "executor-0", 1)]
    assert messages(plan) == [
        "h1: 1.5 cpus free, 2.1 asked for 2 workers of one executor, 0.1 of it for the executor",
        "h3: 1.5 cpus free, 2.1 asked for 2 workers of one executor, 0.1 of it for the executor",
        "h2: 0.9 cpus free, 2.1 asked for 2 workers of one executor, 0.1 of it for the executor",
    ]


def test_an_agent_with_a_waiting_executor_comes_first_and_needs_no_overhead() -> None:
    warm = RunningExecutor("t2-7", "S2")
    plan = match([offer(1, 3.0), offer(2, 4.0)], [request(4)], [warm])
    assert placed(plan) == [("h2", "t2-7", worker) for worker in range(4)]


def test_an_executor_is_shared_only_by_workers_of_its_image() -> None:
    image = ContainerImage("python:3.12-slim")
    plain, other = RunningExecutor("t2-1", "S1"), RunningExecutor("t2-2", "S1", image=ContainerImage("b"))
    plan = match([offer(1)], [request(1, image=image.name)], [plain, other])
    assert placed(plan) == [("h1", "executor-0", 0)]
    plan = match(
        [offer(1)], [request(1, image=image.name)], [plain, RunningExecutor("t2-3", "S1", image=image)]
    )
    assert placed(plan) == [("h1", "t2-3", 0)]
    mine = RunningExecutor("t2-4", "S1", "a", 1, image=image)
    assert placed(match([offer(1)], [request([1])], [mine])) == [("h1", "executor-0", 1)]
    assert placed(match([offer(1)], [request([1], image=image.name)], [mine])) == [("h1", "t2-4", 1)]


def test_a_waiting_executor_of_another_image_leaves_the_overhead_to_be_had() -> None:
    warm = RunningExecutor("t2-1", "S1", image=ContainerImage("a"))
    plan = match([offer(1, 1.0)], [request(1)], [warm])
    assert messages(plan) == ["h1: 1.0 cpus free, 1.1 asked, 0.1 of it for the executor"]
    assert hosts(match([offer(1, 1.0)], [request(1, image="a")], [warm])) == ["h1"]


def test_an_executor_of_this_job_with_room_comes_before_a_warm_one() -> None:
    mine = RunningExecutor("t2-1", "S1", "a", 1, limit=2)
    plan = match([offer(1), offer(2)], [request(2, per_executor=2)], [mine, RunningExecutor("t2-2", "S2")])
    assert placed(plan) == [("h1", "t2-1", 0), ("h2", "t2-2", 1)]


def test_an_executor_keeps_the_smallest_limit_of_its_workers() -> None:
    full = RunningExecutor("t2-1", "S1", "a", 1, limit=1)
    plan = match([offer(1)], [request(1, per_executor=4)], [full])
    assert [executor for _, executor, _ in placed(plan)] == ["executor-0"]


@pytest.mark.parametrize(
    "executor",
    [
        RunningExecutor("t2-7", "S1", job_id="b", workers=1),
        RunningExecutor("t2-7", "S1", role="another"),
    ],
)
def test_an_executor_of_another_job_or_role_is_not_used(executor: RunningExecutor) -> None:
    plan = match([replace(offer(1), role="mine")], [request(1)], [executor])
    assert [executor for _, executor, _ in placed(plan)] == ["executor-0"]


def test_the_smallest_hole_that_fits_is_filled_first() -> None:
    plan = match(
        [offer(1, 16), offer(2, 2), offer(3, 8, 64), offer(4, 4)], [request(1), request(1, cpu=3, job="b")]
    )
    assert dict(zip(["a", "b"], hosts(plan), strict=True)) == {"a": "h2", "b": "h4"}


def test_large_in_memory_is_large_too() -> None:
    """By dominant share, not by cpus: an agent with little of everything comes first."""
    plan = match([offer(1, 2, 64_000), offer(2, 4, 1024), offer(3, 16, 4096)], [request(1)])
    assert hosts(plan) == ["h2"]


def test_a_refusal_says_what_was_lacking() -> None:
    plan = match([offer(3, 2.0)], [request(1, cpu=4)])
    assert messages(plan) == ["h3: 2.0 cpus free, 4.1 asked, 0.1 of it for the executor"]
    assert [declined.id for declined in plan.declined] == ["O3"]
    warm = match([offer(3, 2.0)], [request(1, cpu=4)], [RunningExecutor("t2-1", "S3")])
    assert messages(warm) == ["h3: 2.0 cpus free, 4.0 asked"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (request(1, placement=where("rack=r1")), "h3: rack is r0, r1 asked"),
        (request(1, placement=where("rack=r1|r2")), "h3: rack is r0, r1 or r2 asked"),
        (request(1, placement=where("rack!=r0")), "h3: rack is r0, any but r0 asked"),
        (request(1, placement=where("shelf=2")), "h3: has no attribute shelf, 2 asked"),
        (request(1, placement=where("unique:shelf")), "h3: has no attribute shelf, unique:shelf asked"),
        (request(1, placement=where("", "h1", "h2")), "h3: not among the nodes h1, h2"),
        (request(1, ports=2), "h3: 0 ports free, 2 asked"),
        (request(1, gpus=1), "h3: 0 GPUs free, 1 asked"),
    ],
)
def test_every_refusal_has_its_words(wanted: ResourceRequest, message: str) -> None:
    plan = match([offer(3)], [wanted])
    assert messages(plan) == [message]
    assert plan.acceptances == []


def test_of_a_job_that_counts_workers_it_says_where_they_are() -> None:
    there = {"a": [WorkerLocation("S3", "h3")]}
    plan = match([offer(3)], [request(1, placement=where("unique:hostname"))], locations=there)
    assert messages(plan) == ["h3: one worker of this job is there already (unique:hostname)"]
    plan = match([offer(3)], [request(1, placement=where("unique:rack"))], locations=there)
    assert messages(plan) == ["h3: one worker of this job is on rack r0 already (unique:rack)"]
    known = {"S4": ("h4", {"rack": ("r1",)})}
    plan = match([offer(3)], [request(1, placement=where("spread:rack"))], locations=there, known=known)
    assert messages(plan) == ["h3: the even share of this job, 1 worker, is on rack r0 already (spread:rack)"]


def test_without_the_capability_no_gpus_are_given_and_that_is_said() -> None:
    plan = match([offer(1, gpus=4)], [request(1, gpus=1), request(1, job="b")], gpus=False)
    assert [launch.job_id for launch in plan.launches] == ["b"]
    assert messages(plan) == [
        "GPUs are asked for, and Mesos offers none to this session; set t2.configure(gpus=True), then submit again"
    ]
    assert [launch.job_id for launch in match([offer(1, gpus=1)], [request(1, gpus=1)]).launches] == ["a"]


def test_an_avoided_host_gets_nothing_and_it_is_said_for_how_long() -> None:
    plan = match([offer(3), offer(4)], [request(9)], excluded={"h3": Excluded(140.0, 3)}, now=100.0)
    assert set(hosts(plan)) == {"h4"}
    assert messages(plan)[0] == "h3: avoided for 40 s, since workers failed there 3 times"
    assert plan.retry_at == 140.0
    assert match([offer(3)], [request(1)], excluded={"h3": Excluded(140.0, 3)}, now=141.0).retry_at is None
    told = match(
        [offer(3), offer(4)], [request(9)], excluded={"h3": Excluded(140.0, 3, "no way back")}, now=100.0
    )
    assert messages(told)[0].endswith(" since workers failed there 3 times, the last time: no way back")


def test_an_agent_that_goes_down_for_maintenance_comes_last_and_then_not_at_all() -> None:
    soon, later = (
        replace(offer(1), maintenance=(400.0, 500.0)),
        replace(offer(2), maintenance=(4000.0, 5000.0)),
    )
    assert hosts(match([soon, later, offer(3, 16)], [request(1)])) == ["h3"]
    plan = match([soon, later], [request(9)])
    assert set(hosts(plan)) == {"h2"}
    assert messages(plan)[0] == "h1: in 7 min will be down for maintenance"
    assert set(hosts(match([soon], [request(1)], now=600.0))) == {"h1"}, "the window is over"


def test_offers_of_one_agent_are_accepted_together() -> None:
    plan = match(
        [offer(1, 1.0, agent=5), offer(2, 1.0, agent=5), offer(3, 1.0, agent=6)], [request(1, cpu=1.5)]
    )
    (acceptance,) = plan.acceptances
    assert (acceptance.agent, [one.id for one in acceptance.offers]) == ("S5", ["O1", "O2"])


def test_offers_of_two_roles_are_never_accepted_together() -> None:
    """Mesos: "Aggregated offers must be allocated to the same role"."""
    two = [replace(offer(number, 1.0, agent=5), role=f"role{number}") for number in (1, 2)]
    assert match(two, [request(1, cpu=1.5)]).acceptances == []
    assert len(match(two, [request(2, cpu=0.5, per_executor=1)]).acceptances) == 2


def test_unique_hosts_and_racks() -> None:
    five = [offer(number) for number in range(5)]
    assert sorted(hosts(match(five, [request(9, placement=where("unique:hostname"))]))) == [
        f"h{n}" for n in range(5)
    ]
    racks = match(five, [request(9, placement=where("unique:rack"))])
    assert sorted(int(host[1:]) % cluster.RACKS for host in hosts(racks)) == [0, 1, 2]


@pytest.mark.parametrize("per_executor", [MAX, 1])
def test_workers_are_spread_evenly(per_executor: int | str) -> None:
    many = [offer(number, 16) for number in range(6)]
    plan = match(many, [request(7, per_executor=per_executor, placement=where("spread:rack"))])
    assert sorted(Counter(int(host[1:]) % cluster.RACKS for host in hosts(plan)).values()) == [2, 2, 3]
    plan = match(many, [request(8, per_executor=per_executor, placement=where("spread:hostname"))])
    assert sorted(Counter(hosts(plan)).values()) == [1, 1, 1, 1, 2, 2]


def test_a_rack_that_offers_nothing_now_keeps_its_share() -> None:
    """Agents offer one by one, too: all workers went to the first rack."""
    known = {"S1": ("h1", {"rack": ("r1",)}), "S0": ("h0", {"rack": ("r0",)})}
    plan = match([offer(0, 16)], [request(4, placement=where("spread:rack"))], known=known)
    assert len(placed(plan)) == 2


def test_whole_executors_are_spread() -> None:
    """An even share of three of six workers would have left two over that no executor of two could take."""
    plan = match(
        [offer(0, 16), offer(1, 16)], [request(6, per_executor=2, placement=where("spread:hostname"))]
    )
    assert sorted(Counter(hosts(plan)).values()) == [2, 4]


def test_ports_are_the_workers_own() -> None:
    plan = match([offer(1, 8, ports=5)], [request(3, ports=2)])
    assert [launch.ports for launch in plan.launches] == [(31100, 31101), (31102, 31103)]
    assert messages(plan) == ["h1: 1 port free, 2 asked"]


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    gang = request(4, placement=Placement(gang=True))
    plan = match([offer(1, 2.1), offer(2, 1.1)], [gang, request(1, job="b")])
    assert [launch.job_id for launch in plan.launches] == ["b"]
    assert messages(plan)[0] == "gang: 3 of 4 workers fit"
    assert len(placed(match([offer(1, 2.1), offer(2, 2.1)], [gang]))) == 4


def test_a_gang_of_different_workers_is_one_gang() -> None:
    together = Placement(gang=True)
    mixed = [request([0, 1], placement=together), request([2], cpu=8, placement=together)]
    plan = match([offer(1)], mixed)
    assert plan.acceptances == []
    assert len(placed(match([offer(1), offer(2, 9)], mixed))) == 3


def test_what_a_gang_tried_is_free_again() -> None:
    """Searches remember what was full: an undone gang must not leave its places full for the next job."""
    gang = request(9, placement=Placement(gang=True))
    plan = match([offer(1), offer(2)], [gang, request(6, job="b")])
    assert len(placed(plan)) == 6


def test_a_warm_executor_that_a_gang_tried_waits_again() -> None:
    gang = request(9, placement=Placement(gang=True))
    plan = match([offer(1)], [gang, request(1, job="b")], [RunningExecutor("t2-1", "S1")])
    assert placed(plan) == [("h1", "t2-1", 0)]


def test_a_gang_that_tried_what_it_holds_tries_anew_with_what_others_hold() -> None:
    gangs = [
        request(2, placement=Placement(where="unique:hostname", gang=True)),
        request(9, job="b", placement=Placement(gang=True)),
    ]
    plan = match([offer(1), offer(2)], gangs, held={"O1": "a", "O2": "b"})
    assert sorted(hosts(plan)) == ["h1", "h2"]


def test_what_others_use_is_not_gathered() -> None:
    gang = request(9, placement=Placement(gang=True))
    plan = match([offer(1), offer(2)], [gang, request(1, job="b")], may_hold={"a"})
    (acceptance,) = plan.acceptances
    assert {one.id for one in plan.gathered["a"]} == {"O1", "O2"} - {one.id for one in acceptance.offers}


def test_a_gang_gathers_only_what_it_would_use() -> None:
    gang = request(4, placement=Placement(gang=True))
    small = offer(3, 0.5)
    beside = [offer(1, 2.1, agent=1), offer(4, 0.5, agent=1)]
    plan = match([*beside, small], [gang], may_hold={"a"})
    assert [held.id for held in plan.gathered["a"]] == ["O1"]
    assert {declined.id for declined in plan.declined} == {"O3", "O4"}


def test_others_use_what_a_gang_holds_only_after_what_nobody_holds() -> None:
    gang = request(9, placement=Placement(gang=True))
    two = [offer(1), offer(2)]
    plan = match(two, [gang, request(3, job="b")], held={"O1": "a"}, may_hold={"a"})
    assert set(hosts(plan)) == {"h2"}
    assert [held.id for held in plan.gathered["a"]] == ["O1"]
    plan = match(two, [gang, request(4, job="b")], held={"O1": "a"}, may_hold={"a"})
    assert set(hosts(plan)) == {"h1", "h2"}, "what cannot be matched blocks nobody"


def test_a_gang_that_can_be_whole_goes_before_who_would_use_what_it_holds() -> None:
    gang = request(6, placement=Placement(gang=True), job="gang")
    plan = match([offer(1), offer(2)], [request(3, job="b"), gang], held={"O1": "gang"}, may_hold={"gang"})
    assert {launch.job_id for launch in plan.launches} == {"gang"}


def test_a_job_that_does_not_fit_blocks_nobody() -> None:
    plan = match([offer(1)], [request(1, cpu=64, job="big"), request(2, job="small")])
    assert len(placed(plan)) == 2
    assert {veto.job_id for veto in plan.vetoes} == {"big"}


def test_many_jobs_with_one_offer_each_all_get_it() -> None:
    plan = match([offer(n, 1.1, 512) for n in range(300)], [request(1, job=f"j{n}") for n in range(300)])
    assert len({launch.host for launch in plan.launches}) == 300


@given(cluster.offers, cluster.several, cluster.executors)
def test_what_holds_of_every_plan(
    some: list[Offer], wanted: list[ResourceRequest], running: list[RunningExecutor]
) -> None:
    check(match(some, wanted, running), some, wanted, running)


@given(
    cluster.offers,
    cluster.several,
    st.lists(st.sampled_from("abcd"), max_size=10),
    st.sets(st.sampled_from("abcd")),
)
def test_what_holds_while_gangs_gather(
    some: list[Offer], wanted: list[ResourceRequest], holders: list[str], may_hold: set[str]
) -> None:
    gangs = {one.job_id for one in wanted if one.gang}
    held = {one.id: job for one, job in zip(some, holders, strict=False) if job in gangs}
    plan = match(some, wanted, held=held, may_hold=may_hold & gangs)
    check(plan, some, wanted)
    waiting = {diagnosis.job_id for diagnosis in plan.diagnoses}
    assert set(plan.gathered) <= may_hold & gangs & waiting, "only for gangs that may, and still wait"


@given(cluster.offers, cluster.several, st.sampled_from(["shelf=1", "rack=r9"]), st.integers(0, 4))
def test_one_that_cannot_be_matched_changes_nothing_for_the_others(
    some: list[Offer], wanted: list[ResourceRequest], impossible: str, position: int
) -> None:
    alone = match(some, wanted)
    stuck = request(3, job="stuck", placement=where(impossible))
    beside = match(some, [*wanted[:position], stuck, *wanted[position:]])
    assert sorted(alone.launches, key=repr) == sorted(beside.launches, key=repr)


@given(cluster.offers, cluster.requests)
def test_who_still_waits_is_told_why_by_every_agent(some: list[Offer], wanted: ResourceRequest) -> None:
    plan = match(some, [wanted])
    if len(placed(plan)) == len(wanted.worker_ids):
        assert plan.vetoes == []
    elif not wanted.gang:
        assert {veto.agent for veto in plan.vetoes} == {one.agent for one in some}
    else:
        assert plan.vetoes[0].lacked == "gang"
        assert plan.vetoes[0].offered is not None
        assert plan.vetoes[0].offered < len(wanted.worker_ids)
    for veto in plan.vetoes:
        assert veto.asked is None or veto.offered is None or veto.offered < veto.asked


@given(cluster.offers, cluster.requests)
def test_executors_are_filled_exactly(some: list[Offer], wanted: ResourceRequest) -> None:
    limit = wanted.resource.workers_per_executor
    if limit == MAX or "unique" in wanted.placement.where:
        return
    counts = Counter(executor for _, executor, _ in placed(match(some, [wanted])))
    whole, rest = divmod(sum(counts.values()), int(limit))
    assert sorted(counts.values()) == sorted([int(limit)] * whole + [rest] * bool(rest))


@given(cluster.offers, st.integers(1, 8), st.integers(1, 30).map(lambda tenth: tenth / 10))
def test_nothing_waits_while_an_agent_has_room(some: list[Offer], workers: int, cpu: float) -> None:
    """The tree must miss no place: what a plain loop over all agents would place is placed."""
    wanted = request(workers, cpu, per_executor=1)
    free: dict[str, list[int]] = {}
    for one in some:
        amounts = free.setdefault(one.agent, [0, 0])
        amounts[0] += one.free["cpus"]
        amounts[1] += one.free["mem"]
    room = sum(
        min(cpus // (round(cpu * 1000) + 100), mem // (64_000 + 64_000)) for cpus, mem in free.values()
    )
    assert len(placed(match(some, [wanted]))) == min(workers, room)
