"""A job master on the cluster: which workers it welcomes before a session has told it of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2notebook.jobmaster.hosted import Host
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource

JOB = "me-job-1"


class Connection:
    """A connection of a worker that has proved itself, as the job master sees it."""

    def __init__(self, worker_id: int, incarnation: int = 0) -> None:
        self.hello = {"job_id": JOB, "worker_id": worker_id, "incarnation": incarnation}
        self.told: list[str] = []

    def send(self, record: Mapping[str, Any], payload: bytes = b"") -> None:
        self.told.append("welcome" if "welcome" in record else "something")

    def stop(self, why: str) -> None:
        self.told.append(why)

    def close(self, abort: bool = False) -> None:
        self.told.append("closed")


def test_a_worker_that_is_quicker_than_the_news_of_it_is_asked_to_come_again(tmp_path: Path) -> None:
    def told(worker_id: int, incarnation: int = 0) -> list[str]:
        connection = Connection(worker_id, incarnation)
        master.opened(connection)  # type: ignore[arg-type]
        return connection.told

    def scaled(number: int, before: int, seq: int) -> None:
        data = {"number_of_workers": number, "before": before, "request": str(seq)}
        master._perform(master._feed.take(Event(EventKind.SCALED, JOB, 1.0, data=data, seq=seq)))

    submitted = Event(EventKind.SUBMITTED, JOB, 1.0, data={"number_of_workers": 2}, seq=1)
    resource = ComputeResource(instances=2, scalable=True)
    master = Host(JOB, "00" * 32, [resource], submitted, str(tmp_path / "log"), 0)
    assert told(1) == ["welcome"]
    assert told(2) == ["closed"], "it may have come since the job was scaled up"
    assert told(-1) == ["the job has no worker -1"]
    scaled(3, 2, 2)
    assert told(2) == ["welcome"]
    scaled(2, 3, 3)
    # It goes on until it is killed; the one that takes its id later is another.
    assert told(2) == ["welcome"]
    assert told(2, incarnation=1) == ["closed"]
    launched = Event(EventKind.LAUNCHED, JOB, 1.0, 2, "t2-0", data={"restart_count": 0}, seq=4)
    master._perform(master._feed.take(launched))
    master._perform(master._feed.take(Event(EventKind.STATUS, JOB, 1.0, 2, "t2-0", "KILLED", seq=5)))
    scaled(3, 2, 6)
    assert told(2, incarnation=1) == ["welcome"]
    assert told(2, incarnation=0) == ["a newer worker replaces this one"]
    master._log.close()
