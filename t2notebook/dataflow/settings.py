"""A cluster's workers: resources, placement, options; also as a record, with which another kernel can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..client.notebook_directories import beside
from ..model.errors import SubmitError
from ..model.job import ComputeResource, FaultTolerance, Placement

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

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Settings:
        """Inverse of `to_record`."""
        known = dict(record)
        placement = dict(known.pop("placement"))
        placement["nodes"] = tuple(placement["nodes"])
        for name in ("files", "preload"):
            known[name] = tuple(known[name])
        return cls(placement=Placement(**placement), faults=FaultTolerance(**known.pop("faults")), **known)


def dask_settings() -> dict[str, Any]:
    """Return what this kernel has set of Dask, without what is of this machine only."""
    import dask

    found = {name: dask.config.config[name] for name in SECTIONS if name in dask.config.config}
    distributed = {
        section: {name: value for name, value in values.items() if (section, name) not in _NOT_TAKEN}
        if isinstance(values, dict)
        else values
        for section, values in found.get("distributed", {}).items()
    }
    return {**found, "distributed": distributed}


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
