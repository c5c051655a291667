"""Settings: what `configure`, ``T2_*`` variables and the configuration file say, in this order."""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from . import __version__
from .model.errors import Twister2Error


@dataclass(frozen=True)
class Config:
    """Settings of this kernel and of the session that it starts.

    Parameters
    ----------
    master : str
        ``"local"`` (the embedded Mesos), ``host:port``, ``http://host:port``.
    on_exit : str
        What this kernel's clean exit does to its jobs: ``"kill"`` or ``"detach"``.
    session_linger : float
        Seconds that a session lives on when no kernel is attached and no job runs.
    executor_linger : float
        Seconds that an idle executor is kept warm for the next job.
    failover_timeout : float
        Seconds that Mesos lets jobs go on whose session has died, for another to take them up.
    python : str
        The Python that runs executors on agents; empty: this very one where an agent has it, else
        ``pythonX.Y`` from the agent's PATH.
    local_agents, local_cpus, local_mem
        The embedded Mesos: number of agents, and each one's cpus and memory (MiB).
    local_linger : float
        Seconds that the embedded Mesos lives on after its last framework has gone.
    role, user : str
        Mesos role and user of the framework; an empty user is the one who runs the session.
    bind, advertise_host, port
        Where the session serves workers; empty and 0: found out.
    start_timeout : float
        Seconds to wait for a session to start.
    """

    master: str = "local"
    on_exit: str = "kill"
    session_linger: float = 10.0
    executor_linger: float = 60.0
    failover_timeout: float = 3600.0
    python: str = ""
    local_agents: int = 2
    local_cpus: float = 4.0
    local_mem: float = 4096.0
    local_linger: float = 5.0
    role: str = "*"
    user: str = ""
    bind: str = ""
    advertise_host: str = ""
    port: int = 0
    start_timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.on_exit not in ("kill", "detach"):
            raise Twister2Error(f"on_exit is {self.on_exit!r}; give 'kill' or 'detach'")
        if self.master.startswith(("zk://", "https://")):
            scheme = self.master.partition("://")[0]
            raise Twister2Error(
                f"masters by {scheme}:// are not supported yet; "
                "give host:port or http://host:port of the leading master"
            )

        for name in ("local_agents", "local_cpus", "local_mem", "start_timeout"):
            if not getattr(self, name) > 0:
                raise Twister2Error(f"{name} is {getattr(self, name):g}; give more than 0")
        for name in ("session_linger", "executor_linger", "local_linger", "failover_timeout"):
            if not getattr(self, name) >= 0:
                raise Twister2Error(f"{name} is {getattr(self, name):g}; give a number of seconds from 0")
        if not 0 <= self.port < 65536:
            raise Twister2Error(f"port is {self.port}; give 0 (any) to 65535")

    @property
    def session_key(self) -> str:
        """What tells sessions apart: master, embedded cluster, Python environment and version, as a short
        hash.
        """
        local = (self.local_agents, self.local_cpus, self.local_mem) if self.master == "local" else ()
        parts = (self.master, local, self.role, self.user, sys.executable, sys.version, __version__)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Config:
        """Inverse of `to_dict`."""
        return cls(**record)


_configured: dict[str, Any] = {}


def configure(**settings: Any) -> Config:
    """Set what is given for this kernel; the next submit uses it.

    Parameters
    ----------
    **settings
        Fields of `Config`: ``master="host:5050"``, ``on_exit="detach"``, ...

    Returns
    -------
    Config
        What now holds.

    Raises
    ------
    Twister2Error
        When a name is unknown or a value cannot be.
    """
    checked = {name: _convert(name, value, f"configure({name}=...)") for name, value in settings.items()}
    before = dict(_configured)
    _configured.update(checked)
    try:
        return get_config()
    except Twister2Error:
        _configured.clear()
        _configured.update(before)
        raise


def get_config() -> Config:
    """Return the settings that hold now: `configure`, else ``T2_NAME`` variables, else the file, else
    defaults.
    """
    values = _from_file(config_file())
    for name in _TYPES:
        if (text := os.environ.get(f"T2_{name.upper()}")) is not None:
            values[name] = _convert(name, text, f"T2_{name.upper()}")
    return replace(Config(), **{**values, **_configured})


def config_file() -> Path:
    """Return where the configuration file is looked for: ``T2_CONFIG``, or ``t2notebook.toml`` in Jupyter's
    folder.
    """
    if path := os.environ.get("T2_CONFIG"):
        return Path(path)
    from jupyter_core.paths import jupyter_config_dir

    return Path(jupyter_config_dir()) / "t2notebook.toml"


def runtime_dir() -> Path:
    """Return the 0700 directory for sockets and state files of living processes, made if absent.

    A Unix socket's path ends at 107 bytes, so a long one is replaced by a directory of the user's under the
    temporary directory.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    path = Path(jupyter_runtime_dir()) / "t2notebook"
    if len(os.fsencode(path)) > 107 - len("/session-0123456789abcdef.sock"):
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path("/tmp") / f"t2notebook-{os.getuid()}-{digest}"
    return _private(path)


def data_dir() -> Path:
    """Return the 0700 directory for journals, job packages and results, made if absent."""
    from jupyter_core.paths import jupyter_data_dir

    return _private(Path(jupyter_data_dir()) / "t2notebook")


def _private(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise Twister2Error(
            f"t2notebook needs the folder {path}, which cannot be made: {error.strerror}"
        ) from None
    if status.st_uid != os.getuid():
        raise Twister2Error(
            f"{path} belongs to another user (uid {status.st_uid}); remove it or set JUPYTER_RUNTIME_DIR"
        )
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path


_TYPES = {field.name: type(getattr(Config(), field.name)) for field in fields(Config)}


def _convert(name: str, value: Any, where: str) -> Any:
    if name not in _TYPES:
        raise Twister2Error(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(_TYPES))}")
    try:
        return _TYPES[name](value)
    except (TypeError, ValueError):
        raise Twister2Error(f"{where} is {value!r}; give a {_TYPES[name].__name__}") from None


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    try:
        record = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Twister2Error(f"{path}: {error}") from None
    return {name: _convert(name, value, f"{name} in {path}") for name, value in record.items()}
