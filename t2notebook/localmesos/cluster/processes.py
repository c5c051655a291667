"""The cluster's processes: forking the master, the agents with their launchers and the simulator; reaping, ending.

They are forked from the supervisor, which imported everything once and has neither threads nor an event loop:
so that a process can be started again at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

from ..agent import main as agent_main
from ..agent.containerizer import launcher
from ..agent.containerizer.cgroups import Cgroups
from ..agent.options import AgentOptions
from ..common import processes
from ..common.resources import Resources
from ..common.task_ports import PORTS
from ..master import main as master_main

STOP_SECONDS = 5.0
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ClusterProcesses:
    """The processes that the supervisor started.

    Parameters
    ----------
    options
        The supervisor's own (`flags.parse`).
    address
        Where the master listens.

    Attributes
    ----------
    cgroups
        Where containers have control groups; None (as at first) when they are watched.
    pids
        Of those that live, by name: master, agent1, launcher1, ..., simulator.
    statuses
        Raw wait statuses of those that `reap` found last.
    private
        Descriptors of the supervisor's that no child may keep.
    """

    def __init__(self, options: argparse.Namespace, address: tuple[str, int], work_dir: str) -> None:
        self.pids: dict[str, int] = {}
        self.statuses: dict[str, int] = {}
        self.private: set[int] = set()
        self._options = options
        self._address = address
        self._work_dir = work_dir
        self.cgroups: Cgroups | None = None
        self._secret = secrets.token_urlsafe(24) if options.link_secret is None else options.link_secret
        self._supervisor = os.getpid()
        self._supervisor_pipe, supervisors_end = os.pipe()
        self.private.add(supervisors_end)
        self._channels: dict[str, socket.socket] = {}
        self._log_dir = os.path.join(work_dir, "log")
        os.makedirs(self._log_dir, exist_ok=True)

    # Starting

    def start_master(
        self, listening: socket.socket, faults: socket.socket | None = None, name: str = "master"
    ) -> None:
        """Fork a master; its port and its end of the fault channel are its own from then on.

        Parameters
        ----------
        listening
            Its port.
        faults
            Its end of the fault channel.
        name
            Of the process.
        """
        ip, port = listening.getsockname()[:2]
        options = master_main.MasterOptions(
            ip,
            port,
            self._secret,
            self._work_dir,
            idle=self._options.exit_when_idle,
            agent_timeout=self._options.agent_timeout,
            allocator=self._options.allocator,
            weights=self._options.weights,
            credentials=self._options.secrets,
            zk=self._options.zk,
            zk_session_timeout=self._options.zk_session_timeout,
        )
        body = partial(master_main.main, options, listening, processes.Watched(self._supervisor_pipe), faults)
        self._fork(name, [listening, *([faults] if faults is not None else [])], body)
        listening.close()
        if faults is not None:
            faults.close()

    def start_agent(self, index: int) -> None:
        """Fork an agent, and its launcher if there is none."""
        name = f"agent{index + 1}"
        channel = self._channels.get(name)
        if channel is None or f"launcher{index + 1}" not in self.pids:
            if channel is not None:
                self._drop(channel)
            channel, launchers = socket.socketpair()
            self._channels[name] = channel
            self.private.add(channel.fileno())
            # A launcher outlives its agent for as long as the sweeping takes: it does not die with the supervisor.
            temporary = self._work_dir if self._options.work_dir is None else None
            sweep = partial(launcher.main, launchers, self._supervisor_pipe, temporary, self.cgroups)
            self._fork(f"launcher{index + 1}", [launchers], sweep, dies=False)
            launchers.close()
        options = self._options
        agent = AgentOptions(
            index=index,
            ip=options.ip,
            master=self._address,
            secret=self._secret,
            work_dir=os.path.join(self._work_dir, name),
            resources=self._resources(index),
            attributes=options.parsed_attributes[index % len(options.parsed_attributes)],
            registration_timeout=options.executor_registration_timeout,
            zk=options.zk,
            zk_session_timeout=options.zk_session_timeout,
            cgroups=self.cgroups,
            owner=processes.identity(self.pids[f"launcher{index + 1}"]),
            gc_delay=options.gc_delay,
            gc_disk_headroom=options.gc_disk_headroom,
            disk_watch_interval=options.disk_watch_interval,
            registration_backoff_factor=options.registration_backoff_factor,
            hostname=options.hostname,
            port=options.agent_port,
            docker=options.docker,
        )
        body = partial(agent_main.main, agent, channel, processes.Watched(self._supervisor_pipe))
        self._fork(name, [channel], body)

    def start_simulator(self) -> None:
        """Fork the simulated agents."""
        from ..simulation import main as simulation_main

        options = simulation_main.SimulatorOptions(
            count=self._options.simulate,
            first=self._options.agents,
            resources=self._resources(0),
            duration=self._options.simulate_duration,
            ip=self._options.ip,
            master=self._address,
            secret=self._secret,
        )
        self._fork(
            "simulator", [], partial(simulation_main.main, options, processes.Watched(self._supervisor_pipe))
        )

    def _resources(self, index: int) -> Resources:
        options = self._options
        if options.resources is not None:
            assert isinstance(options.resources, Resources)
            return options.resources
        first = options.first_port + index * PORTS
        ports = [(first, first + PORTS - 1)] if first + PORTS <= 65536 else []
        return Resources.of(
            cpus=options.cpus, mem=options.mem, disk=options.disk, gpus=options.gpus, ports=ports
        )

    def _fork(
        self, name: str, keep: list[socket.socket], body: Callable[[], None], *, dies: bool = True
    ) -> None:
        # A signal that comes between the fork and the child's own handlers must not be lost in the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            self.pids[name] = pid
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for signum in (*ENDING, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            os.setpgid(0, 0)
            if dies:
                processes.die_with_parent(self._supervisor)
            # The pipe must have one writer, a socket pair's end one owner: else no end of theirs is ever seen.
            for descriptor in self.private - {one.fileno() for one in keep}:
                os.close(descriptor)
            # Whoever runs a part alone looks after its stderr, as a container engine does.
            log = None if self._options.alone else os.path.join(self._log_dir, f"{name}.log")
            _redirect(log, self._options.announce_fd)
            body()
            code = 0
        except BaseException:
            logging.getLogger(__name__).exception("%s", name)
        finally:
            os._exit(code)

    # Ending

    def reap(self) -> list[str]:
        """Give the names of those that ended."""
        ended = []
        for name, pid in list(self.pids.items()):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done, status = pid, 0
            if done:
                del self.pids[name]
                self.statuses[name] = status
                ended.append(name)
        return ended

    def kill(self, name: str) -> bool:
        """Kill a process and wait for its end; False when it is dead already."""
        self.reap()
        pid = self.pids.pop(name, None)
        if pid is None:
            return False
        processes.send([pid], signal.SIGKILL)
        os.waitpid(pid, 0)
        return True

    def stop(self) -> None:
        """Stop all; wait for it; kill what is stuck."""
        self._signal_agents(signal.SIGTERM)
        self._signal_agents(signal.SIGCONT)
        for channel in list(self._channels.values()):
            self._drop(channel)
        deadline = time.monotonic() + STOP_SECONDS
        killed = False
        while self.pids:
            self.reap()
            if deadline - time.monotonic() <= 0:
                if killed:
                    processes.send(self.pids.values(), signal.SIGKILL)
                    break
                # Agents first: their launchers then still sweep up.
                self._signal_agents(signal.SIGKILL)
                killed, deadline = True, time.monotonic() + STOP_SECONDS + launcher.END_SECONDS
            time.sleep(0.002)

    def _signal_agents(self, signum: int) -> None:
        processes.send([pid for name, pid in self.pids.items() if not name.startswith("launcher")], signum)

    def _drop(self, channel: socket.socket) -> None:
        self.private.discard(channel.fileno())
        channel.close()


def _redirect(path: str | None, announce_fd: int) -> None:
    """Point a child's output to its log (None: to stderr), and let go of the caller's descriptors: a pipe's reader
    waits for that.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        log = os.dup(2) if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        # To work without a log is better than not to work.
        log = os.open(os.devnull, os.O_WRONLY)
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
