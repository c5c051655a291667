"""Workers as they know each other: `WorkerInfo`, in Twister2's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .job import ComputeResource


@dataclass(frozen=True)
class WorkerInfo:
    """A worker of a job, and where it is.

    Parameters
    ----------
    worker_id : int
    ip : str
        The address by which other workers reach it.
    port : int
        The first of its additional ports; 0 if it has asked for none.
    node : str
        The name of its host.
    rack, data_center : str
        The agent's attributes ``rack`` and ``datacenter``; empty where it has none.
    compute_resource : ComputeResource
        What it was asked to have.
    additional_ports : tuple of int
        Ports on its host that are the worker's alone.
    restart_count : int
        How often it has been restarted.
    """

    worker_id: int
    ip: str
    port: int
    node: str
    rack: str
    data_center: str
    compute_resource: ComputeResource
    additional_ports: tuple[int, ...] = ()
    restart_count: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> WorkerInfo:
        """Inverse of `to_record`."""
        known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        known["additional_ports"] = tuple(known.get("additional_ports", ()))
        known["compute_resource"] = ComputeResource(**known["compute_resource"])
        return cls(**known)
