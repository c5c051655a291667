"""A cluster's workers: resources, placement, options; also as a record, with which another kernel can go on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import dask
from dask.utils import parse_bytes

from ..client.notebook_directories import beside
from ..model.errors import SubmitError
from ..model.job import ComputeResource, FaultTolerance, Placement
from .options import pack, unpack

MIB = 1 << 20
#: Parts of Dask's configuration that workers and the scheduler are given; the others are of this machine, or secret.
SECTIONS = ("array", "dataframe", "distributed", "optimization", "scheduler", "tokenize")
#: Of `distributed`: files and names of this machine.
_NOT_TAKEN = {("comm", "tls"), ("client", "security-loader"), ("scheduler", "preload"), ("worker", "preload")}
#: Modules beside the notebook travel up to so much of a worker's memory.
_MODULES_SHARE = 0.1
_SKIPPED = {"t2notebook", "node_modules", "site-packages", "__pycache__", "tests", "test", "build", "dist"}
_MOST_MODULES = 500


@dataclass(frozen=True)
class Settings:
    """Settings of all workers of a cluster; the fields are `MesosCluster`'s arguments."""

    cpu: float = ComputeResource.cpu
    ram_mega_bytes: float = 1024.0
    disk_giga_bytes: float = 0.0
    threads: int | None = None
    gpus: int = 0
    image: str = ""
    workers_per_executor: int | str = "max"
    placement: Placement = field(default_factory=Placement)
    faults: FaultTolerance = field(default_factory=lambda: FaultTolerance(keep_going=True))
    files: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    worker_options: Mapping[str, Any] = field(default_factory=dict)
    on_exit: str = "kill"

    @classmethod
    def of(
        cls,
        *,
        workers: int,
        cpus: float | None,
        ram: float | str | None,
        cpu: float,
        ram_mega_bytes: float,
        nodes: Sequence[str] | str,
        where: str,
        gang: bool,
        gang_timeout: float,
        max_worker_restarts: int,
        launch_timeout: float,
        unreachable_timeout: float,
        files: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        preload: Sequence[str] | str,
        **more: Any,
    ) -> Settings:
        """Check arguments.

        Parameters
        ----------
        workers, cpus, ram, cpu, ram_mega_bytes, nodes, where, gang, gang_timeout
            As of `MesosCluster`.
        max_worker_restarts, launch_timeout, unreachable_timeout, files, preload
            As of `MesosCluster`.
        **more
            Names that there are not: refused.

        Raises
        ------
        SubmitError
            In one line, for what cannot be.
        """
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise SubmitError(f"workers is {workers!r}; give a whole number from 0")
        threads, on_exit = more.get("threads"), more.get("on_exit")
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise SubmitError(f"threads is {threads!r}; give a whole number from 1")
        if on_exit not in ("kill", "detach"):
            raise SubmitError(f"on_exit is {on_exit!r}; give 'kill' or 'detach'")
        if cpus is not None:
            cpu = cpus
        resource = ComputeResource(cpu=cpu, ram_mega_bytes=ram_mega_bytes) if ram is None else None
        if resource is None:
            resource = ComputeResource(cpu=cpu, ram=ram)
        if isinstance(files, str | os.PathLike):
            files = [files]
        preload = (preload,) if isinstance(preload, str) else tuple(preload)
        for name in preload:
            if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
                raise SubmitError(f"preload holds {name!r}; give names of modules, such as 'pandas'")
        placement = Placement(
            nodes=tuple(nodes.split(",") if isinstance(nodes, str) and nodes else nodes),
            where=where,
            gang=gang,
            gang_timeout=gang_timeout,
        )
        found = cls(
            cpu=resource.cpu,
            ram_mega_bytes=resource.ram_mega_bytes,
            placement=placement,
            faults=FaultTolerance(max_worker_restarts, launch_timeout, unreachable_timeout, keep_going=True),
            files=tuple(
                os.path.abspath(os.fspath(each)) if os.path.exists(each) else os.fspath(each)
                for each in files
            ),
            preload=preload,
            **more,
        )
        found.resource(1)
        pack(found.worker_options, "worker_options")
        return found

    def resource(self, instances: int) -> ComputeResource:
        """Return what so many workers ask for."""
        return ComputeResource(
            cpu=self.cpu,
            ram_mega_bytes=self.ram_mega_bytes,
            disk_giga_bytes=self.disk_giga_bytes,
            gpus=self.gpus,
            image=self.image,
            instances=instances,
            workers_per_executor=self.workers_per_executor,
        )

    @property
    def thread_count(self) -> int:
        """Threads of a worker."""
        return self.threads or max(1, int(self.cpu))

    @property
    def memory(self) -> int:
        """Bytes of memory of a worker."""
        return int(self.ram_mega_bytes * MIB)

    def at_least(self, workers: Any, cores: float | None, memory: str | float | None) -> Any:
        """Return the number of workers that is no less than one wanted, and that has so many threads, so much memory.

        Parameters
        ----------
        workers : number
        cores : number, optional
        memory : str or number, optional
            As ``"10 GiB"``, or bytes.
        """
        wanted = [math.ceil(share) for share in self._shares(cores, memory)]
        return max(workers or 0, *wanted) if wanted else workers

    def at_most(self, workers: Any, cores: float | None, memory: str | float | None) -> Any:
        """Return the number of workers that is no more than one wanted, and has no more threads, no more memory.

        Parameters
        ----------
        workers, cores, memory
            As of `at_least`.
        """
        return min([workers, *(math.floor(share) for share in self._shares(cores, memory))])

    def _shares(self, cores: float | None, memory: str | float | None) -> Iterator[float]:
        """Yield how many workers have so many threads, and how many so much memory, of what is given."""
        if cores is not None:
            yield cores / self.thread_count
        if memory is not None:
            yield parse_bytes(memory) / self.memory

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        # Not by `asdict`, which would copy what is in the options.
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        record |= {name: asdict(record[name]) for name in ("placement", "faults")}
        return record | {"worker_options": pack(self.worker_options, "worker_options")}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Settings:
        """Inverse of `to_record`."""
        known = dict(record)
        placement = dict(known.pop("placement"))
        placement["nodes"] = tuple(placement["nodes"])
        for name in ("files", "preload"):
            known[name] = tuple(known[name])
        known["worker_options"] = unpack(known["worker_options"])
        return cls(placement=Placement(**placement), faults=FaultTolerance(**known.pop("faults")), **known)


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it; what is neither text, number, list nor mapping is left out."""
    if isinstance(value, Mapping):
        return {
            str(name): _plain(one) for name, one in value.items() if one is None or _plain(one) is not None
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [plain for one in value if (plain := _plain(one)) is not None or one is None]
    return value if value is None or isinstance(value, str | bool | int | float) else None


def dask_settings() -> dict[str, Any]:
    """Return what this kernel has set of Dask, without what is of this machine only, as JSON has it."""
    found = {name: dask.config.config[name] for name in SECTIONS if name in dask.config.config}
    distributed = {
        section: {name: value for name, value in values.items() if (section, name) not in _NOT_TAKEN}
        if isinstance(values, dict)
        else values
        for section, values in found.get("distributed", {}).items()
    }
    plain: dict[str, Any] = _plain({**found, "distributed": distributed})
    return plain


def modules_beside(memory: int) -> list[str]:
    """Return the Python modules and packages that lie beside the notebook, relative to its directory.

    Which of them tasks will need is not known when workers start, so all travel, up to a share of a worker's memory.
    """
    for directory in beside()[:1]:
        found = sorted(_modules(directory))
        total = sum(os.path.getsize(directory / name) for name in found)
        if len(found) <= _MOST_MODULES and total <= _MODULES_SHARE * memory:
            return found
    return []


def _modules(directory: Path) -> Iterator[str]:
    for entry in os.scandir(directory):
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_file() and entry.name.endswith(".py"):
            yield entry.name
        elif entry.is_dir() and os.path.isfile(os.path.join(entry.path, "__init__.py")):
            for root, folders, files in os.walk(entry.path):
                folders[:] = [one for one in folders if not one.startswith(".") and one not in _SKIPPED]
                yield from (
                    os.path.relpath(os.path.join(root, one), directory)
                    for one in files
                    if one.endswith(".py")
                )
