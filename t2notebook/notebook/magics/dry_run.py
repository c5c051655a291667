"""The text of ``--dry-run``."""

from __future__ import annotations

import argparse
from typing import Any

from ...model.job import FaultTolerance
from ...views.snapshot import mebibytes, size
from ..rendering.text import align
from .parser import MAX


def describe(prepared: Any, arguments: argparse.Namespace, name: str) -> str:
    """Return what ``--dry-run`` prints of a prepared job.

    Parameters
    ----------
    prepared : Prepared
    arguments : argparse.Namespace
    name : str
        The job's.
    """
    extras = f", {arguments.disk:g} GiB of disk" if arguments.disk else ""
    for count, what in ((arguments.gpus, "GPU"), (arguments.ports, "port")):
        extras += f", {count} {what}{'s' * (count != 1)}" if count else ""
    cpus = f"{arguments.cpus:g} cpu{'' if arguments.cpus == 1 else 's'}"
    each = f"{cpus}, {mebibytes(arguments.ram)} of memory{extras}"
    share = arguments.workers_per_executor
    facts = [
        ["job", name],
        ["workers", f"{arguments.workers}, each with {each}"],
        [
            "executors",
            "as many workers in each as an offer holds"
            if share == MAX
            else f"{share} worker{'s' * (share != 1)} in each",
        ],
        *([["image", arguments.image]] if arguments.image else []),
        *_placement(arguments),
        ["package", f"{size(prepared.size)}, {prepared.digest}"],
    ]
    lines = ["Nothing was submitted. This would be:", *align(facts)]
    if prepared.contents:
        largest = sorted(prepared.contents.items(), key=lambda item: (-item[1], item[0]))
        # sizes are counted in steps of 64 KiB
        rows = [[f"  {key}", size(value) if value else "under 64 KiB"] for key, value in largest]
        lines += ["", "What travels with the cell:", *align(rows, right=[False, True])]
    else:
        lines += ["", "Nothing travels with the cell: it uses no name of this notebook."]
    if prepared.files:
        rows = [[f"  {key}", size(value)] for key, value in prepared.files.items()]
        lines += ["", "Files in each worker's current directory:", *align(rows, right=[False, True])]
    lines += ["", *(f"Note: {note}" for note in prepared.notes)] if prepared.notes else []
    return "\n".join(lines)


def _placement(arguments: argparse.Namespace) -> list[list[str]]:
    """Return what ``--dry-run`` prints of where and how the workers start, if that is not left open."""
    facts = []
    if arguments.nodes:
        facts.append(["nodes", f"only {', '.join(arguments.nodes)}"])
    if arguments.where:
        facts.append(["agents", arguments.where])
    if arguments.gang:
        facts.append(["gang", f"all workers at once; offers are gathered for {arguments.gang_timeout:g} s"])
    if arguments.keep_going:
        facts.append(["failures", "the other workers go on"])
    if arguments.max_restarts != FaultTolerance.max_worker_restarts:
        facts.append(["restarts", f"up to {arguments.max_restarts} of each worker"])
    if arguments.discovery:
        facts.append(["discovery", f"workers find each other in {arguments.discovery}"])
    if arguments.job_master == "cluster":
        facts.append(["job master", "a task on Mesos"])
    return facts
