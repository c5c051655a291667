from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest

from t2notebook.frames import (
    TASK_COLUMNS,
    EventColumns,
    events_frame,
    job_row,
    jobs_frame,
    task_rows,
    tasks_frame,
    why_frame,
    why_text,
)
from t2notebook.model.events import Event, EventKind
from t2notebook.model.reducer import JobView, reduce

EVENTS = [
    Event(EventKind.SUBMITTED, "j", 1.5, data={"number_of_workers": 2, "name": "pi"}, seq=1),
    Event(
        EventKind.LAUNCHED, "j", 2.0, 0, "t", "STAGING", data={"host": "h", "cpus": 1.0, "mem": 64.0}, seq=2
    ),
    Event(EventKind.STATUS, "j", 1795246797.938644, 0, "t", "RUNNING", seq=3),
    Event(EventKind.PROGRESS, "j", 4.0, 0, "t", data={"progress": 0.5}),
]


def test_tasks_are_the_rows_that_every_view_shows() -> None:
    view = reduce("j", EVENTS)
    frame, rows = tasks_frame(view), task_rows(view)
    assert list(frame.columns) == list(TASK_COLUMNS) == list(rows[0])
    assert frame.state.tolist() == ["RUNNING", "PENDING"]
    assert frame.progress[0] == 0.5
    assert frame.started[0] == pd.Timestamp("2026-11-21T07:39:57.938Z")
    assert frame.started.isna().tolist() == [False, True]
    assert frame.exit_code.isna().all()


def test_messages_are_in_sight_and_ids_out_of_the_way() -> None:
    events = [*EVENTS, Event(EventKind.STATUS, "j", 5.0, 0, "t" * 60, "FAILED", message="boom", seq=5)]
    for frame in (tasks_frame(reduce("j", events)), events_frame(events)):
        names = list(frame.columns)
        assert names.index("message") <= 4 and names[-1] == "task_id"
        # in no line is anything that a narrow page would cut before the message
        shown = frame[names[: names.index("message") + 1]].to_string(max_colwidth=None)
        assert max(map(len, shown.splitlines())) < 90


def test_events_hold_what_the_journal_holds() -> None:
    frame = events_frame(EVENTS)
    assert frame.kind.tolist() == ["SUBMITTED", "LAUNCHED", "STATUS"]
    assert frame.worker_id.tolist() == [pd.NA, 0, 0]
    assert frame.state.isna().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("frame", "full"),
    [
        (tasks_frame(JobView("j")), tasks_frame(reduce("j", EVENTS))),
        (events_frame([]), events_frame(EVENTS)),
        (jobs_frame([]), jobs_frame([job_row(reduce("j", EVENTS))])),
    ],
)
def test_an_empty_frame_has_the_types_of_a_full_one(frame: pd.DataFrame, full: pd.DataFrame) -> None:
    assert frame.empty
    assert frame.dtypes.to_dict() == full.dtypes.to_dict()
    assert why_frame([]).time.dt.tz is not None


def test_why_says_the_same_of_many_agents_once() -> None:
    def row(agent: str, message: str) -> dict[str, Any]:
        return {"time": 1.0, "agent": agent, "host": "h1", "lacked": "rack", "message": message}

    same = [row(f"S{number}", "h1: has no attribute rack, r9 asked") for number in range(3)]
    text = why_text(JobView("j"), why_frame([*same, *same]))
    (row_of_all,) = [line for line in text.splitlines() if "has no attribute rack" in line]
    assert row_of_all.split()[-1] == "3", "agents, not refusals"
    alone = why_text(JobView("j"), why_frame([row("S1", "h1: no"), row("S2", "h1: never")]))
    assert "agents" not in alone
    assert alone.count("h1: ") == 2


def test_100_000_events_become_a_frame_at_once() -> None:
    """It took seconds: each event was read from its text again."""
    columns = EventColumns()
    for number in range(100_000):
        worker_id = number % 25_000
        columns.append(
            Event(
                EventKind.STATUS,
                "me-pi-1",
                1.7e9 + number,
                worker_id=worker_id,
                task_id=f"task-{worker_id}",
                state=("STARTING", "RUNNING", "FINISHED")[number % 3],
            )
        )
    now = columns.copy()
    columns.append(Event(EventKind.KILL, "me-pi-1", 1.8e9, message="enough"))
    columns.append(Event(EventKind.PROGRESS, "me-pi-1", 1.8e9, worker_id=1, task_id="task-1"))
    begun = time.process_time()
    frame = now.frame()
    assert time.process_time() - begun < 0.5
    assert len(frame) == 100_000 and frame.worker_id.iloc[-1] == 24_999 and frame.state.iloc[1] == "RUNNING"
    last = columns.frame().iloc[-1]
    assert last.message == "enough" and last.worker_id is pd.NA and pd.isna(last.state)
