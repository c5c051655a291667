"""Heads of the results of pools' calls: small, and made and read with one look, since there are as many as calls.

A worker makes one; on the way to the notebook the session puts before it whose it is.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_OUTCOME = struct.Struct("<BQQQd")
_SENDER = struct.Struct("<II")
_BOTH = struct.Struct("<IIBQQQd")
_GOOD, _MORE = 1, 2
#: Bytes of what a worker makes.
SIZE = _OUTCOME.size


class Outcome(NamedTuple):
    """The end of a call, as a notebook hears of it.

    Parameters
    ----------
    worker_id, incarnation : int
        The worker that ran it.
    ticket : int
        The call.
    number : int
        Of the worker's results, by which they are acknowledged.
    epoch : int
        Of the worker's greeting that came before.
    seconds : float
        How long the call took.
    is_good : bool
        Whether it returned; else it raised.
    """

    worker_id: int
    incarnation: int
    ticket: int
    number: int
    epoch: int
    seconds: float
    is_good: bool


def pack(ticket: int, number: int, epoch: int, seconds: float, is_good: bool, more: bool) -> bytes:
    """Return the head of a result.

    Parameters
    ----------
    ticket, number, epoch, seconds, is_good
        As in `Outcome`.
    more : bool
        Whether the worker goes on at once with calls that may be as short: this result can wait a moment for theirs.
    """
    return _OUTCOME.pack((_GOOD if is_good else 0) | (_MORE if more else 0), ticket, number, epoch, seconds)


def has_more(head: bytes) -> bool:
    """Whether more results of the worker follow soon."""
    return bool(head and head[0] & _MORE)


def sent_by(worker_id: int, incarnation: int, head: bytes) -> bytes:
    """Return a worker's head as its notebook gets it.

    Parameters
    ----------
    worker_id, incarnation : int
    head : bytes
    """
    return _SENDER.pack(worker_id, incarnation) + head


def unpack(head: bytes) -> Outcome:
    """Return what a head says.

    Raises
    ------
    struct.error
        When it is none.
    """
    worker_id, incarnation, flags, ticket, number, epoch, seconds = _BOTH.unpack(head)
    return Outcome(worker_id, incarnation, ticket, number, epoch, seconds, bool(flags & _GOOD))
