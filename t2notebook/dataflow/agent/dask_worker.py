"""A worker of a job as a worker of Dask: it joins the Dask scheduler, and ends in a way that says what is to follow."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...protocol.launch import START_ANEW

log = logging.getLogger("distributed.worker.t2")

#: Seconds that a worker has to hand its data over when its agent ends it (Mesos's grace period is 3).
GRACE = 2.0
#: Seconds that tasks which run have to end when their worker closes (nobody waits for what they return, but they may
#: be writing a file), and when its agent ends it.
TASKS, TASKS_AT_TERM = 2.0, 1.0
#: Seconds for which a worker that has lost its scheduler looks whether there is one.
LOOK = 5.0
#: Seconds for which a worker waits for its scheduler to begin: for longer, the notebook would not wait, either.
START = 60.0
#: Versions that have to be the same on both sides, up to the patch level: what is pickled by one is read by the other.
SAME = ("dask", "distributed")


class VersionMismatch(RuntimeError):
    """The agent's libraries are not those of the notebook."""


def run(env: Any) -> str:
    """Be a Dask worker until told to end; the `worker` function of a `MesosCluster`'s jobs.

    Parameters
    ----------
    env : WorkerEnvironment
        ``config`` has: ``scheduler`` (its address), ``names`` (of the workers, by worker id), ``threads``, ``memory``
        (bytes), ``versions``, ``options`` (further arguments of `distributed.Worker`) and ``dask`` (settings).

    Returns
    -------
    str
        Why it ended.
    """
    config = env.config
    _check(config["versions"])
    if os.getcwd() not in sys.path:  # the modules that lie beside the notebook are there
        sys.path.insert(1, os.getcwd())
    _limit_threads(config["dask"])
    outcome = asyncio.run(_serve(env))
    if outcome is None:
        sys.exit(START_ANEW)
    return outcome


def _check(wanted: Mapping[str, str]) -> None:
    """Refuse libraries that do not go together with the notebook's.

    Raises
    ------
    VersionMismatch
    """
    import importlib

    for name in SAME:
        try:
            # What is loaded counts: an executor may have imported it from elsewhere than this worker would.
            here = importlib.import_module(name).__version__
        except ModuleNotFoundError:
            raise VersionMismatch(
                f"this agent's Python ({sys.executable}) has no {name}: install t2notebook[dataflow] there, with "
                f"{name}=={wanted[name]}"
            ) from None
        if here != wanted[name]:
            raise VersionMismatch(
                f"this agent's Python ({sys.executable}) has {name} {here}, the notebook's has {wanted[name]}: install "
                "the same on both"
            )


def _limit_threads(settings: Mapping[str, Any]) -> None:
    """Let numeric libraries use as many threads as Dask wants of a worker: one, if nothing else is said.

    Where the executor has loaded them already, a variable has no effect any more.
    """
    import dask

    dask.config.refresh()
    dask.config.update(dask.config.config, settings, priority="new")
    wanted = dask.config.get("distributed.nanny.pre-spawn-environ", {}) or {}
    os.environ.update({name: str(value) for name, value in wanted.items()})
    try:
        import threadpoolctl
    except ImportError:
        return
    threadpoolctl.threadpool_limits(int(wanted.get("OMP_NUM_THREADS", 1)))


async def _serve(env: Any) -> str | None:
    """Return why the worker is done, None if it is to be started anew."""
    from distributed import Worker

    from .memory import MemoryWatch
    from .tls import MemorySecurity

    class MesosWorker(Worker):
        """A worker that remembers how it was closed: told to leave, to begin anew, or left alone."""

        closed_as: tuple[str, str, bool] | None = None
        patience = TASKS
        unreadable: Exception | None = None

        async def close(
            self, timeout: float = 30, executor_wait: bool = True, nanny: bool = True, **more: Any
        ) -> Any:
            if self.closed_as is None:
                self.closed_as = (self.status.name, str(more.get("reason", "")), nanny)
            return await super().close(min(timeout, self.patience), executor_wait, nanny, **more)

        async def handle_scheduler(self, comm: Any) -> None:
            try:
                await super().handle_scheduler(comm)
            except Exception as error:  # what the scheduler has sent cannot be unpickled here
                self.unreadable = error

    config = env.config
    keys = json.loads(env.credentials["tls"]) if "tls" in env.credentials else None
    host = _host_towards(config["scheduler"])
    worker = MesosWorker(
        config["scheduler"],
        name=config["names"][env.worker_id],
        nthreads=config["threads"],
        memory_limit=config["memory"],
        security=MemorySecurity.of(keys) if keys else None,
        host=host,
        protocol="tls" if keys else "tcp",
        local_directory=os.environ.get("TMPDIR") or os.getcwd(),
        dashboard=False,
        **{"death_timeout": START, **config["options"]},
    )
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    running: set[asyncio.Task[None]] = set()

    def begin(what: Any) -> None:
        running.add(loop.create_task(what))

    def on_term() -> None:
        worker.patience = TASKS_AT_TERM
        begin(_leave_at_once(worker, ended))

    def on_over(used: int) -> None:
        loop.call_soon_threadsafe(lambda: begin(_outgrown(worker, used)))

    loop.add_signal_handler(signal.SIGTERM, on_term)
    try:
        await worker
    except (OSError, TimeoutError) as error:
        return _without(config["scheduler"], f"{type(error).__name__}: {error}")
    watch = MemoryWatch(config["memory"], on_over)
    watch.start()
    finished = asyncio.ensure_future(worker.finished())
    over = asyncio.ensure_future(ended.wait())
    await asyncio.wait([finished, over], return_when=asyncio.FIRST_COMPLETED)
    watch.stop()
    if worker.unreadable is not None:
        await _give_up(worker.name, worker.unreadable, config["scheduler"], worker.security)
    status, reason, nanny = worker.closed_as or ("", "", True)
    if over.done() and not finished.done():
        return "ended by Mesos"
    return _what_follows(config["scheduler"], status, reason, nanny)


def _what_follows(scheduler: str, status: str, reason: str, nanny: bool) -> str | None:
    """Return why a worker that has closed is done, None if it is to be started anew.

    Parameters
    ----------
    scheduler : str
    status, reason : str
        What it was, and what it was told, when it closed.
    nanny : bool
        Whether a Nanny was to end as well; if not, it would start the worker again.
    """
    if status == "closing_gracefully" and nanny:
        return "retired"
    if reason == "scheduler-close":
        return "the Dask scheduler has ended"
    if not nanny or _answers(scheduler):
        # client.restart(), a heartbeat that came too late, a connection that broke: the scheduler still wants it.
        return None
    return _without(scheduler, "the connection broke")


def _without(scheduler: str, why: str) -> str:
    text = f"there is no Dask scheduler at {scheduler} any more ({why})"
    log.warning(text)
    return text


def _answers(scheduler: str) -> bool:
    """Whether somebody listens there."""
    parts = urlsplit(scheduler)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=LOOK):
            return True
    except OSError:
        return False


async def _leave_at_once(worker: Any, ended: asyncio.Event) -> None:
    """Hand over what only this worker has, as far as there is time."""
    try:
        async with asyncio.timeout(GRACE):
            await worker.close_gracefully(reason="its task is being killed")
    except Exception as error:  # whatever it is, the process ends now
        log.warning("could not leave in time: %s", error or type(error).__name__)
    ended.set()


async def _give_up(name: str, error: Exception, scheduler: str, security: Any) -> None:
    """End with what a task could not be unpickled for, once the scheduler knows that it is the task's fault.

    Raises
    ------
    RuntimeError
    """
    from distributed.core import rpc

    why = f"{type(error).__name__}: {error}"
    try:
        async with asyncio.timeout(GRACE):
            async with rpc(scheduler, connection_args=security.get_connection_args("worker")) as comm:
                await comm.t2_unreadable(name=name, why=why)
    except Exception as trouble:
        log.warning("the scheduler could not be told: %s", trouble or type(trouble).__name__)
    hint = ""
    if isinstance(error, ModuleNotFoundError):
        hint = "; a module that came after the workers had started gets to them with client.upload_file()"
    raise RuntimeError(f"a task cannot be unpickled on a worker: {why}{hint}") from error


async def _outgrown(worker: Any, used: int) -> None:
    """Tell the scheduler which tasks ran when this worker took too much, then end: they are not to do it again."""
    keys = list(worker.active_keys)
    log.warning(
        "uses %d MiB of its %d MiB while %s", used >> 20, worker.memory_manager.memory_limit >> 20, keys
    )
    try:
        async with asyncio.timeout(GRACE):
            await worker.scheduler.t2_outgrown(
                worker=worker.address, keys=keys, used=used, limit=worker.memory_manager.memory_limit
            )
    except Exception as error:
        log.warning("the scheduler could not be told: %s", error or type(error).__name__)
    os._exit(START_ANEW)  # while there is memory left to end with


def _host_towards(address: str) -> str:
    """Return this machine's address on the way to another."""
    parts = urlsplit(address)
    family = socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((parts.hostname or "", parts.port or 1))  # sends nothing
        return str(probe.getsockname()[0])
