"""Settings of a kernel and its session. The nearest place that names one decides:

1. `configure`, or ``%config T2Notebook.NAME = VALUE`` in IPython;
2. the environment: ``T2_NAME``;
3. ``t2notebook.toml`` in Jupyter's configuration folder, or the file that ``T2_CONFIG`` names;
4. the section ``T2Notebook`` of IPython's or the kernel's own configuration (``c.T2Notebook.master = "h:5050"``);
5. the same section of Jupyter's ``t2notebook_config`` and ``jupyter_config`` (`t2notebook.jupyter_config`);
6. the default.

Secrets are no settings: they come from a file or the environment, never from a notebook's text, and no record of
settings holds one (`secrets_of`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import re
import sys
import textwrap
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from . import jupyter_config
from ._version import __version__
from .model import address
from .model.errors import Twister2Error
from .model.process import LOADER

#: Settings that name files; relative ones begin at the directory, or at the configuration file that names them.
PATHS = ("secret_file", "tls_ca", "tls_cert", "tls_key")
#: Bytes of the longest path that a Unix socket takes (unix(7); macOS, sys/un.h), and our longest name of one.
LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_LONGEST_NAME = "/session-0123456789abcdef-01234567.sock"
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
        Seconds that an idle executor is kept warm for the next job.
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


@dataclass(frozen=True)
class Secrets:
    """Credentials of a session for masters, agents and ZooKeeper; no `repr` and no record of settings has them.

    Parameters
    ----------
    principal : str
        The setting, or who the secret's file says.
    secret : str
    zookeeper : str
        ``user:password`` for the masters' ZooKeeper.
    discovery : str
        The same for that of the setting `zookeeper`.
    """

    principal: str = ""
    secret: str = field(default="", repr=False)
    zookeeper: str = field(default="", repr=False)
    discovery: str = field(default="", repr=False)


#: Settings that may name a ZooKeeper, and with it a password that is none of theirs.
_ZOOKEEPERS = ("master", "zookeeper")
_configured: dict[str, Any] = {}


def _with_settings(function: Any) -> Any:
    """Give a function of any settings the signature and the documentation of the fields of `Config`."""
    function.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=type(one.default)
            )
            for one in fields(Config)
        ],
        return_annotation=Config,
    )
    if function.__doc__ and Config.__doc__:  # there is none under python -OO
        settings = Config.__doc__.partition("----------\n")[2].rstrip()
        function.__doc__ = function.__doc__.replace("    **settings\n", f"{settings}\n")
    return function


@_with_settings
def configure(**settings: Any) -> Config:
    """Set what is given for this kernel, and leave the rest as it is; the next submit uses it.

    Parameters
    ----------
    **settings

    Returns
    -------
    Config
        What now holds.

    Raises
    ------
    Twister2Error
        When a name is unknown or a value cannot be.
    """
    checked = {}
    for name, value in settings.items():
        if name in _ZOOKEEPERS and address.split_userinfo(str(value))[1]:
            raise Twister2Error(
                f"configure({name}=...) holds a password, which does not belong into a notebook; "
                f"set T2_{name.upper()} before the kernel starts, or write it into t2notebook.toml"
            )
        checked[name] = _convert(name, value, f"configure({name}=...)")
    before = dict(_configured)
    _configured.update(checked)
    try:
        return get_config()
    except Twister2Error:
        _configured.clear()
        _configured.update(before)
        raise


def help_of_settings() -> dict[str, str]:
    """Return the documentation of each setting; none under ``python -OO``."""
    text = textwrap.dedent((Config.__doc__ or "").partition("----------\n")[2])
    found: dict[str, str] = {}
    for names, body in re.findall(r"^(\w[\w, ]*?)(?: : .*)?\n((?:[ ].*\n?)+)", text, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(body.split()))
    return found


def get_config() -> Config:
    """Return the settings that hold now.

    Raises
    ------
    Twister2Error
        When a place names a setting that there is not, or a value that cannot be.
    """
    return replace(Config(), **{name: value for name, (value, _) in _decided().items()})


def sources_of_settings() -> dict[str, str]:
    """Return the place that each setting comes from: ``T2_MASTER``, a file, ``t2.configure``; empty: a default.

    Raises
    ------
    Twister2Error
        As `get_config` does.
    """
    decided = _decided()
    return {one.name: decided[one.name][1] if one.name in decided else "" for one in fields(Config)}


def _decided() -> dict[str, tuple[Any, str]]:
    """Return the settings that some place names: the value, and the nearest place."""
    found: dict[str, tuple[Any, str]] = {}
    for layer in jupyter_config.layers():
        for name, value in layer.values.items():
            source = f"{jupyter_config.SECTION}.{name} in {layer.source}"
            found[name] = (_convert(name, value, source, layer.folder), str(layer.source))
    found |= {name: (value, str(config_file())) for name, value in _from_file(config_file()).items()}
    for name in _TYPES:
        variable = f"T2_{name.upper()}"
        if (text := os.environ.get(variable)) is not None:
            found[name] = (_convert(name, text, variable), variable)
    return found | {name: (value, "t2.configure") for name, value in _configured.items()}


def secrets_of(config: Config) -> Secrets:
    """Return the secrets that go with settings, for the session alone: read anew each time, and kept nowhere.

    A secret file that this notebook named is nearer than ``T2_SECRET``, which is nearer than one of the
    configuration file.

    Raises
    ------
    Twister2Error
        When a file cannot be read or holds no secret, or nobody is named whose secret it is. It tells no secret.
    """
    if config.master == "local":
        return Secrets(discovery=_zookeeper_password("zookeeper", config.zookeeper))
    principal, secret = config.principal, os.environ.get("T2_SECRET", "")
    if config.secret_file and (not secret or "secret_file" in _configured):
        try:
            text = Path(config.secret_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise Twister2Error(f"secret_file {config.secret_file} cannot be read: {why}") from None
        principal, secret = _credential(text, principal, config.secret_file)
    if secret and not principal:
        raise Twister2Error(
            "there is a secret and no principal whose it is; set T2_PRINCIPAL or configure(principal=...)"
        )
    masters = _zookeeper_password("master", config.master)
    discovery = _zookeeper_password("zookeeper", config.zookeeper) if config.zookeeper else masters
    return Secrets(principal, secret, masters, discovery)


def _credential(text: str, principal: str, path: str) -> tuple[str, str]:
    """Return principal and secret of a file in one of the forms that Mesos knows, or with a secret alone."""
    try:
        if text.lstrip().startswith("{"):
            record = json.loads(text)
            found = [(one["principal"], one["secret"]) for one in record.get("credentials", [record])]
        else:
            lines = [line.split() for line in text.splitlines() if line.strip()]
            found = [(line[0] if len(line) > 1 else principal, line[-1]) for line in lines]
            if not all(len(line) <= 2 for line in lines):
                raise ValueError
        if not found or not all(isinstance(part, str) and part for _, part in found):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Twister2Error(
            f"secret_file {path} holds no secret: write the secret alone, one line 'principal secret', "
            'or {"principal": ..., "secret": ...}'
        ) from None
    ours = [pair for pair in found if not principal or pair[0] == principal]
    if len(ours) != 1:
        problem = (
            f"holds no secret of {principal!r}" if principal else "holds several; say whose with principal"
        )
        raise Twister2Error(f"secret_file {path} {problem}")
    return ours[0]


def _zookeeper_password(name: str, value: str) -> str:
    """Return user and password of a setting that names a ZooKeeper, from a place that may hold them."""
    layers = [layer.values.get(name) for layer in jupyter_config.layers()]
    for source in (
        os.environ.get(f"T2_{name.upper()}"),
        _read_file(config_file()).get(name),
        *reversed(layers),
    ):
        clean, userinfo = address.split_userinfo(str(source or ""))
        if userinfo and clean == value:
            return userinfo
    return ""


def config_file() -> Path:
    """Return where the configuration file is looked for: ``T2_CONFIG``, or ``t2notebook.toml`` in Jupyter's
    folder.
    """
    if path := os.environ.get("T2_CONFIG"):
        return Path(path)
    from jupyter_core.paths import jupyter_config_dir

    return _absolute(jupyter_config_dir()) / "t2notebook.toml"


def runtime_dir() -> Path:
    """Return the 0700 directory for sockets and state files of living processes, made if absent.

    A Unix socket's path ends at 107 bytes, so a long one is replaced by a directory of the user's under the
    temporary directory.

    Raises
    ------
    Twister2Error
        When it cannot be made, or others could write to it.
    """
    from jupyter_core.paths import jupyter_runtime_dir

    path = _absolute(jupyter_runtime_dir()) / "t2notebook"
    if len(os.fsencode(path)) > LONGEST_SOCKET - len(_LONGEST_NAME):
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path("/tmp") / f"t2notebook-{os.getuid()}-{digest}"
        if path.is_symlink():
            raise Twister2Error(
                f"{path} is a link that anybody can have made; remove it, or set JUPYTER_RUNTIME_DIR"
            )
    return _private(path, "JUPYTER_RUNTIME_DIR")


def data_dir() -> Path:
    """Return the 0700 directory for journals, job packages and results, made if absent."""
    from jupyter_core.paths import jupyter_data_dir

    return _private(_absolute(jupyter_data_dir()) / "t2notebook", "JUPYTER_DATA_DIR")


def _absolute(folder: str) -> Path:
    """Return what a folder's name means where this kernel began: a notebook may change its directory, and a session
    has another one.
    """
    return Path(os.path.normpath(_BEGINNING / folder))


def _here() -> Path:
    main = sys.modules.get("__main__")
    history = vars(main).get("_dh") if main is not None else None  # IPython's, whose first is where it began
    if isinstance(history, list) and history:
        return Path(str(history[0]))
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


_BEGINNING = _here()


def _private(path: Path, variable: str) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise Twister2Error(
            f"t2notebook needs the folder {path}, which cannot be made: {error.strerror}; {variable} names another"
        ) from None
    if status.st_uid != os.getuid():
        raise Twister2Error(
            f"{path} belongs to another user (uid {status.st_uid}); remove it or set {variable}"
        )
    if status.st_mode & 0o077:
        try:
            path.chmod(0o700)
        except OSError as error:
            raise Twister2Error(
                f"{path} is open to other users, and cannot be closed to them: {error.strerror}; "
                f"{variable} names another folder"
            ) from None
    return path


_TYPES: dict[str, type[Any]] = {one.name: type(one.default) for one in fields(Config)}
_WANTED = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def _truth(value: Any) -> bool:
    """Return what a yes or no means: in the environment, all are texts.

    Raises
    ------
    ValueError
    """
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
    text = str(value).strip().lower()
    if text not in words:
        raise ValueError(value)
    return words[text]


def _of_type(kind: type[Any], value: Any) -> Any:
    """Return a text or number as the type of a setting; what would change by that is refused.

    Raises
    ------
    ValueError, TypeError
    """
    if isinstance(value, bool) or (kind is str and not isinstance(value, str | os.PathLike)):
        raise TypeError
    if kind is str:
        return os.fsdecode(value)
    converted = kind(value)
    if isinstance(value, float) and converted != value and value == value:
        raise ValueError
    return converted


def _convert(name: str, value: Any, where: str, folder: Path | None = None) -> Any:
    if name == "secret":
        raise Twister2Error(
            f"{where}: a secret does not belong into a notebook or its settings, which are saved and shown; write it "
            "into a file and name that as secret_file, or set T2_PRINCIPAL and T2_SECRET before the kernel starts"
        )
    if name not in _TYPES:
        raise Twister2Error(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(_TYPES))}")
    try:
        value = _truth(value) if _TYPES[name] is bool else _of_type(_TYPES[name], value)
    except (TypeError, ValueError, OverflowError):
        raise Twister2Error(f"{where} is {value!r}; give {_WANTED[_TYPES[name]]}") from None
    if name in _ZOOKEEPERS:
        value, _ = address.split_userinfo(value)
    if name in PATHS and value and value != SYSTEM_CA:
        value = os.path.abspath((folder or Path()) / os.path.expanduser(value))
    return value


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


def _from_file(path: Path) -> dict[str, Any]:
    return {
        name: _convert(name, value, f"{name} in {path}", path.parent)
        for name, value in _read_file(path).items()
    }


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Twister2Error(f"{path}: {error}") from None
