"""A replica's copies: each is what the job was then, though they share the workers that have not changed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.client.job_replica import JobReplica
from t2notebook.model.events import Event, EventKind
from t2notebook.model.text import dumps

KINDS = st.sampled_from(
    ["LAUNCHED", "RUNNING", "FINISHED", "FAILED", "result", "progress", "end", "kill", "look"]
)


def event(name: str, worker_id: int, seq: int) -> Event:
    task, data = f"t{worker_id}", {"ok": True, "progress": 0.5}
    kinds: dict[str, tuple[EventKind, dict[str, Any]]] = {
        "LAUNCHED": (EventKind.LAUNCHED, {"state": "STAGING"}),
        "result": (EventKind.RESULT, {}),
        "progress": (EventKind.PROGRESS, {}),
        "end": (EventKind.KILL, {}),
        "kill": (EventKind.KILL, {"worker_id": None}),
    }
    kind, more = kinds.get(name, (EventKind.STATUS, {"state": name}))
    fields = {"worker_id": worker_id, "task_id": task, "data": data, "seq": seq, **more}
    return Event(kind, "job", float(seq), **fields)


@given(st.lists(st.tuples(KINDS, st.integers(0, 3)), max_size=40))
def test_a_copy_is_what_the_job_was_then(steps: list[tuple[str, int]]) -> None:
    replica = JobReplica("job")
    replica.apply(Event(EventKind.SUBMITTED, "job", 0.0, data={"number_of_workers": 4, "name": "n"}, seq=1))
    taken: list[tuple[Any, Any]] = []
    for seq, (name, worker_id) in enumerate(steps, 2):
        if name == "look":
            taken.append((replica.snapshot(), copy.deepcopy(replica.view)))
        else:
            replica.apply(event(name, worker_id, seq))
    taken.append((replica.snapshot(), copy.deepcopy(replica.view)))
    for found, was in taken:
        assert found == was


def test_events_are_kept_as_they_came() -> None:
    replica = JobReplica("job")
    first = Event(EventKind.SUBMITTED, "job", 0.0, data={"number_of_workers": 1, "name": "n"}, seq=1)
    second = Event(EventKind.LAUNCHED, "job", 1.0, 0, "t0", message='"kind":"RESULT"', seq=2)
    progress = Event(EventKind.PROGRESS, "job", 2.0, 0, "t0", data={"progress": 0.5})
    third = Event(EventKind.RESULT, "job", 3.0, 0, "t0", data={"ok": True, "size": 3}, seq=3)
    replica.apply(first)
    replica.apply(second, dumps({"event": second.to_dict()}).encode() + b"\n")
    replica.apply(progress)
    replica.apply(third)
    assert replica.events() == [first, second, third]
    assert replica.events(EventKind.RESULT) == [third]
