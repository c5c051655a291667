from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from t2notebook.model.job import MAX, Placement
from t2notebook.scheduler.placement.gang_matcher import FIRST_PAUSE, Matcher
from t2notebook.scheduler.placement.host_health import Excluded
from t2notebook.scheduler.placement.matcher import Plan
from t2notebook.scheduler.placement.offers import Offer
from t2notebook.scheduler.placement.requests import ResourceRequest
from tests.scheduler.placement.cluster import check, offer, placed, request


def gang(workers: int, timeout: float = 30.0, job: str = "a", cpu: float = 1.0) -> ResourceRequest:
    return request(workers, cpu, job=job, placement=Placement(gang=True, gang_timeout=timeout))


def test_a_gang_gathers_over_rounds() -> None:
    matcher = Matcher()
    plan = matcher.round([offer(1, 2.1)], [gang(4)], now=0.0)
    assert (list(matcher.held), plan.declined, matcher.next_deadline) == (["O1"], [], 30.0)
    plan = matcher.round([offer(2, 2.1)], [gang(4)], now=10.0)
    assert len(placed(plan)) == 4
    assert {one.id for acceptance in plan.acceptances for one in acceptance.offers} == {"O1", "O2"}
    assert (matcher.held, matcher.next_deadline) == ({}, None)


def test_the_deadline_counts_from_the_first_held_offer_then_all_goes() -> None:
    matcher = Matcher()
    matcher.round([offer(1, 2.1)], [gang(4)], now=0.0)
    matcher.round([offer(2, 1.1)], [gang(4)], now=29.0)
    assert sorted(matcher.held) == ["O1", "O2"]
    assert matcher.expire(29.9).declined == []
    expired = matcher.expire(30.0)
    assert sorted(one.id for one in expired.declined) == ["O1", "O2"]
    assert (matcher.held, expired.revive) == ({}, False)


def test_after_that_it_holds_nothing_for_a_pause_that_doubles() -> None:
    matcher, now = Matcher(), 0.0
    for times in range(4):
        matcher.round([offer(1)], [gang(8)], now=now)
        assert list(matcher.held) == ["O1"]
        now += 30.0
        matcher.expire(now)
        pause = FIRST_PAUSE * 2**times
        assert matcher.next_deadline == now + pause
        plan = matcher.round([offer(1)], [gang(8)], now=now + pause - 0.1)
        assert ([one.id for one in plan.declined], matcher.held) == (["O1"], {})
        assert not matcher.expire(now + pause - 0.1).revive
        now += pause
        assert matcher.expire(now).revive, "what was declined meanwhile is wanted now"


def test_a_gang_that_pauses_is_launched_if_it_fits_at_once() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    matcher.expire(30.0)
    assert len(placed(matcher.round([offer(1, 16)], [gang(8)], now=31.0))) == 8


def test_what_expires_unnoticed_goes_with_the_next_round() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    plan = matcher.round([offer(2)], [gang(8)], now=99.0)
    assert sorted(one.id for one in plan.declined) == ["O1", "O2"]


def test_two_gangs_neither_starve_nor_block_each_other() -> None:
    """Each held half of what either needed, for ever."""
    matcher = Matcher()
    first, second = gang(6, job="a"), gang(6, job="b")
    matcher.round([offer(1), offer(2, 2.1)], [second], now=0.0)
    plan = matcher.round([offer(3, 1.1)], [first, second], now=1.0)
    assert {launch.job_id for launch in plan.launches} == {"b"}, "who can be whole is launched"
    assert matcher.held == {}


def test_rescinded_offers_are_held_no_more_and_the_deadline_stays() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    matcher.rescinded("O1")
    assert (matcher.held, matcher.next_deadline) == ({}, 30.0)
    matcher.rescinded("of-another-life")


def test_a_job_that_is_dropped_holds_nothing() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    assert [one.id for one in matcher.drop("a")] == ["O1"]
    assert (matcher.held, matcher.next_deadline, matcher.drop("a")) == ({}, None, [])


def test_a_lost_stream_voids_all_that_is_held() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    matcher.clear()
    assert (matcher.held, matcher.next_deadline) == ({}, None)


def test_for_a_gang_that_no_cluster_like_this_can_hold_nothing_is_held() -> None:
    matcher = Matcher()
    plan = matcher.round([offer(1)], [gang(8)], infeasible={"a"}, now=0.0)
    assert (matcher.held, len(plan.declined)) == ({}, 1)


def test_when_an_avoided_host_is_free_again_offers_are_asked_for() -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [request(1)], excluded={"h1": Excluded(30.0, 2)}, now=0.0)
    assert matcher.next_deadline == 30.0
    assert (matcher.expire(29.0).revive, matcher.expire(30.0).revive) == (False, True)
    assert matcher.next_deadline is None


def test_racks_are_remembered_between_rounds() -> None:
    matcher = Matcher()
    wanted = [request(4, placement=Placement(where="spread:rack"))]
    matcher.round([offer(number, 0.5) for number in range(3)], wanted, now=0.0)
    assert len(placed(matcher.round([offer(0, 16)], wanted, now=1.0))) == 2
    for number in (1, 2):
        matcher.lost_agent(f"S{number}")
    assert len(placed(matcher.round([offer(0, 16)], wanted, now=2.0))) == 4


def test_a_host_is_gone_with_its_last_agent() -> None:
    matcher = Matcher()
    matcher.round([offer(1), replace(offer(2), host="h1"), offer(3)], [], now=0.0)
    assert [matcher.lost_agent(agent) for agent in ("S1", "S2", "S2", "nobody")] == ["", "h1", "", ""]


class Holding(RuleBasedStateMachine):
    """Offers, jobs, rescinds and time in any order: what is held is gathered for a gang, within its deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.matcher = Matcher()
        self.now = 0.0
        self.count = 0
        self.requests: dict[str, ResourceRequest] = {}
        #: What the master thinks that we have: offers that we neither accepted nor declined.
        self.outstanding: dict[str, Offer] = {}
        self.since: dict[str, float] = {}

    @rule(
        job=st.sampled_from("abcd"),
        workers=st.integers(1, 6),
        cpu=st.sampled_from([0.5, 1.0, 3.0]),
        per_executor=st.sampled_from([MAX, 1, 2]),
        is_gang=st.booleans(),
        where=st.sampled_from(["", "", "rack=r1", "unique:hostname", "spread:rack"]),
        timeout=st.sampled_from([1.0, 10.0]),
    )
    def submit(self, job: str, is_gang: bool, where: str, timeout: float, **asked: Any) -> None:
        if job not in self.requests:
            placement = Placement(where=where, gang=is_gang, gang_timeout=timeout)
            self.requests[job] = request(job=job, placement=placement, **asked)

    @rule(job=st.sampled_from("abcd"))
    def kill(self, job: str) -> None:
        self.requests.pop(job, None)
        self.decline(self.matcher.drop(job))

    @rule(
        rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.3, 1.1, 2.2, 4.0])), max_size=4),
        excluded=st.sets(st.integers(0, 5), max_size=2),
    )
    def offer(self, rows: list[tuple[int, float]], excluded: set[int]) -> None:
        new = []
        for agent, cpus in rows:
            self.count += 1
            new.append(offer(self.count, cpus, 1024, agent))
        before = {**self.outstanding, **{one.id: one for one in new}}
        self.outstanding = dict(before)
        bad = {f"h{number}": Excluded(self.now + 5.0, 2) for number in excluded}
        plan = self.matcher.round(new, list(self.requests.values()), excluded=bad, now=self.now)
        check(plan, before.values(), list(self.requests.values()))
        self.settle(plan)

    def settle(self, plan: Plan) -> None:
        for acceptance in plan.acceptances:
            for one in acceptance.offers:
                del self.outstanding[one.id]
        self.decline(plan.declined)
        for launch in plan.launches:
            old = self.requests[launch.job_id]
            left = [worker for worker in old.worker_ids if worker != launch.worker_id]
            if left:
                self.requests[launch.job_id] = ResourceRequest(old.job_id, left, old.resource, old.placement)
            else:
                del self.requests[launch.job_id]

    def decline(self, offers: list[Offer]) -> None:
        for one in offers:
            del self.outstanding[one.id]

    @rule(position=st.integers(0, 9))
    def rescind(self, position: int) -> None:
        if self.outstanding:
            offer_id = sorted(self.outstanding)[position % len(self.outstanding)]
            del self.outstanding[offer_id]
            self.matcher.rescinded(offer_id)

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.matcher.next_deadline
        if due is not None and due <= self.now:
            self.decline(self.matcher.expire(self.now).declined)

    @rule()
    def disconnect(self) -> None:
        self.matcher.clear()
        self.outstanding.clear()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        assert set(self.matcher.held) == set(self.outstanding), "an offer that is not held is not kept either"

    @invariant()
    def nothing_is_held_without_use(self) -> None:
        for job_id, gang in self.matcher._gangs.items():
            assert job_id in self.requests
            assert self.requests[job_id].gang
            if gang.offers:
                assert gang.deadline is not None
                assert gang.deadline > self.now, "a deadline has passed"
                assert gang.paused_until is None or gang.paused_until <= self.now
                assert gang.deadline - gang.timeout <= self.now
        if self.outstanding:
            assert self.matcher.next_deadline is not None, "somebody will let it go"


Holding.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestHolding = Holding.TestCase


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_an_offer_that_comes_twice_is_one(seconds: float) -> None:
    matcher = Matcher()
    matcher.round([offer(1)], [gang(8)], now=0.0)
    plan = matcher.round([offer(1)], [gang(8)], now=seconds)
    assert len(plan.declined) + len(plan.gathered.get("a", [])) == 1
