"""Facts that a worker tells others of itself, from its launch; where it is reached is found out by who connects."""

from __future__ import annotations

from typing import Any

from ...model.job import ComputeResource
from ...model.worker_info import WorkerInfo
from ...protocol.launch import WorkerLaunch


def own_info(launch: WorkerLaunch, address: str = "") -> dict[str, Any]:
    """Return the `WorkerInfo` of a launch, as a record.

    Parameters
    ----------
    launch : WorkerLaunch
        Of a job whose workers tell of themselves (`resource` is filled in).
    address : str
    """
    return WorkerInfo(
        worker_id=launch.worker_id,
        ip=address,
        port=launch.ports[0] if launch.ports else 0,
        node=launch.node,
        rack=launch.rack,
        data_center=launch.data_center,
        compute_resource=ComputeResource(**launch.resource),
        additional_ports=launch.ports,
        restart_count=launch.restart_count,
    ).to_record()
