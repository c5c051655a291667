"""A job master that is fed with events, and with what workers say of themselves."""

from __future__ import annotations

from typing import Any

from t2notebook.jobmaster.job_feed import JobFeed
from t2notebook.jobmaster.members import Presence
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource

RESOURCE = ComputeResource(cpu=0.5, ram_mega_bytes=64)


class Story:
    """The events of a job of two workers, with their numbers."""

    def __init__(self) -> None:
        self.seq = 0
        self.feed = JobFeed("j", lambda worker_id: RESOURCE)
        self.tell(EventKind.SUBMITTED, None, data={"number_of_workers": 2, "name": "j"})

    def tell(self, kind: EventKind, worker_id: int | None, state: str = "", **more: Any) -> Event:
        self.seq += 1
        task = f"t{worker_id}" if worker_id is not None else ""
        event = Event(kind, "j", float(self.seq), worker_id, task, state, seq=self.seq, **more)
        self.feed.take(event)
        return event

    def launched(self, worker_id: int, incarnation: int = 0) -> Event:
        data = {"agent_url": "http://10.0.0.9:5051", "host": "node", "ports": [31000, 31001], "rack": "r1"}
        return self.tell(EventKind.LAUNCHED, worker_id, data={**data, "restart_count": incarnation})

    def running(self, worker_id: int) -> Event:
        return self.tell(EventKind.STATUS, worker_id, "RUNNING")

    def presence(self, worker_id: int) -> Presence:
        return self.feed.master.members[worker_id].presence


def account(incarnation: int = 0) -> dict[str, Any]:
    feed = Story()
    feed.launched(0, incarnation)
    return {**feed.feed.info(0), "ip": "", "node": "told"}


def test_a_worker_that_is_connected_runs_whatever_mesos_has_told() -> None:
    story = Story()
    story.feed.hear(0, 0, Presence.JOINED, "10.0.0.1", account())
    assert story.presence(0) is Presence.JOINED
    info = story.feed.info(0)
    assert (
        info["ip"] == "10.0.0.1" and list(info["additional_ports"]) == [31000, 31001] and info["rack"] == "r1"
    )
    story.launched(0)  # the news of its launch, late
    assert story.presence(0) is Presence.JOINED and story.feed.info(0)["ip"] == "10.0.0.1"
    story.feed.hear(0, 0, Presence.FINISHED)
    story.running(0)
    assert story.presence(0) is Presence.FINISHED and story.feed.master.faults == 0


def test_without_an_account_of_its_own_its_launch_says_where_it_is() -> None:
    story = Story()
    story.launched(1)
    story.running(1)
    assert story.feed.info(1)["ip"] == "10.0.0.9"
    story.feed.hear(1, 0, Presence.AWAITED, "10.0.0.2")
    info = story.feed.welcome(1)["welcome"]
    assert (info["ip"], info["port"], info["node"], info["rack"]) == ("10.0.0.2", 31000, "node", "r1")
    assert story.presence(1) is Presence.JOINED, "the worker's word takes nothing back"


def test_a_newer_incarnation_is_one_fault_whoever_tells_of_it_first() -> None:
    for worker_is_first in (True, False):
        story = Story()
        story.launched(0)
        story.running(0)
        restart = {"restart": {"restart_count": 1, "failures": 1, "retries": 0, "pause": 0.0}}
        if worker_is_first:
            story.feed.hear(0, 1, Presence.JOINED, "10.0.0.3", account(1))
        story.tell(EventKind.STATUS, 0, "FAILED", data=restart)
        story.launched(0, 1)
        if not worker_is_first:
            story.feed.hear(0, 1, Presence.JOINED, "10.0.0.3", account(1))
        story.running(0)
        assert story.feed.master.faults == 1
        assert story.feed.incarnation(0) == 1 and story.presence(0) is Presence.JOINED
        assert story.feed.info(0)["ip"] == "10.0.0.3" and story.feed.info(0)["restart_count"] == 1


def test_an_event_that_was_told_before_changes_nothing() -> None:
    story = Story()
    launch = story.launched(0)
    story.running(0)
    before = story.feed.view.last_seq
    assert story.feed.take(launch) == [] and story.feed.view.last_seq == before
    assert story.presence(0) is Presence.JOINED
