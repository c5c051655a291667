"""The number of workers as events change it: the view counts those that there are."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from t2notebook.model.errors import ScalingError
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.metrics import measure
from t2notebook.model.reducer import JobView
from t2notebook.model.scaling import scaled
from t2notebook.model.states import JobState, TaskState

JOB = "ada-pi-1"


class Story:
    """Events of a job, folded into its view as they come."""

    def __init__(self, workers: int) -> None:
        self.view, self.events, self.seq = JobView(JOB), list[Event](), 0
        self.tell(EventKind.SUBMITTED, data={"name": "pi", "number_of_workers": workers})

    def tell(
        self, kind: EventKind, worker_id: int | None = None, task_id: str = "", **fields: object
    ) -> None:
        self.seq += 1
        event = Event(kind, JOB, float(self.seq), worker_id, task_id, seq=self.seq, **fields)  # type: ignore[arg-type]
        self.events.append(event)
        self.view.apply(event)

    def launch(self, worker_id: int) -> None:
        restarts = self.view.workers[worker_id].restarts
        task = f"{worker_id}-{restarts}"
        self.tell(EventKind.LAUNCHED, worker_id, task, data={"restart_count": restarts})

    def status(self, worker_id: int, state: str, **data: object) -> None:
        task = self.view.workers[worker_id].task_id
        self.tell(EventKind.STATUS, worker_id, task, state=state, data=data)

    def run(self, worker_id: int) -> None:
        self.launch(worker_id)
        self.status(worker_id, "RUNNING")

    def finish(self, worker_id: int) -> None:
        self.tell(EventKind.RESULT, worker_id, self.view.workers[worker_id].task_id, data={"ok": True})
        self.status(worker_id, "FINISHED")

    def scale(self, number: int, request: str = "") -> None:
        data = {
            "number_of_workers": number,
            "before": self.view.number_of_workers,
            "request": request or str(self.seq),
        }
        self.tell(EventKind.SCALED, message=f"scaled to {number}", data=data)


def test_a_job_waits_for_those_who_come_and_not_for_those_who_left() -> None:
    story = Story(2)
    for worker in (0, 1):
        story.run(worker)
    assert story.view.state is JobState.STARTED
    story.scale(3)
    assert story.view.state is JobState.PENDING and len(story.view.workers) == 3
    story.run(2)
    story.finish(0)
    story.scale(1)
    view = story.view
    assert (view.workers[1].asked, view.workers[2].asked) == ("end", "end")
    assert view.state is JobState.STARTED, "it ends when those who leave have gone"
    story.status(1, "KILLED")
    story.status(2, "FAILED")
    assert view.state is JobState.COMPLETED and view.failed_worker is None
    assert view.workers[1].reason == "SCALED_DOWN"


def test_who_waits_for_resources_leaves_at_once() -> None:
    story = Story(3)
    story.run(0)
    story.tell(EventKind.PENDING, message="2 workers waiting")
    story.scale(1)
    assert [one.state for one in story.view.workers[1:]] == [TaskState.KILLED] * 2
    assert story.view.state is JobState.STARTED and not story.view.waiting_for
    story.finish(0)
    assert story.view.state is JobState.COMPLETED


def test_a_failure_of_one_that_has_left_is_not_the_jobs() -> None:
    story = Story(3)
    for worker in range(3):
        story.run(worker)
    story.status(2, "FAILED")
    story.status(1, "FAILED")
    assert story.view.failed_worker == 2
    story.scale(2)
    assert story.view.failed_worker == 1
    story.scale(1)
    story.scale(2)
    assert story.view.failed_worker is None
    story.run(1)
    for worker in (0, 1):
        story.finish(worker)
    assert story.view.state is JobState.COMPLETED


def test_one_who_is_on_the_way_out_comes_again_however_it_ends() -> None:
    story = Story(2)
    for worker in (0, 1):
        story.run(worker)
    story.scale(1)
    story.scale(2)
    assert story.view.workers[1].asked == "again"
    story.tell(EventKind.RESULT, 1, "1-0", data={"ok": True})
    restart = {"restart_count": 1, "failures": 0, "retries": 1, "pause": 0.1}
    story.status(1, "KILLED", restart=restart)
    worker = story.view.workers[1]
    assert (worker.state, worker.restarts, worker.result) == (TaskState.PENDING, 1, "")
    story.run(1)
    story.scale(1)
    story.status(1, "KILLED")
    story.scale(2)
    assert (worker.state, worker.restarts) == (TaskState.PENDING, 2)
    assert story.view.state is JobState.PENDING


def test_the_view_counts_right_whatever_happens() -> None:
    for seed in range(300):
        chance, story = random.Random(seed), Story(3)
        for _ in range(40):
            view = story.view
            worker = chance.choice(view.workers)
            what = chance.randrange(6)
            if what == 0:
                story.scale(chance.randint(1, 6))
            elif what == 1 and worker.state is TaskState.PENDING:
                story.launch(worker.worker_id)
            elif what == 2 and worker.is_on_mesos:
                story.status(worker.worker_id, "RUNNING")
            elif what == 3 and worker.is_on_mesos:
                story.finish(worker.worker_id)
            elif what == 4 and worker.is_on_mesos:
                count = {"restart_count": worker.restarts + 1, "failures": 0, "retries": 0, "pause": 0.0}
                story.status(worker.worker_id, "FAILED", restart=count)
            elif what == 5 and worker.is_on_mesos and worker.asked == "end":
                story.status(worker.worker_id, "KILLED")
            counted = Counter(one.state for one in view.present)
            assert +view.counts == counted, seed
            assert view._done == sum(one.is_done for one in view.present), seed
            assert 0.0 <= view.progress <= 1.0
            if view.state.is_final:
                assert all(one.state.is_terminal for one in view.workers), seed
                break
        assert len(measure(story.events).workers) == len(story.view.workers)


def test_the_number_can_change_only_where_it_may() -> None:
    fixed, more = ComputeResource(instances=2), ComputeResource(instances=2, scalable=True)
    view = Story(4).view
    spec = JobSpec("pi", "ada", (fixed, more), "0" * 64, 1, "3.11")
    assert scaled(spec, view, 3) == 7 and scaled(spec, view, -2) == 2
    assert spec.resource_of(40) is more
    with pytest.raises(ScalingError, match="2 of its 4 workers are not scalable, so 2 can go"):
        scaled(spec, view, -3)
    alone = JobSpec("pi", "ada", (ComputeResource(instances=4, scalable=True),), "0" * 64, 1, "3.11")
    with pytest.raises(ScalingError, match="one worker has to stay, so 3 can go"):
        scaled(alone, view, -4)
    with pytest.raises(ScalingError, match="none of its resources is scalable"):
        scaled(JobSpec("pi", "ada", (fixed,), "0" * 64, 1, "3.11"), view, 1)
