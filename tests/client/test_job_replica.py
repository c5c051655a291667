"""A kernel's copy of a job: events from one thread, people who wait and listen on others."""

from __future__ import annotations

import threading

from t2notebook.client.job_replica import JobReplica
from t2notebook.model.events import Event, EventKind
from t2notebook.model.states import JobState, TaskState

DATA = {"name": "pi", "number_of_workers": 1, "client": "c"}


def event(kind: EventKind, seq: int, worker_id: int | None = None, **fields: object) -> Event:
    return Event(kind, "j", float(seq), worker_id, seq=seq, **fields)  # type: ignore[arg-type]


def started() -> JobReplica:
    replica = JobReplica("j")
    replica.directory = "/journal"
    replica.apply(event(EventKind.SUBMITTED, 1, data=DATA))
    return replica


def test_who_waits_for_an_event_sees_it_and_all_before() -> None:
    replica, seen = started(), []

    def wait() -> None:
        replica.await_seq(3)
        seen.append(replica.snapshot().last_seq)

    waiter = threading.Thread(target=wait)
    waiter.start()
    replica.apply(event(EventKind.LAUNCHED, 2, 0, task_id="t", data={"agent": "S"}))
    assert waiter.is_alive()
    replica.apply(event(EventKind.STATUS, 3, 0, task_id="t", state="RUNNING"))
    waiter.join(10)
    assert seen == [3]


def test_who_waits_is_told_that_the_job_is_lost_and_the_first_reason_stays() -> None:
    replica = started()
    waiter = threading.Thread(target=replica.await_seq, args=(99,))
    waiter.start()
    replica.mark_lost("the session process has ended")
    replica.mark_lost("and something else")
    waiter.join(10)
    assert not waiter.is_alive()
    assert replica.lost_because == "the session process has ended"
    assert not replica.is_awaited


def test_a_job_that_has_ended_is_not_lost() -> None:
    replica = started()
    replica.apply(event(EventKind.KILL, 2, reason="USER", message="enough"))
    assert replica.view.state is JobState.KILLED
    replica.mark_lost("the session process has ended")
    assert replica.lost_because == ""
    assert not replica.is_awaited


def test_a_snapshot_is_nobody_elses() -> None:
    replica = started()
    before = replica.snapshot()
    replica.apply(event(EventKind.LAUNCHED, 2, 0, task_id="t", data={"agent": "S"}))
    assert before.workers[0].state is TaskState.PENDING
    assert replica.snapshot().workers[0].state is TaskState.STAGING


def test_listeners_hear_each_change_until_they_leave() -> None:
    replica, heard = started(), []

    def listener() -> None:
        heard.append(replica.view.last_seq)

    replica.listen(listener)
    replica.apply(event(EventKind.LAUNCHED, 2, 0, task_id="t", data={"agent": "S"}))
    replica.unlisten(listener)
    replica.unlisten(listener)
    replica.apply(event(EventKind.STATUS, 3, 0, task_id="t", state="RUNNING"))
    assert heard == [2]


def test_progress_is_shown_and_not_kept() -> None:
    replica = started()
    replica.apply(event(EventKind.LAUNCHED, 2, 0, task_id="t", data={"agent": "S"}))
    replica.apply(event(EventKind.STATUS, 3, 0, task_id="t", state="RUNNING"))
    replica.apply(event(EventKind.PROGRESS, 4, 0, task_id="t", data={"progress": 0.5}))
    assert replica.view.workers[0].progress == 0.5
    assert [one.kind for one in replica.events] == [EventKind.SUBMITTED, EventKind.LAUNCHED, EventKind.STATUS]
