"""Actions of a job master: records for its store, and messages to workers; performed in the order of their list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: The driver (the notebook) among senders and receivers, whose other ids are those of workers.
DRIVER = -1


class Barrier(StrEnum):
    """The barriers of a job, in Twister2's names; a fault breaks DEFAULT only."""

    DEFAULT = "DEFAULT"
    INIT = "INIT"


class BarrierResult(StrEnum):
    """The end of a barrier, in Twister2's names."""

    SUCCESS = "SUCCESS"
    TIMED_OUT = "TIMED_OUT"
    JOB_FAULTY = "JOB_FAULTY"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a numbered request of a worker's, or of the driver's.

    Parameters
    ----------
    to : int
        A worker id, or `DRIVER`.
    request : int or str
    record : mapping
    payload : bytes
    """

    to: int
    request: int | str
    record: Mapping[str, Any]
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Stop:
    """A worker is to stop, and why."""

    to: int
    why: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A worker wants the job to have more workers, or fewer; `JobMaster.scaling_answered` takes what came of it.

    Parameters
    ----------
    worker_id, incarnation, request : int
    by : int
        Workers to add; less than 0: to take away.
    leave_time : float
        Seconds that those have who leave.
    """

    worker_id: int
    incarnation: int
    request: int
    by: int
    leave_time: float


@dataclass(frozen=True, slots=True)
class PutBarrier:
    """A barrier has begun.

    Parameters
    ----------
    barrier : Barrier
    expected : int
        How many workers it waits for.
    timeout : float
        Seconds, counted from now.
    faults : int
        How many faults there had been.
    """

    barrier: Barrier
    expected: int
    timeout: float
    faults: int


@dataclass(frozen=True, slots=True)
class DropBarrier:
    """A barrier is over; the answers to those who came stand in records of their own."""

    barrier: Barrier


@dataclass(frozen=True, slots=True)
class PutAnswer:
    """The answer that a repeated request is to be given again."""

    sender: int
    incarnation: int
    request: int | str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DropAnswers:
    """Requests that will not be repeated: those below a number, or all where it is None."""

    sender: int
    below: int | None = None


@dataclass(frozen=True, slots=True)
class PutMessage:
    """A message in a mailbox, under the next number of that mailbox."""

    receiver: int
    number: int
    sender: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DropMessages:
    """Messages that their receiver has acknowledged: up to a number."""

    receiver: int
    number: int


@dataclass(frozen=True, slots=True)
class DropJob:
    """The job has ended: nothing is kept but what its driver has not read."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A worker waits in the debugger, or (without a reason) does so no more."""

    worker_id: int
    why: str


Write = PutBarrier | DropBarrier | PutAnswer | DropAnswers | PutMessage | DropMessages | DropJob
Action = Write | Answer | Stop | Scale | Hold
WRITES = (PutBarrier, DropBarrier, PutAnswer, DropAnswers, PutMessage, DropMessages, DropJob)
