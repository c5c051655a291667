"""Barriers by themselves; what befalls workers meanwhile is the job master's (`test_job_master`)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from t2notebook.jobmaster.actions import (
    Action,
    Answer,
    Barrier,
    BarrierResult,
    DropBarrier,
    PutAnswer,
    PutBarrier,
)
from t2notebook.jobmaster.barriers import RETURN_TIME, Barriers
from t2notebook.jobmaster.members import Members


def results(actions: Iterable[Action]) -> dict[int, str]:
    return {one.to: one.record["result"] for one in actions if isinstance(one, Answer)}


def arrive(barriers: Barriers, worker_id: int, name: Barrier = Barrier.DEFAULT) -> list[Action]:
    return barriers.arrive(worker_id, 1, name, 0, 10.0, 0.0)


def test_all_pass_when_the_last_has_come_and_their_answers_are_kept() -> None:
    members = Members(2)
    barriers = Barriers(members)
    assert arrive(barriers, 1) == [PutBarrier(Barrier.DEFAULT, 2, 10.0, 0)]
    assert barriers and barriers.next_deadline == 10.0
    passed = arrive(barriers, 0)
    assert [type(one) for one in passed] == [DropBarrier, PutAnswer, PutAnswer, Answer, Answer]
    assert results(passed) == {0: "SUCCESS", 1: "SUCCESS"}
    assert members[0].answers[1] == members[1].answers[1]
    assert not barriers and barriers.next_deadline == math.inf


def test_one_that_withdraws_has_not_come() -> None:
    barriers = Barriers(Members(2))
    arrive(barriers, 0)
    arrive(barriers, 0, Barrier.INIT)
    assert barriers.withdraw(0) and not barriers.withdraw(0)
    assert barriers.pass_complete() == []
    assert results(arrive(barriers, 1)) == {}


def test_barriers_are_told_apart_and_each_has_its_time() -> None:
    barriers = Barriers(Members(2))
    arrive(barriers, 0)
    barriers.arrive(1, 1, Barrier.INIT, 0, 20.0, 0.0)
    barriers.put_off(5.0)
    assert barriers.next_deadline == 15.0
    assert barriers.tick(14.9) == []
    assert results(barriers.tick(15.0)) == {0: "TIMED_OUT"}
    assert barriers.next_deadline == 25.0
    assert results(barriers.give_up(BarrierResult.JOB_FAULTY, "")) == {1: "JOB_FAULTY"}
    assert not barriers


def test_a_fault_breaks_one_of_them() -> None:
    members = Members(3)
    barriers = Barriers(members)
    assert barriers.fault() == []
    arrive(barriers, 0)
    arrive(barriers, 1, Barrier.INIT)
    members.fault(2, is_final=False)
    assert results(barriers.fault()) == {0: "JOB_FAULTY"}
    assert barriers, "the other goes on"
    assert results(arrive(barriers, 0)) == {0: "JOB_FAULTY"}, (
        "one that has not heard of the fault is told now"
    )
    assert results(barriers.arrive(0, 2, Barrier.DEFAULT, 1, 10.0, 0.0)) == {}


def test_a_barrier_of_before_a_fault_is_not_restored() -> None:
    members = Members(2)
    members.fault(1, is_final=False)
    barriers = Barriers(members)
    barriers.restore({Barrier.DEFAULT: (2, 3.0, 0)}, now=50.0)
    assert not barriers
    barriers.restore({Barrier.DEFAULT: (2, 3.0, 1), Barrier.INIT: (2, 30.0, 0)}, now=50.0)
    assert barriers.next_deadline == 50.0 + RETURN_TIME
    barriers.tick(50.0 + RETURN_TIME)
    assert barriers.next_deadline == 80.0
    barriers.clear()
    assert not barriers
