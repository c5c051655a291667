"""What is said of a launch: where a worker is, and by which ports others find it."""

from __future__ import annotations

from typing import Any

from t2notebook.model.job import ComputeResource
from t2notebook.protocol.launch import WorkerLaunch
from t2notebook.scheduler.messages import launch_event, task_info
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
