"""Messages for Mesos (FrameworkInfo, ExecutorInfo, TaskInfo), and the intent of a launch for the journal. Pure."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.container_image import NO_IMAGE, ContainerImage
from ..model.events import Event, EventKind
from ..model.states import TaskState
from ..protocol.launch import KILL_GRACE, WorkerLaunch, decode_status_data, encode_status_data
from .placement.offers import EXECUTOR, scalars
from .placement.requests import Launch


def framework_info(
    *,
    user: str,
    name: str,
    role: str,
    failover_timeout: float,
    principal: str = "",
    gpus: bool = False,
) -> dict[str, Any]:
    """Return the FrameworkInfo.

    Parameters
    ----------
    user, name, role, principal : str
    failover_timeout : float
        Seconds.
    gpus : bool
        Have Mesos offer agents that have GPUs. Without, it keeps these agents for those that need them (Mesos,
        ``docs/gpu-support.md``), so it is not for everybody.
    """
    capabilities = [
        "MULTI_ROLE",
        "PARTITION_AWARE",
        "TASK_KILLING_STATE",
        *(["GPU_RESOURCES"] if gpus else []),
    ]
    return {
        **({"principal": principal} if principal else {}),
        "user": user,
        "name": name,
        "roles": [role],
        "checkpoint": True,
        "failover_timeout": failover_timeout,
        "capabilities": [{"type": name} for name in capabilities],
    }


@dataclass(frozen=True)
class ExecutorTemplate:
    """The common part of a session's ExecutorInfos; nothing of a job may stand in it.

    Parameters
    ----------
    pythons : tuple of str
        Paths or names; the first that an agent has runs the executor there.
    version : str
        ``major.minor`` that it must be.
    core_url, core_file : str
        The core package, and its name in the sandbox.
    idle_timeout : float
        Seconds after which an idle executor ends by itself.
    environment : mapping
        Variables that have to be there when its program starts. The whole cluster can see them.
    containerizer : str
        ``"docker"`` or ``"mesos"``: of Mesos's containerizers the one that runs images.
    """

    pythons: tuple[str, ...]
    version: str
    core_url: str
    core_file: str
    idle_timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    containerizer: str = "docker"

    def info(
        self,
        executor_id: str,
        framework_id: str,
        resources: Sequence[dict[str, Any]] = (),
        image: ContainerImage = NO_IMAGE,
    ) -> dict[str, Any]:
        """Return the ExecutorInfo; for one id it is always the same, so `resources` must be.

        Parameters
        ----------
        executor_id, framework_id : str
        resources : sequence of dict
            `Resource` objects; without any, plain ones of no role and without reservations.
        image : ContainerImage
            The image that it runs in.
        """
        container = {"container": self._container(image)} if image.name else {}
        return {
            **container,
            "type": "CUSTOM",
            "executor_id": {"value": executor_id},
            "framework_id": {"value": framework_id},
            "name": "t2notebook executor",
            "source": "t2notebook",
            "command": {
                "shell": True,
                "value": self._command_in(image.name) if image.name else self._command(),
                "uris": [{"value": self.core_url, "extract": False, "cache": True}],
                # What the notebook's loader needs here means nothing in an image.
                **({} if image.name else self._environment()),
            },
            "resources": list(resources) or scalars(EXECUTOR),
            "shutdown_grace_period": {"nanoseconds": int((KILL_GRACE + 2) * 1e9)},
        }

    def _environment(self) -> dict[str, Any]:
        variables = [{"name": name, "value": value} for name, value in self.environment.items()]
        return {"environment": {"variables": variables}} if variables else {}

    def _container(self, image: ContainerImage) -> dict[str, Any]:
        """Return the ContainerInfo, on the host's network as containers without an image are."""
        volumes = [{"container_path": path, "host_path": path, "mode": "RW"} for path in image.volumes]
        more = {"volumes": volumes} if volumes else {}
        if self.containerizer == "mesos":
            of_mesos = {"image": {"type": "DOCKER", "docker": {"name": image.name}}}
            return {"type": "MESOS", "mesos": of_mesos, **more}
        return {"type": "DOCKER", "docker": {"image": image.name, "network": "HOST"}, **more}

    def _command(self) -> str:
        return self._first_of(
            self.pythons,
            f"this agent has no {' and no '.join(self.pythons)}; workers need CPython {self.version}. "
            "Install it on the agents, or name it: t2.configure(python=...)",
        )

    def _command_in(self, image: str) -> str:
        # A path of the notebook's is none of the image's.
        named = [one for one in self.pythons if one != sys.executable]
        pythons = tuple(dict.fromkeys([*named, f"python{self.version}", "python3", "python"]))
        return self._first_of(
            pythons,
            f"the image {image} has no Python; workers need CPython {self.version} there. Put it into the image, or "
            "name another image",
        )

    def _first_of(self, pythons: Sequence[str], complaint: str) -> str:
        """Return the shell's command that runs the executor by the first Python that is there."""
        run = f"{shlex.quote(self.core_file)} --idle-timeout {self.idle_timeout:g}"
        return (
            f"for python in {shlex.join(pythons)}; do "
            f'command -v "$python" >/dev/null && exec "$python" {run}; '
            f"done; echo {shlex.quote(f't2notebook: {complaint}')} >&2; exit 127"
        )


def task_info(launch: Launch, task_id: str, worker: WorkerLaunch, executor: dict[str, Any]) -> dict[str, Any]:
    """Return the TaskInfo of a worker. Its `data` holds the job's secret; nothing else does.

    Parameters
    ----------
    launch : Launch
    task_id : str
    worker : WorkerLaunch
    executor : dict
        ExecutorInfo.
    """
    more: dict[str, Any] = {}
    if launch.ports:  # for Mesos-DNS and its like
        ports = [
            {"number": port, "name": f"port{index}", "protocol": "tcp"}
            for index, port in enumerate(launch.ports)
        ]
        name = f"worker-{worker.worker_id}-{worker.job_id}"
        more["discovery"] = {"visibility": "CLUSTER", "name": name, "ports": {"ports": ports}}
    return {
        **more,
        "name": f"{worker.job_id} worker {worker.worker_id}",
        "task_id": {"value": task_id},
        "agent_id": {"value": launch.agent},
        "resources": list(launch.resources),
        "executor": executor,
        "labels": {
            "labels": [
                {"key": "t2_job_id", "value": worker.job_id},
                {"key": "t2_worker_id", "value": str(worker.worker_id)},
            ]
        },
        "data": worker.encode(),
    }


def topology(launch: Launch) -> dict[str, str]:
    """Return rack and data center of a worker's agent, which Twister2's NodeInfo has, from its attributes."""
    return {
        name: str(values[0])
        for name, attribute in (("rack", "rack"), ("data_center", "datacenter"))
        if (values := launch.attributes.get(attribute))
    }


def launch_event(launch: Launch, task_id: str, restart_count: int, now: float, agent_url: str = "") -> Event:
    """Return the intent to launch a worker, for the journal, before ACCEPT.

    A new executor's resources are part of it: a session that takes the executor over must describe it in the same
    words.

    Parameters
    ----------
    launch : Launch
    task_id : str
    restart_count : int
    now : float
        Seconds since 1970.
    agent_url : str
        The agent's address, for a later session that looks for the sandbox.
    """
    more: dict[str, Any] = {}
    if launch.ports:
        more["ports"] = list(launch.ports)
    more |= topology(launch)
    if launch.new_executor:
        more["executor_resources"] = list(launch.executor_resources)
    return Event(
        EventKind.LAUNCHED,
        launch.job_id,
        now,
        launch.worker_id,
        task_id,
        TaskState.STAGING.value,
        "SESSION",
        message=f"on {launch.host}",
        data={
            "agent": launch.agent,
            "agent_url": agent_url,
            "host": launch.host,
            "executor_id": launch.executor_id,
            "new_executor": launch.new_executor,
            "cpus": launch.resource.cpu,
            "mem": launch.resource.ram_mega_bytes,
            "restart_count": restart_count,
            **more,
        },
    )


def running_before(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the RUNNING that the update of a task's end tells with it, as an update of its own; None without one.

    Parameters
    ----------
    status : mapping
        A TaskStatus.
    """
    if not TaskState.from_mesos(status["state"]).is_terminal:
        return None
    ran = decode_status_data(status.get("data")).get("ran")
    if not isinstance(ran, int | float):
        return None
    kept = {name: status[name] for name in ("task_id", "agent_id", "executor_id", "source") if name in status}
    return {**kept, "state": "TASK_RUNNING", "data": encode_status_data(None, ran=ran)}
