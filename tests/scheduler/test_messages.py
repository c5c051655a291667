"""What is said of a launch: where a worker is, and by which ports others find it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

from t2notebook.model.container_image import ContainerImage
from t2notebook.model.job import ComputeResource
from t2notebook.protocol.launch import WorkerLaunch
from t2notebook.scheduler.messages import ExecutorTemplate, launch_event, task_info
from t2notebook.scheduler.placement.requests import Launch

WORKER = WorkerLaunch("me-pi-1", 2, 0, 4, "5ec7e7" * 8, "http://h:1", "d", 1, "3.11", 1.0, 64.0)


def launch(**more: Any) -> Launch:
    return Launch("a1", "h1", "e1", "me-pi-1", 2, ComputeResource(), True, **more)


def test_rack_and_data_center_of_the_agent_are_kept() -> None:
    attributes = {"rack": ("r1",), "datacenter": ("dc", "other"), "level": (10000,)}
    data = launch_event(launch(attributes=attributes), "t", 0, 1.0).data
    assert (data["rack"], data["data_center"]) == ("r1", "dc")
    assert "rack" not in launch_event(launch(), "t", 0, 1.0).data


def test_ports_are_told_to_who_looks_services_up() -> None:
    told = task_info(launch(ports=(31001, 31002)), "t", WORKER, {})
    assert told["discovery"] == {
        "visibility": "CLUSTER",
        "name": "worker-2-me-pi-1",
        "ports": {
            "ports": [
                {"number": 31001, "name": "port0", "protocol": "tcp"},
                {"number": 31002, "name": "port1", "protocol": "tcp"},
            ]
        },
    }
    assert "discovery" not in task_info(launch(), "t", WORKER, {})


TEMPLATE = ExecutorTemplate(
    (sys.executable, "python3.11"),
    "3.11",
    "http://127.0.0.1:1/v1/core/c.pyz",
    "c.pyz",
    180,
    {"LD_LIBRARY_PATH": "/x"},
)


def test_an_executor_without_an_image_is_described_as_ever() -> None:
    info = TEMPLATE.info("t2-1", "F")
    assert "container" not in info
    assert sys.executable in info["command"]["value"]
    assert info["command"]["environment"]["variables"] == [{"name": "LD_LIBRARY_PATH", "value": "/x"}]


def test_an_image_makes_a_container_of_dockers_containerizer() -> None:
    info = TEMPLATE.info("t2-1", "F", (), ContainerImage("python:3.11-slim", ("/mnt/nfs/t2",)))
    assert info["container"] == {
        "type": "DOCKER",
        "docker": {"image": "python:3.11-slim", "network": "HOST"},
        "volumes": [{"container_path": "/mnt/nfs/t2", "host_path": "/mnt/nfs/t2", "mode": "RW"}],
    }
    # The notebook's own Python and what its loader needs are none of the image's.
    assert sys.executable not in info["command"]["value"]
    assert "for python in python3.11 python3 python; do" in info["command"]["value"]
    assert "environment" not in info["command"]
    # The core package comes as it always does.
    assert info["command"]["uris"] == TEMPLATE.info("t2-1", "F")["command"]["uris"]


def test_an_image_makes_a_container_of_mesoss_own_containerizer_where_that_is_asked_for() -> None:
    template = dataclasses.replace(TEMPLATE, containerizer="mesos")
    assert template.info("t2-1", "F", (), ContainerImage("python:3.11-slim"))["container"] == {
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "python:3.11-slim"}}},
    }


def test_an_image_without_python_says_so_in_one_line() -> None:
    command = TEMPLATE.info("t2-1", "F", (), ContainerImage("busybox"))["command"]["value"]
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": "/nowhere"}, capture_output=True, text=True
    )
    assert done.returncode == 127
    assert done.stderr == (
        "t2notebook: the image busybox has no Python; workers need CPython 3.11 there. "
        "Put it into the image, or name another image\n"
    )
