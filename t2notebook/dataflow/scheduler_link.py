"""The kernel's side of a Dask scheduler's process: starting it, finding it, and the connection that holds it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import data_dir, runtime_dir
from . import scheduler_process
from .requirements import DataflowError
from .scheduler_main import LONGEST

#: Seconds that a scheduler has to start, and to end.
START, END = 60.0, 15.0
#: Seconds that a scheduler's socket has for an answer.
ANSWER = 5.0
#: Seconds for which the log of a scheduler is kept that nobody has ended.
KEEP_LOGS = 7 * 86400.0
_PATTERN = "dask-*.sock"


class SchedulerLink:
    """A connection that holds a Dask scheduler's process.

    Parameters
    ----------
    reader, writer
    told : dict
        What the process has said of itself: ``address``, ``services``.
    log : Path
        Its stderr.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: dict[str, Any], log: Path
    ) -> None:
        self.told, self.log = told, log
        self._reader, self._writer = reader, writer
        self._is_ending = self._has_failed = False
        self._gone = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._task: Mapping[str, Any] | None = None
        self._theirs: socket.socket | None = None
        self.pid = int(told.get("pid", 0))
        _held.add(self)
        self.process: scheduler_process.SchedulerProcess | None = None

    @classmethod
    async def prepare(cls, task: Mapping[str, Any]) -> SchedulerLink:
        """Return a link to a scheduler that is yet to start; what it is given before waits for it."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LONGEST)
        link = cls(reader, writer, {"socket": task["socket"]}, Path(task["log"]))
        link._task, link._theirs = task, theirs
        writer.write(json.dumps(task).encode() + b"\n")
        return link

    async def start(self, linger: float) -> None:
        """Make the process; from then on it ends what it has been told of, if this kernel dies.

        Parameters
        ----------
        linger : float
            Seconds for which the process that schedulers are forked from is kept without work.

        Raises
        ------
        OSError
            When there can be no such process.
        """
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_old_logs()
        loop = asyncio.get_running_loop()
        assert self._theirs is not None and self._task is not None
        with self._theirs as theirs:
            starting = loop.run_in_executor(
                None, scheduler_process.start, theirs.fileno(), self._task, linger
            )
            try:
                self.process = await asyncio.shield(starting)
            except asyncio.CancelledError:
                with contextlib.suppress(OSError):
                    self.process = await starting  # it is made, to be ended
                raise
        self.pid = self.process.pid

    async def listening(self) -> None:
        """Wait until the scheduler listens; it says where.

        Raises
        ------
        DataflowError
            When it does not.
        """
        assert self.process is not None
        try:
            async with asyncio.timeout(START):
                line = await self._reader.readline()
        except TimeoutError:
            line = b""
        told = (
            json.loads(line) if line else {"error": f"it has ended at once, or said nothing for {START:g} s"}
        )
        if "error" in told:
            self._writer.close()
            self.process.terminate()
            self._has_failed = True
            raise DataflowError(f"the Dask scheduler did not start: {told['error']}{tail(self.log)}")
        self.told |= told

    @classmethod
    async def attach(cls, path: Path) -> SchedulerLink:
        """Hold a scheduler that another kernel has left.

        Raises
        ------
        DataflowError
            When another kernel holds it.
        OSError
        """
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST)
        writer.write(json.dumps({"op": "attach", "pid": os.getpid()}).encode() + b"\n")
        async with asyncio.timeout(ANSWER):
            told = json.loads(await reader.readline())
        if not told.get("held"):
            writer.close()
            raise DataflowError(
                f"the cluster {told['name']} is in the hands of process {told['holder']}; use it from here with "
                f"distributed.Client({told['address']!r})"
            )
        return cls(reader, writer, {**told, "socket": str(path)}, Path(told["log"]))

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Have `on_gone` called when the process ends unasked."""

        async def follow() -> None:
            with contextlib.suppress(OSError, ValueError):
                while await self._reader.readline():
                    pass
            self._gone.set()
            if not self._is_ending:
                on_gone()

        self._watching = asyncio.ensure_future(follow())

    def keep(self, state: dict[str, Any]) -> None:
        """Give it what another kernel would need to take the cluster over."""
        self._send({"op": "keep", "state": state})

    async def end(self) -> None:
        """End the process, and wait for that."""
        self._is_ending = True
        if self._watching is None:  # it never came to serve
            self._writer.close()
            if self.process is not None:
                self.process.kill()
                await asyncio.get_running_loop().run_in_executor(None, self.process.wait)
            (runtime_dir() / f"{self.log.stem}.sock").unlink(missing_ok=True)
            if not self._has_failed:  # else its log says why
                self.log.unlink(missing_ok=True)
            return
        self._send({"op": "end"})
        try:
            async with asyncio.timeout(END):
                await self._gone.wait()
        except TimeoutError:
            if self.process is not None:
                self.process.kill()
        self.detach()
        if self.process is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.process.wait)
        self.log.unlink(missing_ok=True)

    def end_now(self) -> None:
        """End the process, and wait for that, without an event loop."""
        self._is_ending = True
        if path := self.told.get("socket"):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(END)
                sock.connect(path)
                sock.sendall(json.dumps({"op": "end"}).encode() + b"\n")
                while sock.recv(65536):
                    pass
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END)
        self.log.unlink(missing_ok=True)

    def detach(self) -> None:
        """Hold it no more."""
        self._is_ending = True
        self._writer.close()

    def leave_to_parent(self) -> None:
        """Let go of it in a process that was forked from the kernel: else it would be held when the kernel is gone."""
        null = os.open(os.devnull, os.O_RDWR)
        for one in (self._writer.get_extra_info("socket"), self._theirs):
            if one is not None and one.fileno() >= 0:
                os.dup2(null, one.fileno(), inheritable=False)  # whose number its owner here may yet close
        os.close(null)

    def how_it_ended(self) -> str:
        """Return in words how the process has ended, as far as is known."""
        code = None
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(timeout=1.0)
        if code is None:
            return "has ended"
        how = f"was killed by signal {-code}" if code < 0 else f"has ended with exit code {code}"
        return how

    def _send(self, record: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(json.dumps(record).encode() + b"\n")


_held: weakref.WeakSet[SchedulerLink] = weakref.WeakSet()


def _begin_anew() -> None:
    for link in list(_held):
        link.leave_to_parent()
    _held.clear()


os.register_at_fork(after_in_child=_begin_anew)


def tail(log: Path) -> str:
    """Return the end of a scheduler's log, for people; empty if there is none."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()[-15:]
        if lines:
            return "\n".join([f"; the end of {log}:", *lines])
    return ""


def socket_path(name: str) -> Path:
    """Return where the scheduler of a new cluster listens for kernels."""
    digest = hashlib.sha256(f"{name} {os.getpid()} {os.urandom(8).hex()}".encode()).hexdigest()[:12]
    return runtime_dir() / f"dask-{digest}.sock"


def log_path(path: Path) -> Path:
    """Return where that scheduler's stderr goes."""
    return data_dir() / "dask" / f"{path.stem}.log"


def remove_old_logs() -> None:
    """Remove logs that schedulers of kernels which were killed have left, when nobody looks for them any more."""
    for log in log_path(Path()).parent.glob("dask-*.log"):
        with contextlib.suppress(OSError):
            is_old = time.time() - log.stat().st_mtime > KEEP_LOGS
            if is_old and not (runtime_dir() / f"{log.stem}.sock").exists():
                log.unlink()


def living() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the sockets of this user's Dask schedulers, with what each says of itself; those of dead ones go."""
    for path in sorted(runtime_dir().glob(_PATTERN)):
        try:
            yield path, ask(path, "describe")
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except (OSError, ValueError):
            continue


def find(name: str) -> Path:
    """Return the socket of a cluster's scheduler; of several of this name, that of one that no kernel holds.

    Raises
    ------
    DataflowError
        When there is none.
    """
    all_of_them = list(living())
    found = sorted((told["holder"] != 0, path) for path, told in all_of_them if told["name"] == name)
    if not found:
        names = ", ".join(sorted({told["name"] for _, told in all_of_them}))
        others = f"; there are {names}" if names else ", nor any other"
        raise DataflowError(f"there is no Dask cluster called {name!r}{others}")
    return found[0][1]


def ask(path: Path, op: str) -> dict[str, Any]:
    """Ask a scheduler's process one thing.

    Raises
    ------
    OSError, ValueError
        When it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER)
        sock.connect(str(path))
        sock.sendall(json.dumps({"op": op}).encode() + b"\n")
        with sock.makefile("rb") as file:
            record: dict[str, Any] = json.loads(file.readline())
            return record
