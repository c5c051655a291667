"""Moves of a session and of job masters: which executors are told, and until when."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.scheduler.executor_pool import Executors
from t2notebook.session.announcements import Announcements
from tests.scheduler.stage import on_loop


class Framework:
    """Two jobs, an executor of an earlier session and one of this one's; `sent` has what they were told."""

    def __init__(self, directory: Path) -> None:
        self.jobs = Jobs(Journal(directory))
        resource = ComputeResource(ram_mega_bytes=64)
        self.pi, self.tau = (
            self.jobs.create_now(JobSpec(name, "ada", (resource,), "0" * 64, 10, "3.11"), "k")
            for name in ("pi", "tau")
        )
        self.executors = Executors()
        self.executors.adopt("t2-1", "S1", "pi-0", self.pi.job_id, proven=True)
        self.executors.launched("t2-2", "S2", "pi-1", self.pi.job_id)
        self.executors.launched("t2-2", "S2", "tau-0", self.tau.job_id)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.announcements = Announcements(self.executors, self.jobs, "http://h:1", 3, self.send)

    def send(self, executor_id: str, agent: str, data: str) -> None:
        assert agent == f"S{executor_id[-1]}"
        self.sent.append((executor_id, json.loads(base64.b64decode(data))))

    def told(self) -> list[tuple[str, str, str, list[str]]]:
        """Return whom what was told, and which jobs it named, since the last call."""
        sent, self.sent = self.sent, []
        return [(who, said["kind"], said["url"], sorted(said["jobs"])) for who, said in sent]

    def answer(self, executor_id: str, **record: Any) -> None:
        self.announcements.heard(executor_id, base64.b64encode(json.dumps(record).encode()).decode())


def with_framework(directory: Path, test: Callable[[Framework], Any]) -> None:
    async def main() -> None:
        framework = Framework(directory)
        try:
            await test(framework)
        finally:
            framework.announcements.close()
            framework.jobs.journal.close()

    on_loop(main())


async def pause(seconds: float = 100.0) -> None:
    await asyncio.sleep(seconds)


def moved(job: JobRecord, executor_id: str, url: str) -> tuple[str, str, str, list[str]]:
    return executor_id, "job_master", url, [job.job_id]


def test_only_executors_of_an_earlier_session_look_elsewhere_for_theirs(tmp_path: Path) -> None:
    async def test(framework: Framework) -> None:
        framework.announcements.session_moved()
        assert framework.told() == [("t2-1", "session", "http://h:1", [framework.pi.job_id])]
        framework.answer("t2-1", kind="session", claims=3)
        await pause()
        assert framework.told() == []

    with_framework(tmp_path / "s", test)


def test_each_executor_of_a_job_hears_where_its_job_master_is(tmp_path: Path) -> None:
    async def test(framework: Framework) -> None:
        pi, announcements = framework.pi, framework.announcements
        announcements.job_master_moved(pi, "http://m:1", 2)
        assert framework.told() == [moved(pi, "t2-1", "http://m:1"), moved(pi, "t2-2", "http://m:1")]
        framework.answer("t2-1", kind="job_master", claims=2, url="http://m:1")
        await pause(0.6)
        assert framework.told() == [moved(pi, "t2-2", "http://m:1")], "who has answered is left alone"
        announcements.job_master_moved(pi, "http://m:2", 4)
        framework.told()
        await pause(10)
        assert {url for _, _, url, _ in framework.told()} == {"http://m:2"}, (
            "its earlier place is told no more"
        )
        announcements.job_master_moved(framework.tau, "http://n:1", 2)
        assert framework.told() == [moved(framework.tau, "t2-2", "http://n:1")]

    with_framework(tmp_path / "s", test)


def test_an_executor_that_runs_nothing_any_more_is_told_nothing(tmp_path: Path) -> None:
    async def test(framework: Framework) -> None:
        framework.announcements.session_moved()
        framework.told()
        framework.executors.lost("t2-1")
        await pause()
        assert framework.told() == []

    with_framework(tmp_path / "s", test)


def test_who_has_closed_tells_nobody(tmp_path: Path) -> None:
    async def test(framework: Framework) -> None:
        framework.announcements.session_moved()
        framework.announcements.job_master_moved(framework.tau, "http://n:1", 2)
        framework.told()
        framework.announcements.close()
        await pause()
        assert framework.told() == []

    with_framework(tmp_path / "s", test)
