"""The job master as a state machine: what workers are answered, whatever befalls them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from t2notebook.jobmaster.actions import (
    DRIVER,
    WRITES,
    Action,
    Answer,
    Barrier,
    DropBarrier,
    DropJob,
    DropMessages,
    PutAnswer,
    PutBarrier,
    PutMessage,
    Scale,
    Stop,
)
from t2notebook.jobmaster.barriers import RETURN_TIME
from t2notebook.jobmaster.job_master import JobMaster, Kept
from t2notebook.jobmaster.mailboxes import MOST_MESSAGES
from t2notebook.jobmaster.members import Presence


def running(count: int) -> JobMaster:
    master = JobMaster(count)
    for number in range(count):
        master.observe(number, 0, Presence.JOINED, {"worker_id": number})
    return master


def arrive(master: JobMaster, who: int, request: int = 1, now: float = 0.0, **more: Any) -> list[Action]:
    record = {"kind": "barrier", "timeout": 10.0, "faults": master.faults, **more}
    return master.request(who, request, record, b"", now)


def answers(actions: Iterable[Action]) -> dict[int, str]:
    """Return the results, by worker."""
    return {one.to: one.record["result"] for one in actions if isinstance(one, Answer)}


def test_a_barrier_is_written_down_at_its_first_arrival_and_its_result_before_anybody_is_told() -> None:
    master = running(3)
    assert arrive(master, 2) == [PutBarrier(Barrier.DEFAULT, 3, 10.0, 0)]
    assert arrive(master, 0) == []
    passed = arrive(master, 1)
    kinds = [type(one) for one in passed]
    assert kinds == [DropBarrier, PutAnswer, PutAnswer, PutAnswer, Answer, Answer, Answer]
    assert answers(passed) == {0: "SUCCESS", 1: "SUCCESS", 2: "SUCCESS"}


def test_a_repeated_arrival_counts_once_and_is_answered_again() -> None:
    master = running(2)
    assert len(arrive(master, 0)) == 1
    assert arrive(master, 0) == []
    arrive(master, 1)
    assert answers(arrive(master, 0)) == {0: "SUCCESS"}
    assert [type(one) for one in arrive(master, 0, request=2)] == [PutBarrier], (
        "the next one is another barrier"
    )


def test_the_first_arrival_fixes_the_time_out() -> None:
    master = running(3)
    arrive(master, 0, now=100.0)
    arrive(master, 1, now=105.0, timeout=1000.0)
    assert master.next_deadline == 110.0
    assert master.tick(109.9) == []
    over = master.tick(110.0)
    assert answers(over) == {0: "TIMED_OUT", 1: "TIMED_OUT"}
    why = next(one.record["why"] for one in over if isinstance(one, Answer))
    assert why == "2 of 3 workers came in time; missing: worker 2 (runs)"


def test_a_fault_breaks_the_default_barrier_and_not_the_init_barrier() -> None:
    master = running(4)
    arrive(master, 0)
    arrive(master, 1, barrier="INIT")
    broken = master.observe(3, 1, Presence.AWAITED, {})
    assert answers(broken) == {0: "JOB_FAULTY"}
    # Who was not at a barrier is told at the next one, once.
    assert answers(arrive(master, 2, faults=0)) == {2: "JOB_FAULTY"}
    assert answers(arrive(master, 2, request=2, faults=1)) == {}
    master.observe(3, 1, Presence.JOINED, {})
    arrive(master, 0, request=2, barrier="INIT")
    arrive(master, 2, request=3, barrier="INIT")
    assert answers(arrive(master, 3, barrier="INIT")) == dict.fromkeys(range(4), "SUCCESS")


def test_the_arrival_of_an_older_incarnation_does_not_count() -> None:
    master = running(2)
    arrive(master, 0, barrier="INIT")
    master.observe(0, 1, Presence.AWAITED, {})
    master.observe(0, 1, Presence.JOINED, {})
    assert answers(arrive(master, 1, barrier="INIT")) == {}
    assert answers(arrive(master, 0, barrier="INIT")) == {0: "SUCCESS", 1: "SUCCESS"}


def test_a_launch_that_was_lost_before_it_ran_is_no_fault() -> None:
    master = JobMaster(2)
    master.observe(0, 0, Presence.JOINED, {})
    master.observe(1, 1, Presence.AWAITED, {})
    master.observe(1, 1, Presence.JOINED, {})
    assert master.faults == 0
    arrive(master, 0)
    assert answers(arrive(master, 1)) == {0: "SUCCESS", 1: "SUCCESS"}


def test_nobody_waits_for_who_has_ended() -> None:
    master = running(3)
    arrive(master, 0)
    assert answers(master.observe(1, 0, Presence.FINISHED, {})) == {0: "TIMED_OUT"}
    assert answers(arrive(master, 2)) == {2: "TIMED_OUT"}
    master.observe(2, 0, Presence.FAILED, {})
    assert answers(arrive(master, 0, request=2)) == {0: "JOB_FAULTY"}


def test_all_workers_are_awaited_and_the_missing_ones_named() -> None:
    master = JobMaster(3)
    for number in (0, 2):
        master.observe(number, 0, Presence.JOINED, {"worker_id": number})
    assert master.request(0, 1, {"kind": "all", "timeout": 5.0}, b"", 0.0) == []
    assert master.next_deadline == 5.0
    (late,) = master.tick(5.0)
    assert isinstance(late, Answer)
    assert late.record["timed_out"] == "2 of 3 workers joined in time; missing: worker 1 (has not started)"
    master.request(0, 2, {"kind": "all", "timeout": 5.0}, b"", 6.0)
    (there,) = master.observe(1, 0, Presence.JOINED, {"worker_id": 1})
    assert isinstance(there, Answer) and (there.to, there.request) == (0, 2)
    (at_once,) = master.request(2, 1, {"kind": "all", "timeout": 0.0}, b"", 7.0)
    assert isinstance(at_once, Answer) and at_once.payload == there.payload


def test_nobody_waits_for_a_worker_that_never_joins() -> None:
    """Barriers broke at once, and this waited out its time, 100 s by default."""
    master = JobMaster(4)
    for number in (0, 1):
        master.observe(number, 0, Presence.JOINED, {"worker_id": number})
    assert master.request(0, 1, {"kind": "all", "timeout": 100.0}, b"", 0.0) == []
    told = [each for each in master.observe(2, 0, Presence.FAILED, {}) if isinstance(each, Answer)]
    assert [(each.to, each.request, each.record["never"]) for each in told] == [
        (0, 1, "worker 2 (has failed for good), and will never come")
    ]
    (late,) = master.request(1, 1, {"kind": "all", "timeout": 100.0}, b"", 1.0)
    assert isinstance(late, Answer) and late.record == told[0].record
    assert master.tick(200.0) == []


def test_finished_workers_still_count_as_joined() -> None:
    master = running(2)
    master.observe(0, 0, Presence.FINISHED, {"worker_id": 0})
    (answer,) = master.request(1, 1, {"kind": "all", "timeout": 0.0}, b"", 0.0)
    assert isinstance(answer, Answer) and "timed_out" not in answer.record


def test_listeners_hear_of_failures_and_restarts() -> None:
    master = running(2)
    assert told(listen(master, 0, 1, -1)) == [("all_joined", -1)]
    assert told(listen(master, 0, 2, 1)) == []
    assert told(master.observe(1, 1, Presence.AWAITED, {})) == [("failed", 1)]
    master.observe(1, 1, Presence.JOINED, {})
    assert told(listen(master, 0, 3, 1)) == [("failed", 1), ("restarted", 1)], "repeated, it is told again"
    assert told(listen(master, 0, 4, 2)) == [("restarted", 1)]


def listen(master: JobMaster, who: int, request: int, after: int) -> list[Action]:
    return master.request(who, request, {"kind": "happenings", "after": after, "low": request}, b"", 0.0)


def told(actions: Iterable[Action]) -> list[tuple[str, int]]:
    records = [one.record for one in actions if isinstance(one, Answer) and "happened" in one.record]
    return [(one["kind"], one["worker_id"]) for record in records for one in record["happened"]]


def stops(actions: Iterable[Action]) -> list[int]:
    return [one.to for one in actions if isinstance(one, Stop)]


def test_barriers_and_all_follow_the_number_of_workers() -> None:
    master = running(3)
    arrive(master, 0)
    arrive(master, 2)
    master.request(2, 9, {"kind": "all", "timeout": 5.0}, b"", 0.0)
    listen(master, 1, 1, 1)
    fewer = master.scale(2, {})
    assert stops(fewer) == [2] and told(fewer) == [("scaled_down", -1)]
    assert master.observe(2, 0, Presence.FAILED, {}) == [] and master.faults == 0, "it is no fault to leave"
    assert stops(arrive(master, 2, request=2)) == [2]
    assert ("scaled_down", -1) in told(listen(master, 2, 3, -1)), "also one that listens only now"
    assert answers(arrive(master, 1)) == {0: "SUCCESS", 1: "SUCCESS"}
    arrive(master, 0, request=2)
    arrive(master, 1, request=2)
    # More come to a barrier that some are at: it waits for them, and so does who asks for all.
    arrive(master, 0, request=3)
    master.scale(3, {2: 1})
    assert master.request(0, 4, {"kind": "all", "timeout": 5.0}, b"", 0.0) == []
    assert answers(arrive(master, 1, request=3)) == {}
    assert master.observe(2, 0, Presence.FINISHED, {}) == [], "the one that had left does not count"
    joined = master.observe(2, 1, Presence.JOINED, {})
    assert [one.record["number_of_workers"] for one in joined if isinstance(one, Answer)] == [3]
    assert answers(arrive(master, 2)) == dict.fromkeys(range(3), "SUCCESS") and master.faults == 0


def test_one_that_comes_later_has_nobody_to_meet_at_the_init_barrier_until_all_begin_anew() -> None:
    master = running(2)
    arrive(master, 0, barrier="INIT")
    master.scale(3, {})
    master.observe(2, 0, Presence.JOINED, {})
    assert answers(arrive(master, 2, barrier="INIT")) == {2: "SUCCESS"}
    assert answers(arrive(master, 1, barrier="INIT")) == {0: "SUCCESS", 1: "SUCCESS"}, (
        "nobody waits for it either"
    )
    assert answers(arrive(master, 0, request=2)) == {}
    master.observe(1, 1, Presence.AWAITED, {})
    master.observe(1, 1, Presence.JOINED, {})
    assert answers(arrive(master, 2, request=2, faults=0)) == {2: "JOB_FAULTY"}
    arrive(master, 0, request=3, barrier="INIT")
    assert answers(arrive(master, 1, request=3, barrier="INIT")) == {}, "now they all begin together"
    assert answers(arrive(master, 2, request=3, barrier="INIT")) == dict.fromkeys(range(3), "SUCCESS")


def test_a_barrier_is_passed_when_the_one_that_it_waits_for_leaves() -> None:
    master = running(3)
    arrive(master, 0)
    arrive(master, 1)
    assert answers(master.scale(2, {})) == {0: "SUCCESS", 1: "SUCCESS"}


def test_what_one_that_leaves_has_not_read_goes_with_it() -> None:
    master = running(2)
    send(master, 0, 1, 1, b"x")
    assert DropMessages(1, 1) in master.scale(1, {})
    assert "only worker 0, not 1" in answers_of_send(send(master, 0, 2, 1, b"x"))["error"]
    assert answers_of_send(master.driver_send("b", None, b"x")) == {"sent": 1}
    master.scale(2, {1: 1})
    master.observe(1, 1, Presence.JOINED, {})
    assert letters(receive(master, 1, 1, 0, timeout=0.0)) == []


def test_a_worker_that_scales_is_answered_once_and_again() -> None:
    master = running(1)
    wish = {"kind": "scale", "by": 2, "leave_time": 3, "low": 1}
    assert master.request(0, 1, wish, b"", 0.0) == [Scale(0, 0, 1, 2, 3.0)]
    done = master.scaling_answered(0, 0, 1, {"number_of_workers": 3})
    assert [type(one) for one in done] == [PutAnswer, Answer]
    again = master.request(0, 1, wish, b"", 0.0)
    assert [one.record for one in again if isinstance(one, Answer)] == [{"number_of_workers": 3}]
    assert master.scaling_answered(0, 1, 1, {}) == [], "another incarnation did not ask"


class Disk:
    """The actions as a store would have them."""

    def __init__(self) -> None:
        self.barriers: dict[Barrier, tuple[int, float, int]] = {}
        self.answers: dict[tuple[int, int | str], tuple[int, Any]] = {}
        self.messages: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.last: dict[int, int] = {}

    def take(self, actions: Iterable[Action]) -> list[Action]:
        rest = []
        for one in actions:
            if isinstance(one, PutBarrier):
                self.barriers[one.barrier] = (one.expected, one.timeout, one.faults)
            elif isinstance(one, DropBarrier):
                self.barriers.pop(one.barrier, None)
            elif isinstance(one, PutAnswer):
                self.answers[one.sender, one.request] = (one.incarnation, one.record)
            elif isinstance(one, PutMessage):
                self.messages[one.receiver, one.number] = (one.sender, one.payload)
                self.last[one.receiver] = one.number
            elif isinstance(one, DropMessages):
                for key in [key for key in self.messages if key[0] == one.receiver and key[1] <= one.number]:
                    del self.messages[key]
            elif not isinstance(one, WRITES):
                rest.append(one)
        return rest

    def kept(self) -> Kept:
        return Kept(
            dict(self.barriers),
            [(who, number, request, record) for (who, request), (number, record) in self.answers.items()],
            [(who, number, *self.messages[who, number]) for who, number in sorted(self.messages)],
            dict(self.last),
        )


def test_a_job_master_that_is_replaced_at_any_moment_loses_no_barrier() -> None:
    """Each worker passes the same barriers with the same results, however often answers and arrivals are lost."""
    for seed in range(60):
        chance = random.Random(seed)
        count, rounds = chance.randint(1, 5), 4
        disk, master, now = Disk(), running(count), 0.0
        results: dict[int, list[str]] = {who: [] for who in range(count)}
        for _ in range(10_000):
            if all(len(one) == rounds for one in results.values()):
                break
            now += chance.choice((0.0, 0.1))
            if chance.random() < 0.1:
                master = running(count)
                master.restore(disk.kept(), now)
            who = chance.randrange(count)
            if len(results[who]) == rounds:
                continue
            number = len(results[who]) + 1
            for one in disk.take(arrive(master, who, number, now, timeout=1000.0, low=number)):
                assert isinstance(one, Answer)
                # Some answers get lost, and are asked for again.
                if chance.random() < 0.6 and one.request == len(results[one.to]) + 1:
                    results[one.to].append(one.record["result"])
        assert results == {who: ["SUCCESS"] * rounds for who in range(count)}, seed


def test_a_restored_barrier_leaves_time_to_come_back() -> None:
    master = running(2)
    master.restore(Kept({Barrier.DEFAULT: (2, -100.0, 0)}), now=50.0)
    assert master.next_deadline == 50.0 + RETURN_TIME
    arrive(master, 0, now=51.0)
    assert answers(arrive(master, 1, now=52.0)) == {0: "SUCCESS", 1: "SUCCESS"}


def send(master: JobMaster, who: int, request: int, to: Any, payload: bytes) -> list[Action]:
    return master.request(who, request, {"kind": "send", "to": to, "low": request}, payload, 0.0)


def receive(
    master: JobMaster, who: int, request: int, acknowledged: int, timeout: float = 5.0
) -> list[Action]:
    record = {"kind": "receive", "acknowledged": acknowledged, "timeout": timeout, "low": request}
    return master.request(who, request, record, b"", 0.0)


def letters(actions: Iterable[Action]) -> list[tuple[int, int, bytes]]:
    found = []
    for one in actions:
        if isinstance(one, Answer) and "letters" in one.record:
            begin = 0
            for number, sender, size in one.record["letters"]:
                found.append((number, sender, one.payload[begin : begin + size]))
                begin += size
    return found


def test_a_message_is_kept_until_its_receiver_says_that_it_has_it() -> None:
    master = running(3)
    assert receive(master, 1, 1, 0) == []
    sent = send(master, 0, 1, 1, b"one")
    assert letters(sent) == [(1, 0, b"one")]
    assert type(sent[0]) is PutMessage
    assert answers_of_send(sent) == {"sent": 1}
    send(master, 2, 1, 1, b"two")
    # It did not get it, and asks again as it did.
    assert letters(receive(master, 1, 2, 0)) == [(1, 0, b"one"), (2, 2, b"two")]
    acknowledged = receive(master, 1, 3, 1)
    assert DropMessages(1, 1) in acknowledged
    assert letters(acknowledged) == [(2, 2, b"two")]


def answers_of_send(actions: Iterable[Action]) -> Any:
    return next(one.record for one in actions if isinstance(one, Answer) and "letters" not in one.record)


def test_a_repeated_send_is_sent_once() -> None:
    master = running(2)
    send(master, 0, 7, 1, b"x")
    again = send(master, 0, 7, 1, b"x")
    assert [type(one) for one in again] == [Answer]
    assert len(letters(receive(master, 1, 1, 0))) == 1
    assert master.driver_send("a1", None, b"y")
    assert [type(one) for one in master.driver_send("a1", None, b"y")] == [Answer]


def test_what_a_dead_receiver_did_not_acknowledge_goes_to_the_next_incarnation() -> None:
    master = running(2)
    for number in range(3):
        send(master, 0, number + 1, 1, bytes([number]))
    receive(master, 1, 1, 0)
    receive(master, 1, 2, 1)
    master.observe(1, 1, Presence.AWAITED, {})
    master.observe(1, 1, Presence.JOINED, {})
    assert letters(receive(master, 1, 1, 0)) == [(2, 0, b"\1"), (3, 0, b"\2")]


def test_who_reads_nothing_fills_no_memory_and_the_sender_is_told() -> None:
    master = running(2)
    for number in range(MOST_MESSAGES):
        assert answers_of_send(send(master, 0, number + 1, 1, b"")) == {"sent": 1}
    refused = answers_of_send(send(master, 0, MOST_MESSAGES + 1, 1, b""))
    assert "worker 1 has not read 10000 messages" in refused["error"]
    assert answers_of_send(send(master, 0, MOST_MESSAGES + 2, DRIVER, b"")) == {"sent": 1}


def test_messages_to_nobody() -> None:
    master = running(3)
    master.observe(2, 0, Presence.FINISHED, {})
    for to in (7, -2, "x", None, 2):
        assert "was not sent" in answers_of_send(send(master, 0, 100 + hash(str(to)) % 50, to, b""))["error"]
    sent = master.driver_send("b1", None, b"x")
    assert answers_of_send(sent) == {"sent": 2}, "a broadcast goes to those that have not ended"


def test_a_receive_that_gets_nothing_is_answered_in_time_and_a_later_one_replaces_it() -> None:
    master = running(1)
    receive(master, 0, 1, 0, timeout=5.0)
    replaced = receive(master, 0, 2, 0, timeout=7.0)
    assert [(one.request, one.record) for one in replaced if isinstance(one, Answer)] == [
        (1, {"letters": []})
    ]
    assert master.tick(6.0) == []
    (nothing,) = master.tick(7.0)
    assert isinstance(nothing, Answer) and nothing.record == {"letters": []}
    assert [type(one) for one in receive(master, 0, 3, 0, timeout=0.0)] == [Answer]


def test_numbers_of_a_mailbox_are_never_given_again() -> None:
    disk, master = Disk(), running(2)
    disk.take(send(master, 0, 1, 1, b"a"))
    disk.take(receive(master, 1, 1, 0))
    disk.take(receive(master, 1, 2, 1))
    assert not disk.messages
    master = running(2)
    master.restore(disk.kept(), 0.0)
    send(master, 0, 2, 1, b"b")
    assert letters(receive(master, 1, 3, 1)) == [(2, 0, b"b")]


def test_messages_survive_a_job_master_that_is_replaced_at_any_moment() -> None:
    """Each message comes once and in its sender's order, whatever is repeated."""
    for seed in range(40):
        chance = random.Random(seed)
        disk, master = Disk(), running(3)
        total = 30
        sent = {who: 0 for who in (0, 1)}
        got: list[tuple[int, int]] = []
        acknowledged, request = 0, 1
        for _ in range(100_000):
            if len(got) == 2 * total:
                break
            if chance.random() < 0.05:
                master = running(3)
                master.restore(disk.kept(), 0.0)
            who = chance.randrange(3)
            if who < 2:
                if sent[who] < total:
                    number = sent[who] + 1
                    actions = disk.take(send(master, who, number, 2, bytes([who, number])))
                    if chance.random() < 0.7:  # else the answer is lost, and the request repeated
                        sent[who] = number
                else:
                    actions = []
            else:
                actions = disk.take(receive(master, 2, request, acknowledged))
            if chance.random() < 0.7:
                for number, _, payload in letters(actions):
                    if number > acknowledged:
                        acknowledged = number
                        got.append((payload[0], payload[1]))
                        request += 1
        for who in (0, 1):
            assert [number for one, number in got if one == who] == list(range(1, total + 1)), seed


def test_an_ended_job_keeps_what_its_driver_has_not_read() -> None:
    master = running(2)
    send(master, 0, 1, DRIVER, b"to the notebook")
    send(master, 0, 2, 1, b"to a worker")
    assert master.end() == [DropJob()]
    assert letters(master.driver_receive("r1", 0, 0.0, 0.0)) == [(1, 0, b"to the notebook")]
    assert bool(master.mailboxes)
    master.driver_receive("r2", 1, 0.0, 0.0)
    assert not master.mailboxes
