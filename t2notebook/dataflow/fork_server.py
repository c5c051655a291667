"""A process that has imported Dask, and forks a Dask scheduler's process from itself whenever a kernel asks for one.

Importing is most of what a scheduler's start costs; a second cluster of a kernel has its scheduler after some
milliseconds. The process is single-threaded, as a fork beside a thread that holds a lock hangs. It ends with its
kernel; and when it has not been asked for a time and no scheduler of its making lives. Schedulers outlive it.

Messages on its socket (SOCK_SEQPACKET) are JSON. From the kernel, the settings first: ``dask``, ``linger`` (seconds).
Then ``{"number": N, "log": PATH, "dashboard": BOOL}`` with a descriptor that the scheduler is to have,
answered by ``{"number": N, "pid": PID}`` or ``{"number": N, "error": TEXT}``. Unasked: ``{"pid": PID, "code": EXIT
CODE}``.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..worker.executor.preload import load

#: Longest message.
LONGEST = 1 << 20
#: Modules that schedulers need, beside those that serve their pages.
MODULES = (
    "distributed.scheduler",
    "distributed.http.scheduler.prometheus.core",
    "t2notebook.dataflow.outgrown",
    "t2notebook.dataflow.scheduler_main",
    "t2notebook.dataflow.agent.tls",
)
DASHBOARD = "distributed.dashboard.scheduler"
#: Seconds without a request after which what a dashboard needs is imported: the cluster that has just been made has
#: other use for the processors.
QUIET = 3.0


class ForkServer:
    """Forks when asked, and tells how those processes have ended.

    Parameters
    ----------
    control : socket.socket
        To the kernel.
    linger : float
        Seconds.
    """

    def __init__(self, control: socket.socket, linger: float) -> None:
        self._control, self._linger = control, linger
        self._children: set[int] = set()
        self._asked = time.monotonic()
        self._wants_dashboard = False
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def run(self) -> int | None:
        """Serve; return None at the end, and in each process that is forked its descriptor."""
        while (pause := self._pause()) > 0 or self._children:
            ready, _, _ = select.select([self._control.fileno(), self._woken], [], [], max(0.0, pause))
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            self._reap()
            if self._control.fileno() in ready:
                data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST, 1)
                if not data:
                    return None
                descriptor = self._fork(json.loads(data), descriptors)
                if descriptor is not None:
                    return descriptor
            elif self._wants_dashboard and time.monotonic() - self._asked >= QUIET:
                self._wants_dashboard = False
                preload([DASHBOARD])
                if not is_single_threaded():
                    return None
        return None

    def _pause(self) -> float:
        """Return the seconds for which there is nothing to do."""
        since = time.monotonic() - self._asked
        if self._wants_dashboard:
            return max(0.01, QUIET - since)
        return 3600.0 if self._children else self._linger - since

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> int | None:
        """Fork; return the descriptor in the process that this has made."""
        self._asked = time.monotonic()
        self._wants_dashboard |= bool(request["dashboard"]) and DASHBOARD not in sys.modules
        (descriptor,) = descriptors
        gc.freeze()  # a collection in the child would copy every page that the parent's objects lie in
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptor)
            self._tell({"number": request["number"], "error": f"no process can be made: {error.strerror}"})
            return None
        if pid == 0:
            self._become(request["log"])
            return descriptor
        os.close(descriptor)
        self._children.add(pid)
        self._tell({"number": request["number"], "pid": pid})
        return None

    def _become(self, log: str) -> None:
        """Shed what is the server's, in a process that it has made."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        os.close(self._woken)
        os.close(self._wake)
        output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        random.seed()
        if (numpy_random := sys.modules.get("numpy.random")) is not None:
            numpy_random.seed()

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._asked = time.monotonic()
                self._tell({"pid": pid, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, record: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(record).encode())


def preload(modules: Sequence[str]) -> None:
    """Import modules, without threads of numeric libraries; those that are not there are passed over."""
    for _ in load(modules):
        pass  # a scheduler that needs it imports it by itself, and its error tells more


def is_single_threaded() -> bool:
    """Whether this process may fork: it has no thread, of Python's or of a library's, beside this one."""
    return len(os.listdir("/proc/self/task")) == 1


def main(descriptor: int) -> None:
    """Be a fork server, and in each process that it makes, a Dask scheduler's."""
    from ..model.process import default_signals

    default_signals()
    os.set_inheritable(descriptor, False)
    control = socket.socket(fileno=descriptor)
    settings = json.loads(control.recv(LONGEST))
    import dask

    # Much of it is read when a module is imported.
    dask.config.update(dask.config.config, settings["dask"], priority="new")
    preload([*MODULES, *dask.config.get("distributed.scheduler.http.routes", ())])
    if not is_single_threaded():
        control.send(json.dumps({"threads": True}).encode())
        return
    control.send(json.dumps({"threads": False}).encode())
    given = ForkServer(control, float(settings["linger"])).run()
    if given is not None:
        from . import scheduler_main

        scheduler_main.main(given)


if __name__ == "__main__":
    main(int(sys.argv[1]))
