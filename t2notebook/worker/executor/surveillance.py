"""The executor's eye on its workers: measures them once a second, and tells the job masters of their jobs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...model.text import dumps
from ...model.use import Use
from .control import ControlConnection
from .event_loop import Loop, Timer
from .memory import MemoryWatch
from .task import Task
from .usage import INTERVAL, UsageSampler


class Surveillance:
    """Workers that run, their use, and a control connection for each of their jobs.

    Parameters
    ----------
    loop : Loop
    memory : MemoryWatch
        Watches the same workers, by their task ids.
    executor_id : str
    """

    def __init__(self, loop: Loop, memory: MemoryWatch, executor_id: str) -> None:
        self._loop, self._executor_id = loop, executor_id
        self._sampler = UsageSampler(memory)
        self._tasks: dict[str, Task] = {}
        self._connections: dict[str, ControlConnection] = {}
        self._timer: Timer | None = None
        self._gpus: Any = None
        if shutil.which("nvidia-smi"):
            from .gpus import GpuWatch  # most agents do without

            self._gpus = GpuWatch(loop, self._sampler.note_gpus)

    def add(self, task: Task) -> None:
        """Watch a worker whose process has been made."""
        if task.launch is None:
            return
        self._tasks[task.task_id] = task
        self._sampler.add(task.task_id, task.begun)
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def remove(self, task: Task) -> Use | None:
        """Watch a worker no more; return its last figures the first time, None again."""
        if self._tasks.pop(task.task_id, None) is None:
            return None
        return self._sampler.remove(task.task_id, task.cpu, task.grown, task.waited)

    def _look(self) -> None:
        self._timer = None
        self._sampler.sample()
        if self._gpus is not None:
            self._gpus.ask(time.monotonic())
        by_job: dict[str, list[Task]] = {}
        for task in self._tasks.values():
            if task.launch is not None:
                by_job.setdefault(task.launch.job_id, []).append(task)
        for job_id in [job_id for job_id in self._connections if job_id not in by_job]:
            self._connections.pop(job_id).close()
        for job_id, tasks in by_job.items():
            connection = self._connections.get(job_id)
            if connection is None:
                connection = self._connections[job_id] = self._connect(tasks[0])
            connection.keep()
            connection.tell({"kind": "use", "workers": self._rows(tasks)}, is_figure=True)
        if self._tasks:
            self._timer = self._loop.call_later(INTERVAL, self._look)

    def _rows(self, tasks: list[Task]) -> list[list[Any]]:
        rows = []
        for task in tasks:
            use = self._sampler.use(task.task_id)
            if use is not None and task.launch is not None:
                rows.append([task.launch.worker_id, task.launch.restart_count, *use.to_list()])
        return rows

    def _connect(self, task: Task) -> ControlConnection:
        launch = task.launch
        assert launch is not None
        job_id, last = launch.job_id, (0, launch.url)

        def locate() -> tuple[int, str]:
            """Return the newest address that any of the job's workers here has been told."""
            nonlocal last
            for one in self._tasks.values():
                if one.launch is not None and one.launch.job_id == job_id and one.session_address is not None:
                    last = max(last, one.session_address.read(), key=lambda found: found[0])
            return last

        hello = {"job_id": job_id, "executor": self._executor_id}
        return ControlConnection(self._loop, launch.secret, hello, locate, partial(self._on_request, job_id))

    def _on_request(
        self, job_id: str, record: Mapping[str, Any], answer: Callable[[Mapping[str, Any], bytes], None]
    ) -> None:
        """Take a question of a job master's about one of its workers."""
        task = next((one for one in self._tasks.values() if _is_meant(one, job_id, record)), None)
        if task is None or task.inspection is None:
            answer({"error": "this worker does not run here"}, b"")
            return

        def answered(found: Mapping[str, Any]) -> None:
            answer({}, dumps(found).encode())

        if record.get("kind") == "stack":
            task.inspection.stack(answered)
        elif record.get("kind") == "profile":
            seconds = record.get("seconds")
            task.inspection.profile(float(seconds) if isinstance(seconds, int | float) else 1.0, answered)
        else:
            answer({"error": f"this executor does not know {record.get('kind')!r}"}, b"")


def _is_meant(task: Task, job_id: str, record: Mapping[str, Any]) -> bool:
    launch = task.launch
    return launch is not None and (launch.job_id, launch.worker_id, launch.restart_count) == (
        job_id,
        record.get("worker_id"),
        record.get("restart_count"),
    )
