"""A cluster of real Mesos processes: `mesos-master` and `mesos-agent` from PATH, one session each."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .spawn import START_SECONDS, StartError, end

if TYPE_CHECKING:
    from ..faults.client import Faults


#: Becomes the program that its arguments name, with no signal blocked or ignored: what a kernel has blocked or ignored
#: (SIGCHLD, say) would be inherited by masters, agents and all that these start.
_WITH_DEFAULT_SIGNALS = """
import os, signal, sys
for number in signal.valid_signals() - {signal.SIGHUP}:  # nohup's stays ignored
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execv(sys.argv[1], sys.argv[1:])
"""


class Binaries:
    """Real Mesos processes, one session each.

    Parameters
    ----------
    agents, cpus, mem, disk, gpus, attributes, work_dir, port
        As `LocalMesos` has them.
    flags
        More flags of the agents, by name.
    """

    def __init__(
        self,
        agents: int,
        cpus: float,
        mem: float,
        disk: float,
        gpus: float,
        attributes: str | Sequence[str] | None,
        work_dir: str | os.PathLike[str] | None,
        port: int,
        flags: Mapping[str, object] | None = None,
    ) -> None:
        programs = {name: shutil.which(name) for name in ("mesos-master", "mesos-agent")}
        absent = [name for name, path in programs.items() if path is None]
        if absent:
            raise StartError(
                f"LocalMesos(binaries=True) needs {' and '.join(absent)} on PATH; "
                "without binaries=True an embedded Mesos is used"
            )
        self._temporary = work_dir is None
        self.faults: Faults | None = None
        self.work_dir = (
            tempfile.mkdtemp(prefix="localmesos-") if work_dir is None else os.path.abspath(work_dir)
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids: dict[str, int] = {}
        ports = _free_ports(agents + 1)
        ports[0] = port or ports[0]
        self.master = f"127.0.0.1:{ports[0]}"
        self.masters = [self.master]
        texts = [attributes] if isinstance(attributes, str) else list(attributes or [])
        try:
            self._start("master", [str(programs["mesos-master"]), "--ip=127.0.0.1", f"--port={ports[0]}"])
            for index in range(agents):
                first = 31000 + 1000 * index
                resources = f"cpus:{cpus};mem:{mem};disk:{disk};ports:[{first}-{first + 999}]"
                command = [str(programs["mesos-agent"]), "--ip=127.0.0.1", f"--port={ports[index + 1]}"]
                command += [
                    f"--master={self.master}",
                    f"--resources={resources}" + (f";gpus:{gpus}" if gpus else ""),
                ]
                own = {"launcher": "posix", "isolation": "posix/cpu,posix/mem", **(flags or {})}
                command.append("--no-systemd_enable_support")
                for name, value in own.items():
                    shown = str(value).lower() if isinstance(value, bool) else value
                    command.append(f"--{name}={shown}")
                if texts:
                    command.append(f"--attributes={texts[index % len(texts)]}")
                self._start(f"agent{index + 1}", command)
            self._wait_until_up(int(ports[0]))
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, command: list[str]) -> None:
        directory = os.path.join(self.work_dir, name)
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(self.work_dir, f"{name}.log"), "ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _WITH_DEFAULT_SIGNALS,
                    *command,
                    f"--work_dir={directory}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        self.pids[name] = process.pid

    def _wait_until_up(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for name, process in zip(self.pids, self._processes, strict=True):
                if process.poll() is not None:
                    raise StartError(
                        f"mesos-{name.rstrip('0123456789')} ended; see {self.work_dir}/{name}.log"
                    )
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise StartError(
            f"mesos-master did not listen within {START_SECONDS:g} s; see {self.work_dir}/master.log"
        )

    def close(self) -> None:
        # The agents first: at SIGUSR1 they unregister and kill their executors.
        for process in reversed(self._processes):
            end(process, signal.SIGTERM if process is self._processes[0] else signal.SIGUSR1)
        self._processes.clear()
        if self._temporary:
            shutil.rmtree(self.work_dir, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
