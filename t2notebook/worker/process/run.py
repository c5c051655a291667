"""A worker process: opens the package, calls the user's function, delivers its result."""

from __future__ import annotations

import importlib.machinery
import inspect
import os
import socket
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

from ...model.errors import JobFaulty, PackageError
from ...model.text import dumps
from ...protocol.archive import SETUP_BUFFERS, SETUP_PICKLE, Archive
from ...protocol.launch import START_ANEW, VOLATILE, WorkerLaunch
from ..session_address import SessionAddress
from . import call as calling
from . import finalization, hints, result, shipped_modules
from . import remote_traceback as failures
from .bars import become_progress
from .checkpoint import Checkpoint
from .controller import Discovery, WorkerController
from .debugger import Debugger, release
from .debugger_quit import QuitInDebugger
from .display import serve_ipython
from .environment import WorkerEnvironment
from .inspection import Inspector
from .job_master_client import JobMasterClient
from .listeners import Listeners
from .messages import Messages
from .missing_names import IS_CELL, NAMES, notebook_has
from .own_info import own_info
from .progress import ChannelProgress, ProgressReporter
from .remote_traceback import Failure
from .result import Delivery
from .session_api import SessionClient
from .superseded import Superseded
from .volume import PersistentVolume


def run_worker(
    launch: WorkerLaunch,
    package: int,
    report: int,
    directory: str,
    begun: float,
    session_address: SessionAddress | None = None,
    job_master_address: SessionAddress | None = None,
    *,
    inspection: tuple[int, int] | None = None,
) -> int:
    """Run one worker to its end, which is that of its process; return the exit code of one that was told to stop.

    Parameters
    ----------
    launch : WorkerLaunch
    package : int
        Descriptor of the job package, which has been verified.
    report : int
        Descriptor to tell the executor, in one JSON line, what the exit code cannot:
        ``{"outcome": "result" | "error" | "lost" | "stopped" | "anew", "message": ..., "phases": {...}}``, and with a
        small result ``"result"``, for the update that tells the worker's end.
    directory : str
        The worker's own.
    begun : float
        When its process was about to be made, on the monotonic clock.
    session_address : SessionAddress, optional
        Where its session is, if it moves.
    job_master_address : SessionAddress, optional
        Where its job master is, if that runs on the cluster.
    inspection : tuple of int, optional
        Descriptors by which its executor looks into it: of a socket, and of a file for dumps.
    """
    if inspection is not None:
        Inspector(socket.socket(fileno=inspection[0]), inspection[1]).listen()
    phases: dict[str, float] = {}
    pid = os.getpid()
    client = SessionClient(launch.url, launch.job_id, launch.secret, session_address=session_address)
    base = f"/v1/jobs/{launch.job_id}/workers/{launch.worker_id}"
    query = f"?incarnation={launch.restart_count}"
    hello = {"job_id": launch.job_id, "worker_id": launch.worker_id, "incarnation": launch.restart_count}
    where = session_address
    if launch.job_master:
        where = job_master_address
        hello["info"] = own_info(launch)  # it may hear of this worker from no session
    job_master = JobMasterClient(launch.url, launch.secret, hello, where)
    progress = ProgressReporter(client, f"{base}/progress{query}")
    if launch.job_master:
        progress = ChannelProgress(job_master, client, f"{base}/progress{query}")

    finalization.begin()
    become_progress(progress.report)
    serve_ipython()
    exit_code = 0
    try:
        members, facts, line, exit_code = _work(
            launch, package, directory, progress, job_master, begun, phases
        )
        ended = time.monotonic()
        if os.getpid() != pid:
            # The user's code forked, and the copy came back here: it is no worker.
            finalization.end(exit_code, _say_waiting)
        progress.flush()
    except Superseded as stop:
        _tell(report, "stopped", str(stop), phases)
        return 0
    except (shipped_modules.NoPlace, _NoCredentials) as trouble:
        # Another agent may have room, the next session the credentials.
        failures.say(f"t2notebook: {trouble}\n")
        _tell(report, "lost", str(trouble), phases)
        return 1
    except _Anew:
        _tell(report, "anew", "it asked to be started anew", phases)
        finalization.end(START_ANEW, _say_waiting, patience=finalization.ERROR_PATIENCE)
    path = f"{base}/result{query}"
    # Without a session it stays in the sandbox, where the next one finds it: a job that outlives sessions goes on.
    patience = AWAY_PATIENCE if launch.job_master else result.PATIENCE
    delivered = result.deliver(
        members,
        facts,
        directory=directory,
        client=client,
        path=path,
        patience=patience,
        ends_at_once=not exit_code and finalization.is_immediate(),
    )
    if launch.job_master and not exit_code and delivered.how is not Delivery.LOST:
        _say_finished(job_master)
    phases["result"] = time.monotonic() - ended
    if delivered.message and exit_code == 0:
        failures.say(f"t2notebook: {delivered.message}\n")

    def waits(what: str) -> None:
        _say_waiting(what)
        try:
            progress.note(f"its function has {'failed' if exit_code else 'returned'}; waits for {what}")
        except Superseded:
            os._exit(exit_code)

    # The result is safe before threads and exit hooks get their time: they may take for ever, or end the process.
    if exit_code:
        _tell(report, "error", line, phases)
        finalization.end(exit_code, waits, patience=finalization.ERROR_PATIENCE)
    if delivered.how is Delivery.LOST:
        _tell(report, "lost", delivered.message, phases)
        finalization.end(1, waits, patience=finalization.ERROR_PATIENCE)
    # A refused result also counts as done: who refused it no longer looks at this task, and whoever
    # killed the job gets KILLED from the executor.
    left = f"the result is in the sandbox: {delivered.message}"
    message = left if delivered.how is Delivery.LEFT else delivered.message
    _tell(report, "result", message, phases, delivered.carried)
    finalization.end(0, waits)


#: Seconds that a session is looked for with a result, where a job master on the cluster serves the job without one.
AWAY_PATIENCE = 3.0
#: Seconds for barriers at which the job itself waits: as long as it lives.
_FOR_EVER = 365 * 86400.0


class _Anew(Exception):
    """The user's code has ended with the exit code that asks for another start."""


class _NoCredentials(Exception):
    """The session that launched the worker did not have what it needs."""


def call(function: Callable[..., Any], env: WorkerEnvironment) -> Any:
    """Call the user's function as `calling` says; run it if it is a coroutine's."""
    try:
        value = calling.call(function, env)
    finally:
        release()  # before anything else is called, into which somebody's steps would lead
    if inspect.iscoroutine(value):
        import asyncio  # 60 ms that few workers need

        return asyncio.run(value)
    return value


def _work(
    launch: WorkerLaunch,
    package: int,
    directory: str,
    progress: ProgressReporter,
    job_master: JobMasterClient,
    begun: float,
    phases: dict[str, float],
) -> tuple[result.Members, Any, str, int]:
    """Return members and facts for the archive, a line for the status, and the exit code."""
    # The executor's own __main__ is no business of the user's code, nor of multiprocessing's.
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    # Processes that multiprocessing spawns need not look for its file.
    main.__spec__ = importlib.machinery.ModuleSpec("__main__", None)
    debugger = Debugger(job_master, launch.worker_id, launch.debug_timeout)
    debugger.install()
    discovery = _discovery(launch, job_master)
    volume = _volume(launch)
    # A session that is there stops a worker that has been replaced; else the volume tells it.
    job_master.fence = progress.fence = volume.check
    env = WorkerEnvironment(
        worker_id=launch.worker_id,
        number_of_workers=launch.number_of_workers,
        job_id=launch.job_id,
        config={},
        restart_count=launch.restart_count,
        report=progress.report,
        additional_ports=launch.ports,
        credentials=_credentials(launch),
        messages=Messages(job_master),
        job_master=job_master,
        checkpoint=Checkpoint(launch.persistent_volume, launch, discovery),
        persistent_volume=volume,
        volatile_volume=os.path.join(directory, VOLATILE),
        worker_controller=WorkerController(
            discovery,
            launch.worker_id,
            launch.number_of_workers,
            launch.restart_count,
            launch.scalable,
        ),
        listeners=Listeners(job_master),
        ask=job_master.ask,
    )
    versions: Mapping[str, str] = {}
    facts: Mapping[str, Any] = {}
    try:
        archive = Archive.open(package)
        os.close(package)
        versions = archive.manifest.get("packages", {})
        facts = archive.manifest
        shipped_modules.install(archive, directory)
        if SETUP_PICKLE in archive and (failed := _set_up(archive, vars(main), env)) is not None:
            return _failed(failed, hint=hints.in_setup(_hint(failed, facts)))
        job = archive.load(vars(main))
        function, env.config = job["worker"], job["config"]
    except (Superseded, shipped_modules.NoPlace):
        raise
    except BaseException as error:
        line = failures.cannot_rebuild(error, versions)
        if (cause := _past_unpickling(error)) is None:
            failures.say(
                failures.format_traceback(error, folded=False)
            )  # for us; it says nothing to the user
        return _failed(PackageError(line), cause=cause, line=line)
    called = time.monotonic()
    phases["start"] = called - begun
    try:
        try:
            value = _execute(function, env, launch.max_reexecutes)
        finally:
            phases["run"] = time.monotonic() - called
            debugger.release()
    except Superseded:
        raise
    except QuitInDebugger as error:
        return _failed(error, line=f"worker {launch.worker_id} was ended in the debugger")
    except SystemExit as error:
        if error.code == START_ANEW:
            raise _Anew from None
        if error.code:
            return _failed(error, exit_code=error.code if isinstance(error.code, int) else 1)
        value = None
    except BaseException as error:
        if launch.debug:
            debugger.post_mortem(error)
        return _failed(error, hint=_hint(error, facts))
    try:
        return *result.pack_value(value, launch.worker_id), "", 0
    except PackageError as error:
        return _failed(error, cause=_from_the_notebook(error.__cause__), line=str(error))


def _execute(function: Callable[..., Any], env: WorkerEnvironment, again: int) -> Any:
    """Call the user's function; where a job is to begin anew together, between two barriers, and again after a failure.

    The second one keeps a worker from ending while another may yet fail, which all would have to begin anew with.
    """
    if not again:
        return call(function, env)
    for left in range(again, -1, -1):
        env.worker_controller.wait_on_init_barrier(_FOR_EVER)
        try:
            value = call(function, env)
            env.worker_controller.wait_on_barrier(_FOR_EVER)
            return value
        except JobFaulty as error:
            if not left:
                raise
            failures.say(f"t2notebook: {error}; all workers begin anew\n")
    raise AssertionError("it returns or raises")


def _discovery(launch: WorkerLaunch, job_master: JobMasterClient) -> Discovery:
    if not launch.discovery:
        return job_master
    from .zookeeper_discovery import ZooKeeperDiscovery

    return ZooKeeperDiscovery(launch)


def _volume(launch: WorkerLaunch) -> PersistentVolume:
    """Return the worker's part of the persistent volume.

    Raises
    ------
    NoPlace
        When this agent does not have it; another one may.
    """
    volume = PersistentVolume(launch)
    try:
        volume.claim()
    except OSError as error:
        raise shipped_modules.NoPlace(
            f"the persistent volume {launch.persistent_volume} cannot be used on {socket.gethostname()}: "
            f"{error.strerror or error}"
        ) from error
    return volume


def _credentials(launch: WorkerLaunch) -> dict[str, str]:
    missing = [name for name, value in launch.credentials.items() if value is None]
    if missing:
        raise _NoCredentials(
            f"the session has not got the job's credentials ({', '.join(missing)}): they are kept in memory only, and "
            "come back with the kernel that submitted the job"
        )
    return {name: value for name, value in launch.credentials.items() if value is not None}


def _set_up(archive: Archive, main: dict[str, Any], env: WorkerEnvironment) -> BaseException | None:
    """Run the notebook's setup, and return what it raised; that it cannot be rebuilt is raised."""
    job = archive.load(main, SETUP_PICKLE, SETUP_BUFFERS)
    env.config = job["config"]
    pid = os.getpid()
    try:
        call(job["worker"], env)
        if os.getpid() != pid:
            finalization.end(0, _say_waiting)  # a copy that the setup's code forked is no worker
    except Superseded:
        raise
    except BaseException as error:
        return None if isinstance(error, SystemExit) and not error.code else error
    return None


def _hint(error: BaseException, facts: Mapping[str, Any]) -> str:
    main = vars(sys.modules["__main__"])
    return (
        failures.missing_module_hint(error)
        or hints.lies_beside(error, facts.get(shipped_modules.BESIDE, ()))
        or notebook_has(error, facts.get(NAMES, ()), main, is_cell=facts.get(IS_CELL, False))
    )


def _from_the_notebook(error: BaseException | None) -> BaseException | None:
    """Return `error` from the notebook's own first frame on; None if it has none (what failed is pickle's)."""
    traceback = error.__traceback__ if error is not None else None
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__") != "__main__":
        traceback = traceback.tb_next
    return error.with_traceback(traceback) if error is not None and traceback is not None else None


def _past_unpickling(error: BaseException) -> BaseException | None:
    """Return `error` from the first frame on that does no more than unpickle; None if all do."""
    traceback = error.__traceback__
    while traceback is not None and _unpickles(str(traceback.tb_frame.f_globals.get("__name__"))):
        traceback = traceback.tb_next
    return error.with_traceback(traceback) if traceback is not None else None


def _unpickles(module: str) -> bool:
    return module.partition(".")[0] in ("t2notebook", "cloudpickle", "pickle", "importlib")


def _failed(
    error: BaseException,
    *,
    cause: BaseException | None = None,
    line: str = "",
    exit_code: int = 1,
    hint: str = "",
) -> tuple[result.Members, Any, str, int]:
    """Print an error and pack it; one of ours is told by its line, followed by the cause's traceback."""
    if line:
        text = f"{type(error).__name__}: {line}\n"
        if cause is not None:
            text = f"{failures.format_traceback(cause)}\n{text}"
        kind, error = type(error), error.with_traceback(None)
        failure = Failure(failures.type_name(kind), line, text, error, failures.one_line(line))
    else:
        failure = failures.describe(error, hint)
        text = failures.format_traceback(error, folded=False)
    failures.say(text)
    return *result.pack_failure(failure), failure.line, (exit_code & 0xFF) or 1


def _say_finished(job_master: JobMasterClient) -> None:
    """Tell the job master, who hears it from Mesos only while there is a session."""
    try:
        job_master.note({"kind": "finished"})
    except Superseded:
        pass  # the job is over


def _say_waiting(what: str) -> None:
    failures.say(f"t2notebook: the worker's function has ended; its process waits for {what}\n")


def _tell(
    report: int,
    outcome: str,
    message: str,
    phases: Mapping[str, float],
    carried: Mapping[str, str] | None = None,
) -> None:
    record: dict[str, Any] = {"outcome": outcome, "message": failures.one_line(message), "phases": phases}
    if carried:
        record["result"] = carried
    os.write(report, dumps(record).encode() + b"\n")
