"""A master's page as one record, from what it answers."""

from __future__ import annotations

from typing import Any

from t2notebook.mesos.cluster_page import MOST_TASKS, read_page


def slave(number: int, used: float = 0.0, offered: float = 0.0, active: bool = True) -> dict[str, Any]:
    return {
        "id": f"S{number}",
        "hostname": f"h{number}",
        "active": active,
        "resources": {"cpus": 4, "mem": 1024, "disk": 10, "gpus": 0, "ports": "[1-2]"},
        "used_resources": {"cpus": used, "mem": 100 * used},
        "offered_resources": {"cpus": offered},
    }


def task(number: int, state: str, *times: tuple[str, float]) -> dict[str, Any]:
    return {
        "id": f"t{number}",
        "name": f"worker {number}",
        "framework_id": "F",
        "slave_id": "S1",
        "role": "*",
        "state": f"TASK_{state}",
        "statuses": [{"state": f"TASK_{name}", "timestamp": time} for name, time in times],
    }


def test_what_the_masters_page_has() -> None:
    page = read_page(
        {
            "metrics": {"master/slaves_active": 2, "master/slaves_unreachable": 1, "master/tasks_running": 1},
            "agents": {"slaves": [slave(1, used=1.5, offered=2.5), slave(2), slave(3, active=False)]},
            "tasks": {
                "tasks": [
                    task(1, "RUNNING", ("STARTING", 10.0), ("RUNNING", 11.0)),
                    task(2, "FINISHED", ("RUNNING", 5.0), ("FINISHED", 8.0)),
                    task(3, "UNREACHABLE", ("RUNNING", 5.0), ("UNREACHABLE", 8.0)),
                    task(4, "STAGING"),
                ]
            },
            "version": {"version": "1.12.0"},
        }
    )
    assert page["version"] == "1.12.0" and page["agents"] == {"active": 2, "inactive": 0, "unreachable": 1}
    assert page["tasks"]["running"] == 1 and page["tasks"]["lost"] == 0
    cpus, gpus, mem, _ = page["resources"]
    assert cpus == {"name": "cpus", "total": 8, "allocated": 1.5, "offered": 2.5, "idle": 4}
    assert gpus["total"] == 0 and mem["allocated"] == 150
    assert [one["task"] for one in page["active"]] == ["t1", "t4"]
    assert page["active"][0] | {"started": 10.0, "stopped": None, "host": "h1"} == page["active"][0]
    assert [one["task"] for one in page["unreachable"]] == ["t3"]
    (ended,) = page["completed"]
    assert (ended["state"], ended["started"], ended["stopped"]) == ("FINISHED", 5.0, 8.0)


def test_a_master_that_tells_little_still_has_a_page() -> None:
    page = read_page({"metrics": None, "agents": {}, "tasks": None, "version": None})
    assert page["agents"]["active"] == 0 and page["active"] == [] and page["number_of_agents"] == 0


def test_a_large_cluster_is_cut() -> None:
    tasks = [task(number, "RUNNING") for number in range(300)]
    page = read_page({"agents": {"slaves": [slave(n) for n in range(1000)]}, "tasks": {"tasks": tasks}})
    assert (
        len(page["active"]) == MOST_TASKS and len(page["hosts"]) == 400 and page["number_of_agents"] == 1000
    )
    assert page["resources"][0]["total"] == 4000
