"""Workers that wait until all have joined, by themselves."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from t2notebook.jobmaster.actions import Action, Answer
from t2notebook.jobmaster.joining import Joining
from t2notebook.jobmaster.members import Members, Presence


def joined(members: Members, *worker_ids: int) -> None:
    for worker_id in worker_ids:
        members[worker_id].info = {"worker_id": worker_id}
        members.set_presence(worker_id, Presence.JOINED)


def infos(action: Action) -> list[Any]:
    assert isinstance(action, Answer)
    return [one["worker_id"] for one in json.loads(zlib.decompress(action.payload))]


def test_those_who_wait_are_answered_together_when_the_last_has_joined() -> None:
    members = Members(3)
    joining = Joining(members)
    joined(members, 0, 2)
    joining.wait(0, 1, 10.0)
    joining.wait(2, 4, 8.0)
    assert joining and joining.next_deadline == 8.0
    assert joining.answer() == [] and not joining.had_all
    joined(members, 1)
    answers = joining.answer()
    assert [(one.to, one.request) for one in answers if isinstance(one, Answer)] == [(0, 1), (2, 4)]
    assert infos(answers[0]) == infos(answers[1]) == [0, 1, 2]
    assert joining.had_all and not joining
    assert joining.answer() == [], "and nobody is told twice"


def test_one_that_asks_is_told_of_those_that_are_there() -> None:
    members = Members(2)
    joining = Joining(members)
    joined(members, 1)
    assert infos(joining.ask(1, 1)) == [1]
    joined(members, 0)
    assert infos(joining.ask(1, 2)) == [1], "it is made once for all who ask"
    joining.changed()
    assert infos(joining.ask(1, 3)) == [0, 1]


def test_each_has_its_own_time() -> None:
    members = Members(2)
    joining = Joining(members)
    joined(members, 0)
    joining.wait(0, 1, 5.0)
    joining.wait(1, 1, 7.0)
    joining.put_off(1.0)
    assert joining.next_deadline == 6.0 and joining.tick(5.9) == []
    why = "1 of 2 workers joined in time; missing: worker 1 (has not started)"
    assert joining.tick(6.0) == [Answer(0, 1, {"timed_out": why})]
    assert joining.next_deadline == 8.0
    assert joining.give_up("never") == [Answer(1, 1, {"never": "never"})]
    joining.tick(8.0)
    assert joining.next_deadline == math.inf


def test_who_withdraws_is_not_answered() -> None:
    members = Members(1)
    joining = Joining(members)
    joining.wait(0, 1, 5.0)
    assert joining.withdraw(0) and not joining.withdraw(0)
    joined(members, 0)
    assert joining.answer() == []
    joining.wait(0, 2, 5.0)
    joining.clear()
    assert not joining and joining.tick(9.0) == []
