"""Nodes of a job in ZooKeeper, as its workers and its session agree on them. Pure.

Below ``<path>/<job_id>``, whose content is the job's status as the session knows it (`jobmaster.JobMaster.status`):
``workers/<id>`` holds what a worker tells of itself, ``joined`` is there while all have joined,
``barriers/<name>-<number>`` has a node for each worker that has come, and ``verdicts/<name>-<number>`` says what became
of that barrier; whoever makes it first decides.
"""

from __future__ import annotations

import hashlib
import hmac

WORKERS, JOINED, BARRIERS, VERDICTS = "workers", "joined", "barriers", "verdicts"


def credential_of(job_id: str, secret: str) -> tuple[str, str]:
    """Return user and password of a job in ZooKeeper: who knows the job's secret knows it, and nobody learns the secret
    from it.
    """
    return job_id, hmac.new(bytes.fromhex(secret), b"t2notebook zookeeper", hashlib.sha256).hexdigest()


def numbered(barrier: str, number: int) -> str:
    """Return the name of a barrier's node."""
    return f"{barrier}-{number:010d}"


def numbers_of(barrier: str, nodes: list[str]) -> list[int]:
    """Return the numbers of a barrier's nodes, the lowest first."""
    return sorted(int(node.rpartition("-")[2]) for node in nodes if node.rpartition("-")[0] == barrier)
