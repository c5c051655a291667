"""Whole recorded stories, played call by call to the embedded Mesos (`replay`), every message held to the oracle."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos
from tests.localmesos import oracle
from tests.localmesos.agent.test_recovery import wait_for
from tests.localmesos.client import Framework, Json, Stream, request, task
from tests.localmesos.likeness import UUID, canonical
from tests.localmesos.replay import Act, Player, load
from tests.localmesos.test_traces import head_of, known_differences, play
from tests.localmesos.traces import TRACES


@pytest.fixture(scope="module")
def recorded_cluster() -> Iterator[LocalMesos]:
    """A cluster of the recorded one's shape: its agents are there before anybody watches."""
    attributes = ["rack:r1;zone:a", "rack:r2;zone:a"]
    with LocalMesos(agents=2, cpus=4, mem=4096, disk=10000, attributes=attributes) as one:
        wait_for(lambda: len(request(one.master, "GET", "/slaves").json()["slaves"]) == 2, 60)
        yield one


STORIES: dict[str, tuple[str, ...]] = {
    # The operations of this story are refused here, and what stands on them does not happen.
    "scheduler-group": ("UPDATE_OPERATION_STATUS", "UPDATE vol-task"),
    "scheduler-failover": (),
    "operator-scheduler-side": (),
    "files-scheduler-side": (),
}


def skipped(folder: str) -> tuple[str, ...]:
    return tuple(name.split("/")[1] for name in known_differences() if name.startswith(folder + "/"))


@pytest.mark.parametrize("folder", STORIES)
def test_story(recorded_cluster: LocalMesos, folder: str) -> None:
    Player(load(folder), recorded_cluster.master, skip=skipped(folder), forgive=STORIES[folder]).run()


@pytest.mark.slow
def test_the_story_of_launches(recorded_cluster: LocalMesos) -> None:
    """`scheduler-errors` from 060 on as the one story that it is (`test_traces` plays the calls before)."""
    story = [one for one in load("scheduler-errors") if one.name.startswith("001") or one.name >= "060"]
    at = {one.name: one.at for one in story}

    def removed() -> None:
        """That id had been used, and torn down, before the recording began."""
        one = Framework(recorded_cluster.master, framework_id="my-own-framework-id").subscribed()
        one.call("TEARDOWN")
        one.close()

    acts = [Act(at["060-subscribe-unknown-id"] - 1e-6, removed)]
    Player(story, recorded_cluster.master, acts=acts).run()


@pytest.mark.slow
def test_the_story_of_checks(recorded_cluster: LocalMesos) -> None:
    """The recorded executor took a quarter of a second to start, and the first check as long: ours wait for nothing.

    So what the recorded agents had not got to yet is not got to here because they stand still.
    """
    story = load("scheduler-health")
    at = {one.name: one.at for one in story}

    def agents(signum: int) -> None:
        for name, pid in recorded_cluster.pids.items():
            if name.startswith("agent"):
                os.kill(pid, signum)

    acts = [
        Act(at["032-launch-kill-at-once"] - 1e-6, lambda: agents(signal.SIGSTOP)),
        Act(at["033-kill-at-once"] + 1e-6, lambda: agents(signal.SIGCONT)),
    ]
    rewrite = {"exit $(cat n)": "exit $(cat n 2>&- || echo 0)"}
    try:
        Player(story, recorded_cluster.master, acts=acts, rewrite=rewrite).run()
    finally:
        agents(signal.SIGCONT)


@pytest.mark.slow
def test_the_happy_story(recorded_cluster: LocalMesos, tmp_path: Path) -> None:
    """With the files that its first task fetches; it waits for the recorded retries (10 s, 20 s)."""
    (tmp_path / "pack").mkdir()
    for name, text in (
        ("hello.txt", "hello from the uri\n"),
        ("tool.sh", "#!/bin/sh\necho tool ran with $@\n"),
        ("pack/inside.txt", "inside the archive\n"),
    ):
        (tmp_path / name).write_text(text)
    with tarfile.open(tmp_path / "pack.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "pack", arcname="pack")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rewrite = {
            "127.0.0.1:8099": f"127.0.0.1:{server.server_address[1]}",
            "/var/lib/mesos/web/hello.txt": str(tmp_path / "hello.txt"),
        }
        Player(load("scheduler-happy"), recorded_cluster.master, rewrite=rewrite).run()
        server.shutdown()


# The operator API


def address_of(cluster: LocalMesos, host: str) -> str:
    if host.endswith("5050"):
        return cluster.master
    agents = request(cluster.master, "GET", "/slaves").json()["slaves"]
    return next(f"127.0.0.1:{one['port']}" for one in agents if one["id"].endswith("-S0"))


OPERATOR = [one.name for one in load("operator") if not one.stream]
FREE = ("flags", "metrics_snapshot", "GET_FLAGS", "GET_METRICS", "metrics-empty", "processes", "help", "get-")
"""Endpoints whose names are not compared: they speak of what an implementation has inside."""


@pytest.fixture(scope="module")
def busy_cluster() -> Iterator[LocalMesos]:
    """The recorded moment: one task ended, one runs, all the rest is offered."""
    attributes = ["rack:r1;zone:a", "rack:r2;zone:a"]
    with LocalMesos(agents=2, cpus=4, mem=4096, disk=10000, attributes=attributes) as one:
        framework = Framework(one.master, name="ops", checkpoint=True, failover_timeout=5.0).subscribed()
        agent = first_of(framework)
        framework.accept(agent, [task("quick", agent, "sleep 0.1")])
        framework.until("TASK_FINISHED", "quick")
        agent = first_of(framework)
        labels = {"labels": [{"key": "k", "value": "v"}]}
        framework.accept(agent, [task("stay", agent, "sleep 1000", labels=labels)])
        framework.until("TASK_RUNNING", "stay")
        framework.stream.next("OFFERS")
        yield one
        framework.close()


def first_of(framework: Framework) -> Json:
    while True:
        for offer in framework.offers():
            if offer["agent_id"]["value"].endswith("-S0"):
                return offer


@pytest.mark.parametrize("name", OPERATOR)
def test_operator(busy_cluster: LocalMesos, name: str) -> None:
    """Every recorded question of an operator: status and headers as recorded, every field as the oracle has it."""
    if f"operator/{name}" in known_differences():
        pytest.skip(known_differences()[f"operator/{name}"])
    one = next(one for one in load("operator") if one.name == name)
    address = address_of(busy_cluster, one.request["host"])
    path = TRACES / "operator" / f"{name}.request.http"
    raw = f"GET {one.request['path']} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    if path.exists():
        raw = path.read_bytes()
    wire = re.sub(UUID.pattern.encode() + rb"-\w+", b"none", raw) if b"_id=" in raw else raw
    status, headers, body = head_of(play(address, wire))
    assert status == f"HTTP/1.1 {one.status}"
    assert headers == [key for key, _ in one.headers]
    given = dict(one.headers)
    if given.get("Content-Encoding") == "gzip" or given.get("Content-Type", "").startswith(
        ("text/", "application/x")
    ):
        if "help" not in name and not name.endswith("get-") and "jsonp" not in one.request["path"]:
            assert given.get("Content-Encoding") == "gzip" or body.decode() == one.body
        return
    if not body or one.body == "":
        assert bool(body) == bool(one.body)
        return
    if not any(word in name for word in FREE):
        oracle.check(json.loads(body), oracle.path_of(one.request))


def test_operator_events(recorded_cluster: LocalMesos) -> None:
    """A story as an operator's stream tells it: the same events in the same order with the same fields."""
    stream = Stream(recorded_cluster.master, "/api/v1", {"type": "SUBSCRIBE"})
    assert [key for key, _ in stream.headers] == ["Date", "Transfer-Encoding", "Content-Type"]
    Player(load("operator-scheduler-side"), recorded_cluster.master).run()
    recorded = [event for one in load("operator") if one.stream for _, event in one.events]
    stream.next("FRAMEWORK_REMOVED")
    # What was read after it stands in `chunks` too, so the order is that of the wire.
    mine = [json.loads(chunk.split(b"\n", 1)[1]) for chunk in stream.chunks if chunk]
    steps = [event for event in mine if event["type"] not in ("HEARTBEAT", "SUBSCRIBED")]
    theirs = [event for event in recorded if event["type"] not in ("HEARTBEAT", "SUBSCRIBED")]
    assert [one["type"] for one in mine[:2]] == ["SUBSCRIBED", "HEARTBEAT"]
    assert [canonical(one) for one in steps] == [canonical(one) for one in theirs]
    stream.close()
