"""The workers of a job: who counts, how many are how, and which answers are kept for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.jobmaster.actions import BarrierResult, DropAnswers, PutAnswer
from t2notebook.jobmaster.members import Member, Members, Presence


@given(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 6), st.sampled_from(Presence)), max_size=20))
def test_the_counts_are_those_of_the_workers_that_there_are_now(
    number: int, changes: list[tuple[int, Presence]]
) -> None:
    members = Members(number)
    for at, presence in changes:
        if at < members.number_of_workers:
            members.set_presence(at, presence)
        elif at % 2:
            members.come(at, {})
        else:
            members.leave(max(0, members.number_of_workers - 1))
        for one in Presence:
            assert members.count(one) == sum(member.presence is one for member in members.now)
        assert members.count(*Presence) == members.number_of_workers == len(members.now) <= len(members)


def test_who_comes_again_is_another_with_the_incarnation_that_counts() -> None:
    members = Members(2)
    members.set_presence(1, Presence.FAILED)
    members.keep_answer(1, 7, {})
    members.leave(1)
    assert (len(members), members.living()) == (2, [0])
    members.come(3, {1: 4, 2: 9})
    assert members[1] == Member(incarnation=4, is_new=True, meets_at_init=False)
    assert members[2] == Member(is_new=True, meets_at_init=False), "nobody has had this id before"
    assert members.living() == [0, 1, 2]


def test_after_a_fault_all_begin_together() -> None:
    members = Members(1)
    members.come(2, {})
    members.fault(1, is_final=False)
    assert (members.faults, members.last_fault) == (1, "worker 1 failed and is started again")
    assert (members[1].has_failed, members[1].is_new, members[1].meets_at_init) == (True, False, True)
    members.fault(0, is_final=True)
    assert (members.faults, members.last_fault) == (2, "worker 0 failed for good")


def test_answers_are_kept_until_their_request_cannot_come_again() -> None:
    members = Members(1)
    members[0].incarnation = 2
    assert members.keep_answer(0, 5, {"sent": 1}) == PutAnswer(0, 2, 5, {"sent": 1})
    members.keep_answer(0, 6, {"sent": 2})
    assert members.drop_answers(0, 5) == [], "there is nothing to write down"
    assert members.drop_answers(0, 6) == [DropAnswers(0, 6)]
    assert members[0].answers == {6: {"sent": 2}}
    assert members.drop_answers(0) == [DropAnswers(0)]
    assert members.drop_answers(0) == []


def test_who_has_ended_breaks_what_others_wait_for_and_is_named() -> None:
    members = Members(14)
    assert members.broken() is None
    members.set_presence(3, Presence.FINISHED)
    never = "worker 3 (has finished), and will never come"
    assert members.broken() == (BarrierResult.TIMED_OUT, never)
    for number in range(13):
        members.set_presence(number, Presence.FAILED)
    broken = members.broken()
    assert broken is not None and broken[0] is BarrierResult.JOB_FAULTY
    assert broken[1].endswith("worker 9 (has failed for good) and 3 more, and will never come")
    members.leave(0)
    assert members.broken() is None, "who has left is awaited by nobody"


def test_the_status_names_who_never_comes_and_who_was_restarted() -> None:
    members = Members(3)
    members[1].incarnation = 2
    members.set_presence(2, Presence.FAILED)
    members.fault(2, is_final=True)
    assert members.status() == {
        "faults": 1,
        "last_fault": "worker 2 failed for good",
        "restarts": {"1": 2},
        "failed": [2],
        "broken": (BarrierResult.JOB_FAULTY, "worker 2 (has failed for good), and will never come"),
    }
