"""Question to a session: how many workers of a kind fit on the cluster, now and later."""

from __future__ import annotations

import time
from typing import Any

from ..config import get_config
from ..journal import read_events
from ..model.errors import SessionError
from ..model.job import ComputeResource, Placement
from ..model.reducer import reduce
from ..model.use_advice import advice
from . import locator
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
    question = question_of(resource, placement or Placement())
    deadline = time.monotonic() + (config.start_timeout if patience is None else patience)
    while True:
        try:
            found: dict[str, Any] = link_for(config).reach().post("/v1/forecast", question)
            return found
        except SessionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def question_of(resource: ComputeResource, placement: Placement) -> dict[str, Any]:
    """Return the question as sessions take it (``POST /v1/forecast``)."""
    return {
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


def measured_advice(name: str, most: int = 3) -> str:
    """Return what the newest ended job of a name would have needed, as its own view says; empty if nobody knows.

    Parameters
    ----------
    name : str
        Of jobs of this user, whichever kernel submitted them.
    most : int
        Ended jobs that are looked at: one that was killed at once says nothing.
    """
    for one in [job for job in locator.named(name) if job.has_ended][:most]:
        view = reduce(one.job_id, read_events(one.directory, one.job_id))
        if text := advice(view.workers):
            return text
        if any(worker.use is not None for worker in view.workers):
            return ""  # it used about what it asked for
    return ""
