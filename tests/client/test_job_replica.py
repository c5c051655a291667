"""A replica's copies: each is what the job was then, though they share the workers that have not changed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.client.job_replica import JobReplica
from t2notebook.model.events import Event, EventKind

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
