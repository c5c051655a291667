"""The process of a Dask scheduler: it serves one cluster, for as long as a kernel holds it or it is detached.

A fork of a `t2notebook.dataflow.fork_server`, or started as ``python -m t2notebook.dataflow.scheduler_main FD``, with a
Unix socket as descriptor FD. The first line that comes there is its task, with the keys; a line that goes back says
where it is. Further kernels, and who only wants to connect, come to its socket in the runtime directory. Lines are
JSON; ``op`` says what is wanted:

- ``describe``: name, address, and who holds it; no secret
- ``attach``: what `describe` has, the keys, and the state that the last kernel left; this connection holds the cluster
- ``keep``: a new state; the jobs in it are ended with the cluster
- ``end``: end the scheduler; the answer comes when that is done
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

log = logging.getLogger("distributed.scheduler.t2")

#: Name of such a process, where the system shows names beside command lines.
NAME = "dask-scheduler"
#: Longest line that is read; a state names each worker.
LONGEST = 64 << 20


class SchedulerProcess:
    """A Dask scheduler and those who hold it.

    Parameters
    ----------
    task : dict
        ``name``, ``socket``, ``host``, ``contact_host``, ``keys`` (None: no TLS), ``dashboard_address`` (None: none),
        ``options`` (of `distributed.Scheduler`, packed), ``dask`` (settings), ``grace`` (seconds without a holder,
        after which it ends), ``detach``, ``log``.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._holders: set[asyncio.StreamWriter] = set()
        self._pids: dict[asyncio.StreamWriter, int] = {}
        self._over = asyncio.Event()
        self._is_detached = bool(task["detach"])
        self._timer: asyncio.TimerHandle | None = None
        self._state: dict[str, Any] = task.get("state", {})
        self._scheduler: Any = None
        self._clean = False

    @property
    def address(self) -> str:
        """The address for workers and clients."""
        address = str(self._scheduler.address)
        if contact := self._task.get("contact_host"):
            scheme, _, rest = address.partition("://")
            host = f"[{contact}]" if ":" in contact else contact
            return f"{scheme}://{host}:{rest.rpartition(':')[2]}"
        return address

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve until the end."""
        from distributed import Scheduler

        from .agent.tls import MemorySecurity
        from .options import unpack
        from .outgrown import Outgrown

        keys = self._task["keys"]
        options = unpack(self._task["options"])
        self._scheduler = Scheduler(
            host=self._task["host"],
            protocol="tls" if keys else "tcp",
            security=MemorySecurity.of(keys) if keys else None,
            dashboard=False,
            dashboard_address=self._task["dashboard_address"] or "127.0.0.1:0",
            plugins=[*options.pop("plugins", ()), Outgrown()],
            **options,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        async with self._scheduler:
            path = Path(self._task["socket"])
            server = await asyncio.start_unix_server(self._serve, path, limit=LONGEST)
            os.chmod(path, 0o600)
            try:
                self._hold(writer, self._task.get("pid", 0))
                _write(writer, {"address": self.address, "services": self._services()})
                first = asyncio.ensure_future(self._answer(reader, writer))
                if self._task["dashboard_address"]:
                    loop.call_later(0.0 if "bokeh" in sys.modules else 0.5, self._add_dashboard)
                closed = asyncio.ensure_future(self._scheduler.finished())
                over = asyncio.ensure_future(self._over.wait())
                await asyncio.wait([closed, over], return_when=asyncio.FIRST_COMPLETED)
                first.cancel()
                if not self._clean:
                    await loop.run_in_executor(None, end_jobs, self._state.get("jobs", ()))
            finally:
                path.unlink(missing_ok=True)
                server.close()
                await self._scheduler.close()
                for holder in list(self._holders):
                    _write(holder, {"ended": True})
                    with contextlib.suppress(OSError):
                        await holder.drain()
                    holder.close()

    def _services(self) -> dict[str, Any]:
        return {name: server.port for name, server in self._scheduler.services.items()}

    def _add_dashboard(self) -> None:
        """Add the dashboard's pages, which take longer to import than all the rest."""

        def ready() -> None:
            try:
                from distributed.dashboard.scheduler import connect
            except ImportError:
                return  # without bokeh there is none
            scheduler = self._scheduler
            connect(scheduler.http_application, scheduler.http_server, scheduler, prefix="/")

        loop = asyncio.get_running_loop()

        def fetch() -> None:
            with contextlib.suppress(ImportError):
                import distributed.dashboard.scheduler  # noqa: F401
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ready)

        threading.Thread(target=fetch, name="t2-dask-dashboard", daemon=True).start()

    # Who holds it.

    def _hold(self, writer: asyncio.StreamWriter, pid: int) -> None:
        self._holders.add(writer)
        self._pids[writer] = pid
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self, writer: asyncio.StreamWriter) -> None:
        self._holders.discard(writer)
        self._pids.pop(writer, None)
        if not self._holders and not self._is_detached and not self._over.is_set():
            log.warning("the kernel is gone; ending in %g s", self._task["grace"])
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._task["grace"], self._over.set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await self._do(json.loads(line), writer)
        except (OSError, ValueError) as error:
            log.debug("a connection ended: %s", error)
        finally:
            if writer in self._holders:
                self._release(writer)
            writer.close()

    async def _do(self, record: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        op = record.get("op")
        if op in ("describe", "attach", "keys"):
            answer = {
                "name": self._task["name"],
                "address": self.address,
                "pid": os.getpid(),
                "holder": next(iter(self._pids.values()), 0),
                "detached": self._is_detached,
                "services": self._services(),
            }
            if op == "attach" and not self._holders:
                self._hold(writer, int(record.get("pid", 0)))
                answer |= {
                    "keys": self._task["keys"],
                    "state": self._state,
                    "log": self._task["log"],
                    "held": True,
                }
            elif op == "keys" and self._task["keys"]:
                answer["keys"] = {
                    name: text
                    for name, text in self._task["keys"].items()
                    if name == "ca" or name.startswith("client_")
                }
            _write(writer, answer)
        elif op == "keep":
            self._state = record["state"]
        elif op == "end":
            # Who asks for it in so many words has seen to the jobs.
            self._clean = True
            self._over.set()


def end_jobs(job_ids: list[str]) -> None:
    """End what a kernel that died has left waiting or running for this cluster."""
    from .. import client

    for job_id in job_ids:
        with contextlib.suppress(Exception):
            job = client.attach(job_id)
            if not job.state.is_final:
                job.kill(message="its Dask cluster has ended with its kernel")


def _write(writer: asyncio.StreamWriter, record: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(json.dumps(record).encode() + b"\n")


async def serve(control: socket.socket) -> None:
    """Read the task from a socket, and do it.

    Raises
    ------
    SystemExit
        When the scheduler cannot start.
    """
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=LONGEST)
    task = json.loads(await reader.readline())
    sys.path[:] = list(dict.fromkeys([*task["path"], *sys.path]))
    import dask

    dask.config.update(dask.config.config, task["dask"], priority="new")
    try:
        await SchedulerProcess(task).run(reader, writer)
    except Exception as error:
        log.exception("the Dask scheduler has failed")
        _write(writer, {"error": f"{type(error).__name__}: {error}"})
        with contextlib.suppress(OSError):
            await writer.drain()
        raise SystemExit(1) from None


def main(descriptor: int) -> None:
    """Be such a process."""
    from ..model.process import default_signals

    default_signals()
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(NAME)
    asyncio.run(serve(socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
