"""Journal, then act: wherever the power is cut, what anybody was told is on the disk, and nothing runs twice.

The state machine, its runner and the group commit are the real ones; the disk keeps what was synced, and Mesos keeps
what it was told. A crash loses all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.journal.journal import NewJob
from t2notebook.model.errors import JournalError
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, FaultTolerance, JobSpec
from t2notebook.model.states import TaskState
from t2notebook.scheduler.inputs import Adopted, KillJob, Settle, Submitted
from t2notebook.scheduler.messages import ExecutorTemplate
from t2notebook.scheduler.runner import Runner
from t2notebook.scheduler.state import SchedulerState
from tests.scheduler.stage import EPOCH, on_loop

TEMPLATE = ExecutorTemplate(("python3.11",), "3.11", "http://127.0.0.1:1/v1/core/c.pyz", "c.pyz", 180)


class Disk:
    """Rows that were synced; they outlive a session."""

    directory = Path("/nowhere")

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.made: dict[str, NewJob] = {}
        self.is_full = False

    @property
    def next_seq(self) -> int:
        return max(self.events, default=0) + 1

    def commit(self, events: Sequence[Event], jobs: Sequence[NewJob], ended: Any, meta: Any) -> None:
        if self.is_full:
            raise JournalError("the disk is full")
        self.made.update({job.job_id: job for job in jobs})
        self.events.update({event.seq: event for event in events})

    def renew(self) -> None:
        self.commit((), (), (), {})

    def jobs(self) -> list[tuple[str, JobSpec, str, list[Event]]]:
        found = [
            (
                job.job_id,
                job.spec,
                job.secret,
                [one for _, one in sorted(self.events.items()) if one.job_id == name],
            )
            for name, job in self.made.items()
        ]
        return [one for one in found if one[3]]

    def has(self, kind: EventKind, **fields: Any) -> bool:
        return any(
            event.kind is kind and all(getattr(event, name) == value for name, value in fields.items())
            for event in self.events.values()
        )


class Writer(Executor):
    """Writes a group when it is told to."""

    def __init__(self) -> None:
        self._due: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, function: Any, /, *arguments: Any, **more: Any) -> Future[Any]:
        future: Future[None] = Future()
        self._due.append((future, lambda: function(*arguments, **more)))
        return future

    def sync(self) -> None:
        due, self._due = self._due, []
        for future, work in due:
            try:
                work()
            except JournalError as error:
                future.set_exception(error)
            else:
                future.set_result(None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


class Mesos:
    """A master that keeps what it is told, and an agent that repeats an update until it is acknowledged."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.tasks: dict[str, str] = {}
        self.offers: set[str] = set()
        self.unacknowledged: dict[str, str] = {}
        self.launches: list[str] = []
        self._number = 0

    def offer(self) -> list[dict[str, Any]]:
        self._number += 1
        self.offers.add(f"O{self._number}")
        scalars = {"cpus": 2.0, "mem": 4096.0}
        return [
            {
                "id": {"value": f"O{self._number}"},
                "agent_id": {"value": f"S{self._number}"},
                "hostname": f"h{self._number}",
                "resources": [
                    {"name": name, "type": "SCALAR", "scalar": {"value": value}}
                    for name, value in scalars.items()
                ],
            }
        ]

    def move(self, task_id: str, state: str) -> None:
        if not TaskState(self.tasks[task_id]).is_terminal:
            self.tasks[task_id] = self.unacknowledged[task_id] = state

    def update(self, task_id: str) -> dict[str, Any]:
        state = self.unacknowledged[task_id]
        status = {"task_id": {"value": task_id}, "state": f"TASK_{state}", "agent_id": {"value": "S1"}}
        return {**status, "uuid": f"{task_id}/{state}", "source": "SOURCE_EXECUTOR"}


class Driver:
    """Stands where the driver is, and checks each call against the disk."""

    connected, framework_id, framework = True, "F", {"roles": ["*"]}

    def __init__(self, mesos: Mesos, disk: Disk) -> None:
        self._mesos, self._disk = mesos, disk

    def acceptOffers(self, offer_ids: Any, operations: Any, filters: Any) -> None:
        tasks = [task["task_id"]["value"] for task in operations[0]["launch"]["task_infos"]]
        for task_id in tasks:
            assert self._disk.has(EventKind.LAUNCHED, task_id=task_id), "launched, and not on the disk"
        assert {one["value"] for one in offer_ids} <= self._mesos.offers, "an offer that was given back"
        self._mesos.offers -= {one["value"] for one in offer_ids}
        for task_id in tasks:
            assert task_id not in self._mesos.launches, "one task id, two tasks"
            self._mesos.launches.append(task_id)
            self._mesos.tasks[task_id] = "STAGING"

    def declineOffer(self, offer_ids: Any, filters: Any) -> None:
        self._mesos.offers -= {one["value"] for one in offer_ids}

    def acknowledgeStatusUpdate(self, status: Any) -> None:
        task_id, _, state = status["uuid"].rpartition("/")
        known = self._disk.has(EventKind.STATUS, task_id=task_id, state=state)
        # What comes after a task's end, as far as we know it, says nothing.
        is_over = any(
            event.kind is EventKind.STATUS and event.task_id == task_id and TaskState(event.state).is_terminal
            for event in self._disk.events.values()
        )
        assert known or is_over, "acknowledged, and not on the disk"
        if self._mesos.unacknowledged.get(task_id) == state:
            del self._mesos.unacknowledged[task_id]

    def kill(self, task_id: str, agent: str, grace: float) -> None:
        if task_id in self._mesos.tasks:
            self._mesos.move(task_id, "KILLED")

    def reconcile(self, tasks: Any) -> None:
        for task_id, _ in tasks:
            if task_id not in self._mesos.tasks:
                self._mesos.tasks[task_id] = self._mesos.unacknowledged[task_id] = "GONE"

    async def connect(self) -> Any:
        raise ConnectionError("it says nothing")

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class Session:
    """A session from its start to its end or to a crash."""

    def __init__(self, disk: Disk, mesos: Mesos) -> None:
        self.disk, self.mesos, self.writer = disk, mesos, Writer()
        self.loop = asyncio.get_running_loop()
        self.jobs = Jobs(disk, lambda: EPOCH + self.loop.time(), writer=self.writer)  # type: ignore[arg-type]
        self.jobs.listen(self._told)
        self.state = SchedulerState(self.jobs.table, TEMPLATE, "http://127.0.0.1:1", 60.0, roles=("*",))
        self.runner = Runner(self.state, self.jobs)
        self.runner.driver = Driver(mesos, disk)  # type: ignore[assignment]
        self.jobs.commits.on_stall = self.runner.stalled
        self.runner.feed(Adopted())
        self.runner.subscribed("F", {}, "")
        self.runner.feed(Settle())
        self.answered: list[str] = []

    def _told(self, event: Event, job: JobRecord) -> None:
        assert not event.seq or self.disk.events.get(event.seq) == event, "told, and not on the disk"

    def crash(self) -> None:
        self.runner.close()
        self.jobs.commits.close()

    async def submit(self) -> None:
        resource = ComputeResource(cpu=1.0, ram_mega_bytes=64, instances=2, workers_per_executor="max")
        spec = JobSpec(
            "pi", "ada", (resource,), "0" * 64, 10, "3.11", faults=FaultTolerance(max_worker_restarts=100)
        )
        try:
            job = await self.jobs.create(spec, "k")
        except JournalError:
            return
        assert job.job_id in self.disk.made, "answered, and not on the disk"
        self.answered.append(job.job_id)
        self.runner.feed(Submitted(job.job_id))

    async def result(self, task_id: str) -> None:
        found = self.state.tracker.find(task_id)
        if found is None:
            return
        job, worker_id = found
        now = self.jobs.clock()
        self.jobs.record(Event(EventKind.RESULT, job.job_id, now, worker_id, task_id, data={"ok": True}))
        try:
            await self.jobs.durable()
        except JournalError:
            return
        assert self.disk.has(EventKind.RESULT, task_id=task_id), "answered, and not on the disk"

    async def turn(self, times: int = 4) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    async def step(self, name: str, number: int) -> None:
        tasks = list(self.mesos.tasks)
        if name == "submit":
            self.start(self.submit())
        elif name == "offer":
            self.runner.offers(self.mesos.offer())
        elif name == "sync":
            self.writer.sync()
        elif name in ("full", "room"):
            self.disk.is_full = name == "full"
        elif name == "time":
            await asyncio.sleep(1.0)
        elif name == "kill" and len(self.jobs.active) > 1:
            self.runner.feed(KillJob(self.jobs.active[0].job_id, "USER", "enough"))
        elif name == "deliver":
            for task_id in list(self.mesos.unacknowledged):
                self.runner.update(self.mesos.update(task_id))
        elif tasks and name == "result":
            self.start(self.result(tasks[number % len(tasks)]))
        elif tasks and name in ("RUNNING", "FINISHED", "FAILED", "LOST"):
            self.mesos.move(tasks[number % len(tasks)], name)
        await self.turn()

    def start(self, work: Any) -> None:
        self._work = [*getattr(self, "_work", []), self.loop.create_task(work)]

    async def finish(self) -> None:
        """Let everything come to its end, as a cluster does that is left in peace."""
        self.disk.is_full = False
        for _ in range(400):
            self.writer.sync()
            await self.turn()
            if all(job.view.state.is_final for job in self.jobs) and self.jobs.commits.is_idle:
                return
            for task_id, state in list(self.mesos.tasks.items()):
                if state == "STAGING":
                    self.mesos.move(task_id, "RUNNING")
                elif state == "RUNNING":
                    await self.step("deliver", 0)
                    self.start(self.result(task_id))
                    self.writer.sync()
                    await self.turn()
                    self.mesos.move(task_id, "FINISHED")
            await self.step("deliver", 0)
            for job in self.jobs.active:
                for worker in job.view.workers:
                    if worker.state is TaskState.FINISHED and not worker.result:
                        now = self.jobs.clock()
                        event = Event(
                            EventKind.RESULT,
                            job.job_id,
                            now,
                            worker.worker_id,
                            worker.task_id,
                            data={"ok": True},
                        )
                        self.jobs.record(event)  # as it is fetched from the sandbox
            await self.step("offer", 0)
            await asyncio.sleep(20.0)
        raise AssertionError([(job.view.state, job.view.counts, job.view.waiting_for) for job in self.jobs])


STEPS = [
    "offer",
    "sync",
    "sync",
    "deliver",
    "RUNNING",
    "FINISHED",
    "FAILED",
    "LOST",
    "result",
    "kill",
    "submit",
]
STEPS += ["time", "full", "room"]


Lives = list[list[tuple[str, int]]]
some_lives = st.lists(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=25), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=40)
@given(some_lives)
def test_wherever_the_power_is_cut_nothing_is_lost_and_nothing_runs_twice(lives: Lives) -> None:
    live(lives)


@pytest.mark.slow
@settings(deadline=None, max_examples=600)
@given(some_lives)
def test_wherever_the_power_is_cut_at_length(lives: Lives) -> None:
    live(lives)


def live(lives: Lives) -> None:
    """Lead these lives, each cut short, and one more to the end."""

    async def main() -> None:
        disk = Disk()
        mesos = Mesos(disk)
        answered: list[str] = []
        for steps in lives:
            session = Session(disk, mesos)
            for step in [("submit", 0), ("sync", 0), *steps]:
                await session.step(*step)
            answered += session.answered
            session.crash()
            await session.turn()
            mesos.offers.clear()
            disk.is_full = False
        last = Session(disk, mesos)
        assert set(answered) <= {job.job_id for job in last.jobs}, "accepted, and lost"
        await last.finish()
        numbers = sorted(disk.events)
        assert numbers == sorted(set(numbers))
        alive = [task_id for task_id, state in mesos.tasks.items() if not TaskState(state).is_terminal]
        assert not alive, "left running"
        last.crash()

    on_loop(main())
