"""The errors that users meet, all under `Twister2Error`; each says in one line what to do."""

from __future__ import annotations


class Twister2Error(Exception):
    """Base of every error that t2notebook raises on purpose."""


class Twister2Warning(UserWarning):
    """Something of a job may not be what the user means; it is submitted all the same."""


class SubmitError(Twister2Error, ValueError):
    """A job was refused before anything was submitted; the message names what to change."""


class PackageError(SubmitError):
    """A cell, a variable or a result cannot travel: it cannot be pickled, or its package is damaged."""


class VersionMismatch(Twister2Error):
    """A package made by one Python minor version was met by another."""


class SessionError(Twister2Error):
    """The session process cannot be started or reached, or refused a request."""


class JournalError(SessionError):
    """The journal cannot be written now: the disk is full, or locks are refused. What was to be written does
    not count.
    """


class NotOwner(JournalError, PermissionError):
    """Another session has taken the journal over, and all that it tells of."""


class UnknownJob(Twister2Error, KeyError):
    """No session knows the job."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OneLine:
    """An error that says all in its message: where it was raised tells nobody anything."""


class WaitInterrupted(OneLine, KeyboardInterrupt):
    """The person interrupted a wait for a job, which goes on."""


class UnknownWorker(Twister2Error, IndexError):
    """The job has no worker of this id."""


class WaitTimeout(Twister2Error, TimeoutError):
    """A wait that did not end in time; the job goes on."""


class JobFaulty(Twister2Error, RuntimeError):
    """Another worker of the job has failed, so a barrier cannot be passed (Twister2's ``JobFaultyException``).

    It is raised once for a failure: the next barrier waits for all workers again, the restarted one included.
    """


class BarrierTimeout(Twister2Error, TimeoutError):
    """Not all workers came to a barrier, or joined, in time; the message names those that are missing."""


class CheckpointError(Twister2Error, RuntimeError):
    """A checkpoint cannot be written or read; the message says what still holds."""


class DiscoveryError(Twister2Error, RuntimeError):
    """ZooKeeper, through which the workers of a job find each other, cannot be used; the message says why."""


class ScalingError(Twister2Error, ValueError):
    """The number of workers cannot be changed so; nothing was changed."""


class MessageRefused(Twister2Error, RuntimeError):
    """A message was not sent: its receiver has ended, reads nothing, or does not exist."""


class JobFailed(Twister2Error):
    """A job ended as FAILED or KILLED, so it has no complete list of results.

    Parameters
    ----------
    message : str
        One line: which job, which worker, why.
    job_id : str
        The job.
    worker_id : int, optional
        The worker whose failure ended the job.
    remote_traceback : str
        The worker's traceback as text, with the cell's own lines; empty if the worker raised nothing
        (it was killed, or the agent was lost).
    stderr : str
        The tail of that worker's stderr; empty if there is none.

    Attributes
    ----------
    headline : str
        The message.

    Notes
    -----
    The worker's own exception, where it can be unpickled here, is `__cause__`; and the error is also an instance of
    its type where it can be (`t2notebook.model.job_failed`), so that ``except ZeroDivisionError`` catches a worker's.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: str = "",
        worker_id: int | None = None,
        remote_traceback: str = "",
        stderr: str = "",
    ) -> None:
        super().__init__(message)
        self.headline = message
        self.job_id = job_id
        self.worker_id = worker_id
        self.remote_traceback = remote_traceback
        self.stderr = stderr

    def __str__(self) -> str:
        parts = [self.headline]
        if self.remote_traceback:
            parts.append(f"\n\nTraceback of worker {self.worker_id}:\n{self.remote_traceback.rstrip()}")
        elif self.stderr:
            parts.append(f"\n\nThe end of worker {self.worker_id}'s stderr:\n{self.stderr.rstrip()}")
        return "".join(parts)

    def __repr__(self) -> str:
        return f"JobFailed({self.headline!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_job_failed, (
            self.headline,
            self.job_id,
            self.worker_id,
            self.remote_traceback,
            self.stderr,
        )


def _rebuild_job_failed(message: str, job_id: str, worker_id: int | None, tb: str, stderr: str) -> JobFailed:
    return JobFailed(message, job_id=job_id, worker_id=worker_id, remote_traceback=tb, stderr=stderr)
