"""Starting a cluster from Python: spawn the supervisor, hear its announcement, end it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from t2notebook.localmesos.fault_client import Faults

if TYPE_CHECKING:
    from t2notebook.localmesos.binaries import Binaries

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
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        # The package that we are of, and nothing before the standard library: neither a random.py in the notebook's
        # directory nor an old backport beside the package must become the cluster's.
        code = (
            "import importlib.util, sys\n"
            f"spec = importlib.util.spec_from_file_location('t2notebook', {os.path.join(package, '__init__.py')!r})\n"
            "package = sys.modules['t2notebook'] = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(package)\n"
            f"sys.path += [] if {os.path.dirname(package)!r} in sys.path else [{os.path.dirname(package)!r}]\n"
            "from t2notebook.localmesos.supervisor import main\n"
            "sys.exit(main())\n"
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
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
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
    simulate: int = 0,
    simulate_duration: str | None = None,
    allocator: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[str]:
    """Write a cluster's description as the supervisor's arguments."""
    arguments = ["--agents", str(agents), "--cpus", str(cpus), "--mem", str(mem), "--disk", str(disk)]
    arguments += ["--gpus", str(gpus), "--port", str(port)]
    for text in [attributes] if isinstance(attributes, str) else attributes or []:
        arguments += ["--attributes", text]
    if work_dir is not None:
        arguments += ["--work-dir", os.path.abspath(work_dir)]
    if simulate:
        arguments += ["--simulate", str(simulate)]
    if simulate_duration is not None:
        arguments += ["--simulate-duration", simulate_duration]
    if allocator is not None:
        arguments += ["--allocator", allocator]
    if weights:
        arguments += ["--weights", ",".join(f"{role}={weight}" for role, weight in weights.items())]
    return arguments


_open: weakref.WeakSet[LocalMesos] = weakref.WeakSet()


def masters() -> set[str]:
    """Give the masters of this process's clusters that are not closed, those of `binaries` not among them."""
    return {master for cluster in list(_open) for master in cluster.masters}


class LocalMesos:
    """A cluster under the caller's control; it ends with `close`, with the block, or with the caller's process.

    Parameters
    ----------
    agents
        How many agents.
    cpus, mem, disk, gpus
        What each of them has (MiB).
    attributes
        `"rack:r1;level:10;keys:[1000-1500]"` for all agents, or one such text for each: text, numbers and ranges
        as Mesos reads them.
    work_dir
        Where sandboxes and logs lie; kept. Without it a temporary directory, removed at the end.
    port
        The master's; 0 takes a free one.
    binaries
        Run `mesos-master` and `mesos-agent` from PATH instead of the embedded ones.
    simulate
        So many simulated agents more (`agents` may then be 0); their tasks only pass their time.
    simulate_duration
        How long: "normal:30,10" (the default), "fixed:1", "exp:5", "uniform:1,3" (seconds).
    allocator, weights
        "drf" (the default) or "priority", and the weights of roles; 1 for who is not named.
    restart
        Start an agent or a master that died unasked again after so many seconds; without it they stay dead.
    masters, zk, zk_session_timeout
        So many masters, of which one leads: the ZooKeeper zk://host:port/path says which. A dead leader's
        successor is known when its session (seconds) is over.
    credentials
        A file with credentials (as `mesos-master --credentials` reads it): frameworks and readers must say who
        they are.
    agent_flags
        mesos-agent's flags by name, of which the embedded agents know `isolation`, `cgroups_enable_cfs`, `gc_delay`,
        `gc_disk_headroom` and `disk_watch_interval`: `{"gc_delay": "2days"}`.

    Attributes
    ----------
    master
        "host:port" (of the first master).
    masters
        All masters' "host:port".
    pids
        Of its processes, by name, as they were at the start.
    faults
        Makes things go wrong in it, for tests; None with `binaries`.

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
        *,
        simulate: int = 0,
        simulate_duration: str | None = None,
        allocator: str | None = None,
        weights: Mapping[str, float] | None = None,
        restart: float | None = None,
        masters: int = 1,
        zk: str | None = None,
        zk_session_timeout: float | None = None,
        credentials: str | os.PathLike[str] | None = None,
        agent_flags: Mapping[str, object] | None = None,
    ) -> None:
        self._closed = False
        self._shape = f"agents={agents}, cpus={cpus:g}, mem={mem:g}"
        extra = [] if restart is None else ["--restart", str(restart)]
        if zk is not None:
            extra += ["--zk", zk, "--masters", str(masters)]
        if zk_session_timeout is not None:
            extra += ["--zk-session-timeout", str(zk_session_timeout)]
        if credentials is not None:
            extra += ["--credentials", os.path.abspath(credentials)]
        for name, value in (agent_flags or {}).items():
            if value is not False:
                extra += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        arguments = cluster_arguments(
            agents=agents,
            cpus=cpus,
            mem=mem,
            disk=disk,
            gpus=gpus,
            attributes=attributes,
            work_dir=work_dir,
            port=port,
            simulate=simulate,
            simulate_duration=simulate_duration,
            allocator=allocator,
            weights=weights,
        )
        self._cluster: _Embedded | Binaries
        if binaries:
            from t2notebook.localmesos.binaries import Binaries

            self._cluster = Binaries(agents, cpus, mem, disk, gpus, attributes, work_dir, port, agent_flags)
        else:
            self._cluster = _Embedded([*arguments, *extra, "--parent-pid", str(os.getpid())])
        self.master: str = self._cluster.master
        self.masters: list[str] = self._cluster.masters
        self.pids: dict[str, int] = self._cluster.pids
        self.work_dir: str = self._cluster.work_dir
        self.faults = self._cluster.faults
        self._owner = os.getpid()
        if not binaries:
            _open.add(self)
        atexit.register(self.close)

    def close(self) -> None:
        """End the cluster, and wait until nothing of it is left."""
        # A fork of the caller (a worker, say) must not end its parent's cluster.
        if not self._closed and os.getpid() == self._owner:
            self._closed = True
            _open.discard(self)
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
        self.masters: list[str] = line["masters"]
        self.pids: dict[str, int] = {"supervisor": line["pid"], **line["pids"]}
        self.work_dir: str = line["work_dir"]
        self.faults: Faults | None = Faults(line["control"])

    def close(self) -> None:
        end(self._process)


def end(process: subprocess.Popen[bytes], signum: int = signal.SIGTERM) -> None:
    """Ask a process to end, wait, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
