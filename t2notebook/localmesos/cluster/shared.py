"""One cluster a user: found by a state file, started when there is none, gone when nobody used it for a while."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from ..common import processes
from ..common.ids import COMING_HEADER
from ..common.task_ports import first_port
from .local_mesos import cluster_arguments
from .spawn import START_SECONDS, STOP_SECONDS, Spawned, StartError

STATE, LOCK = "localmesos.json", "localmesos.lock"
IDLE_SECONDS = 600.0


@dataclass(frozen=True)
class SharedInfo:
    """A user's cluster.

    Attributes
    ----------
    master
        "host:port".
    pid
        Of the supervisor.
    started
        Whether this very call started it.
    """

    master: str
    pid: int
    started: bool


class SharedHandle:
    """A cluster that is found or being started; `wait` gives it.

    The lock is held until the start is settled, so that of two callers only one starts a cluster.

    Parameters
    ----------
    lock
        The descriptor of the held lock.
    info, spawned
        The cluster that was found, or the one that starts.
    """

    def __init__(self, directory: str, lock: int, info: SharedInfo | None, spawned: Spawned | None) -> None:
        self._directory = directory
        self._lock: int | None = lock
        self._info = info
        self._spawned = spawned
        if info is not None:
            self._unlock()

    def wait(self, timeout: float = START_SECONDS) -> SharedInfo:
        """Wait until the cluster listens.

        Raises
        ------
        StartError
            It did not start in time.
        """
        if self._info is not None:
            return self._info
        assert self._spawned is not None
        try:
            line = self._spawned.wait(timeout)
            pid = int(line["pid"])
            state = {
                "master": line["master"],
                "pid": pid,
                "start": processes.start_time(pid),
                "work_dir": line["work_dir"],
            }
            _write(os.path.join(self._directory, STATE), state)
            self._info = SharedInfo(line["master"], pid, started=True)
            return self._info
        finally:
            self._unlock()

    def abandon(self) -> None:
        """End a cluster that this very call began to start and nobody has found yet: `wait` is not called any more."""
        if self._lock is None:
            return
        try:
            if self._spawned is not None:
                self._spawned.abandon()
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def spawn_shared(
    runtime_dir: str | os.PathLike[str],
    *,
    agents: int = 2,
    cpus: float = 4,
    mem: float = 4096,
    idle: float = IDLE_SECONDS,
    timeout: float = START_SECONDS,
) -> SharedHandle:
    """Find the user's cluster, or begin to start one, and return at once (unless another is just starting it).

    Parameters
    ----------
    agents, cpus, mem
        How many agents, and each one's cpus and MiB.
    idle
        Seconds without any framework after which it ends.
    timeout
        Seconds.

    Raises
    ------
    StartError
        Another caller holds the lock for longer than `timeout`, or no process can be started.
    """
    directory = _prepare(runtime_dir)
    lock = _acquire(directory, timeout)
    try:
        info = _find(directory, is_coming=True)
        if info is not None:
            return SharedHandle(directory, lock, info, None)
        arguments = cluster_arguments(agents=agents, cpus=cpus, mem=mem)
        arguments += ["--first-port", str(first_port(os.getpid()))]
        spawned = Spawned([*arguments, "--exit-when-idle", str(idle), "--restart", "0", "--detach"])
        return SharedHandle(directory, lock, None, spawned)
    except BaseException:
        os.close(lock)
        raise


class SharedOptions(TypedDict, total=False):
    """Settings of `spawn_shared`, which says what each is by default."""

    agents: int
    cpus: float
    mem: float
    idle: float
    timeout: float


def shared(runtime_dir: str | os.PathLike[str], **options: Unpack[SharedOptions]) -> SharedInfo:
    """Find or start the user's cluster.

    Raises
    ------
    StartError
        It did not start in time.
    """
    return spawn_shared(runtime_dir, **options).wait(options.get("timeout", START_SECONDS))


def running(runtime_dir: str | os.PathLike[str]) -> SharedInfo | None:
    """Give the user's cluster if there is a living one."""
    return _find(os.fspath(runtime_dir))


def stop(runtime_dir: str | os.PathLike[str]) -> bool:
    """End the user's cluster, and wait for its end; False when there is none."""
    directory = os.fspath(runtime_dir)
    state = _read(directory)
    if state is None or not _lives(state):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _lives(state) and time.monotonic() < deadline:
        time.sleep(0.01)
    if _lives(state):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGKILL)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, STATE))
    return True


def _prepare(runtime_dir: str | os.PathLike[str]) -> str:
    directory = os.path.abspath(runtime_dir)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return directory


def _acquire(directory: str, timeout: float) -> int:
    lock = os.open(os.path.join(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise StartError(
                    f"Another process starts an embedded Mesos in {directory} for a long time"
                ) from None
            time.sleep(0.01)


def _find(directory: str, *, is_coming: bool = False) -> SharedInfo | None:
    state = _read(directory)
    if state is None or not _lives(state) or not _answers(state["master"], is_coming=is_coming):
        return None
    return SharedInfo(state["master"], state["pid"], started=False)


def _read(directory: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(directory, STATE), encoding="utf-8") as file:
            state = json.load(file)
        if isinstance(state, dict) and isinstance(state["pid"], int) and isinstance(state["master"], str):
            return state
    except (OSError, ValueError, KeyError):
        pass
    return None


def _write(path: str, state: dict[str, Any]) -> None:
    fresh = f"{path}.{os.getpid()}"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(fresh, path)


def _lives(state: dict[str, Any]) -> bool:
    return state.get("start") is not None and processes.alive(state["pid"], state["start"])


def _answers(master: str, timeout: float = 5.0, *, is_coming: bool = False) -> bool:
    """Ask the master's health; a pid alone may be another program's by now.

    With `is_coming` it waits for a framework then, however long it has been idle.
    """
    host, _, port = master.rpartition(":")
    more = f"{COMING_HEADER}: 1\r\n" if is_coming else ""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout) as client:
            head = f"GET /health HTTP/1.1\r\nHost: {master}\r\n{more}Connection: close\r\n\r\n"
            client.sendall(head.encode())
            return client.recv(64).startswith(b"HTTP/1.1 200")
    except (OSError, ValueError):
        return False
