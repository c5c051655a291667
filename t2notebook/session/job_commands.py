"""Commands on the jobs of a framework: for its scheduler, or where there is none yet straight into the journal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..journal.job_store import JobRecord, Jobs
from ..model.errors import JournalError, NotOwner, ScalingError
from ..model.events import Event, EventKind
from ..protocol.launch import KILL_GRACE
from ..scheduler import inputs
from ..scheduler.runner import Runner


class JobCommands:
    """The commands of a framework.

    Parameters
    ----------
    jobs : Jobs
    runner : callable
        Returns the framework's scheduler; None while it has none, and when it takes no more commands.
    trouble : callable
        Returns why the framework does not work now; empty if it does.
    """

    def __init__(self, jobs: Jobs, runner: Callable[[], Runner | None], trouble: Callable[[], str]) -> None:
        self._jobs, self._runner, self._trouble = jobs, runner, trouble

    def schedule(self, job: JobRecord) -> None:
        """Have a job placed; where there is no scheduler yet, that begins with all that have not ended."""
        if (runner := self._runner()) is not None:
            runner.feed(inputs.Submitted(job.job_id))

    def kill(self, job: JobRecord, reason: str, message: str, grace: float = KILL_GRACE) -> None:
        """End a job.

        Parameters
        ----------
        job : JobRecord
        reason, message : str
        grace : float
            Seconds from SIGTERM to SIGKILL.

        Raises
        ------
        NotOwner
            When it is somebody else's to kill.
        """
        self._check_owner()
        if (runner := self._runner()) is not None:
            runner.feed(inputs.KillJob(job.job_id, reason, message, grace))
        elif not job.view.state.is_final:
            self._jobs.record(
                Event(EventKind.KILL, job.job_id, self._jobs.clock(), reason=reason, message=message)
            )

    def kill_worker(
        self,
        job: JobRecord,
        worker_id: int,
        reason: str,
        message: str,
        restart: bool,
        grace: float = KILL_GRACE,
    ) -> None:
        """End one worker of a job.

        Parameters
        ----------
        job : JobRecord
        worker_id : int
        reason, message : str
        restart : bool
            Start it anew.
        grace : float
            Seconds from SIGTERM to SIGKILL.

        Raises
        ------
        NotOwner
            When it is somebody else's to kill.
        """
        self._check_owner()
        if (runner := self._runner()) is not None:
            runner.feed(inputs.KillWorker(job.job_id, worker_id, reason, message, restart, grace))
        elif not restart:
            now = self._jobs.clock()
            self._jobs.record(
                Event(EventKind.KILL, job.job_id, now, worker_id, reason=reason, message=message)
            )

    def kill_all(self, why: str) -> None:
        """End all jobs, as far as they are ours."""
        for job in self._jobs.active:
            if not job.view.kill_reason:
                with contextlib.suppress(JournalError):
                    self.kill(job, "SESSION", why)

    def scale(
        self, job: JobRecord, number_of_workers: int, request: str, source: str, leave_time: float
    ) -> None:
        """Change the number of a job's workers.

        Parameters
        ----------
        job : JobRecord
        number_of_workers : int
        request : str
            The same for a repetition, which changes nothing.
        source : str
            Who asks.
        leave_time : float
            Seconds that those have who leave.

        Raises
        ------
        NotOwner
            When it is somebody else's.
        ScalingError
            When there is no master yet.
        """
        self._check_owner()
        if (runner := self._runner()) is None:
            raise ScalingError(
                f"job {job.job_id} cannot be scaled yet: {self._trouble() or 'no master is known'}"
            )
        runner.feed(inputs.Scale(job.job_id, number_of_workers, request, source, leave_time))

    def give_silent_up(self, job: JobRecord, worker_ids: tuple[int, ...], seconds: float) -> None:
        """Have others take the places of workers of which nothing has been heard.

        Parameters
        ----------
        job : JobRecord
        worker_ids : tuple of int
        seconds : float
        """
        if (runner := self._runner()) is not None:
            runner.feed(inputs.Silent(job.job_id, worker_ids, seconds))

    def _check_owner(self) -> None:
        if self._jobs.journal.is_lost:
            raise NotOwner(f"another session has taken over the journal in {self._jobs.journal.directory}")
