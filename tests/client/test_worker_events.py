"""Events of workers that callbacks in the notebook are told, derived from a job's events."""

from __future__ import annotations

import time

from t2notebook.client.job_replica import JobReplica
from t2notebook.client.worker_events import WorkerEvents
from t2notebook.model.events import EventKind
from t2notebook.model.worker_event import WorkerEvent
from tests.model.test_scaling import JOB, Story


class Told:
    """A copy of a job in a kernel, and what a callback is told."""

    def __init__(self, story: Story) -> None:
        self.story, self.replica, self.got = story, JobReplica(JOB), list[tuple[object, ...]]()
        self.known = 0
        self.catch_up()

    def catch_up(self) -> None:
        for event in self.story.events[self.known :]:
            self.replica.apply(event)
        self.known = len(self.story.events)

    def listen(self) -> None:
        WorkerEvents(self.replica, self.take)

    def take(self, event: WorkerEvent) -> None:
        self.got.append((event.kind, event.number_of_workers, event.worker_id, event.restart_count))
        if event.kind == "failed":
            raise ValueError("what a callback raises is printed, and no more")

    def expect(self, *events: tuple[object, ...]) -> None:
        self.catch_up()
        deadline = time.monotonic() + 10
        while len(self.got) < len(events) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self.got == list(events)


def test_a_callback_is_told_of_failures_restarts_and_numbers_in_their_order() -> None:
    story = Story(2)
    story.run(0)
    told = Told(story)
    told.listen()
    story.run(1)
    expected: list[tuple[object, ...]] = [("all_joined", 2, None, 0)]
    told.expect(*expected)
    restart = {"restart_count": 1, "failures": 1, "retries": 0, "pause": 0.5}
    story.status(1, "FAILED", restart=restart)
    story.run(1)
    expected += [("failed", 2, 1, 1), ("restarted", 2, 1, 1)]
    told.expect(*expected)
    story.scale(3)
    # A launch that is lost before it ran is no failure.
    story.launch(2)
    story.status(2, "DROPPED", restart={"restart_count": 1, "failures": 0, "retries": 1, "pause": 0.0})
    story.run(2)
    expected += [("scaled_up", 3, None, 0), ("all_joined", 3, None, 0)]
    told.expect(*expected)
    story.scale(2)
    story.status(2, "KILLED")
    story.status(0, "FAILED")
    expected += [("scaled_down", 2, None, 0), ("failed", 2, 0, 0)]
    told.expect(*expected)


def test_one_that_begins_late_is_told_that_all_are_there() -> None:
    story = Story(1)
    story.run(0)
    told = Told(story)
    told.listen()
    told.expect(("all_joined", 1, None, 0))
    story.finish(0)
    story.tell(EventKind.KILL)
    told.expect(("all_joined", 1, None, 0))
