"""That a worker runs is told with its end, if that follows at once, and else by itself; nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook.protocol.launch import decode_result, decode_status_data
from t2notebook.worker.executor import status_updates
from t2notebook.worker.executor.status_updates import RUNNING_DELAY, UpdateLog


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(status_updates.time, "monotonic", lambda: now[0])
    yield now


def states(log: UpdateLog) -> list[str]:
    return [status["state"] for status in log.unposted()]


def data(status: dict[str, Any]) -> Any:
    return decode_status_data(status.get("data"))


@pytest.mark.parametrize("end", ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"])
def test_of_a_worker_that_ends_at_once_one_update_tells_both(clock: list[float], end: str) -> None:
    log = UpdateLog()
    log.add("t", "TASK_RUNNING", phases={"fetch": 0.5})
    assert not states(log) and len(log.unacknowledged()) == 1
    clock[0] += RUNNING_DELAY / 2
    log.add("t", end, exit_code=0, phases={"run": 0.01}, result={"data": "", "signature": ""})
    (status,) = log.unposted()
    assert log.unacknowledged() == [status] and decode_result(status["data"]) is not None
    told = data(status)
    assert (told["ran"], told["phases"]) == (pytest.approx(RUNNING_DELAY / 2), {"fetch": 0.5, "run": 0.01})


def test_later_it_is_told_by_itself(clock: list[float]) -> None:
    log = UpdateLog()
    log.add("t", "TASK_RUNNING")
    clock[0] += RUNNING_DELAY
    assert states(log) == ["TASK_RUNNING"]
    log.posted(log.unposted()[0]["uuid"])
    log.add("t", "TASK_FINISHED", exit_code=0)
    (status,) = log.unposted()
    assert "ran" not in data(status)


def test_what_a_kill_says_comes_after_it(clock: list[float]) -> None:
    log = UpdateLog()
    log.add("t", "TASK_RUNNING")
    log.add("t", "TASK_KILLING")
    assert states(log) == ["TASK_RUNNING", "TASK_KILLING"]
    log.add("t", "TASK_KILLED", exit_code=-15)
    assert states(log) == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    assert "ran" not in data(log.unposted()[-1])


def test_tasks_do_not_wait_for_each_other(clock: list[float]) -> None:
    log = UpdateLog()
    log.add("one", "TASK_RUNNING")
    clock[0] += RUNNING_DELAY / 2
    log.add("two", "TASK_RUNNING")
    clock[0] += RUNNING_DELAY / 2
    assert [status["task_id"]["value"] for status in log.unposted()] == ["one"]
    log.add("two", "TASK_FINISHED", exit_code=0)
    assert states(log) == ["TASK_RUNNING", "TASK_FINISHED"]


def test_what_a_subscription_has_carried_is_not_told_with_the_end(clock: list[float]) -> None:
    log = UpdateLog()
    log.add("t", "TASK_RUNNING")
    for status in log.unacknowledged():
        log.posted(status["uuid"])
    log.add("t", "TASK_FINISHED", exit_code=0)
    assert states(log) == ["TASK_FINISHED"] and "ran" not in data(log.unposted()[0])
    assert len(log.unacknowledged()) == 2
