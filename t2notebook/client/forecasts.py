"""Question to a session: how many workers of a kind fit on the cluster, now and later."""

from __future__ import annotations

import time
from typing import Any

from ..config import get_config
from ..model.errors import SessionError
from ..model.job import ComputeResource, Placement
from .session_link import link_for

#: Seconds between two questions while a master that is just starting is waited for.
PAUSE = 0.1


def forecast(
    resource: ComputeResource, placement: Placement | None = None, *, patience: float | None = None
) -> dict[str, Any]:
    """Return how many workers like `resource` the cluster that jobs go to holds.

    Parameters
    ----------
    resource : ComputeResource
        ``instances`` workers are planned.
    placement : Placement, optional
    patience : float, optional
        Seconds that a master has to be found; by default as long as a session may take to start.

    Returns
    -------
    dict
        ``now`` and ``later`` (``workers``, ``agents``): on what is free, and once all that runs has ended, both upper
        bounds; ``agents``, each with ``host``, ``total``, ``used`` (cpus, MiB) and the numbers of workers ``planned``
        there now and ``waiting``; ``largest``, the most that one worker can have; ``hosts`` and ``attributes`` to
        choose from; ``master``.

    Raises
    ------
    SubmitError
        When there can be no such workers.
    SessionError
        When the master does not say what it has; why.
    """
    config = get_config()
    placement = placement or Placement()
    question = {
        "workers": resource.instances,
        "cpu": resource.cpu,
        "ram_mega_bytes": resource.ram_mega_bytes,
        "disk_giga_bytes": resource.disk_giga_bytes,
        "workers_per_executor": resource.workers_per_executor,
        "gpus": resource.gpus,
        "ports": resource.ports,
        "nodes": list(placement.nodes),
        "where": placement.where,
    }
    deadline = time.monotonic() + (config.start_timeout if patience is None else patience)
    while True:
        try:
            found: dict[str, Any] = link_for(config).reach().post("/v1/forecast", question)
            return found
        except SessionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)
