"""Launch data of a worker: the content of `TaskInfo.data`, the one place for secrets."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..model.text import dumps, loads
from ..model.use import Use

FORMAT = 1
#: Seconds between SIGTERM and SIGKILL for a worker (Mesos's own default, docs/task-configuration.md).
KILL_GRACE = 3.0
#: Exit code of a worker that is to be started anew, which is not counted (sysexits.h, EX_TEMPFAIL).
START_ANEW = 75
#: The directory in the worker's own that is removed when it ends.
VOLATILE = "volatile"
#: The place of a job master on the cluster that has not been launched yet.
UNPLACED = "unplaced"
#: Bytes that a job package may have, compressed, to travel with each launch, and all launches of a job together.
MOST_WITH_LAUNCH, MOST_WITH_ALL = 16 << 10, 1 << 20
#: Bytes that a worker's result may have, compressed and not, to travel with the update that tells its end.
MOST_WITH_END, MOST_UNPACKED = 4 << 10, 64 << 10


@dataclass(frozen=True)
class WorkerLaunch:
    """One worker of one job, as the executor needs it.

    Parameters
    ----------
    job_id, worker_id, restart_count, number_of_workers
        As the worker finds them in ``env``; `restart_count` is the worker's incarnation.
    secret : str
        The job's secret, hex.
    url : str
        ``http://host:port`` of the session's server for workers.
    package : str
        Digest of the job package; it is at ``{url}/v1/packages/{package}``.
    package_size : int
        Bytes.
    package_data : str
        The package itself, as `compressed_package` gives it; empty: it has to be fetched.
    python : str
        ``major.minor`` of the Python that made the package.
    cpus, mem : float
        The worker's own share; `mem` in MiB.
    ports : tuple of int
        The worker's own ports on its host.
    path : tuple of str
        Where it finds modules, before where its executor does; empty but on the notebook's own machine.
    environment : mapping
        Environment variables of the worker's; empty but on the notebook's own machine.
    preload : tuple of str
        Modules that its executor has imported before it makes the worker's process.
    credentials : mapping
        Secrets of the job's, by name; None for one that the session does not have (any more).
    persistent_volume : str
        A directory that all agents have, or an address of fsspec; empty: none.
    restore_jobs : tuple of str
        Jobs whose checkpoints this one goes on with: the first that has any.
    max_reexecutes : int
        How often the worker's function is called again when another worker has failed; 0: never.
    debug : bool
        Whether an exception that nobody catches holds the worker for a debugger.
    debug_timeout : float
        Seconds that a held worker waits for somebody.
    node, rack, data_center : str
        Name of its host, and two attributes of its agent, as other workers are told.
    resource : mapping
        The fields of its `ComputeResource`.
    discovery : str
        ``zk://h1:2181,h2:2181/path``, where workers find each other; empty: with their job master.
    scalable : bool
        Whether the number of workers may change.
    job_master : str
        ``http://host:port`` of a job master on the cluster, or `UNPLACED` while it is nowhere; empty: it is in the
        session.
    job_master_number : int
        The number of that place; a later one has a higher number.
    """

    job_id: str
    worker_id: int
    restart_count: int
    number_of_workers: int
    secret: str
    url: str
    package: str
    package_size: int
    python: str
    cpus: float
    mem: float
    ports: tuple[int, ...] = ()
    path: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    credentials: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    persistent_volume: str = ""
    restore_jobs: tuple[str, ...] = ()
    max_reexecutes: int = 0
    debug: bool = False
    debug_timeout: float = 600.0
    node: str = ""
    rack: str = ""
    data_center: str = ""
    resource: Mapping[str, Any] = field(default_factory=dict)
    discovery: str = ""
    scalable: bool = False
    job_master: str = ""
    job_master_number: int = 0
    package_data: str = field(default="", repr=False)

    def encode(self) -> str:
        """Return the base64 text for `TaskInfo.data`."""
        # Not `asdict`, which copies whatever is in it: a job's environment, for each of its workers.
        record = {"format": FORMAT, **{name: getattr(self, name) for name in self.__dataclass_fields__}}
        return base64.b64encode(dumps(record).encode()).decode("ascii")

    @classmethod
    def decode(cls, data: str) -> WorkerLaunch:
        """Inverse of `encode`.

        Raises
        ------
        ValueError
            When `data` is of another format.
        """
        record = loads(base64.b64decode(data))
        if record.pop("format", None) != FORMAT:
            raise ValueError(
                "this executor and the session that launched it are of different t2notebook versions"
            )
        for name in ("ports", "path", "preload", "restore_jobs"):
            record[name] = tuple(record.get(name, ()))
        return cls(**{name: record[name] for name in cls.__dataclass_fields__ if name in record})

    def package_bytes(self) -> bytes:
        """Return the package that came with the launch, not verified.

        Raises
        ------
        ValueError
            When it is none, or larger than it is said to be.
        """
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(base64.b64decode(self.package_data), self.package_size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(data) != self.package_size:
            raise ValueError(f"it does not have {self.package_size} bytes")
        return data


def compressed_package(package: bytes, number_of_workers: int) -> str:
    """Return a package as text for `WorkerLaunch.package_data`; empty when it is too large for that.

    Parameters
    ----------
    package : bytes
    number_of_workers : int
        Each of them is launched with it.
    """
    data = zlib.compress(package, 1)
    if len(data) > min(MOST_WITH_LAUNCH, MOST_WITH_ALL // max(1, number_of_workers)):
        return ""
    return base64.b64encode(data).decode("ascii")


def compressed_result(pieces: Sequence[bytes | bytearray | memoryview], signature: str) -> Mapping[str, str]:
    """Return a result as `encode_status_data` takes it; empty when it is too large for that.

    Parameters
    ----------
    pieces : sequence of bytes-like
        The archive.
    signature : str
        Hex signature of the PUT that would carry it, which nothing but this travels with.
    """
    if sum(map(len, pieces)) > MOST_UNPACKED:
        return {}
    data = zlib.compress(b"".join(pieces), 1)
    if len(data) > MOST_WITH_END:
        return {}
    return {"data": base64.b64encode(data).decode("ascii"), "signature": signature}


def unpacked_result(record: object) -> tuple[bytes, str]:
    """Inverse of `compressed_result`: the archive, not verified, and its signature.

    Raises
    ------
    ValueError
        When it is none, or too large.
    """
    if not isinstance(record, dict):
        raise ValueError("it is no record")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(base64.b64decode(str(record.get("data"))), MOST_UNPACKED + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) > MOST_UNPACKED or not unpacker.eof:
        raise ValueError("it is cut short, or too large")
    return data, str(record.get("signature"))


class Cause(StrEnum):
    """The cause of a failure that an executor reports, where it decides what follows."""

    NONE = ""
    EXCEPTION = "exception"  # the worker's code raised it
    VERSION = "version"  # this executor cannot run the package: another Python, another t2notebook
    ENDING = "ending"  # the executor takes no more workers
    START = "start"  # the executor's program does not start there; told by its stderr, not by the executor
    USER = "user"  # the agent has no such user; told by the agent
    ANEW = "anew"  # the worker's code asks to be started anew: it has ended with the exit code `START_ANEW`


def encode_status_data(
    exit_code: int | None,
    cause: Cause = Cause.NONE,
    phases: Mapping[str, float] | None = None,
    use: Use | None = None,
    result: Mapping[str, str] | None = None,
    ran: float | None = None,
) -> str:
    """Return base64 for `TaskStatus.data`. The whole cluster can see it: never a secret.

    Parameters
    ----------
    exit_code : int or None
    cause : Cause
    phases : mapping, optional
        Seconds, by the names of `model.metrics.PHASES`.
    use : Use, optional
        What the worker has used.
    result : mapping, optional
        The worker's result, as `compressed_result` gives it: as readable for the cluster as it is in the sandbox.
    ran : float, optional
        Seconds since the worker's process was there, where no update has told that it runs: this one tells both.
    """
    record: dict[str, Any] = {"exit_code": exit_code}
    if ran is not None:
        record["ran"] = round(ran, 6)
    if result:
        record["result"] = result
    if use is not None:
        record["use"] = use.to_list()
    if cause:
        record["cause"] = cause.value
    if phases:
        record["phases"] = {name: round(seconds, 6) for name, seconds in phases.items()}
    return base64.b64encode(dumps(record).encode()).decode("ascii")


def decode_status_data(data: str | None) -> Mapping[str, Any]:
    """Inverse of `encode_status_data`, but for the result (`decode_result`); anything else gives an empty mapping."""
    record = _decoded(data)
    record.pop("result", None)
    return record


def decode_result(data: str | None) -> object | None:
    """Return what came as the result in `TaskStatus.data`, for `unpacked_result`; None if none came."""
    return _decoded(data).get("result")


def _decoded(data: str | None) -> dict[str, Any]:
    if not data:
        return {}
    try:
        record = loads(base64.b64decode(data))
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
