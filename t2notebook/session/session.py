"""A session's life, and what it wires: kernels on one side, workers on the other, its own framework and those that
it has taken over; from its first job until no kernel is attached and no job runs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tornado.web import Application

from .._version import __version__
from ..journal.job_store import AllJobs, JobRecord
from ..model.errors import SessionError
from ..model.events import Event, EventKind
from ..model.job import JobSpec
from ..model.process import LOADER, user_name
from ..model.scaling import scaled
from ..protocol.launch import KILL_GRACE
from ..scheduler.messages import framework_info
from .admission import NotSubmitted
from .client_socket import Door
from .cluster_job_masters import ClusterJobMasters
from .embedded import Cluster
from .forecasts import Forecasts
from .framework import Framework
from .frameworks import Frameworks
from .job_masters import JobMasters
from .job_views import JobViews
from .master import Master
from .need import Need
from .observers import Observers, knock
from .retention import prune_ended
from .subscriptions import Clients
from .time_limits import TimeLimits
from .worker_server import Workers
from .zookeeper_publisher import ZooKeeperPublisher

log = logging.getLogger(__name__)

#: Seconds that a session without a framework goes on after it has refused a job.
REFUSAL_SECONDS = 0.5
#: Seconds that an ending session takes at the most to tell everybody of its end.
END_TIMEOUT = 15.0


class SessionOver(SessionError):
    """The session is ending, and takes no more jobs."""


class Session:
    """A session: one framework of its own, those that it has taken over, many jobs, any number of kernels.

    Parameters
    ----------
    settings : dict
        ``config`` (the fields of `Config`), ``runtime_dir``, ``data_dir``, ``socket``, and ``secrets`` (the fields
        of `Secrets`), which are shown and kept nowhere.
    cluster : Cluster or None
        The embedded Mesos, which may be starting meanwhile; None for a master elsewhere.
    application : callable
        Returns, for this object, the application that serves kernels.

    Attributes
    ----------
    master : Master
    frameworks : Frameworks
        Its own runs what is submitted here.
    is_closed : bool
        Whether its journals are closed: nothing can be asked any more.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        cluster: Cluster | None,
        application: Callable[[Session], Application],
    ) -> None:
        self.config: dict[str, Any] = settings["config"]
        self.name = secrets.token_hex(8)
        self.started = time.time()
        given: dict[str, str] = settings.get("secrets", {})
        self.master = Master(self.config, given, cluster)
        self._is_embedded = bool(settings.get("embedded", cluster is not None))
        home = Path(settings["socket"])
        self._door = Door(home, self.name, application(self), lambda: self.frameworks.moved(self._door.path))
        self._data = Path(settings["data_dir"])
        self.jobs = AllJobs()
        self.clients = Clients(self.jobs)
        self.observers = Observers(self.jobs)
        self.views = JobViews(self.jobs, lambda job, worker: self.frameworks.of(job).sandbox(job, worker))
        self._time_limits = TimeLimits(self.jobs, self.kill)
        self._runtime = Path(settings["runtime_dir"])
        self.frameworks = Frameworks(
            self._data / "sessions",
            self._facts(home),
            self.jobs,
            float(self.config["executor_linger"]),
            self._framework_adopted,
            self._framework_over,
        )
        self.forecasts = Forecasts(self.frameworks.own, bool(self.config.get("gpus", False)))
        self.trouble = ""
        self._workers: Workers | None = None
        self._publisher = ZooKeeperPublisher(given.get("discovery", ""))
        self._over = asyncio.Event()
        self.is_closed = False
        #: Whether anybody has come for whom we were started.
        self.was_needed = False
        self._leaving = False
        self._need = Need(
            float(self.config["session_linger"]), time.monotonic(), float(self.config["failover_timeout"])
        )
        self.frameworks.adopt_left()

    def _facts(self, home: Path) -> dict[str, str]:
        """Return what a successor, or a kernel that looks for a job, needs to know of us."""
        return {
            "name": self.name,
            "home": str(home),
            "socket": str(self._door.path),
            "master": self.config["master"],
            "config": json.dumps(self.config),
            "python": sys.executable,
            "version": __version__,
        }

    # Frameworks.

    def _framework_adopted(self, framework: Framework) -> None:
        if self._workers is not None:
            self._workers.listen_at(framework.facts.worker_port)
            masters = self._workers.job_masters
            masters.take_up(framework.jobs)
            assert masters.cluster is not None
            masters.cluster.take_up_all(framework.jobs.active)
            self._start(framework)
            knock(self._runtime)
        for job in framework.jobs.active:
            self._time_limits.watch(job)
        self.observers.tell(framework.jobs)

    def _start(self, framework: Framework) -> None:
        assert self._workers is not None
        credentials = self.master.credentials
        info = framework_info(
            user=self.config["user"] or user_name(),
            name=f"t2notebook ({user_name()}@{socket.gethostname()})",
            role=self.config["role"],
            failover_timeout=float(self.config["failover_timeout"]),
            principal=credentials.principal,
            gpus=bool(self.config.get("gpus", False)),
        )
        workers = self._workers
        framework.start(
            self.master.detector, credentials, workers.url, workers.template, info, workers.contacts
        )
        framework.jobs.set_meta(
            worker_port=self._workers.url.rpartition(":")[2],
            master_address=framework.facts.master_address(self.master.address),
        )

    def _framework_over(self, framework: Framework) -> None:
        if framework.taken_by:
            jobs = [job.job_id for job in framework.jobs.active]
            self.clients.mark_lost(jobs, f"{framework.over}; t2.attach leads to it")
            self.observers.forget([job.job_id for job in framework.jobs])
            if framework is not self.frameworks.own:
                self.frameworks.drop(framework)
        if framework is self.frameworks.own:
            # Whoever submits next gets a new session, and so a framework that the master knows nothing against.
            self.trouble = framework.over
            self._leaving = bool(framework.taken_by)
            if framework.taken_by or len(framework.jobs):
                self.stop()
            # Else the master was quicker than the first job, which is then told why it is refused, and ends us.

    # Life.

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until nobody needs us."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave)
        self._door.open()
        ready()
        knock(self._runtime)
        watch = asyncio.create_task(self._watch_need())
        watch.add_done_callback(self._watched)
        try:
            start = asyncio.create_task(self._start_scheduler())
            await self._over.wait()
            start.cancel()
        finally:
            watch.cancel()
            try:
                async with asyncio.timeout(END_TIMEOUT):
                    await self._close()
            except TimeoutError:
                log.warning("the session did not end in %g s, and leaves as it is", END_TIMEOUT)

    def stop(self) -> None:
        """End the session, with all that it runs."""
        self._over.set()

    def _leave(self) -> None:
        """End the session and leave what it runs to the next: a logout or a reboot loses nothing."""
        self._leaving = True
        self._over.set()

    def touch(self) -> None:
        """Begin the time anew after which an idle session ends: somebody was here."""
        self._need.touch(time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it is ending; it takes no more jobs then."""
        return self._over.is_set()

    def _watched(self, watch: asyncio.Task[None]) -> None:
        """End a session that nothing watches any more: it would live for ever. What it runs is left to the next."""
        if not watch.cancelled() and (error := watch.exception()) is not None:
            log.error("the session cannot tell whether somebody needs it, and ends", exc_info=error)
            self._leave()

    async def _watch_need(self) -> None:
        while True:
            active = list(self.jobs.active)
            self.was_needed = self.was_needed or bool(self.clients) or bool(active)
            remaining = self._need.remaining(
                time.monotonic(),
                awaited=not self.was_needed,
                attached=bool(self.clients),
                connected=self.frameworks.connected,
                killed=[bool(job.view.kill_reason) for job in active],
            )
            if remaining <= 0:
                self._leaving = self._leaving or bool(active)
                self._over.set()
                return
            await asyncio.sleep(min(1.0, max(0.02, remaining)))
            self.frameworks.renew(time.monotonic())
            if self.job_masters is not None:
                self.job_masters.silence.look(time.monotonic())
            self._door.check()
            self._keep_files()
            await self.check_cluster()
            await self.frameworks.tear_down_done(END_TIMEOUT)

    def _keep_files(self) -> None:
        """Make again what somebody has removed under us: journals, and what agents fetch."""
        self.frameworks.keep()
        if self._workers is not None:
            self._workers.keep()

    async def check_cluster(self) -> None:
        """End with the embedded Mesos if that has ended."""
        own = self.frameworks.own
        if own.driver is not None and not own.connected and await self.master.is_gone() and not own.connected:
            # The next submit starts another session, and another cluster with it.
            await self.frameworks.lose_master("the embedded Mesos has ended, and all that it ran")

    async def _start_scheduler(self) -> None:
        try:
            await self.master.find(self._say_why_waiting)
            self._serve_workers()
            for framework in self.frameworks:
                self._start(framework)
        except Exception as error:
            log.exception("the session cannot start its scheduler")
            self.trouble = self.master.explain(error)
            self._leaving = len(self.frameworks) > 1
            for job in self.frameworks.own.jobs.active:
                self._refuse(job)
            if self._leaving:
                asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self.stop)

    def _say_why_waiting(self, trouble: str) -> None:
        message = f"no master ({trouble})"
        for job in self.jobs.active:
            if job.view.waiting_for != message:
                now = self.jobs.clock()
                self.jobs.record(Event(EventKind.PENDING, job.job_id, now, source="SESSION", message=message))

    def _serve_workers(self) -> None:
        self._workers = Workers(
            self.config,
            self.master.address,
            self.jobs,
            self._data / "core",
            self.frameworks.own.journal.packages,
            [port for framework in reversed(list(self.frameworks)) if (port := framework.facts.worker_port)],
            {name: os.environ[name] for name in LOADER if os.environ.get(name)} if self._is_embedded else {},
            self._publisher,
            self.scale,
            self._give_silent_up,
        )
        masters = self._workers.job_masters
        masters.cluster = ClusterJobMasters(
            self.jobs,
            claims=lambda job: self.frameworks.of(job).facts.claims,
            submit=lambda job: self.frameworks.of(job).admission.add_job_master(job),
            kill=self.kill,
            announce=lambda job, where: self.frameworks.of(job).announce_job_master(
                job, where.url, where.number
            ),
            sandbox=lambda job, launch: self.frameworks.of(job).sandbox_of(launch),
            take=masters.driver.take,
            taken=masters.driver.taken,
            scale=masters.scale,
        )
        masters.cluster.take_up_all(self.jobs.active)
        for framework in self.frameworks:
            self._workers.listen_at(framework.facts.worker_port)

    async def _close(self) -> None:
        await self.frameworks.end(leaving=self._leaving)
        await self.master.stop()
        if self.job_masters is not None:
            await self.job_masters.close()
        await self._publisher.close()
        self.is_closed = True
        self._door.close()
        self.clients.close()
        self.observers.close()
        self.views.close()
        servers = [*self._door.servers, *([] if self._workers is None else [self._workers.server])]
        for server in servers:
            server.stop()
            await server.close_all_connections()
        prune_ended(self._data / "sessions")

    # Jobs.

    async def submit(
        self,
        spec: JobSpec,
        package: Path,
        client: str,
        credentials: Mapping[str, str] | None = None,
    ) -> JobRecord:
        """Take a job over: its package is moved into our keeping, then it is journalled, then scheduled.

        Parameters
        ----------
        spec : JobSpec
        package : Path
            Where the package lies now.
        client : str
            The kernel that submits it, which watches it from now on.
        credentials : mapping, optional
            Kept nowhere.

        Raises
        ------
        SessionOver
            When the session is ending, and takes no more jobs.
        NotSubmitted
            When it cannot be kept; then nothing was submitted.
        NotOwner
            When the journal is another session's.
        """
        # A cluster that has ended is found out about here, before a job is lost with it.
        await self.check_cluster()
        if self.is_over:
            raise SessionOver("the session is ending")
        if spec.discovery and (why := await self._publisher.check(spec.discovery)):
            raise NotSubmitted(f"nothing was submitted: {why}")
        job = await self.frameworks.own.admission.admit(spec, package, client, credentials)
        self.clients.watch(client, job)
        # Also when somebody observes: that may be one who is about to leave.
        knock(self._runtime)
        if self.trouble:
            self._refuse(job)
        return job

    def kill(self, job: JobRecord, reason: str, message: str, grace: float = KILL_GRACE) -> None:
        """End a job, also before there is a scheduler.

        Parameters
        ----------
        job : JobRecord
        reason, message : str
        grace : float
            Seconds from SIGTERM to SIGKILL for its workers.
        """
        self.frameworks.of(job).commands.kill(job, reason, message, grace)

    async def scale(self, job: JobRecord, by: int, request: str, source: str, leave_time: float) -> int:
        """Change the number of a job's workers, and return it; when this returns, it is on the disk.

        Parameters
        ----------
        job : JobRecord
        by : int
            Workers to add; less than 0: to take away.
        request : str
            The same for a repetition, which changes nothing.
        source : str
            Who asks.
        leave_time : float
            Seconds that those have who leave.

        Raises
        ------
        ScalingError
            When it cannot be; then nothing was changed.
        JournalError
            When it cannot be written down.
        """
        if (known := job.view.scalings.get(request)) is None:
            known = scaled(job.spec, job.view, by)
            self.frameworks.of(job).commands.scale(job, known, request, source, leave_time)
        await self.jobs.durable(job.job_id)
        return known

    def _give_silent_up(self, job: JobRecord, worker_ids: tuple[int, ...], seconds: float) -> None:
        self.frameworks.of(job).commands.give_silent_up(job, worker_ids, seconds)

    def _refuse(self, job: JobRecord) -> None:
        """End a job that can never start, since there is no framework."""
        message = self.trouble
        self.jobs.record(
            Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason="SESSION", message=message)
        )
        # Who asked has been told; the next submit gets another session, which may have more luck.
        asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self.stop)

    @property
    def job_masters(self) -> JobMasters | None:
        """The job masters, as soon as workers can be served."""
        return None if self._workers is None else self._workers.job_masters

    def info(self) -> dict[str, Any]:
        """Return what ``%twister2 config`` and the client show of a session."""
        driver = self.frameworks.own.driver
        troubles = [self.trouble, *(one.trouble for one in self.frameworks), self.master.trouble]
        return {
            "name": self.name,
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.executable,
            "started": self.started,
            "master": (driver and driver.leader) or self.master.address or self.config["master"],
            "framework_id": driver.framework_id if driver else None,
            "subscribed": self.frameworks.own.connected,
            "trouble": next((trouble for trouble in troubles if trouble), ""),
            "worker_url": self._workers.url if self._workers is not None else "",
            "directory": str(self.frameworks.own.journal.directory),
            "adopted": [str(framework.journal.directory) for framework in self.frameworks.adopted],
            "kernels": len(self.clients),
            "refused": self._workers.job_masters.server.refused if self._workers is not None else 0,
            "config": self.config,
        }
