"""Messages that cross on the wire, on a real master: a rescind and an ACCEPT, an update of a task that nobody knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook import LocalMesos
from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.mesos.driver import Driver
from t2notebook.model.events import EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.states import TaskState
from t2notebook.scheduler.actions import Accept
from t2notebook.scheduler.inputs import OffersCame, Submitted
from t2notebook.scheduler.messages import ExecutorTemplate, framework_info
from t2notebook.scheduler.runner import Runner
from t2notebook.scheduler.state import SchedulerState
from tests.localmesos.client import request as ask


class Scheduler(Runner):
    """A scheduler without a session, on a real master and simulated agents; `jobs` has its journal."""

    def __init__(self, directory: Path) -> None:
        template = ExecutorTemplate(("python3.11",), "3.11", "http://127.0.0.1:1/v1/core/c.pyz", "c.pyz", 180)
        self.jobs = Jobs(Journal(directory), writer=ThreadPoolExecutor(1, "t2notebook-journal"))
        state = SchedulerState(self.jobs.table, template, "http://127.0.0.1:1", 60.0, roles=("*",))
        super().__init__(state, self.jobs)

    async def submit(self, workers: int) -> JobRecord:
        resource = ComputeResource(cpu=0.5, ram_mega_bytes=64, instances=workers)
        job = await self.jobs.create(JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11"), "k")
        self.feed(Submitted(job.job_id))
        return job


@asynccontextmanager
async def scheduling(directory: Path, master: str) -> AsyncIterator[Scheduler]:
    """Have a scheduler subscribed."""
    scheduler = Scheduler(directory)
    info = framework_info(user="root", name="crossings", role="*", failover_timeout=60.0)
    driver = scheduler.driver = Driver(scheduler, info, master, scheduler.suppressed_roles)
    driver.start()
    try:
        yield scheduler
    finally:
        scheduler.close()
        await driver.stop(teardown=True)
        scheduler.jobs.commits.close()
        scheduler.jobs.journal.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=0, simulate=1, simulate_duration="fixed:1") as cluster:
        yield cluster


def test_a_rescind_between_offer_and_accept_costs_one_launch(mesos: LocalMesos, tmp_path: Path) -> None:
    faults = mesos.faults
    assert faults is not None

    async def main() -> None:
        async with scheduling(tmp_path, mesos.master) as scheduler:
            left = [1]

            def late(offers: list[Mapping[str, Any]]) -> None:
                if scheduler.state.waiting and left:
                    left.pop()
                    faults.rescind()
                scheduler.feed(OffersCame(tuple(offers)))

            scheduler.offers = late  # type: ignore[method-assign]
            job = await scheduler.submit(workers=1)
            await until(lambda: job.view.workers[0].state is TaskState.FINISHED)
            assert job.view.workers[0].restarts == 1
            dropped = [event for event in job.events if event.state == "DROPPED"]
            assert [event.reason for event in dropped] == ["REASON_INVALID_OFFERS"]

    asyncio.run(main())


def test_a_task_that_nobody_knows_is_killed_and_harms_nothing(mesos: LocalMesos, tmp_path: Path) -> None:
    async def main() -> None:
        async with scheduling(tmp_path, mesos.master) as scheduler:
            held: list[str] = []

            def hold(offers: list[Mapping[str, Any]]) -> None:
                held.extend(offer["id"]["value"] for offer in offers)
                agents.extend(offer["agent_id"]["value"] for offer in offers)

            agents: list[str] = []
            scheduler.offers = hold  # type: ignore[method-assign]
            job = await scheduler.submit(workers=1)
            await until(lambda: held)
            stranger = {
                "name": "stranger",
                "task_id": {"value": "stranger"},
                "agent_id": {"value": agents[0]},
                "resources": [
                    {"name": name, "type": "SCALAR", "scalar": {"value": value}}
                    for name, value in (("cpus", 0.1), ("mem", 32.0))
                ],
                "command": {"value": "sleep 60"},
            }
            scheduler.perform([Accept((held[0],), (stranger,), 0.0)])

            def state() -> str:
                tasks = json.loads(ask(mesos.master, "GET", "/tasks").body)["tasks"]
                return next((task["state"] for task in tasks if task["id"] == "stranger"), "")

            loop = asyncio.get_running_loop()
            async with asyncio.timeout(30):
                while await loop.run_in_executor(None, state) != "TASK_KILLED":
                    await asyncio.sleep(0.05)
            assert "stranger" not in {event.task_id for event in job.events}
            assert {event.kind for event in job.events} == {EventKind.SUBMITTED}

    asyncio.run(main())
