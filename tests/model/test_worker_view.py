"""One worker by itself: its earlier tasks, what it uses, and the words for its end."""

from __future__ import annotations

import pytest

from t2notebook.model.states import TaskState
from t2notebook.model.use import Use
from t2notebook.model.worker_view import EARLIER, WorkerView


def used(seconds: float, cpu: float) -> Use:
    return Use(seconds=seconds, cpu=cpu, cpu_peak=1.0, mem=1.0, mem_peak=2.0, read=0, written=0)


def test_the_last_tasks_are_remembered_with_their_times() -> None:
    worker = WorkerView(0)
    worker.note_end(1.0)
    assert worker.earlier == () and worker.waiting_since == 1.0, "there was no task"
    worker.launched, worker.started = 2.0, 3.0
    worker.note_end(4.0)
    assert worker.earlier == (1.0, 2.0, 3.0, 4.0)
    assert (worker.waiting_since, worker.launched) == (4.0, None)
    for number in range(EARLIER):
        worker.launched, worker.started = 5.0 + number, None
        worker.note_end(5.5 + number)
    assert len(worker.earlier) == 4 * EARLIER
    assert worker.earlier[:4] == (4.0, 5.0, 0.0, 5.5), "the oldest goes; one that never ran has no start"


def test_its_cpus_are_those_between_two_looks_and_old_news_changes_nothing() -> None:
    worker = WorkerView(0)
    worker.note_use(used(10.0, 5.0))
    assert worker.cpu_now == pytest.approx(0.5)
    worker.note_use(used(10.1, 5.1))
    assert worker.cpu_now == pytest.approx(0.5), "so short a time says nothing"
    worker.note_use(used(12.1, 8.1))
    assert worker.cpu_now == pytest.approx(1.5)
    worker.note_use(used(11.0, 100.0))
    assert worker.use == used(12.1, 8.1)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": TaskState.LOST}, "worker 3 was lost: LOST"),
        ({"state": TaskState.KILLED, "reason": "USER"}, "worker 3 was killed: USER"),
        ({"state": TaskState.FAILED, "host": "h1", "message": "no"}, "worker 3 on h1 failed: no"),
    ],
)
def test_its_end_in_words(fields: dict[str, object], text: str) -> None:
    assert WorkerView(3, **fields).end_text == text  # type: ignore[arg-type]


def test_it_is_done_when_nothing_more_is_to_come() -> None:
    worker = WorkerView(0, state=TaskState.FINISHED, progress=0.5)
    assert not worker.is_done and not worker.is_good, "its result is on its way"
    worker.result = "error"
    assert worker.is_done and not worker.is_good
    worker.result = "ok"
    assert worker.is_good and worker.partial_progress == 0.0
    assert WorkerView(0, state=TaskState.FAILED).is_done
    running = WorkerView(0, state=TaskState.RUNNING, progress=0.5)
    assert running.is_on_mesos and not running.is_done and running.partial_progress == 0.5
