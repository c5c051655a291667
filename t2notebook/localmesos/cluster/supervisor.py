"""The supervisor: imports once, forks the master and the agents, and sees to it that they end together.

    python -m t2notebook.localmesos --agents 2 --cpus 4 --mem 4096

It prints (or writes to --announce-fd) one JSON line when the master listens. It ends at SIGTERM or SIGINT, when
the master says that nobody uses the cluster (--exit-when-idle), when --parent-pid is gone; nothing it started
is left then. Faults come by its control socket or by --fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from ..agent.containerizer import cgroup_mounts
from ..agent.containerizer.cgroups import Cgroups
from ..agent.containerizer.isolator import CGROUPS, WATCHING
from ..common import processes
from ..faults import faults
from ..http.server import listen
from . import flags
from .control_server import ControlServer
from .processes import ENDING, ClusterProcesses

ANSWER_SECONDS = 5.0
"""The master answers a fault request within this time, or is stuck."""

MASTER, AGENT = "master", "agent"
"""Kinds of processes that may run alone; their names begin so."""

SETTLED, FIRST_PAUSE, LONGEST_PAUSE = 1.0, 0.1, 30.0
"""A process that died within the first of these (seconds) after its start waits for its next one."""


def say(text: str) -> None:
    """Tell a person something; that nobody can be told (a full disk behind stderr) stops nothing."""
    with contextlib.suppress(OSError, ValueError):
        print(f"t2notebook.localmesos: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster; give the exit code."""
    return run(flags.parse(arguments))


def run(options: argparse.Namespace, announce: Callable[[faults.Json], None] | None = None) -> int:
    """Run a cluster, and tell of it when it listens (by a line on --announce-fd, if nothing else is said)."""
    if options.detach and os.fork():
        os._exit(0)
    processes.default_signals()
    listening = None
    try:
        if options.alone != AGENT:
            listening = listen(options.ip, options.port)
    except OSError as error:
        say(f"cannot listen on {options.ip}:{options.port}: {error.strerror}")
        return 1
    temporary = options.work_dir is None
    where = tempfile.gettempdir() if temporary else os.path.abspath(options.work_dir)
    if os.geteuid() == 0:
        # Tasks of other users must be able to reach their sandboxes, in directories that are made from here on.
        os.umask(0o022)
    try:
        work_dir = _make_work_dir(None if temporary else where)
    except OSError as error:
        say(f"cannot work in {where}: {error.strerror}")
        return 1
    try:
        return Supervisor(options, listening, work_dir).run(announce)
    finally:
        if temporary:
            shutil.rmtree(work_dir, ignore_errors=True)


def _make_work_dir(path: str | None) -> str:
    """Make the work directory; a temporary one, if None is given."""
    if path is None:
        made = tempfile.mkdtemp(prefix="localmesos-")
        if os.geteuid() == 0:
            os.chmod(made, 0o711)
        return made
    os.makedirs(path, exist_ok=True)
    return path


class Supervisor:
    """Starts the processes of a cluster, and waits for a reason to end them.

    Parameters
    ----------
    options
        The command line (`flags.parse`).
    listening
        The master's port; None if no master runs here.
    work_dir
        Where everything lies.
    """

    def __init__(self, options: argparse.Namespace, listening: socket.socket | None, work_dir: str) -> None:
        self._options = options
        self._listening = listening
        self._work_dir = work_dir
        # An agent alone has its master elsewhere.
        self._address: tuple[str, int] = listening.getsockname()[:2] if listening else options.remote
        self._selector = selectors.DefaultSelector()
        self._stopping: list[int] = []
        self._down: set[str] = set()
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._others: dict[str, int] = {}
        self._restarted: dict[str, tuple[float, float]] = {}
        self._channel: socket.socket | None = None
        self._limits = "by watching"

    def run(self, announce: Callable[[faults.Json], None] | None) -> int:
        """Run until the end; give the exit code."""
        parent = self._options.parent_pid
        parent_start = None if parent is None else processes.start_time(parent)
        if parent is not None and parent_start is None:
            return 0
        try:
            self._processes = ClusterProcesses(self._options, self._address, self._work_dir)
            control = ControlServer(self._work_dir, self._selector, self._processes.private, self._request)
        except OSError as error:
            say(f"cannot work in {self._work_dir}: {error.strerror}")
            return 1
        self._wake()
        if self._listening is not None:
            self._start_master(self._listening)
        # Meanwhile the master starts.
        self._processes.cgroups = self._find_cgroups()
        if self._processes.cgroups is None and self._options.isolation == CGROUPS:
            say(f"--isolation {CGROUPS}: {self._limits}")
            control.close()
            self._processes.stop()
            return 1
        for number in range(2, self._options.masters + 1):
            listening = listen(self._options.ip, 0)
            self._others[f"master{number}"] = listening.getsockname()[1]
            self._start_other_master(f"master{number}", listening)
        for index in range(self._options.agents):
            self._processes.start_agent(index)
        if self._options.simulate:
            self._processes.start_simulator()
        host, port = self._address
        line = {
            "master": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "pid": os.getpid(),
            "pids": self._processes.pids,
            "work_dir": self._work_dir,
            "masters": [f"{host}:{one}" for one in (port, *self._others.values())],
            "control": control.path,
            "isolation": self._limits,
        }
        (announce or self._announce)(line)
        for fault in self._options.fault:
            self._at(fault.after, lambda request=fault.request: self._request(request))  # type: ignore[misc]
        told = parent is not None and self._watch_parent(parent)
        try:
            while not self._stopping and self._has_what_it_is_for():
                # A parent without a descriptor that tells its end must be looked at now and then.
                limit = 0.5 if parent is not None and not told else None
                self._wait(limit)
                for name in self._processes.reap():
                    self._ended(name)
                if parent is not None and not processes.alive(parent, parent_start):
                    break
        finally:
            control.close()
            self._processes.stop()
        # Who looks after a master or an agent that runs alone has to know that it ended unasked.
        return 1 if self._options.alone and not self._stopping else 0

    def _find_cgroups(self) -> Cgroups | None:
        """Find out what can keep containers to their memory."""
        if not self._options.agents or self._options.isolation == WATCHING:
            return None
        found = cgroup_mounts.detect(cfs=self._options.cgroups_enable_cfs)
        if isinstance(found, str):
            self._limits = f"by watching, for want of control groups ({found})"
            return None
        self._limits = f"by control groups (v{found.kind.version})"
        return found

    def _has_what_it_is_for(self) -> bool:
        kind = self._options.alone or MASTER
        return any(name.startswith(kind) for name in (*self._processes.pids, *self._down))

    def _ended(self, name: str) -> None:
        """Start what died unasked again; what dies at once, later and later. An error that ended it is told."""
        status = self._processes.statuses[name]
        if os.WIFEXITED(status) and status and not self._stopping:
            log = os.path.join(self._work_dir, "log", f"{name}.log")
            where = "what it said stands above" if self._options.alone else f"see {log}"
            say(f"{name} ended with an error (exit status {os.WEXITSTATUS(status)}); {where}")
        delay: float | None = self._options.restart
        if name.startswith("master") and self._processes.statuses[name] == 0:
            self._stopping.append(0)  # nobody uses the cluster, it says
        if delay is None or name.startswith("launcher") or self._processes.statuses[name] == 0:
            return
        now = time.monotonic()
        begun, pause = self._restarted.get(name, (0.0, 0.0))
        pause = min(LONGEST_PAUSE, max(2 * pause, FIRST_PAUSE)) if now - begun < SETTLED else 0.0
        self._restarted[name] = (now + delay + pause, pause)
        self._down.add(name)
        self._at(delay + pause, lambda: self._start_again(name))

    def _start_again(self, name: str) -> None:
        try:
            self._start(name)
        except ValueError:
            pass  # somebody else started it
        except OSError as error:
            say(f"cannot start {name} again: {error}")
            self._at(SETTLED, lambda: self._start_again(name))

    def _wake(self) -> None:
        """Have signals end the wait for something to happen."""
        read, write = os.pipe()
        for descriptor in (read, write):
            os.set_blocking(descriptor, False)
            self._processes.private.add(descriptor)
        for signum in ENDING:
            if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                continue  # nohup
            signal.signal(signum, lambda number, _: self._stopping.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(read, 4096)

        self._selector.register(read, selectors.EVENT_READ, drain)

    def _watch_parent(self, parent: int) -> bool:
        if not hasattr(os, "pidfd_open"):
            return False
        try:
            descriptor = os.pidfd_open(parent)
        except OSError:
            return False
        self._processes.private.add(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: None)
        return True

    def _wait(self, limit: float | None) -> None:
        """Wait for something, and do it."""
        if self._later:
            remaining = max(0.0, min(when for when, _ in self._later) - time.monotonic())
            limit = remaining if limit is None else min(limit, remaining)
        for key, _ in self._selector.select(limit):
            key.data()
        now = time.monotonic()
        due = [call for when, call in self._later if when <= now]
        self._later = [item for item in self._later if item[0] > now]
        for call in due:
            call()

    def _at(self, seconds: float, call: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + seconds, call))

    def _start_master(self, listening: socket.socket) -> None:
        if self._channel is not None:
            self._processes.private.discard(self._channel.fileno())
            self._channel.close()
        self._channel, masters = socket.socketpair()
        self._channel.settimeout(ANSWER_SECONDS)
        self._processes.private |= {self._channel.fileno(), masters.fileno(), listening.fileno()}
        ours = {masters.fileno(), listening.fileno()}
        self._processes.start_master(listening, masters)
        self._processes.private -= ours
        self._down.discard("master")

    def _start_other_master(self, name: str, listening: socket.socket) -> None:
        self._processes.private.add(listening.fileno())
        ours = listening.fileno()
        self._processes.start_master(listening, name=name)
        self._processes.private.discard(ours)

    def _announce(self, line: faults.Json) -> None:
        descriptor = self._options.announce_fd
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        if descriptor > 2:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            # The number may be another descriptor's when a process is started again.
            self._options.announce_fd = 1

    # Faults

    def _request(self, given: object) -> faults.Json:
        """Do what a fault asks for; give the answer."""
        try:
            request = faults.check(given)
            op, name = request["op"], request.get("process", "")
            if op not in faults.OF_PROCESSES:
                return self._ask_master(request)
            if op in ("kill", "restart") and not self._kill(name) and op == "kill":
                return {"error": f"{name} is not there"}
            if op == "start":
                self._start(name)
            elif op == "restart":
                if request.get("pause"):
                    self._at(request["pause"], lambda: self._start(name))
                else:
                    self._start(name)
            return {"ok": True, "pids": self._processes.pids}
        except (ValueError, OSError) as error:
            return {"error": str(error)}

    def _kill(self, name: str) -> bool:
        self._down.add(name)
        return self._processes.kill(name)

    def _start(self, name: str) -> None:
        self._processes.reap()
        if name in self._processes.pids:
            raise ValueError(f"{name} lives")
        if name == "master":
            self._start_master(listen(*self._address))
        elif name in self._others:
            self._start_other_master(name, listen(self._options.ip, self._others[name]))
        elif name == "simulator":
            self._processes.start_simulator()
        else:
            index = faults.index_of(name)
            if index >= self._options.agents:
                raise ValueError(f"there is no process {name}")
            self._processes.start_agent(index)
        self._down.discard(name)

    def _ask_master(self, request: faults.Json) -> faults.Json:
        assert self._channel is not None
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            piece = self._channel.recv(65536)
            if not piece:
                raise OSError("the master is gone")
            data += piece
        answer: faults.Json = json.loads(data)
        return answer
