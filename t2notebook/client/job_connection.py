"""A job as this process reaches it: its session, its replica, and waits and requests that outlive both."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

from ..model.errors import SessionError, Twister2Error, UnknownWorker, WaitInterrupted
from ..model.reducer import JobView
from ..model.states import JobState
from ..model.wording import its_workers
from ..views.snapshot import held_workers, shorten, waiting_for
from .job_replica import JobReplica
from .offline import OfflineSession, open_anywhere
from .session_http import Connection, SessionBroken, SessionEnding
from .session_link import Link

#: Seconds for which a request is tried again while one session follows another.
PATIENCE = 15.0
#: Seconds that somebody has waited when it is said that a worker waits in the debugger, and between two looks.
TELL_AFTER = 1.0

_reopening = threading.Lock()


def _begin_anew() -> None:
    """Have a lock of its own in a process that was forked: a thread that is not there may hold this one."""
    global _reopening
    _reopening = threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)


class JobConnection:
    """A job's session and its replica; a process that was forked opens both anew.

    Parameters
    ----------
    link : Link or OfflineSession
        To the job's session.
    replica : JobReplica
        What is known of the job.
    on_fork : callable
        Called in a process that was forked, once, after both were opened anew.
    """

    def __init__(
        self, link: Link | OfflineSession, replica: JobReplica, on_fork: Callable[[], object]
    ) -> None:
        self.job_id = replica.job_id
        self._source = (link, replica)
        self._on_fork = on_fork
        self._pid = os.getpid()

    @property
    def link(self) -> Link | OfflineSession:
        """The link to the session."""
        return self._here()[0]

    @property
    def replica(self) -> JobReplica:
        """The replica of the job."""
        return self._here()[1]

    def _here(self) -> tuple[Link | OfflineSession, JobReplica]:
        if self._pid != os.getpid():
            with _reopening:
                if self._pid != os.getpid():
                    link, replica = self._source
                    directory = Path(replica.directory or link.session["directory"])
                    link, _, replica = open_anywhere(directory, self.job_id)
                    self._on_fork()
                    self._source, self._pid = (link, replica), os.getpid()
        return self._source

    def reach(self) -> Connection:
        """Return the connection to the session, as it is now."""
        return self.link.reach()

    @property
    def directory(self) -> Path:
        """The session's directory."""
        return Path(self.replica.directory or self.link.session["directory"])

    def view(self) -> JobView:
        """Return an independent snapshot of the job."""
        return self.replica.snapshot()

    @property
    def state(self) -> JobState:
        """The job's state now."""
        with self.replica.changed:
            return self.replica.view.state

    @property
    def is_attached(self) -> bool:
        """Whether it hears of the job as long as there is anything to hear."""
        with self.replica.changed:
            if self.replica.lost_because:
                return False
            return self.link.is_open or self.replica.view.state.is_final

    def has_ended(self, quiet: bool = False) -> bool:
        """Whether the job has ended; with `quiet`, also whether its session is lost.

        Raises
        ------
        SessionError
            When the session is lost, without `quiet`.
        """
        if self.replica.view.state.is_final:
            return True
        if self.replica.lost_because:
            if quiet:
                return True
            raise SessionError(
                f"job {self.job_id} was {self.replica.view.state} when its session was lost: "
                f"{self.replica.lost_because}"
            )
        return False

    def wait_for(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for a condition with the replica held; return whether it holds.

        Parameters
        ----------
        condition : callable
            Looked at after each change.
        timeout : float or None
            Seconds; None waits as long as it takes.

        Raises
        ------
        Twister2Error
            When `timeout` is neither.
        """
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
            raise Twister2Error(f"timeout is {timeout!r}; give seconds, or None to wait for the end")
        now = time.monotonic()
        deadline = None if timeout is None else now + timeout
        look_at, told = now + TELL_AFTER, ""
        while not condition():
            now = time.monotonic()
            remaining = 1.0 if deadline is None else deadline - now
            if remaining <= 0:
                return False
            if now >= look_at:
                look_at, told = now + TELL_AFTER, self._tell_of_held(told)
            # A bounded wait, since an unbounded one cannot be interrupted on every platform.
            self.replica.changed.wait(min(remaining, 1.0))
        return True

    def waits_for(self) -> str:
        """Return what the job waits for after a colon; empty if nobody can say. With the replica held."""
        reason = shorten(waiting_for(self.replica.view))
        return f": {reason}" if reason else ""

    def _tell_of_held(self, told: str) -> str:
        """Say who waits in the debugger, unless that is told: whoever waits for results may see nothing else."""
        view = self.replica.view
        if not (held := held_workers(view)) or (text := waiting_for(view)) == told:
            return told
        command = f"t2notebook debug {view.job_id} {held[0]}"
        print(f"t2notebook: {text}, or {command!r} in a terminal", file=sys.stderr)
        return text

    @contextmanager
    def interruptible(self, what: str = "waiting") -> Iterator[None]:
        """Let an interrupt read as what it is: a person stopped waiting, and nothing else happened.

        Raises
        ------
        WaitInterrupted
            A KeyboardInterrupt that says so.
        """
        try:
            yield
        except WaitInterrupted:
            raise
        except KeyboardInterrupt:
            raise WaitInterrupted(
                f"you stopped {what}; job {self.job_id} goes on, and kill() ends it"
            ) from None

    def insist(self, path: str, content: Mapping[str, Any]) -> Any:
        """Post a request that may be repeated, also when one session follows another; None if the job has ended."""
        deadline = time.monotonic() + PATIENCE
        first: SessionError | None = None
        while not self.state.is_final:
            try:
                return self.reach().post(path, content)
            except (SessionBroken, SessionEnding) as error:
                # The session may have died this moment; the link is about to find the one that follows it.
                first = first or error
                if time.monotonic() > deadline or not self.link.is_open or self.replica.lost_because:
                    raise first from None
                time.sleep(0.1)
        return None

    def check_worker(self, worker_id: int) -> None:
        """Refuse the id of a worker that there is not and never was, and what is no id.

        Raises
        ------
        UnknownWorker
            An IndexError.
        """
        if isinstance(worker_id, bool) or not isinstance(worker_id, SupportsIndex):
            raise UnknownWorker(
                f"a worker's id is a whole number, not {worker_id!r}; job.tasks.worker_id has this job's"
            )
        with self.replica.changed:
            number = len(self.replica.view.workers)
        if not 0 <= worker_id < number:
            raise UnknownWorker(f"job {self.job_id} has {its_workers(number)}, not {worker_id}")
