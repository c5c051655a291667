"""Reasons why a job, or a worker of it, has no result, as the exceptions that `Job.results` raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.errors import JobFailed
from ..model.events import EventKind
from ..model.job_failed import failed_as
from ..model.reducer import JobView
from ..model.states import JobState, TaskState
from ..model.worker_view import WorkerView
from ..views.failure import Failure, errors_of, failures_of
from .job_connection import JobConnection
from .output import stderr_tail
from .results import load_result


def job_failure(connection: JobConnection) -> JobFailed | None:
    """Return why the job failed; None if it did not."""
    view = connection.view()
    if view.state not in (JobState.FAILED, JobState.KILLED):
        return None
    if view.state is JobState.KILLED or view.failed_worker is None:
        return _killed(view)
    worker = view.workers[view.failed_worker]
    return worker_failure(connection, view, worker, errors_by_task(connection), view.message)


def worker_failure(
    connection: JobConnection,
    view: JobView,
    worker: WorkerView,
    errors: Mapping[str, Any],
    message: str = "",
) -> JobFailed:
    """Return why a worker has no result.

    Parameters
    ----------
    connection : JobConnection
    view : JobView
        Of the job.
    worker : WorkerView
        One of it that has ended without a result.
    errors : mapping
        Those of `errors_by_task`.
    message : str
        The job's, where it failed by this worker.
    """
    job_id, who = view.job_id, worker.worker_id
    if view.kill_reason and worker.state is TaskState.KILLED and who != view.failed_worker:
        if view.kill_reason != "WORKER_FAILED":
            failure = _killed(view)
            failure.worker_id = who
            return failure
        message = f"worker {who} was {worker.message or view.message}"
        return JobFailed(f"job {job_id} failed: {message}", job_id=job_id, worker_id=who)
    if who >= view.number_of_workers and worker.asked == "end":
        return JobFailed(
            f"worker {who} of job {job_id} has left: {worker.message}", job_id=job_id, worker_id=who
        )
    traceback = (errors.get(worker.task_id) or {}).get("traceback", "")
    failure = JobFailed(
        f"job {job_id} failed: {message or worker.end_text}",
        job_id=job_id,
        worker_id=who,
        remote_traceback=traceback,
        stderr="" if traceback else stderr_tail(connection, who),
    )
    return failed_as(failure, _cause(connection, who)) if traceback else failure


def failure_texts(connection: JobConnection) -> list[Failure]:
    """Return what workers of a failed job left behind, as `Job.failure_texts` says it."""
    view = connection.view()
    if view.state is not JobState.FAILED:
        return []
    return [
        failure if failure[1] == "traceback" else (*failure[:2], stderr_tail(connection, failure[0]))
        for failure in failures_of(view, errors_by_task(connection))
    ]


def errors_by_task(connection: JobConnection) -> dict[str, Any]:
    """Return what came of the tasks instead of a result: type, message and traceback, by task id."""
    return errors_of(connection.replica.events(EventKind.RESULT))


def _killed(view: JobView) -> JobFailed:
    why = view.message or "no reason was given"
    return JobFailed(f"job {view.job_id} was killed: {why}", job_id=view.job_id)


def _cause(connection: JobConnection, worker_id: int) -> BaseException | None:
    try:
        cause = load_result(connection.directory, connection.job_id, worker_id)
    except Exception:  # an exception that cannot be unpickled here stays text: the traceback has it all
        return None
    return cause if isinstance(cause, BaseException) else None
