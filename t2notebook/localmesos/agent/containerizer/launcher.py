"""The launcher: a small single-threaded process beside each agent that forks containers, reaps and kills them.

An agent must not fork itself (it has an event loop and threads), and its containers must end with it: so they
are the launcher's children. Those of a checkpointing framework outlive an agent that was killed, and wait for the
next one; the others are killed with it. The launcher itself lives on a socket pair: when nobody holds the other
end any more (neither an agent nor the supervisor that would start another), nothing of any container is left.
As a subreaper it also inherits what containers leave behind (daemons that left their session).

A container engine's containers are not its children; the client of one is. What ends such a container comes with its
launch (`end`): it is run when the client has ended, or is to, and what it prints goes to the agent.

Requests, one JSON a line: attach (an agent's first), launch, signal, destroy. Answers: attached (the containers
that live, the raw wait statuses of those that ended), started, failed, exited (raw wait status, output of `end`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

from ...common import processes
from .cgroups import Cgroups

Json = dict[str, Any]

_DEFAULT = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
"""Signals that a container finds as a shell would give them to it."""

MAX_COMPLAINT = 500
"""Characters; escaped, they still fit into what a pipe takes whole."""

END_SECONDS = 20.0
"""So long the commands that end an engine's containers may take when the launcher itself ends."""

MAX_ENDED = 1000
"""Wait statuses that are kept for an agent that was dead when they came."""


@dataclass
class _Ending:
    """The command that ends a container, where it runs, and what it has printed.

    It runs when the client has ended; while that lives it runs now, and once more after the client's end.
    """

    argv: list[str]
    cwd: str
    env: dict[str, str]
    pid: int = 0
    runs: int = 0
    is_last: bool = False
    is_done: bool = False
    output: IO[bytes] | None = None
    printed: str = ""


@dataclass
class _Container:
    id: str
    pid: int
    checkpoint: bool
    ending: _Ending | None = None
    seen: set[int] = field(default_factory=set)
    status: int | None = None


class Launcher:
    """Serves one agent."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._containers: dict[str, _Container] = {}
        self._ended: deque[tuple[str, int | None]] = deque(maxlen=MAX_ENDED)
        self._agent: int | None = None
        self._poll = select.poll()
        self._failures: dict[str, str] = {}
        # One pipe for all: a line is short enough to come whole.
        self._complaints, self._complain = os.pipe()
        os.set_blocking(self._complaints, False)

    def run(self) -> None:
        """Serve until the agent is gone; then no process of any container is left."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # A polite stop comes as the channel's end: were the launcher to die first, nobody would sweep up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        poll = self._poll
        poll.register(self._channel, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                    self._reap()
                elif fd == self._agent:
                    self._agent_died()
                elif not self._receive():
                    self._destroy_all()
                    processes.send(processes.descendants(os.getpid()), signal.SIGKILL)
                    return

    def _receive(self) -> bool:
        try:
            data = self._channel.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return False
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            try:
                request = json.loads(line)
            except ValueError:
                continue  # what an agent was writing when it was killed
            self._handle(request)
        return True

    def _send(self, message: Json) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _handle(self, request: Json) -> None:
        op = request["op"]
        if op == "attach":
            self._attach(request["pid"])
            return
        container_id = request["id"]
        if op == "launch":
            self._launch(request)
            return
        container = self._containers.get(container_id)
        if container is None:
            return
        if op == "signal" and container.ending is not None:
            # The engine's client passes it on to the first process in there.
            processes.send([container.pid], request["signal"])
        elif op == "signal":
            # As `os::killtree` does: stopped first, so that no parent sees its child die before its own signal.
            members = self._members(container)
            for signum in (signal.SIGSTOP, request["signal"], signal.SIGCONT):
                processes.send(members, signum)
        elif op == "destroy":
            self._destroy(container)
            self._reap()

    def _attach(self, agent: int) -> None:
        """Serve a new agent: tell it what is there, and look whether it lives (where the system has a way)."""
        self._agent_died()
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._agent = os.pidfd_open(agent)
                self._poll.register(self._agent, select.POLLIN)
        living = {one.id: one.pid for one in self._containers.values()}
        self._send({"op": "attached", "living": living, "ended": dict(self._ended)})

    def _agent_died(self) -> None:
        """Kill what must not outlive the agent."""
        if self._agent is not None:
            self._poll.unregister(self._agent)
            os.close(self._agent)
            self._agent = None
        for container in list(self._containers.values()):
            if not container.checkpoint:
                self._destroy(container)

    def _launch(self, request: Json) -> None:
        launcher = os.getpid()
        # The launcher ignores SIGTERM; one that meets the child before its exec must wait there, not get lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULT)
        try:
            pid = os.fork()
            if pid == 0:
                _run(request, launcher, self._complain)
        except OSError as error:
            self._send({"op": "failed", "id": request["id"], "error": str(error)})
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEFAULT)
        container = _Container(request["id"], pid, request.get("checkpoint", False))
        if "end" in request:
            container.ending = _Ending(request["end"], request["cwd"], request["env"])
        self._containers[container.id] = container
        self._send({"op": "started", "id": request["id"], "pid": pid})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for container in list(self._containers.values()):
                if container.pid == pid:
                    container.status = status
                    self._destroy(container)
                elif container.ending is not None and container.ending.pid == pid:
                    self._has_ended(container.ending)
                    self._destroy(container)

    def _destroy_all(self) -> None:
        """Kill all containers; those of an engine first, since nobody else would."""
        for container in list(self._containers.values()):
            self._destroy(container)
        deadline = time.monotonic() + END_SECONDS
        while self._containers and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.01)
        for container in list(self._containers.values()):
            container.ending = None
            self._destroy(container)

    def _is_ending(self, container: _Container) -> bool:
        """Have an engine end its container; tell whether it is still at it."""
        ending = container.ending
        if ending is None or ending.is_done:
            return False
        if ending.pid:
            return True
        if ending.runs:
            # A client that lives yet may be about to make the container.
            self._kill(container)
        ending.runs += 1
        ending.is_last = container.status is not None
        try:
            ending.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been read
            ending.pid = self._fork_ending(ending)
        except OSError as error:
            print(f"launcher: cannot end {container.id}: {error}", file=sys.stderr)
            ending.is_done = True
            return False
        return True

    @staticmethod
    def _fork_ending(ending: _Ending) -> int:
        assert ending.output is not None
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os.setsid()
                signal.set_wakeup_fd(-1)
                for signum in _DEFAULT:
                    signal.signal(signum, signal.SIG_DFL)
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(ending.output.fileno(), 1)
                os.dup2(0, 2)
                os.closerange(3, 4096)
                os.chdir(ending.cwd)
                os.execvpe(ending.argv[0], ending.argv, ending.env)
            os._exit(1)
        return pid

    @staticmethod
    def _has_ended(ending: _Ending) -> None:
        ending.pid, ending.is_done = 0, ending.is_last
        if ending.output is not None:
            ending.output.seek(0)
            ending.printed += ending.output.read(4096).decode("utf-8", "replace")
            ending.output.close()
            ending.output = None

    def _members(self, container: _Container) -> list[int]:
        """Find a container's processes: the leader's descendants, its session, and orphans that name its sandbox."""
        found = (
            set() if container.status is not None else {container.pid, *processes.descendants(container.pid)}
        )
        # What left its leader's tree is this subreaper's child now; other containers' trees are not looked into.
        leaders = {one.pid for one in self._containers.values()}
        for stray in set(processes.children(os.getpid())) - leaders:
            tree = [stray, *processes.descendants(stray)]
            if any(self._belongs(pid, stray, container) for pid in tree):
                found.update(tree)
        container.seen |= found
        alive = (processes.process(pid) for pid in found)
        return [one.pid for one in alive if one is not None and not one.zombie]

    def _belongs(self, pid: int, stray: int, container: _Container) -> bool:
        one = processes.process(pid)
        if one is None or one.zombie:
            return False
        if container.pid in (one.session, one.group) or pid in container.seen:
            return True
        return pid == stray and container.id in _environment(pid)

    def _destroy(self, container: _Container) -> None:
        """Kill all of a container, and tell the agent when nothing of it is left."""
        if self._is_ending(container):
            return
        self._kill(container)
        if self._containers.pop(container.id, None) is not None:
            self._ended.append((container.id, container.status))
            self._hear_complaints()
            error = self._failures.pop(container.id, None)
            message = {"op": "exited", "id": container.id, "status": container.status}
            if container.ending is not None:
                message["printed"] = container.ending.printed
            self._send(message if error is None else {**message, "error": error})

    def _kill(self, container: _Container) -> None:
        """Kill what is this launcher's own of a container, and collect its first process."""
        for attempt in range(200):
            members = self._members(container)
            if not members:
                break
            processes.send(members, signal.SIGKILL)
            time.sleep(0.001 if attempt < 20 else 0.01)
            if container.status is None:
                with contextlib.suppress(ChildProcessError):
                    pid, status = os.waitpid(container.pid, os.WNOHANG)
                    if pid:
                        container.status = status
        if container.status is None:
            with contextlib.suppress(ChildProcessError):
                container.status = os.waitpid(container.pid, 0)[1]

    def _hear_complaints(self) -> None:
        """Learn which containers could not even get as far as their command."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._complaints, 65536):
                for line in data.splitlines():
                    container_id, error = json.loads(line)
                    self._failures[container_id] = error


def _environment(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().decode("latin-1")
    except OSError:
        return ""


def _run(request: Json, launcher: int, complain: int) -> NoReturn:
    """Become the container's first process (in the fork).

    A program that cannot be executed is the container's own end, as with Mesos; what goes wrong before that is
    told by way of `complain`.
    """
    doing = "prepare"
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for signum in _DEFAULT:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEFAULT)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            doing = f"open '{request[name]}'"
            os.dup2(os.open(request[name], flags, 0o644), descriptor)
        os.closerange(3, complain)
        os.closerange(complain + 1, 4096)
        for procs in request.get("cgroups", ()):
            doing = f"assign the container to its own cgroup by '{procs}'"
            with open(procs, "w") as file:
                file.write("0")
        if request.get("uid") is not None:
            doing = f"become the user with the id {request['uid']}"
            os.setgroups(request["groups"])
            os.setgid(request["gid"])
            os.setuid(request["uid"])
        doing = f"chdir into current working directory '{request['cwd']}'"
        os.chdir(request["cwd"])
        os.umask(0o022)
        # After the change of user, which clears it.
        processes.die_with_parent(launcher)
        doing = ""
        os.execvpe(request["path"], request["argv"], request["env"])
    except BaseException as error:
        why = str(error.strerror) if isinstance(error, OSError) else repr(error)
        if doing.startswith("chdir") and isinstance(error, PermissionError):
            why += _closed_door(request["cwd"])
        if doing:
            text = f"Failed to {doing}: {why}"
            os.write(complain, json.dumps([request["id"], text[:MAX_COMPLAINT]]).encode() + b"\n")
        with contextlib.suppress(OSError):
            os.write(2, f"Failed to execute command: {why}\n".encode())
    os._exit(1)


def _closed_door(path: str) -> str:
    """Name the directory on the way to a path that keeps this process's user out."""
    parts = [path]
    while parts[-1] != os.path.dirname(parts[-1]):
        parts.append(os.path.dirname(parts[-1]))
    closed = next((one for one in reversed(parts) if not os.access(one, os.X_OK)), None)
    return "" if closed is None else f" (the task's user may not pass '{closed}')"


def _close(cgroups: Cgroups, owner: str) -> None:
    """Remove all groups: the last process of one may still be on its way out."""
    for _ in range(50):
        cgroups.close(owner)
        if not cgroups.exists(owner):
            return
        time.sleep(0.02)


def main(
    channel: socket.socket, pipe: int, temporary: str | None, cgroups: Cgroups | None = None
) -> NoReturn:
    """Run a launcher in this (forked) process.

    Parameters
    ----------
    pipe
        Ends when the supervisor does (its pid would still be our parent's for a moment).
    temporary
        A directory to remove when the supervisor was killed and cannot do it.
    cgroups
        Where the containers' groups are; they go at the end.
    """
    processes.become_subreaper()
    try:
        Launcher(channel).run()
        if cgroups is not None:
            _close(cgroups, processes.identity(os.getpid()))
        supervisor = select.poll()
        supervisor.register(pipe, select.POLLIN)
        if temporary is not None and supervisor.poll(0):
            shutil.rmtree(temporary, ignore_errors=True)
    except BaseException as error:
        print(f"launcher: {error!r}", file=sys.stderr)
        processes.send(processes.descendants(os.getpid()), signal.SIGKILL)
        os._exit(1)
    os._exit(0)
