"""Processes: the signals and the user's name at the start of one, and the identity of one. Standard library only."""

from __future__ import annotations

import os
import pwd
import resource
import signal
from pathlib import Path

#: Variables that the system's loader reads when a program starts, and never again (ld.so(8); macOS, dyld(1)).
LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
#: What Python itself ignores from its start on.
_PYTHON_IGNORES = (signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE))


def default_signals() -> None:
    """Unblock all signals, and have none ignored but those that Python ignores.

    A mask and ignored signals are inherited through fork and exec: from a shell's background job, from ``nohup``, from
    a thread of the kernel that blocks signals. With SIGCHLD or SIGTERM blocked a process would never end.
    """
    for number in signal.valid_signals():
        if number not in _PYTHON_IGNORES and signal.getsignal(number) is signal.SIG_IGN:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def allow_many_files() -> None:
    """Allow this process as many open files as it may have: a thousand workers have a connection each.

    Most systems begin with 1,024, for the sake of old programs (``systemd``, ``launchd``), and allow more to who asks.
    """
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, 65_536, 10_240):  # macOS refuses what is more than its kern.maxfilesperproc
        if wanted != resource.RLIM_INFINITY and most != resource.RLIM_INFINITY and wanted > most:
            continue
        if soft != resource.RLIM_INFINITY and wanted != resource.RLIM_INFINITY and wanted <= soft:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            return
        except (ValueError, OSError):
            continue


def user_name() -> str:
    """Return the name of the user whom this process runs as, in text that UTF-8 can carry.

    The uid decides, not ``USER`` or ``LOGNAME``. A uid without a line in the passwd database (containers have such) is
    its own name, as ``ls`` shows it.
    """
    try:
        # The database's bytes are UTF-8 whatever the locale says.
        name = os.fsencode(pwd.getpwuid(os.getuid()).pw_name).decode("utf-8", "replace")
    except KeyError:
        name = "root" if os.getuid() == 0 else ""
    return name or str(os.getuid())


def start_time(pid: int) -> str:
    """Return the start of a process, which with its pid names it for good; empty if it has ended.

    Clock ticks after boot, by proc(5); elsewhere the time that `ps` shows.
    """
    if fields := _stat(pid):
        return "" if fields[0] in "ZX" else fields[19]  # a zombie only waits to be buried
    if Path("/proc/self/stat").exists():
        return ""
    import subprocess

    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, by SIGSTOP or a debugger (proc(5): T, t); False where it cannot be told."""
    fields = _stat(pid)
    return bool(fields) and fields[0] in ("T", "t")


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name, which may itself hold blanks and parentheses."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
