"""Starting a cluster from Python: spawn the supervisor, hear its announcement, end it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class StartError(RuntimeError):
    """The cluster did not start; the text says why."""


class Spawned:
    """A supervisor that was started and has perhaps not announced itself yet.

    Parameters
    ----------
    arguments
        Of `python -m t2notebook.localmesos`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        read, write = os.pipe()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process's start
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        # -P and the explicit path: a random.py in the notebook's directory must not become the cluster's.
        code = (
            f"import sys; sys.path[:0] = [] if {root!r} in sys.path else [{root!r}]; "
            "from t2notebook.localmesos.supervisor import main; sys.exit(main())"
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *arguments, "--announce-fd", str(write)],
                pass_fds=(write,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            os.close(read)
            raise StartError(f"Cannot start the embedded Mesos: {error}") from error
        finally:
            os.close(write)
        self._read = read
        self._line: dict[str, Any] | None = None

    def wait(self, timeout: float = START_SECONDS) -> dict[str, Any]:
        """Wait for the announcement.

        Returns
        -------
        dict
            `master` ("host:port"), `pid`, `pids`, `work_dir`.

        Raises
        ------
        StartError
            The supervisor ended, or said nothing in time (it is ended then).
        """
        if self._line is not None:
            return self._line
        deadline, data = time.monotonic() + timeout, b""
        try:
            while not data.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._read], [], [], left)[0]:
                    # The group: a detached supervisor is no child any more, but still in it.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self.process.pid, signal.SIGKILL)
                    self.process.wait()
                    raise StartError(f"The embedded Mesos did not start within {timeout:g} s{self._said()}")
                piece = os.read(self._read, 65536)
                if not piece:
                    self.process.wait()
                    raise StartError(f"The embedded Mesos did not start{self._said()}")
                data += piece
        finally:
            os.close(self._read)
        self._stderr.close()
        line: dict[str, Any] = json.loads(data)
        if line["pid"] != self.process.pid:
            self.process.wait()
        self._line = line
        return line

    def _said(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", "replace").strip()
        self._stderr.close()
        return f": {text[-2000:]}" if text else ""


def cluster_arguments(
    *,
    agents: int,
    cpus: float,
    mem: float,
    disk: float = 10240,
    gpus: float = 0,
    attributes: str | Sequence[str] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    port: int = 0,
) -> list[str]:
    """Write a cluster's description as the supervisor's arguments."""
    arguments = ["--agents", str(agents), "--cpus", str(cpus), "--mem", str(mem), "--disk", str(disk)]
    arguments += ["--gpus", str(gpus), "--port", str(port)]
    for text in [attributes] if isinstance(attributes, str) else attributes or []:
        arguments += ["--attributes", text]
    if work_dir is not None:
        arguments += ["--work-dir", os.path.abspath(work_dir)]
    return arguments


class LocalMesos:
    """A cluster under the caller's control; it ends with `close`, with the block, or with the caller's process.

    Parameters
    ----------
    agents
        How many agents.
    cpus, mem, disk, gpus
        What each of them has (MiB).
    attributes
        `"rack:r1;zone:a"` for all agents, or one such text for each.
    work_dir
        Where sandboxes and logs lie; kept. Without it a temporary directory, removed at the end.
    port
        The master's; 0 takes a free one.
    binaries
        Run `mesos-master` and `mesos-agent` from PATH instead of the embedded ones.

    Raises
    ------
    StartError
        It did not start.
    """

    def __init__(
        self,
        agents: int = 2,
        cpus: float = 4,
        mem: float = 4096,
        disk: float = 10240,
        gpus: float = 0,
        attributes: str | Sequence[str] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        port: int = 0,
        binaries: bool = False,
    ) -> None:
        self._closed = False
        self._shape = f"agents={agents}, cpus={cpus:g}, mem={mem:g}"
        arguments = cluster_arguments(
            agents=agents,
            cpus=cpus,
            mem=mem,
            disk=disk,
            gpus=gpus,
            attributes=attributes,
            work_dir=work_dir,
            port=port,
        )
        self._cluster: _Embedded | _Binaries
        if binaries:
            self._cluster = _Binaries(agents, cpus, mem, disk, gpus, attributes, work_dir, port)
        else:
            self._cluster = _Embedded([*arguments, "--parent-pid", str(os.getpid())])
        self.master: str = self._cluster.master
        self.pids: dict[str, int] = self._cluster.pids
        self.work_dir: str = self._cluster.work_dir
        self._owner = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """End the cluster, and wait until nothing of it is left."""
        # A fork of the caller (a worker, say) must not end its parent's cluster.
        if not self._closed and os.getpid() == self._owner:
            self._closed = True
            atexit.unregister(self.close)
            self._cluster.close()

    def __enter__(self) -> LocalMesos:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        return f"<LocalMesos {self.master} {self._shape}{state}>"


class _Embedded:
    def __init__(self, arguments: list[str]) -> None:
        spawned = Spawned(arguments)
        line = spawned.wait()
        self._process = spawned.process
        self.master: str = line["master"]
        self.pids: dict[str, int] = {"supervisor": line["pid"], **line["pids"]}
        self.work_dir: str = line["work_dir"]

    def close(self) -> None:
        end(self._process)


class _Binaries:
    """Real Mesos processes, one session each."""

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
    ) -> None:
        programs = {name: shutil.which(name) for name in ("mesos-master", "mesos-agent")}
        absent = [name for name, path in programs.items() if path is None]
        if absent:
            raise StartError(
                f"LocalMesos(binaries=True) needs {' and '.join(absent)} on PATH; "
                "without binaries=True an embedded Mesos is used"
            )
        self._temporary = work_dir is None
        self.work_dir = (
            tempfile.mkdtemp(prefix="localmesos-") if work_dir is None else os.path.abspath(work_dir)
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids: dict[str, int] = {}
        ports = _free_ports(agents + 1)
        ports[0] = port or ports[0]
        self.master = f"127.0.0.1:{ports[0]}"
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
                command += [
                    "--no-systemd_enable_support",
                    "--launcher=posix",
                    "--isolation=posix/cpu,posix/mem",
                ]
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
                [*command, f"--work_dir={directory}"],
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


def end(process: subprocess.Popen[bytes], signum: int = signal.SIGTERM) -> None:
    """Ask a process to end, wait, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
