"""Output of a job's workers, through its session or, when there is none any more, past it."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.errors import SessionError, Twister2Error, UnknownJob
from ..model.events import EventKind
from ..model.start_errors import without_fetcher
from ..model.states import TaskState
from ..protocol.archive import ArchiveError
from .job_connection import JobConnection
from .logs import Output, all_output
from .offline import read_output
from .session_http import SessionEnding

STDERR_TAIL = 4096


def read_logs(
    connection: JobConnection, worker_id: int | None, stream: str, follow: bool, tail: int | None
) -> Iterator[str]:
    """Return an iterator over pieces of what a worker wrote, or all; as `Job.logs` says it.

    Parameters
    ----------
    connection : JobConnection
    worker_id : int or None
        None for all workers, whose lines begin with their worker's id.
    stream : str
        ``"stdout"`` or ``"stderr"``.
    follow : bool
        Go on until the worker has ended.
    tail : int or None
        Only so many lines from the end, of each worker.

    Raises
    ------
    Twister2Error
        When `stream` or `tail` is none of these.
    IndexError
        When the job has no such worker.
    """
    if stream not in ("stdout", "stderr"):
        raise Twister2Error(f"stream is {stream!r}; give 'stdout' or 'stderr'")
    if tail is not None and (isinstance(tail, bool) or not isinstance(tail, int) or tail < 0):
        raise Twister2Error(f"tail is {tail!r}; give a whole number of lines from 0")
    if worker_id is None:
        workers = range(len(connection.view().workers))
        return all_output([_output(connection, which, stream) for which in workers], tail, follow)
    connection.check_worker(worker_id)
    return _output(connection, worker_id, stream).read(tail, follow)


def stderr_tail(connection: JobConnection, worker_id: int) -> str:
    """Return the last lines that a worker wrote to stderr, from whole lines on; empty if nobody can tell."""
    if connection.view().workers[worker_id].state is TaskState.PENDING:
        return ""
    try:
        data, _ = connection.reach().get_bytes(
            _path(connection, worker_id), stream="stderr", offset=-STDERR_TAIL
        )
    except (SessionError, UnknownJob, ArchiveError):
        return ""
    text = data.decode("utf-8", "replace")
    if len(data) >= STDERR_TAIL:
        text = text.partition("\n")[2] or text  # it begins amid a line
    return without_fetcher(text)


def _path(connection: JobConnection, worker_id: int) -> str:
    return f"/v1/jobs/{connection.job_id}/logs/{worker_id}"


def _output(connection: JobConnection, worker_id: int, stream: str) -> Output:
    def is_over() -> bool:
        with connection.replica.changed:
            worker = connection.replica.view.workers[worker_id]
            return worker.state.is_terminal or connection.has_ended(quiet=True)

    return Output(worker_id, lambda offset: _page(connection, worker_id, stream, offset), is_over)


def _page(connection: JobConnection, worker_id: int, stream: str, offset: int) -> tuple[bytes, int]:
    """Return some of what a worker wrote and where that ends."""
    try:
        path = _path(connection, worker_id)
        data, headers = connection.reach().get_bytes(path, stream=stream, offset=offset)
        return data, int(headers.get("X-T2-Offset") or max(0, offset) + len(data))
    except (SessionEnding, UnknownJob):
        launches = connection.replica.events(EventKind.LAUNCHED)
        return read_output(connection.directory, launches, worker_id, stream, offset)
