"""The executors of this framework: which live, what they run, and which have waited long enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.container_image import NO_IMAGE, ContainerImage
from ..model.job import MAX
from .placement.requests import RunningExecutor


@dataclass
class _Executor:
    executor_id: str
    agent: str
    tasks: dict[str, str] = field(default_factory=dict)  # task id -> job id
    idle_since: float | None = None
    proven: bool = False
    adopted: bool = False  # of an earlier session: its ExecutorInfo is not ours to repeat
    limit: int | str = MAX
    resources: tuple[dict[str, Any], ...] = ()
    preload: tuple[str, ...] = ()
    image: ContainerImage = NO_IMAGE

    @property
    def role(self) -> str:
        if not self.resources:
            return ""
        return str(self.resources[0].get("allocation_info", {}).get("role", ""))


class Executors:
    """Keeps book of executors by what is launched and what Mesos tells; an id is never used twice."""

    def __init__(self) -> None:
        self._executors: dict[str, _Executor] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._executors)

    def new_id(self) -> str:
        """Return an id that no executor of this framework has had."""
        self._count += 1
        return f"t2-{self._count}"

    def reserve(self, executor_id: str) -> None:
        """Note an id that an earlier session has given away."""
        number = executor_id.removeprefix("t2-")
        if number.isdigit():
            self._count = max(self._count, int(number))

    def adopt(self, executor_id: str, agent: str, task_id: str, job_id: str, proven: bool) -> None:
        """Note a task of an earlier session, in an executor of that session's.

        Parameters
        ----------
        executor_id, agent, task_id, job_id : str
        proven : bool
            Whether the task has been seen running.
        """
        self.launched(executor_id, agent, task_id, job_id)
        executor = self._executors[executor_id]
        executor.adopted, executor.proven = True, executor.proven or proven

    def jobs_by_executor(self, *, adopted: bool = True) -> dict[tuple[str, str], set[str]]:
        """Return the ids of the jobs that each adopted executor runs, or each one, by ``(executor id, agent)``."""
        return {
            (executor.executor_id, executor.agent): set(executor.tasks.values())
            for executor in self._executors.values()
            if executor.tasks and (executor.adopted or not adopted)
        }

    def launched(
        self,
        executor_id: str,
        agent: str,
        task_id: str,
        job_id: str,
        limit: int | str = MAX,
        resources: Sequence[dict[str, Any]] = (),
        preload: tuple[str, ...] = (),
        image: ContainerImage = NO_IMAGE,
    ) -> None:
        """A task is on its way to an executor, new or old.

        Parameters
        ----------
        executor_id, agent, task_id, job_id : str
        limit : int or "max"
            The task's `workers_per_executor`.
        resources : sequence of dict
            What a new executor was given: its ExecutorInfo may never change.
        preload : tuple of str
            Modules that it imports for this task, and has from now on.
        image : ContainerImage
            The image that a new executor runs in.
        """
        executor = self._executors.setdefault(
            executor_id, _Executor(executor_id, agent, resources=tuple(resources), image=image)
        )
        if not executor.tasks:
            executor.limit = MAX
        limits = [int(one) for one in (limit, executor.limit) if one != MAX]
        executor.limit = min(limits, default=MAX)
        executor.tasks[task_id] = job_id
        executor.preload = preload or executor.preload
        executor.idle_since = None

    def resources(self, executor_id: str) -> tuple[dict[str, Any], ...]:
        """Return the `Resource` objects that an executor was given."""
        executor = self._executors.get(executor_id)
        return executor.resources if executor is not None else ()

    def image(self, executor_id: str) -> ContainerImage:
        """Return the image that an executor runs in."""
        executor = self._executors.get(executor_id)
        return executor.image if executor is not None else NO_IMAGE

    def count(self, executor_id: str) -> int:
        """Return how many tasks an executor has."""
        executor = self._executors.get(executor_id)
        return len(executor.tasks) if executor is not None else 0

    def ran(self, executor_id: str) -> None:
        """A task of this executor has been seen running, so its executor lives."""
        if executor := self._executors.get(executor_id):
            executor.proven = True

    def ended(self, executor_id: str, task_id: str, now: float) -> None:
        """Note that a task has ended; an executor without any waits from now on, if it ever lived.

        Parameters
        ----------
        executor_id, task_id : str
        now : float
            Seconds.
        """
        executor = self._executors.get(executor_id)
        if executor is None or executor.tasks.pop(task_id, None) is None or executor.tasks:
            return
        if executor.proven:
            executor.idle_since = now
        else:
            del self._executors[executor_id]

    def lost(self, executor_id: str) -> None:
        """An executor has ended."""
        self._executors.pop(executor_id, None)

    def lost_agent(self, agent: str) -> None:
        """All executors of an agent are gone."""
        for executor in [executor for executor in self._executors.values() if executor.agent == agent]:
            del self._executors[executor.executor_id]

    def clear(self) -> None:
        """Forget all: the framework is new."""
        self._executors.clear()

    def running(self, preloads: Mapping[str, tuple[str, ...]] | None = None) -> list[RunningExecutor]:
        """Return what matching wants to know.

        An idle executor that has imported modules for a job is kept for the first of the waiting jobs that wants the
        same: for any other they might be in the way, or another version than its own.

        Parameters
        ----------
        preloads : mapping, optional
            By waiting job, in order of precedence: the modules that its executors are to import.
        """
        wanting: dict[tuple[str, ...], str] = {}
        for job_id, preload in (preloads or {}).items():
            wanting.setdefault(preload, job_id)
        return [
            RunningExecutor(
                executor.executor_id,
                executor.agent,
                next(
                    iter(executor.tasks.values()),
                    wanting.get(executor.preload, "") if executor.preload else "",
                ),
                len(executor.tasks),
                executor.limit,
                executor.role,
                executor.image,
            )
            for executor in self._executors.values()
            if not executor.adopted
            and (executor.tasks or not executor.preload or executor.preload in wanting)
        ]

    def idle(self) -> list[tuple[str, str, float]]:
        """Return ``(executor id, agent, idle since)`` of those that wait for a task."""
        return [
            (executor.executor_id, executor.agent, executor.idle_since)
            for executor in self._executors.values()
            if executor.idle_since is not None
        ]
