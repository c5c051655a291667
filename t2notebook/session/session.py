"""The wiring of a session, and its life: from its first job until no kernel is attached and no job runs."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application

from .. import __version__
from ..jobmaster import handlers
from ..jobmaster.jobs import JobRecord, Jobs
from ..journal import Journal, Lease, owner_is_alive, prune, session_directories
from ..model.events import Event, EventKind
from ..package import core, serve
from ..scheduler.driver import Driver
from ..scheduler.infos import KILL_GRACE, ExecutorTemplate, framework_info
from ..scheduler.scheduler import Scheduler
from ..scheduler.transport import Address
from . import api
from .clients import Clients
from .keeping import Quota
from .local import Cluster
from .results import ResultFetcher

log = logging.getLogger(__name__)

KEEP_BYTES = 2 << 30
KEEP_SECONDS = 7 * 86400.0
FAILOVER_TIMEOUT = 3600.0
#: Seconds that a session without a framework goes on after it has refused a job.
REFUSAL_SECONDS = 0.5
#: Seconds that an ending session takes at the most to say good-bye to everybody.
END_TIMEOUT = 15.0
#: An idle executor's own timer is only the fallback for ours.
EXECUTOR_FALLBACK = 60.0


class Session:
    """A session: one framework, many jobs, any number of kernels.

    Parameters
    ----------
    settings : dict
        ``config`` (the fields of `Config`), ``runtime_dir``, ``data_dir``, ``socket``.
    cluster : Cluster or None
        The embedded Mesos, which may be starting meanwhile; None for a master elsewhere.
    """

    def __init__(self, settings: dict[str, Any], cluster: Cluster | None) -> None:
        self.config: dict[str, Any] = settings["config"]
        self.started = time.time()
        self._cluster = cluster
        self._socket = Path(settings["socket"])
        self._data = Path(settings["data_dir"])
        self._sessions = self._data / "sessions"
        directory = self._sessions / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        self.journal = Journal(directory)
        self.lease = Lease.mine()
        self.journal.set_meta(
            owner=json.dumps(self.lease.to_dict()),
            socket=str(self._socket),
            master=self.config["master"],
            version=__version__,
        )
        self.jobs = Jobs(self.journal)
        self.clients = Clients(self.jobs)
        self.scheduler: Scheduler | None = None
        self.driver: Driver | None = None
        self.master = ""
        self.worker_url = ""
        self.trouble = ""
        self._over = asyncio.Event()
        self._idle_since = time.monotonic()
        self._servers: list[HTTPServer] = []
        self._results = ResultFetcher(self)
        self.jobs.listen(self._results.on_event)
        self.jobs.listen(Quota(self.jobs, KEEP_BYTES).on_event)

    # Life.

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until nobody needs us."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._over.set)
        self._socket.unlink(missing_ok=True)
        server = HTTPServer(Application(api.routes(self)), max_body_size=64 << 20)
        server.add_socket(bind_unix_socket(str(self._socket), mode=0o600))
        self._servers.append(server)
        ready()
        watch = asyncio.create_task(self._watch_need())
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

    def need(self) -> None:
        """Somebody was here: the time until an idle session ends begins anew."""
        self._idle_since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether it is ending; it takes no more jobs then."""
        return self._over.is_set()

    @property
    def is_needed(self) -> bool:
        """Whether a kernel is attached or a job runs."""
        return bool(self.clients) or bool(self.jobs.active)

    async def _watch_need(self) -> None:
        linger = float(self.config["session_linger"])
        while True:
            if self.is_needed:
                self.need()
            remaining = self._idle_since + linger - time.monotonic()
            if remaining <= 0:
                self._over.set()
                return
            await asyncio.sleep(min(1.0, max(0.02, remaining)))
            await self.has_lost_cluster()

    async def has_lost_cluster(self) -> bool:
        """Whether the embedded Mesos has ended; if so, the session does, too."""
        if self._cluster is not None and self.driver is not None and not self.driver.connected:
            await self._look_for(self._cluster)
        return self.is_over

    async def _look_for(self, cluster: Cluster) -> None:
        """End with the embedded Mesos: the next submit starts another session, and another cluster with it."""
        is_gone = await asyncio.get_running_loop().run_in_executor(None, cluster.is_gone)
        if is_gone and self.scheduler is not None and self.driver is not None and not self.driver.connected:
            self.scheduler.error("the embedded Mesos has ended, and all that it ran")

    async def _start_scheduler(self) -> None:
        try:
            await self._find_master()
            self._serve_workers()
            self._subscribe()
        except Exception as error:
            log.exception("the session cannot start its scheduler")
            self.trouble = str(error) or type(error).__name__
            if isinstance(error, socket.gaierror):
                where = f"the master {self.master!r} cannot be found ({error.strerror})"
                self.trouble = f"{where}; see t2.configure(master=...)"
            for job in self.jobs.active:
                self._refuse(job)

    async def _find_master(self) -> None:
        if self._cluster is None:
            self.master = self.config["master"]
        else:
            self.master = await asyncio.get_running_loop().run_in_executor(None, self._cluster.wait)

    def _serve_workers(self) -> None:
        core_dir = self._data / "core"
        core_dir.mkdir(mode=0o700, exist_ok=True)
        package = core.build_core(core_dir)
        host = self.config["bind"] or _address_towards(Address.parse(self.master))
        sockets = bind_sockets(self.config["port"], host)
        port = sockets[0].getsockname()[1]
        shown = self.config["advertise_host"] or host
        self.worker_url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        application = Application(
            [*handlers.routes(self.jobs), *serve.routes(core_dir, self.journal.packages, self._package_of)]
        )
        server = HTTPServer(application, max_body_size=1 << 20)
        server.add_sockets(sockets)
        self._servers.append(server)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        template = ExecutorTemplate(
            # An agent that has this very Python (it is this machine, or shares its file system) has its packages too.
            pythons=(self.config["python"],)
            if self.config["python"]
            else (sys.executable, f"python{version}"),
            version=version,
            core_url=f"{self.worker_url}/v1/core/{package.path.name}",
            core_file=package.path.name,
            idle_timeout=2 * float(self.config["executor_linger"]) + EXECUTOR_FALLBACK,
        )
        self.scheduler = Scheduler(
            self.jobs,
            template,
            self.worker_url,
            float(self.config["executor_linger"]),
            on_subscribed=lambda framework_id: self.journal.set_meta(framework_id=framework_id),
            on_error=self._framework_over,
            gpus=bool(self.config.get("gpus", False)),
        )

    def _subscribe(self) -> None:
        assert self.scheduler is not None
        user = self.config["user"] or getpass.getuser()
        info = framework_info(
            user=user,
            name=f"t2notebook ({getpass.getuser()}@{socket.gethostname()})",
            role=self.config["role"],
            failover_timeout=FAILOVER_TIMEOUT,
            gpus=bool(self.config.get("gpus", False)),
        )
        self.driver = self.scheduler.driver = Driver(
            self.scheduler, info, self.master, self.scheduler.suppressed_roles
        )
        for job in self.jobs.active:
            self.scheduler.submit(job)
        self.driver.start()

    def _framework_over(self, message: str) -> None:
        # Whoever submits next gets a new session, and so a framework that the master knows nothing against.
        self.trouble = message
        self.stop()

    async def _close(self) -> None:
        for job in self.jobs.active:
            if not job.view.kill_reason:
                self.kill(job, "SESSION", "the session was ended")
        if self.driver is not None and self.driver.connected:
            await self._await_ends(KILL_GRACE + 1.0)
        if self.scheduler is not None:
            self.scheduler.close()
        if self.driver is not None:
            await self.driver.stop(teardown=True)
        if self.scheduler is not None:
            self.scheduler.give_up("torn down with its session")
        self.clients.close()
        for server in self._servers:
            server.stop()
            await server.close_all_connections()
        self._socket.unlink(missing_ok=True)
        self.journal.set_meta(owner="")
        self.journal.close()
        alive = [path for path in session_directories(self._sessions) if owner_is_alive(path)]
        prune(self._sessions, alive, max_bytes=KEEP_BYTES, max_age=KEEP_SECONDS)

    async def _await_ends(self, patience: float) -> None:
        """Wait for what was killed to end, so that each worker's end is on record."""
        deadline = time.monotonic() + patience
        while self.jobs.active and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    # Jobs.

    def submit(self, job: JobRecord) -> None:
        """Have a new job scheduled, now or as soon as the scheduler is up."""
        if self.trouble:
            self._refuse(job)
        elif self.driver is not None and self.scheduler is not None:
            self.scheduler.submit(job)

    def kill(self, job: JobRecord, reason: str, message: str) -> None:
        """End a job, also before there is a scheduler."""
        if self.scheduler is not None and self.driver is not None:
            self.scheduler.kill(job, reason, message)
        elif not job.view.state.is_final:
            self.jobs.record(
                Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason=reason, message=message)
            )

    def _refuse(self, job: JobRecord) -> None:
        """End a job that can never start, since there is no framework."""
        message = self.trouble
        self.jobs.record(
            Event(EventKind.KILL, job.job_id, self.jobs.clock(), reason="SESSION", message=message)
        )
        # Who asked has been told; the next submit gets another session, which may have more luck.
        asyncio.get_running_loop().call_later(REFUSAL_SECONDS, self.stop)

    def _package_of(self, job_id: str) -> tuple[str, str] | None:
        job = self.jobs.get(job_id)
        return None if job is None else (job.secret, job.spec.package)

    def info(self) -> dict[str, Any]:
        """Return what ``%twister2 config`` and the client show of a session."""
        return {
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.executable,
            "started": self.started,
            "master": self.master or self.config["master"],
            "framework_id": self.driver.framework_id if self.driver else None,
            "subscribed": bool(self.driver and self.driver.connected),
            "trouble": self.trouble or (self.scheduler.trouble if self.scheduler else ""),
            "worker_url": self.worker_url,
            "directory": str(self.journal.directory),
            "kernels": len(self.clients),
            "config": self.config,
        }


def _address_towards(master: Address) -> str:
    """Return our address on the way to the master, loopback for a loopback master. Sends nothing."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        master.host, master.port, type=socket.SOCK_DGRAM
    ):
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.connect(address)
            except OSError:
                continue
            return str(probe.getsockname()[0])
    raise OSError(f"there is no way to the master {master}")


def run(settings: dict[str, Any], cluster: Cluster | None, ready: Callable[[], None]) -> None:
    """Run a session in this process."""
    logging.basicConfig(
        stream=sys.stderr,
        level=os.environ.get("T2_LOG", "WARNING"),
        format="%(asctime)s %(name)s: %(message)s",
    )

    async def _run() -> None:
        await Session(settings, cluster).run(ready)

    asyncio.run(_run())
