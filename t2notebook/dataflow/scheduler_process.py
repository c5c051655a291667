"""Starting the process of a Dask scheduler: a fork of one that has imported Dask already, or a program of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..model.process import start_time
from .fork_server import LONGEST

log = logging.getLogger("t2notebook.dataflow")

#: Seconds that a fork server has to import what it needs, and to fork.
START = 60.0
#: Seconds between two looks at a process that nobody tells of.
LOOK = 0.05


class SchedulerProcess(Protocol):
    """A process, as far as `subprocess.Popen` and a forked one are alike."""

    @property
    def pid(self) -> int:
        """Its number."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Return its exit code when it has ended, None if nobody knows; raise `subprocess.TimeoutExpired`."""

    def kill(self) -> None:
        """End it by SIGKILL."""

    def terminate(self) -> None:
        """End it by SIGTERM."""


def start(descriptor: int, task: Mapping[str, Any], linger: float) -> SchedulerProcess:
    """Start a scheduler's process; blocks until it has been made.

    Parameters
    ----------
    descriptor : int
        Of a socket by which it gets its task.
    task : mapping
        ``log`` (path of its stderr), ``dask`` (settings), ``dashboard_address``.
    linger : float
        Seconds for which a fork server without work is kept.

    Raises
    ------
    OSError
        When there can be no such process.
    """
    if linger > 0 and sys.platform == "linux":
        try:
            return _forked(descriptor, task, linger)
        except _Unusable as error:
            log.debug("no Dask scheduler can be forked: %s", error)
    return _program("scheduler_main", descriptor, Path(task["log"]))


def close_fork_server() -> None:
    """End the fork server, if there is one; schedulers of its making go on."""
    with _lock:
        if _servers:
            _servers.pop().close()


class _Unusable(Exception):
    """A fork server cannot do what it is asked for."""


class _Forked:
    """A process that is a child of a fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = start_time(pid)
        self._code: int | None = None
        self._told = threading.Event()

    def tell(self, code: int | None) -> None:
        """Take the word of the fork server, None when that has ended."""
        self._code = code
        self._told.set()

    def wait(self, timeout: float | None = None) -> int | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._told.wait(timeout):
            raise subprocess.TimeoutExpired(f"Dask scheduler {self.pid}", timeout or 0.0)
        while self._code is None and self._is_there():
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"Dask scheduler {self.pid}", timeout or 0.0)
            time.sleep(LOOK)
        return self._code

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _is_there(self) -> bool:
        return bool(self._began) and start_time(self.pid) == self._began

    def _send(self, number: int) -> None:
        if self._is_there():  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class _ForkServer:
    """The kernel's end of a fork server.

    Parameters
    ----------
    task : mapping
        Of the first scheduler: its log takes what the fork server says, its settings are those of all.
    linger : float

    Raises
    ------
    _Unusable
    OSError
    """

    def __init__(self, task: Mapping[str, Any], linger: float) -> None:
        self._made_for = _identity(task)
        self._numbers = itertools.count()
        self._answers: dict[int, tuple[threading.Event, dict[str, Any]]] = {}
        self._children: dict[int, _Forked] = {}
        self.is_gone = False
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _program("fork_server", theirs.fileno(), Path(task["log"]))
        self.socket.settimeout(START)
        try:
            self.socket.send(json.dumps({"dask": task["dask"], "linger": linger}).encode())
            said = self.socket.recv(LONGEST)
            why = "" if said and not json.loads(said)["threads"] else "it has threads or has ended at once"
        except OSError as error:
            why = str(error)
        if why:
            self.socket.close()
            self._process.kill()
            self._process.wait()
            raise _Unusable(why)
        self.socket.settimeout(None)
        threading.Thread(target=self._listen, name="t2-dask-fork-server", daemon=True).start()

    def suits(self, task: Mapping[str, Any]) -> bool:
        """Whether a scheduler that it forks is as one that starts now: of the same settings and environment."""
        return not self.is_gone and self._made_for == _identity(task)

    def fork(self, descriptor: int, task: Mapping[str, Any]) -> _Forked:
        """Have a process made.

        Raises
        ------
        _Unusable
            When that cannot be.
        """
        number, event, answer = next(self._numbers), threading.Event(), dict[str, Any]()
        self._answers[number] = event, answer
        record = {
            "number": number,
            "log": str(task["log"]),
            "dashboard": bool(task["dashboard_address"]),
        }
        try:
            socket.send_fds(self.socket, [json.dumps(record).encode()], [descriptor])
        except OSError as error:
            raise _Unusable(str(error)) from None
        if self.is_gone or not event.wait(START) or "pid" not in answer:
            raise _Unusable(answer.get("error") or "it does not answer")
        process: _Forked = answer["process"]
        return process

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        while True:
            try:
                data = self.socket.recv(LONGEST)
            except OSError:
                data = b""
            if not data:
                break
            self._take(json.loads(data))
        self.is_gone = True
        for event, _ in list(self._answers.values()):
            event.set()
        for process in list(self._children.values()):
            process.tell(None)
        self.socket.close()
        self._process.wait()  # so that it leaves no zombie while this kernel lives

    def _take(self, record: dict[str, Any]) -> None:
        if "number" in record:
            event, answer = self._answers.pop(record["number"])
            answer.update(record)
            if "pid" in record:
                answer["process"] = self._children[record["pid"]] = _Forked(record["pid"])
            event.set()
        elif (process := self._children.pop(record["pid"], None)) is not None:
            process.tell(record["code"])


def _identity(task: Mapping[str, Any]) -> tuple[dict[str, str], Any]:
    return dict(os.environ), json.loads(json.dumps(task["dask"]))


#: The kernel's fork server, if it has one.
_servers: list[_ForkServer] = []
#: The settings and the environment with which there could be none the last time.
_useless: list[Any] = []
_lock = threading.Lock()


def _forked(descriptor: int, task: Mapping[str, Any], linger: float) -> _Forked:
    with _lock:
        for attempt in (1, 2):
            if _servers and not _servers[0].suits(task):
                _servers.pop().close()
            is_new = not _servers
            if is_new:
                if _useless and _useless[0] == _identity(task):
                    raise _Unusable("it was none before")  # with these settings, it would be none again
                try:
                    _servers.append(_ForkServer(task, linger))
                except _Unusable:
                    _useless[:] = [_identity(task)]
                    raise
            try:
                return _servers[0].fork(descriptor, task)
            except _Unusable:
                _servers.pop().close()
                if is_new or attempt == 2:  # else it may just have ended, for want of work
                    raise
    raise AssertionError("it returns or raises")


def _begin_anew() -> None:
    """Have a process that was forked from the kernel leave the fork server to the kernel."""
    global _lock
    _lock = threading.Lock()
    for server in _servers:
        server.socket.close()
    _servers.clear()


os.register_at_fork(after_in_child=_begin_anew)


def _program(module: str, descriptor: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a program of ours, of which `main` gets the descriptor."""
    with open(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                _PROGRAM,
                module,
                json.dumps(module_path()),
                str(descriptor),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=[descriptor],
            start_new_session=True,  # a kernel's interrupt is not for it
            cwd="/",
        )
    if module == "scheduler_main":
        # So that it leaves no zombie while this kernel lives.
        threading.Thread(target=process.wait, name="t2-dask-reaper", daemon=True).start()
    return process


#: The kernel may have found this package by a path of its own.
_PROGRAM = (
    "import importlib, json, sys; name, path, fd = sys.argv[1:]; sys.path[:] = json.loads(path); "
    "importlib.import_module(f't2notebook.dataflow.{name}').main(int(fd))"
)


def module_path() -> list[str]:
    """Return where this kernel finds modules, its own directory first: the scheduler unpickles what a client sends."""
    return list(dict.fromkeys(os.path.abspath(path) for path in sys.path))
