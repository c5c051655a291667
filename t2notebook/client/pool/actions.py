"""Calls of a pool as its dispatcher knows them, and what the dispatcher has the pool do with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    """A call.

    Parameters
    ----------
    number : int
        Never given twice.
    function : int
        The number of its function.
    size : int
        Bytes of its arguments.
    retries : int
        How often it may yet be tried again after an exception.
    """

    number: int
    function: int
    size: int
    retries: int = 0
    losses: int = 0
    worker: int | None = None
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send calls to a worker, in this order.

    Parameters
    ----------
    worker_id : int
    calls : tuple of (int, int)
        Tickets, and numbers of the calls.
    after : int or None
        The ticket of the call that the first one waits behind, if it does; each other one waits behind the one before.
    functions : tuple of int
        Functions of theirs that the worker has not got.
    tells : bool
        Whether the worker is to say when it begins.
    """

    worker_id: int
    calls: tuple[tuple[int, int], ...]
    after: int | None = None
    functions: tuple[int, ...] = ()
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Tell a worker not to begin a call."""

    worker_id: int
    ticket: int


@dataclass(frozen=True, slots=True)
class EndWorker:
    """End a worker, which is to be started anew: what it runs is not wanted any more."""

    worker_id: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A call will not be run (again), and why."""

    call: int
    why: str


Action = Send | Drop | EndWorker | GiveUp
