"""The server for workers: the HTTP server that they talk to, and the executor that agents fetch from it."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from ..jobmaster import http_api as jobmaster_http_api
from ..jobmaster.contacts import Contacts
from ..journal.job_store import AllJobs
from ..mesos.transport import Address
from ..model.errors import SessionError
from ..model.process import user_name
from ..package import core_package
from ..package import http_api as package_http_api
from ..scheduler.messages import ExecutorTemplate
from .job_masters import JobMasters, Scaler
from .shared_port import SharedPort
from .silent_workers import GiveUp
from .zookeeper_publisher import ZooKeeperPublisher

log = logging.getLogger(__name__)

#: Connections that wait to be accepted: a thousand workers may come at once (the system may allow fewer).
BACKLOG = 4096

#: Bytes of a large result that are handed over at once.
CHUNK = 1 << 20

#: An idle executor's own timer is only the fallback for ours.
EXECUTOR_FALLBACK = 60.0
_CORE = "/v1/core/"


class _Heard(Application):
    """An application that notes who comes, before anything is answered."""

    def __init__(self, contacts: Contacts, routes: list[Any]) -> None:
        super().__init__(routes)
        self._contacts = contacts

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Note where a request comes from."""
        if request.method == "GET" and str(request.path).startswith(_CORE):
            self._contacts.fetch_begun(str(request.remote_ip))
        else:
            self._contacts.heard(str(request.remote_ip))
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: RequestHandler) -> None:
        """Note which fetches are over."""
        if handler.request.method == "GET" and str(handler.request.path).startswith(_CORE):
            self._contacts.fetch_ended(str(handler.request.remote_ip))
        super().log_request(handler)


class Workers:
    """Serves the workers of all frameworks of a session, from when it is made.

    Parameters
    ----------
    config : mapping
        The fields of `Config`.
    master : str
        Who is to be on the way to us: decides on which address to listen, unless `config` does.
    jobs : AllJobs
    core_dir : Path
        Where the core package is built.
    packages : Path
        Where the packages of all jobs are.
    known_ports : sequence of int
        Where workers of earlier sessions look for theirs; the first that is free is used, unless `config` names
        a port.
    environment : mapping
        Variables that executors start with.
    publisher : ZooKeeperPublisher
        For jobs whose workers find each other in ZooKeeper.
    scale : Scaler
        Changes the number of a job's workers.
    give_up : GiveUp
        Has others take the places of workers that do not answer.

    Attributes
    ----------
    url : str
        Where workers reach us.
    template : ExecutorTemplate
        The executor that runs them.
    contacts : Contacts
        Addresses that have come.
    job_masters : JobMasters
        With whom workers have channels, on the same port.
    server : SharedPort

    Raises
    ------
    OSError
        When there is no way to the master, or nothing can be bound.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        master: str,
        jobs: AllJobs,
        core_dir: Path,
        packages: Path,
        known_ports: Sequence[int],
        environment: Mapping[str, str],
        publisher: ZooKeeperPublisher,
        scale: Scaler,
        give_up: GiveUp,
    ) -> None:
        self._jobs = jobs
        self._core_dir = core_dir
        self._core = package = self._build_core()
        self._host = config["bind"] or _address_towards(Address.parse(master))
        sockets = _bind(self._host, config["port"], known_ports)
        port = sockets[0].getsockname()[1]
        shown = config["advertise_host"] or self._host
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        self.contacts = Contacts()
        self.job_masters = JobMasters(jobs, scale, publisher, give_up)
        application = _Heard(
            self.contacts,
            [
                *jobmaster_http_api.routes(jobs),
                *package_http_api.routes(core_dir, packages, self._package_of),
            ],
        )
        self.server = SharedPort(application, max_body_size=1 << 20, chunk_size=CHUNK)
        self.server.channels = self.job_masters.server.connection
        self.server.add_sockets(sockets)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self.template = ExecutorTemplate(
            # An agent that has this very Python (it is this machine, or shares its file system) has its packages too.
            pythons=(config["python"],) if config["python"] else (sys.executable, f"python{version}"),
            version=version,
            core_url=f"{self.url}/v1/core/{package.path.name}",
            core_file=package.path.name,
            idle_timeout=2 * float(config["executor_linger"]) + EXECUTOR_FALLBACK,
            environment=environment,
            containerizer=str(config.get("containerizer", "docker")),
        )

    def keep(self) -> None:
        """Make the core package again if somebody has removed it; its name is its content's."""
        if not self._core.path.exists():
            try:
                self._build_core()
            except OSError as error:
                log.warning("%s", error)

    def _build_core(self) -> core_package.CorePackage:
        try:
            self._core_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return core_package.build_core(self._core_dir)
        except OSError as error:
            why = error.strerror or error
            raise OSError(
                f"{self._core_dir} cannot be written: {why}; JUPYTER_DATA_DIR names another folder"
            ) from None

    def listen_at(self, port: int) -> None:
        """Serve the workers of an earlier session where they look for it, too, if that port is free.

        Parameters
        ----------
        port : int
            0 if there was none.
        """
        if not port or self.url.endswith(f":{port}"):
            return
        try:
            self.server.add_sockets(bind_sockets(port, self._host, backlog=BACKLOG))
        except OSError as error:
            log.warning("port %d is taken (%s): its workers are told where to go", port, error.strerror)

    def _package_of(self, job_id: str) -> tuple[str, str] | None:
        job = self._jobs.get(job_id)
        return None if job is None else (job.secret, job.spec.package)


def _bind(host: str, port: int, known_ports: Sequence[int]) -> list[socket.socket]:
    """Return sockets to serve workers on: where they know the last session, if that is free."""
    if not port:
        for known in known_ports:
            try:
                return bind_sockets(known, host, backlog=BACKLOG)
            except OSError:
                continue
    try:
        return bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise SessionError(_cannot_listen(host, port, error)) from None


def _cannot_listen(host: str, port: int, error: Exception) -> str:
    """Say why workers cannot be served, with the setting that is wrong."""
    number, why = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    if number == errno.EADDRINUSE:
        return f"port is {port}, which another program has on {host}; name another with t2.configure(port=...), or 0"
    if number in (errno.EACCES, errno.EPERM):
        return f"port is {port}, on which {user_name()} may not listen ({why}); see t2.configure(port=...)"
    what = (
        "cannot be found"
        if isinstance(error, socket.gaierror | UnicodeError)
        else "is no address of this machine"
    )
    return f"bind is {host!r}, which {what} ({why}); see t2.configure(bind=...)"


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
