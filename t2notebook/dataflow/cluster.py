"""`MesosCluster`: a cluster of Dask whose workers are workers of jobs on Mesos."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import client
from ..client.job import Job
from ..model.errors import Twister2Error
from ..model.job import ComputeResource, FaultTolerance, Placement
from .requirements import DataflowError, need

need("dask", "distributed")

from dask.utils import parse_timedelta  # noqa: E402
from distributed.core import Status, rpc  # noqa: E402
from distributed.deploy.adaptive import Adaptive  # noqa: E402
from distributed.objects import SchedulerInfo  # noqa: E402
from distributed.utils import NoOpAwaitable  # noqa: E402

from . import at_exit, pending_reasons, scheduler_link, settings  # noqa: E402
from ._distributed import HookedCluster  # noqa: E402
from .adaptive import MesosAdaptive  # noqa: E402
from .agent.tls import MemorySecurity  # noqa: E402
from .cluster_scheduler import ClusterScheduler  # noqa: E402
from .members import Member, Members  # noqa: E402
from .reconciler import Reconciler  # noqa: E402
from .worker_jobs import WorkerJobs  # noqa: E402

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("t2notebook.dataflow")


class MesosCluster(HookedCluster):
    """A Dask cluster on Mesos.

    The Dask scheduler is a process of its own beside the notebook; workers are launched as jobs, by this project's
    scheduler, with all its placement and restarts. ``distributed.Client(cluster)`` connects.

    Parameters
    ----------
    workers : int
        How many workers at first; `scale` and `adapt` change that.
    cpu, ram_mega_bytes, disk_giga_bytes : float
        For each worker: cpus, MiB of memory (Dask's memory limit), GiB of disk.
    cpus, ram : optional
        Other spellings of `cpu` and `ram_mega_bytes`; `ram` may be a text such as ``"1GB"``.
    threads : int, optional
        Threads of each worker; by default its whole cpus, at least one.
    gpus : int
        Whole GPUs for each worker.
    name : str, optional
        Of the cluster; by default made up.
    nodes, where : str
        On which agents, as in `t2notebook.submit`.
    image : str
        Container image that workers run in, as in `t2notebook.submit`; it has to have the notebook's versions of dask
        and distributed. The Dask scheduler stays beside the notebook.
    gang : bool
        Launch the first workers at once, or none; later ones as each `scale` asks for them.
    workers_per_executor : int or "max"
        How many workers share an executor.
    max_worker_restarts : int
        How often a worker that crashed is started again under its name; then another takes its place. Restarts by
        ``client.restart()`` are not counted.
    launch_timeout, unreachable_timeout : float
        Seconds, as in `t2notebook.submit`.
    files : sequence of path
        What workers find in their current directory, beside the modules that lie beside the notebook, which travel
        anyway.
    preload : sequence of str
        Modules that executors import ahead of the workers, beside Dask's own, as ``("pandas",)``.
    worker_options, scheduler_options : mapping, optional
        Further arguments of `distributed.Worker` and `distributed.Scheduler`.
    dashboard_address : str, optional
        ``host:port`` of the dashboard; None: none. Without a port that is free, another one is taken.
    security : bool
        TLS between all parts, with certificates that are made for this cluster and kept in memory.
    on_exit : str
        What the end of this kernel does: ``"kill"`` ends the cluster (after a few seconds, if the kernel is killed),
        ``"detach"`` leaves it for `attach`.
    asynchronous : bool
        Whether it is used from within an event loop: ``await MesosCluster(asynchronous=True)``.
    loop : tornado.ioloop.IOLoop, optional
    scheduler_sync_interval : float
        Seconds between two exchanges of the cluster's description.

    Raises
    ------
    SubmitError, SessionError
        As `t2notebook.submit`.
    DataflowError
        When a library is missing, or the Dask scheduler does not start.
    """

    def __init__(
        self,
        workers: int = 0,
        cpu: float = ComputeResource.cpu,
        ram_mega_bytes: float = 1024.0,
        *,
        cpus: float | None = None,
        ram: float | str | None = None,
        disk_giga_bytes: float = 0.0,
        threads: int | None = None,
        gpus: int = 0,
        name: str | None = None,
        nodes: Sequence[str] | str = (),
        where: str = "",
        image: str = "",
        gang: bool = False,
        gang_timeout: float = Placement.gang_timeout,
        workers_per_executor: int | str = "max",
        max_worker_restarts: int = FaultTolerance.max_worker_restarts,
        launch_timeout: float = FaultTolerance.launch_timeout,
        unreachable_timeout: float = FaultTolerance.unreachable_timeout,
        files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
        preload: Sequence[str] = (),
        worker_options: Mapping[str, Any] | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        dashboard_address: str | None = ":8787",
        security: bool = True,
        on_exit: str = "kill",
        asynchronous: bool = False,
        loop: Any = None,
        scheduler_sync_interval: Any = 1,
    ) -> None:
        self._kept = settings.Settings.of(
            workers=workers,
            cpu=cpu,
            cpus=cpus,
            ram_mega_bytes=ram_mega_bytes,
            ram=ram,
            disk_giga_bytes=disk_giga_bytes,
            threads=threads,
            gpus=gpus,
            nodes=nodes,
            where=where,
            image=image,
            gang=gang,
            gang_timeout=gang_timeout,
            workers_per_executor=workers_per_executor,
            max_worker_restarts=max_worker_restarts,
            launch_timeout=launch_timeout,
            unreachable_timeout=unreachable_timeout,
            files=files,
            preload=preload,
            worker_options=worker_options or {},
            on_exit=on_exit,
        )
        name = name or f"dask-{os.urandom(4).hex()}"
        self._scheduler = ClusterScheduler(name, scheduler_options, dashboard_address, security=security)
        self._prepare(name, workers, asynchronous, loop, scheduler_sync_interval)

    def _prepare(
        self, name: str, target: int, asynchronous: bool, loop: Any, scheduler_sync_interval: Any
    ) -> None:
        self._jobs = WorkerJobs(name, self._job_changed)
        self._reconciler = Reconciler(_Owner(self), self._jobs, Members(), target)
        #: Whether its end is that of its scheduler, workers and jobs; what another kernel has left is not ended by an
        #: attempt to take it over.
        self._holds = not self._scheduler.is_left
        self._ending: asyncio.Task[None] | None = None
        self._told: set[str] = set()
        self.security: MemorySecurity | None = None
        super().__init__(asynchronous, loop, name, scheduler_sync_interval)
        at_exit.add(self)
        self.begin()

    @classmethod
    def attach(cls, name: str, *, asynchronous: bool = False, loop: Any = None) -> MesosCluster:
        """Return a cluster that another kernel has left to run (``on_exit="detach"``), with its workers and tasks.

        Parameters
        ----------
        name : str

        Raises
        ------
        DataflowError
            When there is none of this name, or another kernel holds it.
        """
        path = scheduler_link.find(name)
        cluster = cls.__new__(cls)
        cluster._scheduler, cluster._kept = ClusterScheduler(name, left=path), settings.Settings()
        cluster._prepare(name, 0, asynchronous, loop, 1)
        return cluster

    # Its life.

    async def on_start(self) -> None:
        """Start the scheduler's process and ask for the first workers, or take both over, and connect."""
        if self._scheduler.is_left:
            await self._take_over()
        else:
            await self._scheduler.start(
                detach=self._kept.on_exit == "detach", state=self._state(), on_known=self._begin_reconciling
            )
        self._scheduler.watch(self._scheduler_gone)
        self.security = self._scheduler.security()
        args = self.security.get_connection_args("client") if self.security else {}
        self.scheduler_comm = rpc(self._scheduler.address, connection_args=args)

    async def _take_over(self) -> None:
        state = await self._scheduler.take_over()
        self._reconciler.members = Members.restore(state)
        self._kept = settings.Settings.from_record(state["settings"])
        self._reconciler.target = int(state["target"])
        loop = asyncio.get_running_loop()
        for job_id in state.get("jobs", ()):
            try:
                self._jobs.know(await loop.run_in_executor(None, client.attach, job_id))
            except Twister2Error as error:
                self._say(f"a job of this cluster is lost: {error}")

    async def on_started(self) -> None:
        """Wait until the first workers have been asked for."""
        self._begin_reconciling()
        self._keep()
        await self._settled()
        self._holds = True

    def _begin_reconciling(self) -> None:
        self._reconciler.start()
        self._reconciler.changed()

    def __await__(self) -> Generator[Any, None, MesosCluster]:
        async def ready() -> MesosCluster:
            await self.begin_here()
            await self._settled()
            return self

        return ready().__await__()

    async def _settled(self) -> None:
        """Wait until every worker that is wanted has been asked for."""
        if self.status not in (Status.closing, Status.closed):
            await self._reconciler.settled()

    async def on_close(self) -> None:
        """End scheduler, workers and jobs, in this order: without a scheduler, a worker ends by itself."""
        await self._reconciler.stop()
        loop = asyncio.get_running_loop()
        if self._holds:
            await loop.run_in_executor(None, self._jobs.kill_waiting)
        if self.scheduler_comm is not None:
            await self.scheduler_comm.close_rpc()
            self.scheduler_comm = None
        if not self._holds:
            self._scheduler.detach()
            return
        await self._scheduler.end()
        await loop.run_in_executor(None, self._jobs.see_off)

    async def on_closed(self) -> None:
        """Forget it."""
        at_exit.discard(self)
        self._jobs.forget()
        self._reconciler.release()

    def end_with_kernel(self) -> None:
        """End everything while this process ends, without a loop or a thread: neither is to be had any more."""
        if self.status in (Status.closing, Status.closed):
            return
        self.status = Status.closed
        if self._kept.on_exit == "kill":
            self._end_here()

    def shut_down(self) -> None:
        """End everything, for who has `t2notebook.shutdown` called, also from within the cluster's own event loop."""
        if not self.asynchronous:
            self.close()
            return
        self._reconciler.target = 0
        self._end_here()
        self.loop.add_callback(self.end)

    def _end_here(self) -> None:
        """End scheduler, workers and jobs on this thread."""
        self._jobs.kill_waiting()
        self._scheduler.end_now()
        self._jobs.see_off()

    def _scheduler_gone(self) -> None:
        """The scheduler's process has ended by itself: its tasks and what only workers have is lost."""
        if self.status not in (Status.running, Status.starting):
            return
        how, log_text = self._scheduler.how_it_ended()
        self._say(
            f"the Dask scheduler of {self.name} {how}; its tasks and their data are lost, and "
            f"its workers end: make another MesosCluster{log_text}"
        )
        self._ending = asyncio.ensure_future(self.end())

    # Workers.

    @property
    def workers(self) -> dict[str, Member]:
        """The workers that are to be, by name."""
        return {member.name: member for member in self._reconciler.members.planned}

    @property
    def jobs(self) -> list[Job]:
        """The jobs whose workers are this cluster's, oldest first."""
        return list(self._jobs)

    @property
    def plan(self) -> set[str]:
        """Names of the workers that are to be, asked for already or not."""
        members = self._reconciler.members
        missing = max(0, self._reconciler.target - len(members.planned))
        first = members.next_number
        return {*self.workers, *(str(number) for number in range(first, first + missing))}

    @property
    def requested(self) -> set[str]:
        """Names of the workers that have been asked for."""
        return set(self.workers)

    @property
    def observed(self) -> set[str]:
        """Names of the workers that the Dask scheduler knows."""
        return self._reconciler.observed

    @property
    def is_infeasible(self) -> bool:
        """Whether workers have ended before they joined the Dask scheduler, so that more would fare no better."""
        return self._reconciler.members.is_infeasible

    def scale(self, n: int = 0, memory: str | float | None = None, cores: int | None = None) -> Any:
        """Have so many workers: more are asked for, or some leave, once their data is on others.

        Parameters
        ----------
        n : int
        memory : str or float, optional
            As many as have so much memory together, as ``"10 GiB"`` or bytes.
        cores : int, optional
            As many as have so many threads together.

        Raises
        ------
        DataflowError
            When the cluster is closed, or a size is none.
        """
        n = self._kept.at_least(n, cores, memory)
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise DataflowError(f"cannot scale to {n!r} workers; give a whole number from 0")
        self._check_open()
        self._reconciler.target = n
        self._reconciler.members.try_again()
        if self.called_from_running_loop:
            self._reconciler.changed()
        else:
            self.loop.add_callback(self._reconciler.changed)
        return NoOpAwaitable() if self.asynchronous else None

    scale_up = scale

    def _check_open(self) -> None:
        if self.status in (Status.closing, Status.closed):
            raise DataflowError(f"the cluster {self.name} is closed")

    async def scale_down(self, workers: Sequence[str]) -> None:
        """Let these workers leave, by name, once their data is on others."""
        names = [str(name) for name in workers if str(name) in self.workers]
        self._reconciler.target = max(0, len(self.workers) - len(names))
        await self._reconciler.let_leave(names)
        self._reconciler.changed()

    def adapt(
        self,
        Adaptive: type[Adaptive] = MesosAdaptive,
        minimum: float = 0,
        maximum: float = math.inf,
        minimum_cores: int | None = None,
        maximum_cores: int | None = None,
        minimum_memory: str | None = None,
        maximum_memory: str | None = None,
        **kwargs: Any,
    ) -> Adaptive:
        """Have as many workers as the tasks need, within bounds; see `distributed.deploy.Adaptive`.

        Parameters
        ----------
        Adaptive : type
        minimum, maximum : int
            Workers.
        minimum_cores, maximum_cores : int, optional
            Threads of all workers together.
        minimum_memory, maximum_memory : str, optional
            Memory of all workers together, as ``"100 GiB"``.
        **kwargs
            ``interval``, ``wait_count``, ``target_duration``, ...

        Raises
        ------
        DataflowError
            When the cluster is closed, or a size is none.
        """
        self._check_open()
        minimum = self._kept.at_least(minimum, minimum_cores, minimum_memory)
        maximum = self._kept.at_most(maximum, maximum_cores, maximum_memory)
        return super().adapt(Adaptive=Adaptive, minimum=minimum, maximum=maximum, **kwargs)

    def wait_for_workers(self, n_workers: int, timeout: float | str | None = None) -> Any:
        """Wait for so many workers.

        Parameters
        ----------
        n_workers : int
        timeout : number, optional
            Seconds.

        Raises
        ------
        DataflowError
            When workers end before they join the Dask scheduler, and why.
        TimeoutError
            When they have not come in time; the message says what they wait for.
        """
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
            raise ValueError(f"`n_workers` must be a positive integer. Instead got {n_workers}.")
        return self.sync(self._wait_for, n_workers, timeout)

    async def _wait_for(self, count: int, timeout: float | str | None) -> None:
        deadline = None if timeout is None else time.monotonic() + parse_timedelta(timeout)
        while (running := await self._count_running()) < count:
            if self.status in (Status.closing, Status.closed, Status.failed):
                raise DataflowError(self._reconciler.trouble or f"the cluster {self.name} is closed")
            if self._reconciler.trouble and self.is_infeasible:
                raise DataflowError(self._reconciler.trouble)
            if self._reconciler.refusal and self._reconciler.target < count:
                raise DataflowError(self._reconciler.refusal)
            if deadline is not None and time.monotonic() > deadline:
                why = self.waiting_for or self._reconciler.trouble
                raise TimeoutError(
                    f"{running} of {count} workers have come after {timeout}{f': {why}' if why else ''}"
                )
            await asyncio.sleep(0.02)

    async def _count_running(self) -> int:
        if len(self.scheduler_info["workers"]) and self.scheduler_comm is not None:
            self.scheduler_info = SchedulerInfo(await self.scheduler_comm.identity())
        return sum(one["status"] == "running" for one in self.scheduler_info["workers"].values())

    def on_worker(self, joined: bool) -> None:
        """Compare what is with what is to be."""
        self._reconciler.members.joined(self.observed)
        self._reconciler.changed()

    def _job_changed(self, job: Job) -> None:
        """A job tells a change, on its own thread."""
        loop = self.loop
        if loop is not None:
            try:
                loop.add_callback(self._reconciler.changed)
            except RuntimeError:  # it is closed
                pass

    def _submit(self, names: Sequence[str]) -> Job:
        return self._jobs.submit(names, self._kept, self._scheduler.address, self._scheduler.keys)

    def _keep(self) -> None:
        """Leave with the scheduler's process what another kernel would need."""
        self._scheduler.keep(self._state())

    def _state(self) -> dict[str, Any]:
        reconciler = self._reconciler
        return {
            "jobs": self._jobs.unfinished,
            "settings": self._kept.to_record(),
            "target": reconciler.target,
            **reconciler.members.state(),
        }

    def _say(self, text: str) -> None:
        """Tell people, once."""
        self.take_note(text)
        if text not in self._told:
            self._told.add(text)
            log.warning("%s", text)

    # What people see.

    def why(self) -> pd.DataFrame:
        """Return why workers wait for resources, as ``job.why`` does: one row an offer and a thing that it lacked."""
        return pending_reasons.why(self._jobs, self._reconciler.members)

    @property
    def waiting_for(self) -> str:
        """The reason why workers wait, in words; empty if none does."""
        return pending_reasons.waiting_for(self._jobs, self._reconciler.members)

    async def workers_logs(self, wanted: Any) -> dict[str, str]:
        """Return what workers wrote, of those too that have ended: by address, or by name where there is none."""
        addresses = {str(one["name"]): address for address, one in self.scheduler_info["workers"].items()}
        loop = asyncio.get_running_loop()
        found = {}
        for member in list(self._reconciler.members.all.values()):
            key = addresses.get(member.name, member.name)
            is_wanted = wanted is True or key in wanted or member.name in wanted
            if is_wanted and self._jobs.get(member.job_id) is not None:
                found[key] = await loop.run_in_executor(
                    None, self._jobs.logs, member.job_id, member.worker_id
                )
        return found

    @property
    def dashboard_link(self) -> str:
        """The dashboard's URL; empty if there is none."""
        return self._scheduler.dashboard_link(self.scheduler_info.get("services", {}).get("dashboard"))

    @property
    def scheduler_address(self) -> str:
        """The address for clients."""
        return self._scheduler.address or "<Not Connected>"


class _Owner:
    """A cluster as its reconciler needs it (`t2notebook.dataflow.reconciler.Owner`)."""

    def __init__(self, cluster: MesosCluster) -> None:
        self._cluster = cluster
        self.submit, self.keep, self.say = cluster._submit, cluster._keep, cluster._say

    @property
    def scheduler_comm(self) -> Any:
        return self._cluster.scheduler_comm

    @property
    def is_running(self) -> bool:
        return self._cluster.status in (Status.starting, Status.running)

    @property
    def known_names(self) -> set[str]:
        return {str(one["name"]) for one in self._cluster.scheduler_info["workers"].values()}
