"""The settings that there are, and what each of them may be."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
import textwrap
from dataclasses import asdict, dataclass, fields
from typing import Any

from .._version import __version__
from ..model import address
from ..model.errors import Twister2Error
from ..model.process import LOADER

#: Settings that name files; relative ones begin at the directory, or at the configuration file that names them.
PATHS = ("secret_file", "tls_ca", "tls_cert", "tls_key")
#: What `tls_ca` may be instead of a file: the machine's own authorities.
SYSTEM_CA = "system"


@dataclass(frozen=True)
class Config:
    """Settings of this kernel and of the session that it starts.

    Parameters
    ----------
    master : str
        ``"local"`` (the embedded Mesos), ``host:port``, ``http://host:port``, ``https://host:port``, or
        ``zk://h1:2181,h2:2181/path`` for whichever master leads. IPv6 is ``[::1]:5050``; the default port is 5050,
        also with https. A ZooKeeper's ``zk://user:password@...`` may stand in ``T2_MASTER`` or the file only.
    principal : str
        Whom the framework acts for; with a secret, how it authenticates (HTTP Basic) to masters and agents.
    secret_file : str
        File with the secret: the secret alone, a line ``principal secret``, or JSON as Mesos's ``--credential``
        has it. ``T2_SECRET`` may hold the secret instead.
    tls_ca : str
        For https: file (PEM) of the authorities that may have signed the masters' certificates; empty or
        ``"system"``: those of the machine. Any of the three tls settings means https for a ``zk://`` master.
    tls_cert, tls_key : str
        Our own certificate and its key (PEM), where masters ask for one; the key may lie in the certificate's file.
    on_exit : str
        What this kernel's clean exit does to its jobs: ``"kill"`` or ``"detach"``.
    session_linger : float
        Seconds that a session lives on when no kernel is attached and no job runs.
    executor_linger : float
        Seconds that an idle executor is kept warm for the next job, and what a kernel forks Dask schedulers from.
    pool_linger : float
        Seconds that the workers of `t2.map` and `t2.Executor` are kept when they have nothing to do.
    failover_timeout : float
        Seconds that Mesos lets jobs go on whose session has died, for another to take them up.
    zookeeper : str
        ``zk://h1:2181,h2:2181/path``, where workers of jobs with ``discovery="zookeeper"`` find each other; empty: the
        ZooKeeper of a ``zk://`` master, under ``/t2notebook``. User and password may stand in ``T2_ZOOKEEPER`` or the
        file only.
    python : str
        The Python that runs executors on agents; empty: this very one where an agent has it, else
        ``pythonX.Y`` from the agent's PATH.
    local_agents, local_cpus, local_mem
        The embedded Mesos: number of agents, and each one's cpus and memory (MiB) for workers; what executors take
        (0.1 cpus and 64 MiB each) comes on top.
    local_linger : float
        Seconds that the embedded Mesos lives on after its last framework has gone.
    role, user : str
        Mesos role (``"eng"``, ``"eng/ml"``) and user of the framework; an empty user is the one who runs the session.
    gpus : bool
        Have Mesos offer agents that have GPUs, too; it keeps them for who asks for that.
    containerizer : str
        Which of Mesos's containerizers runs the images of workers that name one: ``"docker"`` (on the embedded Mesos
        by podman or docker) or ``"mesos"``, for agents with ``--image_providers=docker``.
    bind, advertise_host, port
        Where the session serves workers; empty and 0: found out.
    start_timeout : float
        Seconds to wait for a session to start.
    """

    master: str = "local"
    on_exit: str = "kill"
    session_linger: float = 10.0
    executor_linger: float = 60.0
    pool_linger: float = 30.0
    failover_timeout: float = 3600.0
    zookeeper: str = ""
    python: str = ""
    local_agents: int = 2
    local_cpus: float = 4.0
    local_mem: float = 4096.0
    local_linger: float = 5.0
    principal: str = ""
    secret_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    role: str = "*"
    user: str = ""
    gpus: bool = False
    containerizer: str = "docker"
    bind: str = ""
    advertise_host: str = ""
    port: int = 0
    start_timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.on_exit not in ("kill", "detach"):
            raise Twister2Error(f"on_exit is {self.on_exit!r}; give 'kill' or 'detach'")
        if self.containerizer not in ("docker", "mesos"):
            raise Twister2Error(f"containerizer is {self.containerizer!r}; give 'docker' or 'mesos'")
        if self.master != "local":
            _check_master(self.master)
        if self.zookeeper:
            try:
                address.ZooKeeper.parse(self.zookeeper)
            except ValueError as error:
                raise Twister2Error(f"zookeeper: {error}") from None
        for name in PATHS:
            path = getattr(self, name)
            if path and not (name == "tls_ca" and path == SYSTEM_CA) and not os.access(path, os.R_OK):
                raise Twister2Error(f"{name} is {path!r}, which is no file that can be read")
        if self.tls_key and not self.tls_cert:
            raise Twister2Error(
                "tls_key is given without tls_cert; give the certificate that the key belongs to"
            )
        if ":" in self.principal:
            raise Twister2Error(
                f"principal is {self.principal!r}; HTTP authentication takes none with a colon"
            )
        if problem := _role_problem(self.role):
            raise Twister2Error(f"role is {self.role!r}; {problem}")
        for name in (one.name for one in fields(self) if isinstance(one.default, float)):
            if not math.isfinite(getattr(self, name)):
                raise Twister2Error(f"{name} is {getattr(self, name)}; give a number")
        for name in ("local_agents", "local_cpus", "local_mem", "start_timeout"):
            if not getattr(self, name) > 0:
                raise Twister2Error(f"{name} is {getattr(self, name):g}; give more than 0")
        for name in ("session_linger", "executor_linger", "pool_linger", "local_linger", "failover_timeout"):
            if not getattr(self, name) >= 0:
                raise Twister2Error(f"{name} is {getattr(self, name):g}; give a number of seconds from 0")
        for name in ("bind", "advertise_host"):
            if problem := _host_problem(getattr(self, name)):
                raise Twister2Error(f"{name} is {getattr(self, name)!r}; {problem}")
        if any(character.isspace() or character in ":/" for character in self.user):
            raise Twister2Error(f"user is {self.user!r}; give the name of a user whom the agents have")
        if not 0 <= self.port < 65536:
            raise Twister2Error(f"port is {self.port}; give 0 (any) to 65535")

    @property
    def session_key(self) -> str:
        """A short hash of all that tells sessions apart: master, TLS and credentials, embedded cluster, Python
        environment and version. No secret is in it, but the names of the files that hold some.
        """
        where: tuple[Any, ...] = (self.local_agents, self.local_cpus, self.local_mem)
        if self.master != "local":
            where = (self.principal, *(getattr(self, name) for name in PATHS))
        parts: tuple[Any, ...] = (
            self.master,
            where,
            self.role,
            self.user,
            sys.executable,
            sys.version,
            __version__,
        )
        if self.gpus:
            parts += ("gpus",)
        if self.zookeeper:  # whose password the session has from the kernel that starts it
            parts += (self.zookeeper,)
        if self.containerizer != "docker":
            parts += (self.containerizer,)
        if self.master == "local" and (loader := [(n, os.environ[n]) for n in LOADER if os.environ.get(n)]):
            # Executors on this machine start with them.
            parts += (tuple(loader),)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Config:
        """Inverse of `to_dict`."""
        return cls(**record)


def help_of_settings() -> dict[str, str]:
    """Return the documentation of each setting; none under ``python -OO``."""
    text = textwrap.dedent((Config.__doc__ or "").partition("----------\n")[2])
    found: dict[str, str] = {}
    for names, body in re.findall(r"^(\w[\w, ]*?)(?: : .*)?\n((?:[ ].*\n?)+)", text, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(body.split()))
    return found


def _check_master(text: str) -> None:
    try:
        if address.split_userinfo(text)[1]:
            raise ValueError("a password of ZooKeeper may stand in T2_MASTER or in t2notebook.toml only")
        address.check(text)
    except ValueError as error:
        raise Twister2Error(
            f"master: {error}, or 'local'" if "give" in str(error) else f"master: {error}"
        ) from None


def _host_problem(host: str) -> str:
    """Say why this cannot be a host's name or address, or nothing."""
    if "/" in host or (host.count(":") == 1 and host.rpartition(":")[2].isdigit()):
        return "give a name or an address alone; the port is a setting of its own"
    if host.startswith("[") or any(character.isspace() for character in host):
        return "give a name or an address, as 10.0.0.7 or fd00::7"
    return ""


def _role_problem(role: str) -> str:
    """Say why this cannot be our role, or nothing; the rules are Mesos's (``docs/roles.md``), but for the comma."""
    if "," in role:
        # A warm executor is of the role that it was launched with, and Mesos lets no task of another one in.
        return "give one role: a framework of ours has one"
    parts = role.split("/")
    if role != "*" and (role.startswith("-") or any(part in ("", ".", "..", "*") for part in parts)):
        return "Mesos takes no such role"
    if any(character.isspace() or character == "\b" for character in role):
        return "Mesos takes no role with a space in it"
    return ""
