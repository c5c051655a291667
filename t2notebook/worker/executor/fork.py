"""Makes processes by fork: what a child sheds of its parent, and what a worker finds around it."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import io
import multiprocessing.process
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
#: Exit code of a child that failed before or outside the work it was made for (sysexits.h, EX_SOFTWARE).
BROKEN = 70
#: Of a thousand points that all memory is worth.
_OOM_ADJUSTMENT = 300
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _prctl() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    return function


# Looked up before any fork: a child should not need the loader.
_PRCTL = _prctl()


@contextmanager
def forking() -> Iterator[None]:
    """Make this process ready to fork, once or several times: each `spawn` is within this."""
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # a collection in a child would copy every page that the parent's objects lie in
    # A signal that comes before a child has its own handlers would be taken for the parent's.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def spawn(work: Callable[[], int], *, keep: Collection[int], group: bool) -> int:
    """Fork a child that runs `work` and exits with what it returns; return its pid. To be called within `forking`.

    The child dies with its parent (Linux), has default signal handlers and no descriptors but 0, 1, 2 and
    `keep`. The caller has to be single-threaded, and what it has opened has to be in use by the frames that call this:
    they stay in the child until that exits, so that no object there closes a descriptor which has become another's.

    Parameters
    ----------
    work : callable
    keep : collection of int
    group : bool
        Whether the child leads a process group of its own.

    Raises
    ------
    OSError
        When there can be no more processes.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child(work, keep, group, parent)
    if group:
        # Here as well as in the child: whoever comes first, the group exists from now on.
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
    return pid


def _child(work: Callable[[], int], keep: Collection[int], group: bool, parent: int) -> None:
    code = BROKEN
    try:
        if group:
            os.setpgid(0, 0)
        if _PRCTL is not None:
            _PRCTL(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(BROKEN)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        close_all_but(keep)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor but 0, 1, 2 and those in `keep`."""
    kept = {0, 1, 2, *keep}
    for name in ("/proc/self/fd", "/dev/fd"):
        try:
            found = [int(number) for number in os.listdir(name)]
            break
        except OSError:
            continue
    else:
        found = list(range(3, 4096))
    for number in found:
        if number not in kept:
            try:
                os.close(number)
            except OSError:  # the one that the listing itself used
                pass


def settle(directory: str, variables: Mapping[str, str], cpus: float) -> None:
    """Make a worker at home in `directory`: working directory, output files, environment, randomness.

    Parameters
    ----------
    directory : str
        Exists, and `directory`/tmp as well.
    variables : mapping
        More environment variables.
    cpus : float
        The worker's share, from which numeric libraries learn how many threads to use.
    """
    os.chdir(directory)
    _redirect(os.devnull, os.O_RDONLY, 0)
    _redirect(os.path.join(directory, "stdout"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
    _redirect(os.path.join(directory, "stderr"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 2)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _live(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _live(2)  # type: ignore[misc]

    os.register_at_fork(after_in_child=_write_lines)
    if _BUFFER_C_LINES is not None:
        _BUFFER_C_LINES()  # though it is a file
    _volunteer()
    faulthandler.enable(2)  # so that a segmentation fault says where
    os.environ.update(variables)
    os.environ["HOME"] = directory
    os.environ["TMPDIR"] = os.path.join(directory, "tmp")
    if "TZ" in variables:
        time.tzset()
    _shorten_socket_paths(os.environ["TMPDIR"])
    threads = str(max(1, int(cpus)))
    # What the agent's own environment says is for the agent's host; what the job says holds.
    os.environ.update({name: threads for name in _THREADS if name not in variables})
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # it remembers the parent's

    # `random` itself has drawn another seed at the fork.
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()


def _volunteer() -> None:
    """Have the kernel, when memory runs out, end a worker before the executor, with which all would end."""
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            adjusted = min(1000, int(os.read(file, 16)) + _OOM_ADJUSTMENT)
            os.pwrite(file, str(adjusted).encode(), 0)
        finally:
            os.close(file)
    except (OSError, ValueError):  # no Linux, or not allowed: the kernel picks as it likes
        pass


def find_modules_in(path: Sequence[str]) -> None:
    """Look for modules where the notebook does, in its order, then where the executor does; first in the core package,
    which our own code comes from.
    """
    if path:
        core, *rest = sys.path
        sys.path[:] = dict.fromkeys((core, *path, *rest))


def _shorten_socket_paths(directory: str) -> None:
    """Give multiprocessing a short way to `directory`, where it makes sockets (Manager, forkserver, ...).

    A socket's path ends at 107 bytes, and Mesos's sandboxes lie deeper than that.
    """
    if sys.platform == "linux" and len(directory) > 60:
        opened = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        configuration = getattr(multiprocessing.process.current_process(), "_config", {})
        configuration["tempdir"] = f"/proc/{os.getpid()}/fd/{opened}"


def _redirect(path: str, flags: int, number: int) -> None:
    opened = os.open(path, flags, 0o644)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    else:
        os.set_inheritable(number, True)


class _Through(io.BufferedWriter):
    """A writer that keeps nothing back: somebody is watching, and a killed process writes nothing more.

    But for threads beside the main one: ``print("a", 1)`` are four pieces, and those of several threads would mix.
    Theirs are written by lines, or when a piece has waited for `PATIENCE`.
    """

    PATIENCE = 0.1

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        #: By thread: since when its pieces wait, and they.
        self._waiting: dict[int, tuple[float, bytes]] = {}

    def write(self, data: Any) -> int:
        """Write `data`, now; of a thread beside the main one, with what ends its line."""
        data, thread = bytes(data), threading.get_ident()
        if thread == threading.main_thread().ident:
            self._put(data)
            return len(data)
        now = time.monotonic()
        since, before = self._waiting.pop(thread, (now, b""))
        if data.endswith(b"\n") or now - since > self.PATIENCE:
            self._put(before + data)
        else:
            self._waiting[thread] = since, before + data
        return len(data)

    def flush(self) -> None:
        """Write what waits, of all threads."""
        for thread in list(self._waiting):
            _, data = self._waiting.pop(thread, (0.0, b""))
            self._put(data)
        super().flush()

    def _put(self, data: bytes) -> None:
        super().write(data)
        super().flush()


def _live(number: int, writer: type[io.BufferedWriter] = _Through) -> io.TextIOWrapper:
    """Return a text stream on a descriptor whose text is in the file at once; its lines, with another `writer`."""
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(
        writer(raw),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=writer is not _Through,  # which would flush what waits of other threads
        write_through=writer is _Through,
    )


def _write_lines() -> None:
    """Let a process that the worker forked write whole lines, so that those of a pool do not get mixed."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        # A fresh stream, too: another thread may have been writing to the old one, and hold its lock for ever.
        if getattr(sys, name) is getattr(sys, f"__{name}__"):
            stream = _live(number, io.BufferedWriter)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _c_stdout() -> Callable[[], object] | None:
    """Return what has C's stdout write whole lines."""
    try:
        library = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(library, "__stdoutp" if sys.platform == "darwin" else "stdout")
        setvbuf = library.setvbuf
    except (AttributeError, OSError, ValueError):
        return None  # then it is written when the buffer is full, and at the end
    return lambda: setvbuf(stdout, None, 1, 0)  # _IOLBF of glibc, musl and macOS


_BUFFER_C_LINES = _c_stdout()
