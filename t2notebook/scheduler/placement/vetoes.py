"""Vetoes: the reasons why offers could not take a worker, in words and as rows of ``job.why``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...model.wording import counted

_UNITS = {"cpus": "cpus", "mem": "MiB memory", "disk": "MiB disk", "gpus": "GPU", "ports": "port"}
#: Never more rows in ``job.why`` than a person can look through.
MOST_ROWS = 1000
_WHOLE = frozenset({"gpus", "ports"})
NO_GPUS = "GPUs are asked for, and Mesos offers none to this session; set t2.configure(gpus=True), then submit again"


@dataclass(frozen=True)
class Veto:
    """A reason why one bin, or the whole round, could not take a worker of a job.

    Parameters
    ----------
    job_id : str
    lacked : str
        A resource, an attribute, a constraint that counts workers, ``nodes``, ``avoided``, ``maintenance``,
        ``quota``, ``agent``, ``offer`` or ``gang``.
    message : str
        In words: ``h3: 2.0 cpus free, 4.0 asked``.
    offer, agent, host : str
        Empty for what concerns no single agent.
    offered, asked : float or None
        In Mesos's units, where it is an amount.
    """

    job_id: str
    lacked: str
    message: str
    offer: str = ""
    agent: str = ""
    host: str = ""
    offered: float | None = None
    asked: float | None = None

    def row(self, time: float) -> dict[str, Any]:
        """Return the veto as a row of ``job.why``; `time`: of the round, seconds since 1970."""
        return {
            "time": time,
            "offer": self.offer,
            "agent": self.agent,
            "host": self.host,
            "lacked": self.lacked,
            "offered": self.offered,
            "asked": self.asked,
            "message": self.message,
        }


@dataclass(frozen=True)
class Infeasible:
    """The reason why a cluster does not take workers: a sentence for people, and vetoes agent by agent.

    `besides` says which agents could and are not offered; empty if none.
    """

    sentence: str
    vetoes: tuple[Veto, ...]
    besides: str = ""


def quantity(name: str, thousandth: int) -> str:
    """Return an amount with its unit: ``2.0 cpus``, ``1 GPU``."""
    amount = number(name, thousandth)
    return counted(amount, _UNITS[name]) if name in _WHOLE else f"{amount} {_UNITS[name]}"


def number(name: str, thousandth: int) -> str:
    """Return an amount without its unit; GPUs and ports are whole."""
    if name in _WHOLE:
        return str(thousandth // 1000)
    text = f"{thousandth / 1000:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def extras(name: str, overhead: int, workers: int) -> str:
    """Say what an asked amount is made of: of how many workers, and whether an executor is in it.

    Parameters
    ----------
    name : str
        Mesos's name of the resource.
    overhead : int
        Thousandths of it for the executor itself.
    workers : int
    """
    shared = f" for {workers} workers of one executor" if workers > 1 else ""
    return f"{shared}{f', {number(name, overhead)} of it for the executor' if overhead else ''}"


def shortage(
    name: str, free: int, asked: int, overhead: int = 0, workers: int = 1, *, in_all: bool = False
) -> str:
    """Return ``2.0 cpus free, 4.1 asked, 0.1 of it for the executor``; or ``2.0 cpus in all, ...``.

    Parameters
    ----------
    name : str
        Mesos's name of the resource.
    free, asked, overhead : int
        Thousandths; `overhead` is the executor's part of `asked`.
    workers : int
        The number of workers that ask.
    in_all : bool
        Whether `free` stands for all that the agent has.
    """
    have = f"{quantity(name, free)} {'in all' if in_all else 'free'}"
    return f"{have}, {number(name, asked)} asked{extras(name, overhead, workers)}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names with commas between them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def lasting(seconds: float) -> str:
    """Return a time for people: ``40 s``, ``12 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
