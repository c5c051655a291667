"""Status updates until they are acknowledged."""

from __future__ import annotations

from t2notebook.localmesos.agent.state.status_update_manager import StatusUpdateManager

KEY = ("f", "t")


def status(state: str, uuid: str) -> dict[str, object]:
    return {"task_id": {"value": "t"}, "state": state, "uuid": uuid}


def test_one_update_in_flight_and_retries_that_double() -> None:
    one = StatusUpdateManager()
    first = one.add(KEY, status("TASK_STARTING", "1"), 0.0)
    assert first is not None
    assert one.add(KEY, status("TASK_RUNNING", "2"), 0.0) is None
    assert one.add(KEY, status("TASK_FINISHED", "3"), 0.0) is None
    assert one.latest(KEY) == "TASK_FINISHED"
    sent = [now for now in range(2000) if one.due(float(now))]
    assert sent == [10, 30, 70, 150, 310, 630, 1230, 1830]
    assert one.acknowledge(KEY, "2", 0.0) == (False, None)
    done, following = one.acknowledge(KEY, "1", 2000.0)
    assert (done, following and following["uuid"]) == (False, "2")
    assert one.due(2009.9) == []
    assert len(one.due(2010.0)) == 1
    one.acknowledge(KEY, "2", 2011.0)
    assert one.acknowledge(KEY, "3", 2012.0) == (True, None)
    assert one.in_flight() == []


def test_repeated_and_late_updates_are_dropped() -> None:
    one = StatusUpdateManager()
    one.add(KEY, status("TASK_FINISHED", "1"), 0.0)
    assert one.add(KEY, status("TASK_FINISHED", "1"), 0.0) is None
    assert one.add(KEY, status("TASK_RUNNING", "2"), 0.0) is None
    assert one.latest(KEY) == "TASK_FINISHED"
