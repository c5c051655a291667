"""Life and death of processes: dying with the parent, finding and killing a whole tree, telling pids apart."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

LINUX = sys.platform.startswith("linux")

_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies (Linux; else the pipe must do).

    The parent may already be gone when this is called, hence its pid: then this process ends at once.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def default_signals() -> None:
    """Unblock all signals and ignore none: whoever started us may have blocked SIGCHLD, or ignored SIGTERM.

    Both are inherited through fork and exec, by agents, executors and whatever they start. A hang-up that ``nohup`` had
    us ignore stays ignored, and so do the signals that Python ignores from its start on.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def rarely_collect_garbage() -> None:
    """Keep the cycle collector from looking through thousands of agents and tasks again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def become_subreaper() -> bool:
    """Have orphaned descendants become this process's children (Linux)."""
    return _libc is not None and _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@dataclass(frozen=True)
class Process:
    """One line of the process table.

    Attributes
    ----------
    start
        With the pid it names a process for good: clock ticks after boot, or where there is no `/proc` the time that
        `ps` shows.
    """

    pid: int
    parent: int
    group: int
    session: int
    start: str
    zombie: bool


def process(pid: int) -> Process | None:
    """Look one process up; None when there is none."""
    if not LINUX:
        return next((one for one in table() if one.pid == pid), None)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name stands in parentheses and may itself hold blanks and parentheses.
    fields = line[line.rfind(b")") + 2 :].split()
    return Process(
        pid,
        int(fields[1]),
        int(fields[2]),
        int(fields[3]),
        fields[19].decode(),
        zombie=fields[0] in (b"Z", b"X"),
    )


def table() -> list[Process]:
    """List all processes."""
    if LINUX:
        found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
        return [one for one in found if one is not None]
    import subprocess

    shown = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,pgid=,sess=,stat=,lstart="], capture_output=True, text=True, check=False
    )
    rows = (line.split(None, 5) for line in shown.stdout.splitlines())
    # macOS prints the session as an address; a group stands for it, since a session's leader leads a group, too.
    return [
        Process(int(r[0]), int(r[1]), int(r[2]), int(r[2]), r[5].strip(), "Z" in r[4])
        for r in rows
        if len(r) == 6
    ]


def children(pid: int) -> list[int]:
    """List a process's children, by the kernel's own list where it has one (no scan of all processes)."""
    if LINUX:
        try:
            found: list[int] = []
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    found += [int(word) for word in file.read().split()]
            return found
        except FileNotFoundError:
            if not os.path.exists(f"/proc/{pid}"):
                return []
        except OSError:
            return []
    return [one.pid for one in table() if one.parent == pid]


def descendants(pid: int) -> list[int]:
    """List a process's descendants, nearest first."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found.append(child)
                waiting.append(child)
    return found


def start_time(pid: int) -> str | None:
    """Give a process's start, as `Process` has it; None when it is gone or a zombie."""
    one = process(pid)
    return None if one is None or one.zombie else one.start


def identity(pid: int) -> str:
    """Name a living process for good: `pid-start`."""
    return f"{pid}-{start_time(pid) or '0'}"


def alive(pid: int, start: str | None = None) -> bool:
    """Tell whether a process lives; with its start, whether it is still that one."""
    found = start_time(pid)
    return found is not None and (start is None or found == start)


def send(pids: Iterable[int], signum: int) -> None:
    """Signal processes; who is gone, is gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


class Watched:
    """The reasons to end of a process of the cluster: SIGTERM, or the supervisor's pipe at its end.

    The pipe's writing end is open in the supervisor only, so it ends when the supervisor does, however it ends.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def stop_with(self, done: asyncio.Event) -> None:
        """Set `done` at the first reason (call inside the loop)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, done.set)
        loop.add_signal_handler(signal.SIGINT, lambda: None)

        def readable() -> None:
            loop.remove_reader(self._pipe)
            done.set()

        loop.add_reader(self._pipe, readable)
