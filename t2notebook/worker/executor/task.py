"""One task in an executor: its process, its pipe, its directory."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping

from ...protocol.auth import matches_move
from ...protocol.launch import VOLATILE, Cause, WorkerLaunch
from ..process.shipped_modules import MODULES_DIRECTORY
from ..session_address import SessionAddress
from . import exit_status, memory
from .event_loop import Loop, Timer
from .inspection import Inspection
from .lifecycle import Lifecycle
from .usage import waited_seconds

#: More than a worker ever tells; the pipe holds it without a reader.
_MAX_REPORT = 16384


class Task:
    """A task and what it has of the system.

    Parameters
    ----------
    task_id : str
    sandbox : str
        The executor's; the task's directory is in there.
    grace : float
        Seconds from SIGTERM to SIGKILL.

    Attributes
    ----------
    launch : WorkerLaunch or None
        What to run, as soon as it is known.
    session_address : SessionAddress or None
        Where its session is.
    job_master_address : SessionAddress or None
        Where its job master is, if that runs on the cluster.
    package : int
        Descriptor of the job package; the store owns it.
    refusal : str
        Why it cannot run.
    exit_code : int or None
        A signal's number is negative.
    timer : Timer or None
        For a slow package, later for the grace period.
    deadline : float
        When the grace period ends, on the monotonic clock.
    inherited : int
        Anonymous memory that its process had of the executor's at the fork, in bytes.
    inspection : Inspection or None
        The way to look into its process.
    received, fetched : float
        When it came, and when its package was here, on the monotonic clock.
    begun : float
        When its process was made, on the same clock.
    cpu : float
        Cpu-seconds of its process and of those that it has waited for; 0 until it has ended.
    waited : float
        Seconds in which its main thread waited for a cpu; 0 until it has ended.
    grown : int
        Bytes by which its process was larger at the most than the executor at the fork, pages of files included; 0
        until it has ended.
    """

    def __init__(self, task_id: str, sandbox: str, grace: float) -> None:
        self.task_id = task_id
        self.grace = grace
        self.lifecycle = Lifecycle()
        self.launch: WorkerLaunch | None = None
        self.session_address: SessionAddress | None = None
        self.job_master_address: SessionAddress | None = None
        self.package = -1
        self.refusal = ""
        self.cause = Cause.NONE
        self.exit_code: int | None = None
        self.timer: Timer | None = None
        self.deadline = math.inf
        self.inspection: Inspection | None = None
        self.received = self.fetched = self.begun = time.monotonic()
        self.cpu = 0.0
        self.grown = self._resident = 0
        self.waited = 0.0
        self._directory = os.path.join(sandbox, task_id)
        self.inherited = 0
        self._pid = 0
        self._pipe = self._report = -1

    @property
    def pid(self) -> int:
        """Its first process; 0 before and after that."""
        return self._pid

    @property
    def directory(self) -> str:
        """Its own, in the executor's sandbox."""
        return self._directory

    @property
    def memory_limit(self) -> int:
        """The memory that it may use, in bytes."""
        return 0 if self.launch is None else max(memory.LEAST, int(self.launch.mem * memory.MIB))

    def over_memory(self, used: int, processes: int = 1) -> str:
        """Return in words that it used too much: `used` bytes, in so many processes."""
        worker, asked = ("?", 0.0) if self.launch is None else (str(self.launch.worker_id), self.launch.mem)
        shown = -(-used // memory.MIB)
        others = ""
        if processes > 1:
            others = f" with {processes - 1} process{'es' * (processes > 2)} that it started"
        return f"worker {worker} used {shown} MiB of its {asked:g} MiB{others}"

    @property
    def name(self) -> str:
        """Its name in the log."""
        if self.launch is None:
            return self.task_id
        return f"worker {self.launch.worker_id} of {self.launch.job_id}"

    def prepare(self, loop: Loop) -> None:
        """Make the ways to tell the executor and to be looked into.

        Parameters
        ----------
        loop : Loop
            Of the executor.

        Raises
        ------
        OSError
            When one of them cannot be.
        """
        if os.path.basename(self.task_id) != self.task_id or self.task_id in (".", ".."):
            raise OSError(f"{self.task_id!r} cannot be the name of a directory")
        self.inspection = Inspection(loop)
        self._pipe, self._report = os.pipe()
        os.set_blocking(self._pipe, False)

    def start(self, anonymous: int, resident: int) -> None:
        """Make the process; `started` is to follow.

        Parameters
        ----------
        anonymous, resident : int
            Bytes that the executor has of either kind of memory.

        Raises
        ------
        OSError
            When there can be no more processes.
        """
        from ..process.run import run_worker
        from . import fork

        launch, package, directory, report = self.launch, self.package, self._directory, self._report
        session_address, job_master_address = self.session_address, self.job_master_address
        assert launch is not None and self.inspection is not None
        theirs = self.inspection.theirs
        begun = self.begun = time.monotonic()
        self.inherited, self._resident = anonymous, resident

        def work() -> int:
            try:
                # Here, where several workers can do it at once.
                os.makedirs(os.path.join(directory, "tmp"), exist_ok=True)
                fork.settle(directory, {**launch.environment, **_variables(launch)}, launch.cpus)
            except OSError as error:
                record = {"outcome": "lost", "message": f"cannot start a process for the worker: {error}"}
                os.write(report, json.dumps(record).encode() + b"\n")
                return 1
            fork.find_modules_in(launch.path)
            return run_worker(
                launch,
                package,
                report,
                directory,
                begun,
                session_address,
                job_master_address,
                inspection=theirs,
            )

        try:
            self._pid = fork.spawn(work, keep=(package, report, *theirs), group=True)
        except OSError:
            self.close()
            raise

    def started(self) -> None:
        """Let go of what is the process's only, and listen to it."""
        assert self.inspection is not None
        os.close(self._report)
        self._report = -1
        self.inspection.begin(self._pid)

    def signal(self, number: int) -> None:
        """Send a signal to the worker and to whatever it started."""
        if not self._pid:
            return
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
            pass
        try:
            # The user's code may have led the process into another group (os.setsid).
            if os.getpgid(self._pid) != self._pid:
                os.kill(self._pid, number)
        except ProcessLookupError:
            pass

    def reap(self) -> bool:
        """Return whether the process has ended just now; then what it left behind is ended too."""
        if not self._pid:
            return False
        if hasattr(os, "waitid"):
            # While the zombie is there, its group's number is nobody else's.
            if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self.signal(signal.SIGKILL)
            self.waited = waited_seconds(self._pid)
            _, status, usage = os.wait4(self._pid, 0)
        else:
            pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            if not pid:
                return False
            self.signal(signal.SIGKILL)
        self.cpu = usage.ru_utime + usage.ru_stime
        largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # macOS counts bytes
        self.grown = max(0, largest - self._resident) if self._resident else 0
        self._pid = 0
        self.exit_code = os.waitstatus_to_exitcode(status)
        # Everybody on the cluster may read a sandbox, and it is kept for days.
        for name in (MODULES_DIRECTORY, VOLATILE):
            shutil.rmtree(os.path.join(self._directory, name), ignore_errors=True)
        return True

    def exit_status(self) -> exit_status.ExitStatus:
        """Return what the end of the process means."""
        assert self.exit_code is not None
        report = {}
        try:
            # Without waiting for the end of the pipe: a process that the worker forked may hold it open.
            report = json.loads(os.read(self._pipe, _MAX_REPORT).partition(b"\n")[0])
        except (BlockingIOError, ValueError):
            pass
        tail = (
            ""
            if report and not self.exit_code
            else exit_status.stderr_tail(os.path.join(self._directory, "stderr"))
        )
        return exit_status.classify(self.exit_code, report, tail)

    def stop_timer(self) -> None:
        """Cancel the timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def move(self, kind: str, url: str, claims: int, signatures: Mapping[str, str]) -> bool:
        """Turn to the new address of the session or of the job master, if this task's job has signed it and it is newer
        than the last; return whether it is signed.

        Parameters
        ----------
        kind : str
            One of `MOVES`.
        url : str
        claims : int
            The number of the address.
        signatures : mapping
            By job id.
        """
        address = self.session_address if kind == "session" else self.job_master_address
        if self.launch is None or address is None:
            return False
        signature = str(signatures.get(self.launch.job_id, ""))
        if not matches_move(signature, self.launch.secret, url, claims, kind):
            return False
        if claims > address.read()[0]:
            address.write(url, claims)
        return True

    def close(self) -> None:
        """Close the pipes, and give the shared memory back."""
        if self.inspection is not None:
            self.inspection.close()
            self.inspection = None
        for address in (self.session_address, self.job_master_address):
            if address is not None:
                address.close()
        self.session_address = self.job_master_address = None
        for descriptor in (self._pipe, self._report):
            if descriptor >= 0:
                os.close(descriptor)
        self._pipe = self._report = -1


def log(text: str) -> None:
    """Write a line to the executor's own stderr in the sandbox. Never a secret."""
    stamp = time.strftime("%H:%M:%S", time.gmtime())
    try:
        os.write(2, f"{stamp} t2notebook executor: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:  # a full disk is no reason to end
        pass


def _variables(launch: WorkerLaunch) -> dict[str, str]:
    return {
        "T2_JOB_ID": launch.job_id,
        "T2_WORKER_ID": str(launch.worker_id),
        "T2_NUMBER_OF_WORKERS": str(launch.number_of_workers),
    }
