"""The supervisor: imports once, forks the master and the agents, and sees to it that they end together.

    python -m t2notebook.localmesos --agents 2 --cpus 4 --mem 4096

It prints (or writes to --announce-fd) one JSON line when the master listens. It ends at SIGTERM or SIGINT, when
the master says that nobody uses the cluster (--exit-when-idle), when --parent-pid is gone; nothing it started
is left then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from t2notebook.localmesos import agent_process, launcher, life, master_process
from t2notebook.localmesos.resources import Resources
from t2notebook.localmesos.server import listen

FIRST_PORT, PORTS = 31000, 1000
STOP_SECONDS = 5.0
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class _Family:
    """The processes that the supervisor started: name -> pid."""

    pids: dict[str, int] = field(default_factory=dict)

    def reap(self) -> list[str]:
        """Give the names of those that ended."""
        ended = []
        for name, pid in list(self.pids.items()):
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done = pid
            if done:
                del self.pids[name]
                ended.append(name)
        return ended


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m t2notebook.localmesos", description="An embedded Mesos cluster."
    )
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=4, help="of each agent")
    parser.add_argument("--mem", type=float, default=4096, help="MiB of each agent")
    parser.add_argument("--disk", type=float, default=10240, help="MiB of each agent")
    parser.add_argument("--gpus", type=float, default=0, help="of each agent")
    parser.add_argument(
        "--attributes", action="append", help="'rack:r1;zone:a': once for all agents, or once for each"
    )
    parser.add_argument("--work-dir", help="kept; without it a temporary one that is removed at the end")
    parser.add_argument("--ip", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of the master; 0 takes a free one")
    parser.add_argument("--exit-when-idle", type=float, metavar="SECONDS")
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process is gone")
    parser.add_argument("--detach", action="store_true", help="go on as nobody's child")
    parser.add_argument("--announce-fd", type=int, metavar="FD", default=1)
    parser.add_argument(
        "--agent-timeout", type=float, default=5.0, metavar="SECONDS", help="silence of a lost agent"
    )
    parser.add_argument("--executor-registration-timeout", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    if options.agents < 1:
        parser.error("--agents must be at least 1")
    if options.attributes and len(options.attributes) not in (1, options.agents):
        parser.error("--attributes must be given once, or once for each agent")
    try:
        options.parsed_attributes = [_attributes(text) for text in options.attributes or [""]]
    except ValueError as error:
        parser.error(str(error))
    return options


def _attributes(text: str) -> list[tuple[str, str]]:
    found = []
    for part in text.split(";"):
        if part.strip():
            name, colon, value = part.strip().partition(":")
            if not name or not colon or not value:
                raise ValueError(f"--attributes: '{part}' is not name:value")
            found.append((name, value))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster; give the exit code."""
    options = parse(arguments)
    if options.detach and os.fork():
        os._exit(0)
    try:
        listening = listen(options.ip, options.port)
    except OSError as error:
        print(
            f"t2notebook.localmesos: cannot listen on {options.ip}:{options.port}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    temporary = options.work_dir is None
    work_dir = tempfile.mkdtemp(prefix="localmesos-") if temporary else os.path.abspath(options.work_dir)
    os.makedirs(work_dir, exist_ok=True)
    if os.geteuid() == 0:
        # Tasks of other users must be able to reach their sandboxes.
        os.umask(0o022)
        if temporary:
            os.chmod(work_dir, 0o711)
    try:
        return _supervise(options, listening, work_dir)
    finally:
        if temporary:
            shutil.rmtree(work_dir, ignore_errors=True)


def _supervise(options: argparse.Namespace, listening: socket.socket, work_dir: str) -> int:
    parent = options.parent_pid
    parent_start = None if parent is None else life.start_time(parent)
    if parent is not None and parent_start is None:
        return 0
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    stopping: list[int] = []
    for signum in _ENDING:
        signal.signal(signum, lambda number, _: stopping.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    family = _start(options, listening, work_dir, (wake_read, wake_write))
    _announce(options, listening, work_dir, family)
    # The master's socket belongs to the master alone from here on: when it ends, its port must be closed.
    listening.close()
    watched = [wake_read, *_parent_descriptor(parent)]
    # A parent without a descriptor that tells its end must be looked at now and then.
    interval = 0.5 if parent is not None and len(watched) == 1 else None
    while not stopping and "master" in family.pids:
        select.select(watched, [], [], interval)
        with contextlib.suppress(BlockingIOError):
            os.read(wake_read, 4096)
        family.reap()
        if parent is not None and not life.alive(parent, parent_start):
            break
    _stop(family)
    return 0


def _parent_descriptor(parent: int | None) -> list[int]:
    if parent is None or not hasattr(os, "pidfd_open"):
        return []
    try:
        return [os.pidfd_open(parent)]
    except OSError:
        return []


def _start(
    options: argparse.Namespace, listening: socket.socket, work_dir: str, wake: tuple[int, int]
) -> _Family:
    """Fork everything, before any event loop exists."""
    port = listening.getsockname()[1]
    secret = secrets.token_urlsafe(24)
    life_read, life_write = os.pipe()
    pairs = [socket.socketpair() for _ in range(options.agents)]
    family = _Family()
    supervisor = os.getpid()
    temporary = work_dir if options.work_dir is None else None
    log_dir = os.path.join(work_dir, "log")
    os.makedirs(log_dir, exist_ok=True)

    def fork(name: str, keep: list[socket.socket], body: Callable[[], None], *, dies: bool) -> None:
        # A signal that comes between the fork and the child's own handlers must not be lost in the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            family.pids[name] = pid
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for signum in (*_ENDING, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            os.setpgid(0, 0)
            if dies:
                life.die_with_parent(supervisor)
            # The pipe must have one writer, a socket pair's end one owner: else no end of theirs is ever seen.
            for descriptor in (life_write, *wake):
                os.close(descriptor)
            for one in [listening, *(end for pair in pairs for end in pair)]:
                if one not in keep:
                    one.close()
            _redirect(os.path.join(log_dir, f"{name}.log"), options.announce_fd)
            body()
            code = 0
        except BaseException:
            logging.getLogger(__name__).exception("%s", name)
        finally:
            os._exit(code)

    watched = life.Watched(life_read)
    master = master_process.MasterOptions(
        options.ip, port, secret, work_dir, options.exit_when_idle, options.agent_timeout
    )
    fork("master", [listening], partial(master_process.main, master, listening, watched), dies=True)
    for index, (agent_end, launcher_end) in enumerate(pairs):
        first = FIRST_PORT + index * PORTS
        ports = [(first, first + PORTS - 1)] if first + PORTS <= 65536 else []
        resources = Resources.of(
            cpus=options.cpus, mem=options.mem, disk=options.disk, gpus=options.gpus, ports=ports
        )
        attributes = options.parsed_attributes[index % len(options.parsed_attributes)]
        agent = agent_process.AgentOptions(
            index=index,
            ip=options.ip,
            master=(options.ip, port),
            secret=secret,
            work_dir=os.path.join(work_dir, f"agent{index + 1}"),
            resources=resources,
            attributes=attributes,
            registration_timeout=options.executor_registration_timeout,
        )
        # A launcher outlives its agent for as long as the sweeping takes, so it does not die with the supervisor.
        sweep = partial(launcher.main, launcher_end, life_read, temporary)
        fork(f"launcher{index + 1}", [launcher_end], sweep, dies=False)
        fork(
            f"agent{index + 1}",
            [agent_end],
            partial(agent_process.main, agent, agent_end, watched),
            dies=True,
        )
    os.close(life_read)
    for pair in pairs:
        for end in pair:
            end.close()
    return family


def _redirect(path: str, announce_fd: int) -> None:
    """Point a child's output to its log, and let go of the caller's descriptors (a pipe's reader waits for that)."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for descriptor in (null, log):
        if descriptor > 2:
            os.close(descriptor)
    if announce_fd > 2:
        with contextlib.suppress(OSError):
            os.close(announce_fd)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )


def _announce(options: argparse.Namespace, listening: socket.socket, work_dir: str, family: _Family) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    line = {"master": shown, "pid": os.getpid(), "pids": family.pids, "work_dir": work_dir}
    with contextlib.suppress(OSError):
        os.write(options.announce_fd, json.dumps(line).encode() + b"\n")
    if options.announce_fd > 2:
        with contextlib.suppress(OSError):
            os.close(options.announce_fd)


def _stop(family: _Family) -> None:
    """Stop all; wait for it; kill what is stuck."""
    agents = [pid for name, pid in family.pids.items() if not name.startswith("launcher")]
    life.send(agents, signal.SIGTERM)
    life.send(agents, signal.SIGCONT)
    deadline = time.monotonic() + STOP_SECONDS
    killed = False
    while family.pids:
        family.reap()
        left = deadline - time.monotonic()
        if left <= 0:
            if killed:
                life.send(family.pids.values(), signal.SIGKILL)
                break
            # Agents first: their launchers then still sweep up.
            stuck = [pid for name, pid in family.pids.items() if not name.startswith("launcher")]
            life.send(stuck, signal.SIGKILL)
            killed, deadline = True, time.monotonic() + STOP_SECONDS
        time.sleep(0.002)
