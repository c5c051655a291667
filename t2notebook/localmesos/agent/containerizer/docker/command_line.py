"""Command lines of a container engine, and what it prints of itself. Pure.

The options are those that Mesos gives docker (`src/docker/docker.cpp`), and podman takes them as well. Environment
variables go by name, their values in the client's own environment: a command line is everybody's to read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ....common.task_states import Json
from ..limits import PERIOD_US, Limits
from ..sandbox import User, values_of
from ..volumes import VolumeError, source_of

SANDBOX = "/mnt/mesos/sandbox"
"""Where a container finds its sandbox (Mesos's `--sandbox_directory`)."""

PREFIX = "mesos-"
"""Of the containers' names, as Mesos has them."""

OWNER = "t2notebook.owner"
"""The label that says whose launcher a container belongs to."""

PODMAN, DOCKER = "podman", "docker"
SHARES_PER_CPU, MIN_SHARES = 1024, 10

_OF_THE_CLIENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|LANG|LC_.*|LD_.*|XDG_.*|DBUS_.*|DOCKER_.*|CONTAINER.*|REGISTRY_.*|BUILDAH_.*|"
    r"STORAGE_.*|NOTIFY_SOCKET|LISTEN_.*|GO[A-Z]+|SSL_.*|(?i:https?|no|all)_proxy|(?i:.*_proxy)"
)
"""Variables that the client itself goes by: a container's of such a name stand on the command line."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers.

    Attributes
    ----------
    program
        Its command line's path.
    kind
        `PODMAN` or `DOCKER`.
    limits
        Whether it can limit memory and cpus here.
    rootless
        Its containers' root is the user who runs it.
    """

    program: str
    kind: str
    limits: bool = True
    rootless: bool = False


@dataclass(frozen=True)
class Container:
    """A container to be made.

    Attributes
    ----------
    id
        Mesos's.
    info
        Its ContainerInfo (of the type DOCKER).
    command
        Its CommandInfo.
    env
        What it finds in its environment.
    directory
        Its sandbox on the host.
    owner
        For its label.
    cfs
        Its cpus are also the most that it gets.
    """

    id: str
    info: Json
    command: Json
    env: Mapping[str, str]
    directory: str
    user: User
    limits: Limits
    owner: str
    cfs: bool = False

    @property
    def name(self) -> str:
        """Give its name at the engine."""
        return PREFIX + self.id

    @property
    def image(self) -> str:
        """Give its image."""
        return str(self.info["docker"]["image"])


def read_info(program: str, text: str) -> Engine:
    """Read what an engine prints at `info --format '{{json .}}'`.

    Raises
    ------
    ValueError
        It is no engine's.
    """
    info = json.loads(text)
    if not isinstance(info, dict):
        raise ValueError("it is no object")
    if "host" in info:
        host = info["host"]
        controllers = host.get("cgroupControllers") or []
        return Engine(
            program,
            PODMAN,
            {"memory", "cpu"} <= set(controllers),
            bool(host.get("security", {}).get("rootless")),
        )
    if errors := info.get("ServerErrors"):
        raise ValueError(str(errors[0]))
    rootless = any("rootless" in one for one in info.get("SecurityOptions") or [])
    return Engine(program, DOCKER, bool(info.get("MemoryLimit")), rootless)


def run(engine: Engine, container: Container) -> tuple[list[str], dict[str, str]]:
    """Give the command line that runs a container in the foreground, and the variables that it takes values from.

    Parameters
    ----------
    engine
        The engine that is to run it.
    container
        What it is to be.

    Raises
    ------
    VolumeError
        A volume is not to be had.
    """
    docker = container.info["docker"]
    arguments = [engine.program, "run", "--name", container.name, "--label", f"{OWNER}={container.owner}"]
    if engine.limits:
        arguments += ["--memory-swap", "-1", *limit_options(container.limits, cfs=container.cfs)]
    env, passed = {**container.env, **_of_the_sandbox(container)}, {}
    # What it runs its own programs with is the image's.
    if container.env.get("PATH") != values_of(_variables(container.command)).get("PATH"):
        env.pop("PATH", None)
    for name in sorted(env):
        if _OF_THE_CLIENT.fullmatch(name):
            arguments += ["--env", f"{name}={env[name]}"]
        else:
            arguments += ["--env", name]
            passed[name] = env[name]
    arguments += ["--volume", f"{container.directory}:{SANDBOX}:rw", "--workdir", SANDBOX]
    for volume in container.info.get("volumes", []):
        arguments += ["--volume", _volume(volume, container.directory)]
    # Otherwise SELinux keeps containers from the sandbox.
    arguments += ["--security-opt", "label=disable", "--user", _user(engine, container.user)]
    arguments += ["--network", _network(container.info)]
    if docker.get("privileged"):
        arguments += ["--privileged"]
    if hostname := container.info.get("hostname"):
        arguments += ["--hostname", hostname]
    for mapping in docker.get("port_mappings", []):
        ports = f"{mapping['host_port']}:{mapping['container_port']}"
        arguments += ["--publish", f"{ports}/{mapping['protocol']}" if "protocol" in mapping else ports]
    for parameter in docker.get("parameters", []):
        arguments += [f"--{parameter['key']}={parameter['value']}"]
    return [*arguments, *_program(container)], passed


def launch_request(engine: Engine, container: Container, *, checkpoint: bool) -> Json:
    """Give what the launcher needs to start a container's client, and to end the container.

    Its `cwd`, and the rest of its `env`, are the agent's to say.

    Parameters
    ----------
    engine, container
        As `run` has them.
    checkpoint
        It outlives an agent that was killed.

    Raises
    ------
    VolumeError
        A volume is not to be had.
    """
    arguments, env = run(engine, container)
    return {
        "op": "launch",
        "id": container.id,
        "engine": {"program": engine.program, "kind": engine.kind},
        "path": engine.program,
        "argv": arguments,
        "env": env,
        "stdout": os.path.join(container.directory, "stdout"),
        "stderr": os.path.join(container.directory, "stderr"),
        "checkpoint": checkpoint,
        "limited": container.id,
        "end": end(engine, container.id),
    }


def limit_options(limits: Limits, *, cfs: bool) -> list[str]:
    """Give the options, of `run` and of `update`, that set limits.

    Parameters
    ----------
    limits
        What the container may use.
    cfs
        Its cpus are also the most that it gets.
    """
    shares = max(int(limits.cpus * SHARES_PER_CPU), MIN_SHARES)
    options = ["--cpu-shares", str(shares)]
    if (memory := limits.memory_bytes) is not None:
        options += ["--memory", str(memory)]
    if (quota := limits.quota_us(cfs=cfs)) is not None:
        options += ["--cpu-period", str(PERIOD_US), "--cpu-quota", str(quota)]
    return options


def update(engine: Engine, container_id: str, limits: Limits, *, cfs: bool) -> list[str]:
    """Give the command line that changes a living container's limits.

    Parameters
    ----------
    engine, container_id
        Where it runs.
    limits, cfs
        As `limit_options` has them.
    """
    return [engine.program, "update", *limit_options(limits, cfs=cfs), PREFIX + container_id]


def probe(launched: Json, probe_id: str, command: Json, env: Mapping[str, str]) -> Json:
    """Give what the launcher needs to run one more command in a container.

    Parameters
    ----------
    launched
        The container's own request.
    probe_id
        Of the container that the command counts as.
    command
        Its `path` and `argv`.
    env
        More of its environment.
    """
    program, name = launched["engine"]["program"], PREFIX + launched["id"]
    options = [word for variable in sorted(env) for word in ("--env", f"{variable}={env[variable]}")]
    arguments = [program, "exec", *options, name, command["path"], *command["argv"][1:]]
    request = {key: value for key, value in launched.items() if key != "end"}
    return {**request, "id": probe_id, "argv": arguments, "env": {}}


def remove(engine: Engine, names: list[str]) -> list[str]:
    """Give the command line that kills and removes containers, with what they wrote."""
    # Podman's stop is polite for 10 s otherwise, docker's rm never is.
    grace = ["--time", "0"] if engine.kind == PODMAN else []
    return [engine.program, "rm", "--force", "--volumes", *grace, *names]


def end(engine: Engine, container_id: str) -> list[str]:
    """Give the command that the launcher runs when a container is to be, or is, over: `true` is printed if its memory
    ran out.

    Conmon before 2.1.8 leaves its note of that (`oom`) where the client was started, and podman does not find it.
    """
    name = PREFIX + container_id
    script = '"$1" inspect --format "{{.State.OOMKilled}}" "$2"; if [ -e oom ]; then echo true; fi; shift 2; exec "$@"'
    return ["/bin/sh", "-c", script, "sh", engine.program, name, *remove(engine, [name])]


def leftovers(engine: Engine) -> list[str]:
    """Give the command line that lists all containers of agents: a name and its owner a line."""
    shown = '{{.Names}} {{.Label "%s"}}' if engine.kind == DOCKER else '{{.Names}} {{index .Labels "%s"}}'
    return [engine.program, "ps", "--all", "--filter", f"label={OWNER}", "--format", shown % OWNER]


def _variables(command: Json) -> list[Json]:
    found: list[Json] = command.get("environment", {}).get("variables", [])
    return found


def _of_the_sandbox(container: Container) -> dict[str, str]:
    # As Mesos's docker containerizer: MESOS_DIRECTORY is the host's path.
    return {"MESOS_SANDBOX": SANDBOX, "MESOS_CONTAINER_NAME": container.name}


def _volume(volume: Json, directory: str) -> str:
    target = volume["container_path"]
    if not os.path.isabs(target):
        target = os.path.join(SANDBOX, target)
    mode = "ro" if volume.get("mode") == "RO" else "rw"
    if "host_path" not in volume and "source" not in volume:
        raise VolumeError("Volumes of the type DOCKER_VOLUME are not supported by the embedded Mesos")
    if "host_path" in volume and not os.path.isabs(volume["host_path"]):
        source = os.path.normpath(os.path.join(directory, volume["host_path"]))
    else:
        _, source = source_of(volume, directory, None)
    return f"{source}:{target}:{mode}"


def _user(engine: Engine, user: User) -> str:
    if engine.rootless:
        return "0:0"
    uid = os.geteuid() if user.uid is None else user.uid
    gid = os.getegid() if user.gid is None else user.gid
    return f"{uid}:{gid}"


def _network(info: Json) -> str:
    network = info["docker"].get("network", "HOST")
    if network == "USER":
        return str(next((one["name"] for one in info.get("network_infos", []) if "name" in one), "bridge"))
    return str(network).lower()


def _program(container: Container) -> list[str]:
    command = container.command
    if command.get("shell", True):
        return ["--entrypoint", "/bin/sh", container.image, "-c", command.get("value", "")]
    # Mesos leaves the image's own entrypoint then.
    value = [command["value"]] if command.get("value") else []
    return [container.image, *value, *command.get("arguments", [])]
