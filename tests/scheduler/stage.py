"""A scheduler and its runner, all around them real but the driver, on a clock that jumps over every pause."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from t2notebook.journal import Journal, read_events
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.protocol.launch import Cause, encode_status_data
from t2notebook.scheduler.inputs import KillJob, KillWorker, Submitted
from t2notebook.scheduler.messages import ExecutorTemplate
from t2notebook.scheduler.runner import Runner
from t2notebook.scheduler.state import SchedulerState

EPOCH = 1_700_000_000.0
#: `data` of a status whose worker's code raised an exception.
RAISED = encode_status_data(1, Cause.EXCEPTION)


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: what it was to wait is added to `now`."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when it has nothing to do, and then at once."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def on_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on such a loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main)


class Driver:
    """Stands where the driver is; `calls` has what it was asked for, in order."""

    def __init__(self, jobs: Jobs) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.connected = True
        self.framework_id = "F"
        self.framework = {"roles": ["*"]}
        self._jobs = jobs
        self.known_at_ack: list[list[str]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments))

        return call

    def acknowledgeStatusUpdate(self, status: Any) -> None:
        self.calls.append(("acknowledge", status["task_id"]["value"], status["state"]))
        durable = [
            event.state
            for job in self._jobs
            for event in read_events(self._jobs.journal.directory, job.job_id)
        ]
        self.known_at_ack.append(durable)

    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]

    def launched(self) -> list[dict[str, Any]]:
        return [
            task
            for name, *arguments in self.calls
            if name == "acceptOffers"
            for task in arguments[1][0]["launch"]["task_infos"]
        ]


class Stage:
    """A scheduler with everything around it real but the driver."""

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.jobs = Jobs(Journal(directory), lambda: EPOCH + self.loop.time())
        self.driver = Driver(self.jobs)
        self.errors: list[str] = []
        template = ExecutorTemplate(("python3.11",), "3.11", "http://127.0.0.1:1/v1/core/c.pyz", "c.pyz", 180)
        self.state = SchedulerState(self.jobs.table, template, "http://127.0.0.1:1", 0.05, roles=("*",))
        self.scheduler = Runner(self.state, self.jobs, on_error=self.errors.append)
        self.scheduler.driver = self.driver  # type: ignore[assignment]
        self.jobs.commits.on_stall = self.scheduler.stalled
        self.begin()

    def begin(self) -> None:
        """Subscribe."""
        self.scheduler.subscribed("F", {}, "127.0.0.1")

    def submit(self, workers: int = 2, cpu: float = 1.0, name: str = "pi", **fields: Any) -> JobRecord:
        resource = ComputeResource(cpu=cpu, ram_mega_bytes=64, instances=workers, workers_per_executor="max")
        job = self.jobs.create_now(JobSpec(name, "ada", (resource,), "0" * 64, 10, "3.11", **fields), "k")
        self.scheduler.feed(Submitted(job.job_id))
        return job

    def kill(self, job: JobRecord, reason: str, message: str) -> None:
        self.scheduler.feed(KillJob(job.job_id, reason, message))

    def kill_worker(self, job: JobRecord, worker_id: int, *told: str, restart: bool = False) -> None:
        self.scheduler.feed(KillWorker(job.job_id, worker_id, *told, restart=restart))

    def offer(self, number: int = 1, cpus: float = 4.0) -> None:
        scalars = {"cpus": cpus, "mem": 4096.0}
        self.scheduler.offers(
            [
                {
                    "id": {"value": f"O{number}"},
                    "agent_id": {"value": f"S{number}"},
                    "hostname": f"h{number}",
                    "url": {"scheme": "http", "address": {"ip": "127.0.0.1", "port": 5051}},
                    "resources": [
                        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
                        for name, value in scalars.items()
                    ],
                }
            ]
        )

    def update(self, task_id: str, state: str, **fields: Any) -> None:
        status = {
            "task_id": {"value": task_id},
            "state": f"TASK_{state}",
            "uuid": "u",
            "agent_id": {"value": "S1"},
        }
        self.scheduler.update({**status, **fields})

    def result(self, job: JobRecord, worker: int, ok: bool = True) -> None:
        task_id = job.view.workers[worker].task_id
        self.jobs.record(Event(EventKind.RESULT, job.job_id, 1.0, worker, task_id, data={"ok": ok}))

    def play(self, job: JobRecord, state: str = "RUNNING") -> None:
        """Have all workers of a job reach a state."""
        for worker in job.view.workers:
            if worker.is_on_mesos:
                self.update(worker.task_id, state)

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of all calls of one kind."""
        return [tuple(arguments) for called, *arguments in self.driver.calls if called == name]


def on_stage(directory: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    """Run a scenario."""

    async def main() -> None:
        stage = Stage(directory)
        try:
            await scenario(stage)
        finally:
            stage.scheduler.close()
            stage.jobs.journal.close()

    on_loop(main())
