"""Job packages, fetched by helper processes into memory: never in the sandbox, never through the loop."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ...protocol.archive import Archive, ArchiveError
from ...protocol.launch import WorkerLaunch
from ..process.session_api import CONNECTION_ERRORS, SessionClient
from ..session_address import SessionAddress
from . import fork
from .event_loop import Loop, Timer

#: Unused packages are kept so long (seconds) and up to so many bytes: they count as the executor's memory.
KEEP_SECONDS = 60.0
KEEP_BYTES = 16 * 1024 * 1024
_PAUSES = (0.1, 0.3, 1.0, 2.0, 3.0)
_TIMEOUT = 15.0
_PIECE = 1 << 20

#: Called with the package's descriptor, or with why there is none.
Done = Callable[[int, str], None]


@dataclass
class _Package:
    descriptor: int
    size: int
    users: set[str] = field(default_factory=set)
    idle_since: float = 0.0


@dataclass
class _Fetch:
    pid: int
    pipe: int
    descriptor: int
    waiting: dict[str, Done]
    answer: bytearray = field(default_factory=bytearray)


class PackageStore:
    """The job packages of an executor, by digest.

    Parameters
    ----------
    loop : Loop
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._packages: OrderedDict[str, _Package] = OrderedDict()  # least recently used first
        self._fetches: dict[tuple[str, str], _Fetch] = {}
        self._helpers: set[int] = set()
        self._timer: Timer | None = None

    def want(
        self, task_id: str, launch: WorkerLaunch, done: Done, session_address: SessionAddress | None = None
    ) -> None:
        """Call ``done(descriptor, "")`` when the package of `launch` is here, or ``done(-1, why)``.

        That may be at once. The package is kept until `release` of the task.

        Parameters
        ----------
        task_id : str
        launch : WorkerLaunch
        done : callable
        session_address : SessionAddress, optional
            Where the session is, if it moves.
        """
        if (package := self._packages.get(launch.package)) is not None:
            package.users.add(task_id)
            self._packages.move_to_end(launch.package)
            done(package.descriptor, "")
            return
        key = (launch.job_id, launch.package)
        if (fetch := self._fetches.get(key)) is not None:
            fetch.waiting[task_id] = done
            return
        if launch.package_data:
            self._unpack(task_id, launch, done)
            return
        try:
            self._fetches[key] = self._start(key, launch, {task_id: done}, session_address)
        except OSError as error:
            done(-1, f"cannot fetch the job package: {error}")

    def _unpack(self, task_id: str, launch: WorkerLaunch, done: Done) -> None:
        """Take the package that came with the launch."""
        descriptor = -1
        try:
            descriptor = _memory_file()
            data = launch.package_bytes()
            _write(descriptor, memoryview(data))
            if trouble := _verify(launch, descriptor, len(data)):
                raise ValueError(trouble)
            _seal(descriptor)
        except (OSError, ValueError) as error:
            if descriptor >= 0:
                os.close(descriptor)
            done(-1, f"cannot use the job package that came with the launch: {error}")
            return
        self._packages[launch.package] = _Package(descriptor, launch.package_size, {task_id})
        done(descriptor, "")

    def release(self, task_id: str) -> None:
        """Say that a task needs its package no more, whether it came or is still awaited."""
        for key, fetch in list(self._fetches.items()):
            if fetch.waiting.pop(task_id, None) is not None and not fetch.waiting:
                if fetch.pid in self._helpers:  # else its number may be somebody else's by now
                    os.kill(fetch.pid, signal.SIGKILL)
                self._close(key)
        for package in self._packages.values():
            if task_id in package.users:
                package.users.discard(task_id)
                package.idle_since = time.monotonic()
        self._trim()

    def reap(self) -> None:
        """Collect the helpers that have ended."""
        for pid in list(self._helpers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._helpers.discard(pid)

    def _start(
        self,
        key: tuple[str, str],
        launch: WorkerLaunch,
        waiting: dict[str, Done],
        session_address: SessionAddress | None,
    ) -> _Fetch:
        descriptor = _memory_file()
        pipe, answer = os.pipe()
        try:
            with fork.forking():
                pid = fork.spawn(
                    lambda: _help(launch, descriptor, answer, session_address),
                    keep=(descriptor, answer),
                    group=False,
                )
        except OSError:
            os.close(descriptor)
            os.close(pipe)
            raise
        finally:
            os.close(answer)
        self._helpers.add(pid)
        self._loop.add_reader(pipe, lambda: self._read(key))
        return _Fetch(pid, pipe, descriptor, waiting)

    def _read(self, key: tuple[str, str]) -> None:
        fetch = self._fetches[key]
        if piece := os.read(fetch.pipe, 4096):
            fetch.answer += piece
            return
        try:
            trouble = str(json.loads(fetch.answer)["trouble"])
        except (ValueError, KeyError):
            trouble = "the process that fetched the job package was killed, possibly out of memory"
        descriptor = fetch.descriptor
        if not trouble:
            _seal(descriptor)
            fetch.descriptor = -1
            package = _Package(descriptor, os.fstat(descriptor).st_size, set(fetch.waiting))
            if (older := self._packages.pop(key[1], None)) is not None:  # of another job, fetched meanwhile
                package.users |= older.users
                os.close(older.descriptor)
            self._packages[key[1]] = package
        self._close(key)
        for done in fetch.waiting.values():
            done(-1 if trouble else descriptor, trouble)

    def _close(self, key: tuple[str, str]) -> None:
        fetch = self._fetches.pop(key)
        self._loop.remove_reader(fetch.pipe)
        os.close(fetch.pipe)
        if fetch.descriptor >= 0:
            os.close(fetch.descriptor)

    def _trim(self) -> None:
        """Drop unused packages that are too old, or too many bytes together; look again while some remain."""
        too_old = time.monotonic() - KEEP_SECONDS
        room = KEEP_BYTES
        kept = 0
        for digest, package in reversed(list(self._packages.items())):
            if package.users:
                continue
            room -= package.size
            if room < 0 or package.idle_since <= too_old:
                os.close(package.descriptor)
                del self._packages[digest]
            else:
                kept += 1
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(KEEP_SECONDS, self._trim) if kept else None


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("t2-package", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _seal(descriptor: int) -> None:
    """Make a memory file unchangeable: one worker must not alter what the next one unpickles."""
    if hasattr(fcntl, "F_ADD_SEALS"):
        try:
            fcntl.fcntl(
                descriptor,
                fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
            )
        except OSError as error:
            # EBUSY: the helper's mapping is not gone yet; EINVAL: a file that knows no seals.
            if error.errno not in (errno.EBUSY, errno.EINVAL):
                raise


def _help(launch: WorkerLaunch, descriptor: int, answer: int, session_address: SessionAddress | None) -> int:
    """Fetch and verify, in the helper process, and tell the store: ``{"trouble": ""}`` or why not."""
    try:
        trouble = fetch(launch, descriptor, session_address)
    except Exception as error:
        trouble = f"cannot fetch the job package: {error or type(error).__name__}"
    os.write(answer, json.dumps({"trouble": trouble}).encode())
    return 0


def fetch(launch: WorkerLaunch, descriptor: int, session_address: SessionAddress | None = None) -> str:
    """Fetch a package into `descriptor` and verify it; return why that failed, or an empty string.

    Connection errors and server errors are tried again, a refusal is not. Together the pauses are long enough
    for a new session to take a dead one's place.

    Parameters
    ----------
    launch : WorkerLaunch
    descriptor : int
        Of the file that is written.
    session_address : SessionAddress, optional
        Where the session is, if it moves.
    """
    client = SessionClient(
        launch.url, launch.job_id, launch.secret, timeout=_TIMEOUT, session_address=session_address
    )
    started = time.monotonic()
    trouble = ""
    for pause in (*_PAUSES, None):
        try:
            response = client.request("GET", f"/v1/packages/{launch.package}")
            if response.status == 200:
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                size = 0
                buffer = memoryview(bytearray(min(_PIECE, max(4096, launch.package_size + 1))))
                while count := response.readinto(buffer):
                    size += count
                    if size > launch.package_size:
                        break
                    _write(descriptor, buffer[:count])
                # Its own readinto() does not miss the rest, read() would.
                if size < launch.package_size and response.length:
                    raise ConnectionError(f"it broke off after {size} of {launch.package_size} bytes")
                return _verify(launch, descriptor, size)
            told = _REFUSALS.get(response.status, "")
            trouble = (
                f"the session at {launch.url} did not give the job package: HTTP {response.status}{told}"
            )
            if response.status < 500 and response.status not in (408, 429):
                return trouble
        except CONNECTION_ERRORS as error:
            trouble = f"cannot fetch the job package from {launch.url}: {error or type(error).__name__}"
        client.close()
        if pause is not None:
            time.sleep(pause)
    seconds = time.monotonic() - started
    tried = f"{len(_PAUSES) + 1} attempts in {seconds:.0f} s"
    return (
        f"{trouble} ({tried}); can this agent connect to it? "
        "t2.configure(advertise_host=..., port=...) says where it can"
    )


#: The file is no more: no other attempt and no other agent would get it.
GONE = "its file was removed where the session kept it"
_REFUSALS = {
    401: ", the signature was refused: another session with this address may have taken its place",
    403: ", the signature was refused: another session with this address may have taken its place",
    404: ", it does not know it: the job may be over",
    410: f", {GONE}: submit the job again",
}


def _verify(launch: WorkerLaunch, descriptor: int, size: int) -> str:
    try:
        if size != launch.package_size:
            raise ArchiveError(f"it has {'more than ' * (size > launch.package_size)}{size} bytes")
        Archive.open(descriptor).verify(launch.package)
    except (ArchiveError, ValueError, LookupError, TypeError) as error:
        return f"the job package is damaged, nothing of it was used: {error}"
    return ""


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
