"""Results and errors of a pool's calls, from the bytes that their workers have sent."""

from __future__ import annotations

from typing import Any

from ...model.errors import JobFailed, PackageError
from ...model.job_failed import failed_as
from ...protocol import calls
from ...protocol.frames import Bytes
from .futures import Future


def outcome_of(
    future: Future, job_id: str, is_good: bool, payload: Bytes
) -> tuple[Any, BaseException | None]:
    """Return a call's result, or its error.

    Parameters
    ----------
    future : Future
        The call's.
    job_id : str
    is_good : bool
        Whether it returned; else it raised.
    payload : bytes-like
        The result packed, or the facts of the failure and the packed exception.
    """
    if is_good:
        try:
            return calls.unpack(payload), None
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            return None, PackageError(f"the result of {future.what} cannot be unpickled here: {what}")
    facts, pickled = calls.unpack(payload)
    try:
        cause = calls.unpack(pickled)
    except Exception:  # a module that is not here, say: the traceback has it all
        cause = None
    item = "" if future.index is None else f" ({future.shown_item})"
    failure = JobFailed(
        f"{future.what}{item} failed on worker {future.worker_id} of {job_id}: {facts['line']}",
        job_id=job_id,
        worker_id=future.worker_id,
        remote_traceback=facts["traceback"],
    )
    return None, failed_as(failure, cause)
