"""A master's answers that no trace has: taken by hand from a real Mesos 1.12 that was asked the same."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos.agent.test_recovery import wait_for
from tests.localmesos.client import Framework, Json, agent_address, request, task
from tests.localmesos.conftest import executor_info
from tests.localmesos.test_traces import known_differences
from tests.localmesos.traces import TRACES

Make = Callable[..., Framework]
UNITS = "supported units are 'ns', 'us', 'ms', 'secs', 'mins', 'hrs', 'days', and 'weeks'"
NO_SLAVE = "Missing 'slaveId' query parameter in the request body"

OLDER: list[tuple[str, str, str, int, str]] = [
    ("GET", "/machine/down", "", 405, "POST"),
    ("GET", "/reserve", "", 405, "POST"),
    ("POST", "/weights", "", 405, "GET, PUT"),
    ("PATCH", "/quota", "", 405, "GET, POST, DELETE"),
    ("PATCH", "/maintenance/schedule", "", 405, "GET, POST"),
    ("POST", "/master/maintenance/status/", "", 405, "GET"),
    ("POST", "/reserve", "", 400, NO_SLAVE),
    ("POST", "/unreserve", "", 400, NO_SLAVE),
    ("POST", "/create-volumes", "", 400, NO_SLAVE),
    ("POST", "/destroy-volumes", "slaveId=x", 400, NO_SLAVE.replace("slaveId", "volumes")),
    ("POST", "/reserve", "slaveId=x", 400, NO_SLAVE.replace("slaveId", "resources")),
    ("POST", "/machine/up", "slaveId=x", 400, "syntax error at line 1 near: slaveId=x"),
    ("POST", "/machine/down", "{}", 400, "Unexpected JSON type parsed"),
    ("POST", "/maintenance/schedule", "", 400, "syntax error at line 1 near: "),
    ("POST", "/maintenance/schedule", "[]", 400, "Unexpected JSON type parsed"),
    (
        "PUT",
        "/weights",
        "x",
        400,
        "Failed to parse update weights request JSON 'x': syntax error at line 1 near: x",
    ),
    ("POST", "/quota", "", 400, "Failed to parse set quota request JSON '': syntax error at line 1 near: "),
    (
        *("DELETE", "/quota", "", 400),
        "Failed to parse remove quota request for path '/master/quota': expected 3 tokens, found 2 tokens",
    ),
    ("PUT", "/weights", "[]", 501, "501 Not Implemented."),
    ("POST", "/reserve", "slaveId=x&resources=[]", 501, "501 Not Implemented."),
    ("GET", "/metrics/snapshot?timeout=x", "", 400, "Invalid timeout 'x': Failed to convert '' to number.\n"),
    ("GET", "/metrics/snapshot?timeout=5", "", 400, "Invalid timeout '5': Invalid duration '5'.\n"),
    (
        "GET",
        "/metrics/snapshot?timeout=-1secs",
        "",
        400,
        "Invalid timeout '-1secs': Failed to convert '' to number.\n",
    ),
    (
        "GET",
        "/metrics/snapshot?timeout=1x",
        "",
        400,
        f"Invalid timeout '1x': Unknown duration unit 'x'; {UNITS}.\n",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "said"), OLDER)
def test_older_endpoints(master: str, method: str, path: str, body: str, status: int, said: str) -> None:
    answer = request(master, method, path, body.encode() or None)
    assert answer.status == status
    if status == 405:
        assert answer.header("Allow") == said
        quoted = ", ".join(f"'{one}'" for one in said.split(", "))
        said = f"405 Method Not Allowed. Expecting one of {{ {quoted} }}, but received '{method}'."
    assert answer.text == said


@pytest.mark.parametrize(
    "path", ["/weights", "/quota", "/maintenance/schedule", "/metrics/snapshot?timeout=1.5mins"]
)
def test_those_who_only_ask_are_answered(master: str, path: str) -> None:
    assert request(master, "GET", path).status == 200


CHANGING = [
    "UPDATE_WEIGHTS",
    "RESERVE_RESOURCES",
    "UNRESERVE_RESOURCES",
    "CREATE_VOLUMES",
    "DESTROY_VOLUMES",
    "GROW_VOLUME",
    "SHRINK_VOLUME",
    "UPDATE_MAINTENANCE_SCHEDULE",
    "START_MAINTENANCE",
    "STOP_MAINTENANCE",
    "DRAIN_AGENT",
    "DEACTIVATE_AGENT",
    "REACTIVATE_AGENT",
    "SET_QUOTA",
    "REMOVE_QUOTA",
    "UPDATE_QUOTA",
    "MARK_AGENT_GONE",
    "SET_LOGGING_LEVEL",
]


@pytest.mark.parametrize("kind", CHANGING)
def test_operator_calls_without_their_payload(master: str, kind: str) -> None:
    answer = request(master, "POST", "/api/v1", {"type": kind})
    wanted = f"Failed to validate master::Call: Expecting '{kind.lower()}' to be present"
    assert (answer.status, answer.text) == (400, wanted)
    answer = request(master, "POST", "/api/v1", {"type": kind, kind.lower(): {"any": [1]}})
    assert answer.status == (200 if kind == "SET_LOGGING_LEVEL" else 501)


def test_a_frameworks_labels_are_shown(framework: Make) -> None:
    labels = [{"key": "a", "value": "b"}, {"key": "c"}]
    one = framework(labels={"labels": labels})
    (shown,) = request(one.master, "GET", f"/frameworks?framework_id={one.id}").json()["frameworks"]
    assert shown["labels"] == labels
    assert list(shown)[-2:] == ["labels", "offer_constraints"]


def test_a_custom_executor_is_shown(framework: Make) -> None:
    one = framework(name="shown")
    offer = one.offers()[0]
    info = executor_info("ex", "mute", labels={"labels": [{"key": "l", "value": "v"}]}, uris=[])
    one.accept(offer, [task("waits", offer, executor=info)])
    path = f"/frameworks?framework_id={one.id}"
    shown = wait_for(lambda: request(one.master, "GET", path).json()["frameworks"][0]["executors"])
    command = {
        "shell": False,
        "value": info["command"]["value"],
        "argv": info["command"]["arguments"],
        "uris": [],
    }
    assert shown == [
        {
            **{"executor_id": "ex", "name": "", "framework_id": one.id, "command": command},
            **{"resources": {"disk": 0.0, "mem": 64.0, "gpus": 0.0, "cpus": 0.1}, "role": "*"},
            **{
                "labels": [{"key": "l", "value": "v"}],
                "type": "CUSTOM",
                "slave_id": offer["agent_id"]["value"],
            },
        }
    ]
    answer = request(one.master, "POST", "/api/v1", {"type": "GET_EXECUTORS"}).json()["get_executors"]
    infos = [each["executor_info"] for each in answer["executors"]]
    (v1,) = [each for each in infos if each["framework_id"]["value"] == one.id]
    assert list(v1)[:4] == ["type", "executor_id", "framework_id", "command"]
    assert v1["resources"][0]["allocation_info"] == {"role": "*"}
    state = request(agent_address(offer), "GET", "/state").json()
    (mine,) = [each for each in state["frameworks"] if each["id"] == one.id]
    (queued,) = mine["executors"][0]["queued_tasks"]
    assert list(queued) == ["id", "name", "slave_id", "resources", "role", "executor_id"]


def test_an_agents_small_answers(running: tuple[str, str]) -> None:
    """What the agent answers as the master does; and under which names a sandbox is attached."""
    for address in running:
        assert request(address, "GET", "/logging/toggle").text == "0\n"
        assert "cpus_total" in request(address, "GET", "/system/stats.json").json()
        call: Json = {"type": "SET_LOGGING_LEVEL", "set_logging_level": {"level": 1}}
        assert request(address, "POST", "/api/v1", call).status == 200
    attached = request(running[1], "GET", "/files/debug").json()
    virtual = next(one for one in attached if one.startswith("/frameworks/") and one.endswith("/runs/latest"))
    path = attached[virtual]
    names = {name for name, where in attached.items() if where == path}
    runs, container_id = path.rsplit("/", 1)
    # The last is a known difference.
    assert names == {virtual, path, f"{runs}/latest", virtual.removesuffix("latest") + container_id}


# Names: what of Mesos's metrics and flags is missing is on the list of differences, by patterns that all match


@pytest.fixture(scope="module")
def running(cluster: LocalMesos) -> Iterator[tuple[str, str]]:
    one = Framework(cluster.master, name="names").subscribed()
    offer = one.run("sleep 1000")
    one.until("TASK_RUNNING")
    yield cluster.master, agent_address(offer)
    one.call("TEARDOWN")
    one.close()


def recorded(name: str) -> Json:
    return dict(json.loads((TRACES / "operator" / f"{name}.body.json").read_text()))


NAMES = [
    ("metrics", "master", "027-master-get-metrics_snapshot", "/metrics/snapshot"),
    ("metrics", "agent", "095-agent-get-metrics_snapshot", "/metrics/snapshot"),
    ("flags", "master", "025-master-get-flags", "/flags"),
    ("flags", "agent", "093-agent-get-flags", "/flags"),
]


@pytest.mark.parametrize(("what", "who", "name", "path"), NAMES)
def test_names(running: tuple[str, str], what: str, who: str, name: str, path: str) -> None:
    address = running[0] if who == "master" else running[1]
    theirs, mine = recorded(name), request(address, "GET", path).json()
    if what == "flags":
        theirs, mine = theirs["flags"], mine["flags"]
    assert set(mine) <= set(theirs)
    assert {key: type(value) for key, value in mine.items()} == {key: type(theirs[key]) for key in mine}
    patterns = [
        key.removeprefix(f"{what} {who}: ")
        for key in known_differences()
        if key.startswith(f"{what} {who}: ")
    ]
    missing = {re.sub(r"(frameworks/[^/]+/)[^/]+/", r"\1ID/", one) for one in set(theirs) - set(mine)}
    left = [one for one in missing if not any(fnmatch.fnmatchcase(one, pattern) for pattern in patterns)]
    assert not left, sorted(left)
    stale = [pattern for pattern in patterns if not fnmatch.filter(missing, pattern)]
    assert not stale, "these are not missing any more"


def test_v1_has_the_same_names(running: tuple[str, str]) -> None:
    for address in running:
        for kind, path in (("METRICS", "/metrics/snapshot"), ("FLAGS", "/flags")):
            call: dict[str, Any] = {"type": f"GET_{kind}", f"get_{kind.lower()}": {}}
            found = request(address, "POST", "/api/v1", call).json()[f"get_{kind.lower()}"][kind.lower()]
            older = request(address, "GET", path).json()
            assert {one["name"] for one in found} == set(older.get("flags", older))
