"""Command lines of the container engine, which Mesos gives docker; and what is read of its answers."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from t2notebook.localmesos.agent.containerizer.docker import command_line, engine
from t2notebook.localmesos.agent.containerizer.docker.command_line import DOCKER, PODMAN, Container, Engine
from t2notebook.localmesos.agent.containerizer.limits import Limits
from t2notebook.localmesos.agent.containerizer.sandbox import PATH, User
from t2notebook.localmesos.agent.containerizer.volumes import VolumeError
from t2notebook.localmesos.common import processes

ENGINE = Engine("/usr/bin/podman", PODMAN)
INFO = {"type": "DOCKER", "docker": {"image": "python:3.12", "network": "HOST"}}


def container(**more: object) -> Container:
    known = {
        "id": "c1",
        "info": INFO,
        "command": {"value": "exec x"},
        "env": {
            "PATH": PATH,
            "MESOS_SANDBOX": "/host/sandbox",
            "MESOS_DIRECTORY": "/host/sandbox",
            "KEY": "a secret",
        },
        "directory": "/host/sandbox",
        "user": User("ada", 1000, 100),
        "limits": Limits(1.5, 256),
        "owner": "boot/pid/7-8",
    }
    return Container(**{**known, **more})  # type: ignore[arg-type]


def options(arguments: list[str], name: str) -> list[str]:
    return [value for key, value in pairwise(arguments) if key == name]


def test_a_container_runs_in_the_foreground_with_sandbox_limits_and_user() -> None:
    arguments, env = command_line.run(ENGINE, container())
    assert arguments[:4] == ["/usr/bin/podman", "run", "--name", "mesos-c1"]
    assert arguments[-4:] == ["/bin/sh", "python:3.12", "-c", "exec x"]
    assert options(arguments, "--volume") == ["/host/sandbox:/mnt/mesos/sandbox:rw"]
    assert options(arguments, "--workdir") == ["/mnt/mesos/sandbox"]
    assert options(arguments, "--memory") == [str(256 << 20)] and options(arguments, "--cpu-shares") == [
        "1536"
    ]
    assert options(arguments, "--network") == ["host"] and options(arguments, "--user") == ["1000:100"]
    assert "--detach" not in arguments and "--rm" not in arguments
    # Values go by the client's environment: a command line is everybody's to read.
    assert "a secret" not in " ".join(arguments)
    assert env["KEY"] == "a secret" and env["MESOS_SANDBOX"] == "/mnt/mesos/sandbox"
    assert env["MESOS_DIRECTORY"] == "/host/sandbox" and env["MESOS_CONTAINER_NAME"] == "mesos-c1"
    # What the image calls PATH stays, unless the command itself says another.
    assert "PATH" not in env and not [one for one in arguments if one.startswith("PATH=")]


def test_variables_that_the_client_goes_by_do_not_change_it() -> None:
    variables = [{"name": "PATH", "value": "/opt/bin"}, {"name": "DOCKER_HOST", "value": "tcp://h:1"}]
    mine = {"PATH": "/opt/bin", "DOCKER_HOST": "tcp://h:1", "http_proxy": "p", "XDG_RUNTIME_DIR": "/r"}
    command = {"value": "x", "environment": {"variables": variables}}
    arguments, env = command_line.run(ENGINE, container(command=command, env=mine))
    assert set(env) == {"MESOS_SANDBOX", "MESOS_CONTAINER_NAME"}
    assert {"PATH=/opt/bin", "DOCKER_HOST=tcp://h:1", "http_proxy=p"} <= set(options(arguments, "--env"))


def test_a_command_that_is_no_shells_goes_to_the_images_entrypoint() -> None:
    command = {"shell": False, "value": "/bin/echo", "arguments": ["a b"]}
    arguments, _ = command_line.run(ENGINE, container(command=command))
    assert arguments[-3:] == ["python:3.12", "/bin/echo", "a b"] and "--entrypoint" not in arguments
    arguments, _ = command_line.run(ENGINE, container(command={"shell": False}))
    assert arguments[-1] == "python:3.12"


def test_volumes_networks_and_dockers_own_settings_are_passed_on(tmp_path: Path) -> None:
    docker = {
        "image": "x",
        "network": "BRIDGE",
        "privileged": True,
        "port_mappings": [{"host_port": 31000, "container_port": 80, "protocol": "tcp"}],
        "parameters": [{"key": "shm-size", "value": "1g"}],
    }
    volumes = [
        {"container_path": "/data", "host_path": str(tmp_path), "mode": "RO"},
        {"container_path": "in", "host_path": "of/sandbox", "mode": "RW"},
    ]
    info = {"type": "DOCKER", "docker": docker, "volumes": volumes, "hostname": "web"}
    arguments, _ = command_line.run(ENGINE, container(info=info))
    assert options(arguments, "--volume")[1:] == [
        f"{tmp_path}:/data:ro",
        "/host/sandbox/of/sandbox:/mnt/mesos/sandbox/in:rw",
    ]
    assert options(arguments, "--network") == ["bridge"] and options(arguments, "--publish") == [
        "31000:80/tcp"
    ]
    assert options(arguments, "--hostname") == ["web"]
    assert {"--privileged", "--shm-size=1g"} <= set(arguments)


def test_a_volume_that_is_not_there_is_refused_in_mesoss_words() -> None:
    info = {**INFO, "volumes": [{"container_path": "/data", "host_path": "/no/such", "mode": "RO"}]}
    with pytest.raises(VolumeError, match="Path '/no/such' in HOST_PATH volume does not exist"):
        command_line.run(ENGINE, container(info=info))


@pytest.mark.parametrize(
    ("rootless", "user", "shown"),
    [
        (True, User("ada"), "0:0"),
        (False, User("ada"), f"{os.geteuid()}:{os.getegid()}"),
        (False, User("bob", 7, 8), "7:8"),
    ],
)
def test_a_containers_files_are_its_users_whatever_the_image_says(
    rootless: bool, user: User, shown: str
) -> None:
    one = Engine("/usr/bin/docker", DOCKER, rootless=rootless)
    assert options(command_line.run(one, container(user=user))[0], "--user") == [shown]


def test_limits_follow_the_tasks() -> None:
    arguments = command_line.update(ENGINE, "c1", Limits(2, 512, None, float("inf")), cfs=True)
    assert arguments == [
        *(
            "/usr/bin/podman",
            "update",
            "--cpu-shares",
            "2048",
            "--cpu-period",
            "100000",
            "--cpu-quota",
            "200000",
        ),
        "mesos-c1",
    ]
    assert not options(command_line.run(Engine("d", DOCKER, limits=False), container())[0], "--memory")


def test_engines_are_told_apart_by_what_they_say_of_themselves() -> None:
    podman = {"host": {"cgroupControllers": ["cpu", "memory"], "security": {"rootless": True}}, "version": {}}
    assert command_line.read_info("p", json.dumps(podman)) == Engine("p", PODMAN, True, True)
    podman["host"]["cgroupControllers"] = []  # type: ignore[index]
    assert not command_line.read_info("p", json.dumps(podman)).limits
    docker = {"ServerVersion": "27", "MemoryLimit": True, "SecurityOptions": ["name=seccomp,profile=builtin"]}
    assert command_line.read_info("d", json.dumps(docker)) == Engine("d", DOCKER, True, False)
    with pytest.raises(ValueError, match="Cannot connect"):
        command_line.read_info("d", json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon"]}))
    with pytest.raises(ValueError):
        command_line.read_info("d", "")


def test_what_ends_a_container_says_whether_its_memory_ran_out(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_text('#!/bin/sh\necho "$@" >> log\ncase $1 in inspect) echo false;; esac\n')
    program.chmod(0o755)
    command = command_line.end(Engine(str(program), PODMAN), "c1")
    run = lambda: subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout  # noqa: E731
    assert run().split() == ["false"]
    (tmp_path / "oom").touch()  # an older conmon's note
    assert run().split() == ["false", "true"]
    assert (tmp_path / "log").read_text().splitlines()[1] == "rm --force --volumes --time 0 mesos-c1"


def test_only_containers_of_dead_launchers_are_swept() -> None:
    here = engine._namespace()
    living = processes.identity(os.getpid())
    listing = (
        f"mesos-1 {here}/{living}\nmesos-2 {here}/4194304-1\nmesos-3 other-boot/4194304-1\nmesos-4 nonsense\n"
    )
    assert engine._orphans(listing) == ["mesos-2"]


def test_the_line_that_says_why_is_found() -> None:
    stderr = 'Trying to pull x...\ntime="2026" level=warning msg="Failed, retrying"\nError: no such host\n'
    assert engine._why(stderr) == "Error: no such host"
    assert (
        engine._why("docker: Cannot connect to it.\nSee 'docker run --help'.\n")
        == "docker: Cannot connect to it."
    )
