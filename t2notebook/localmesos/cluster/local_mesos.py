"""Starting a cluster from Python: spawn the supervisor, hear its announcement, end it."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..faults.client import Faults
from .spawn import Spawned, end

if TYPE_CHECKING:
    from .binaries import Binaries


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
    """Write a cluster's description as the supervisor's arguments.

    Parameters
    ----------
    agents, cpus, mem, disk, gpus, attributes, work_dir, port
        As `LocalMesos` has them.
    simulate, simulate_duration
        How many simulated agents, and the distribution of their tasks' seconds.
    allocator, weights
        The allocator's policy, and its weights by role.
    """
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
        mesos-agent's flags by name, of which the embedded agents know `isolation`, `cgroups_enable_cfs`, `docker`,
        `gc_delay`, `gc_disk_headroom`, `disk_watch_interval` and `registration_backoff_factor`:
        `{"gc_delay": "2days"}`.

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
            from .binaries import Binaries

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
