"""The executor under the embedded Mesos: fetched, started, told and ended by an agent that is one."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.package.core_package import build_core
from t2notebook.protocol.launch import WorkerLaunch, decode_status_data
from t2notebook.protocol.recordio import EventDecoder
from tests.localmesos import oracle
from tests.worker.fakes import FakeSession, hand_over
from tests.worker.test_executor_ends import gone, written


class Scheduler:
    """The least that is a framework: it subscribes, launches, acknowledges."""

    def __init__(self, master: str, core: Path) -> None:
        self._host, _, port = master.rpartition(":")
        self._port = int(port)
        self._core = core
        self._closing = False
        self.offers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.updates: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self._agent_id: dict[str, str] = {}
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        info = {
            "user": "root" if os.getuid() == 0 else os.environ["USER"],
            "name": "test",
            "roles": ["*"],
            "checkpoint": True,
            "failover_timeout": 30.0,
            "capabilities": [
                {"type": "MULTI_ROLE"},
                {"type": "PARTITION_AWARE"},
                {"type": "TASK_KILLING_STATE"},
            ],
        }
        call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._connection.request("POST", "/api/v1/scheduler", json.dumps(call), headers)
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._stream_id = self._response.headers["Mesos-Stream-Id"]
        self.launches: dict[str, WorkerLaunch] = {}
        self.framework_id: dict[str, str] = {}
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._subscribed.wait(10)

    def _read(self) -> None:
        decoder = EventDecoder(chunked=False)
        while data := self._response.read1(1 << 16):
            for record in decoder.feed(data):
                event = json.loads(record)
                oracle.check(event, event["type"])
                if event["type"] == "SUBSCRIBED":
                    self.framework_id = event["subscribed"]["framework_id"]
                    self._subscribed.set()
                elif event["type"] == "OFFERS":
                    for offer in event["offers"]["offers"]:
                        self.offers.put(offer)
                elif event["type"] == "UPDATE":
                    status = event["update"]["status"]
                    hand_over(status, self.launches)
                    with self.changed:
                        self.updates.append(status)
                        self.changed.notify_all()
                    if "uuid" in status:
                        names = ("agent_id", "task_id", "uuid")
                        self.call("ACKNOWLEDGE", acknowledge={name: status[name] for name in names})
                elif event["type"] == "FAILURE":
                    with self.changed:
                        self.failures.append(event["failure"])
                        self.changed.notify_all()

    def call(self, kind: str, **body: Any) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        headers = {"Content-Type": "application/json", "Mesos-Stream-Id": self._stream_id}
        record = {"type": kind, "framework_id": self.framework_id, **body}
        connection.request("POST", "/api/v1/scheduler", json.dumps(record), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        # An acknowledgement may be on its way when the framework is torn down.
        assert response.status == 202 or (self._closing and kind == "ACKNOWLEDGE"), text

    def launch(self, *launches: WorkerLaunch) -> list[str]:
        offer = self._offer(0.1 + 0.5 * len(launches))
        self._agent_id = offer["agent_id"]
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": "executor"},
            "command": {
                "shell": True,
                "value": f"exec {sys.executable} {self._core.name} --idle-timeout 60",
                "uris": [{"value": str(self._core), "extract": False, "cache": True}],
            },
            "resources": scalars(cpus=0.1, mem=64),
        }
        ids = [f"{launch.job_id}-{launch.worker_id}" for launch in launches]
        self.launches.update(zip(ids, launches, strict=True))
        tasks = [
            {
                "name": task_id,
                "task_id": {"value": task_id},
                "agent_id": self._agent_id,
                "executor": executor,
                "resources": scalars(cpus=0.5, mem=64),
                "data": launch.encode(),
            }
            for task_id, launch in zip(ids, launches, strict=True)
        ]
        self.call(
            "ACCEPT",
            accept={
                "offer_ids": [offer["id"]],
                "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}],
                "filters": {"refuse_seconds": 0},
            },
        )
        return ids

    def _offer(self, cpus: float) -> dict[str, Any]:
        while True:
            offer = self.offers.get(timeout=10)
            for resource in offer["resources"]:
                if resource["name"] == "cpus" and resource["scalar"]["value"] >= cpus:
                    return offer
            # What the last round's workers had left over, offered while they still ran.
            self.call("DECLINE", decline={"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0}})

    def wait(self, task_id: str, *states: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            for status in self.updates:
                if status["task_id"]["value"] == task_id and status["state"].removeprefix("TASK_") in states:
                    return status
            return None

        with self.changed:
            assert self.changed.wait_for(find, 15), (task_id, states, self.updates)
            found = find()
        assert found is not None
        return found

    def shutdown_executor(self) -> None:
        body = {"executor_id": {"value": "executor"}, "agent_id": self._agent_id}
        self.call("SHUTDOWN", shutdown=body)
        with self.changed:
            assert self.changed.wait_for(lambda: self.failures, 10)

    def close(self) -> None:
        self._closing = True
        self.call("TEARDOWN")
        self._thread.join(10)
        self._response.close()
        self._connection.close()


def scalars(**values: float) -> list[dict[str, Any]]:
    return [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in values.items()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalMesos]:
    with LocalMesos(agents=1, cpus=4, mem=2048) as cluster:
        yield cluster


@pytest.fixture
def scheduler(cluster: LocalMesos, tmp_path: Path) -> Iterator[Scheduler]:
    scheduler = Scheduler(cluster.master, build_core(tmp_path).path)
    yield scheduler
    scheduler.close()


def test_cold_and_warm(scheduler: Scheduler, session: FakeSession) -> None:
    for round_ in range(3):
        session.results.clear()
        digest = session.add(lambda env, round_=round_: (round_, env.worker_id))
        began = time.perf_counter()
        ids = scheduler.launch(*(session.launch(digest, n, job_id=f"job-{round_}") for n in range(4)))
        for task_id in ids:
            scheduler.wait(task_id, "FINISHED", "FAILED", "ERROR", "LOST", "DROPPED")
        took = session.wait_results(4, 15) - began
        for number, task_id in enumerate(ids):
            status = scheduler.wait(task_id, "FINISHED", "FAILED", "ERROR", "LOST", "DROPPED")
            assert status["state"] == "TASK_FINISHED", status
            told = decode_status_data(status["data"])
            assert told["exit_code"] == 0
            assert set(told["phases"]) - {"fetch"} == {"start", "run", "result"}
            assert session.result(number) == (round_, number)
    assert took < 5, "0.3 s cold, most of it waiting for offers when warm"
    scheduler.shutdown_executor()
    assert scheduler.failures[0].get("status") == 0


def test_failures_say_why(scheduler: Scheduler, session: FakeSession) -> None:
    (failing,) = scheduler.launch(session.launch(session.add(lambda env: {}["key"])))
    status = scheduler.wait(failing, "FAILED")
    assert status["message"] == "KeyError: 'key'" and status["source"] == "SOURCE_EXECUTOR"
    (killed,) = scheduler.launch(session.launch(session.add(lambda env: os.kill(os.getpid(), 9)), 1))
    status = scheduler.wait(killed, "FAILED")
    assert "SIGKILL" in status["message"]
    data = decode_status_data(status["data"])
    assert data["use"] and data["exit_code"] == -9 and "cause" not in data
    assert session.secret not in json.dumps(scheduler.updates)


def test_kill(scheduler: Scheduler, session: FakeSession) -> None:
    (task_id,) = scheduler.launch(session.launch(session.add(lambda env: time.sleep(60))))
    scheduler.wait(task_id, "RUNNING")
    scheduler.call("KILL", kill={"task_id": {"value": task_id}})
    scheduler.wait(task_id, "KILLED")
    states = [status["state"] for status in scheduler.updates]
    assert states == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]


def test_workers_do_not_outlive_a_killed_executor(
    scheduler: Scheduler, session: FakeSession, tmp_path: Path
) -> None:
    report = tmp_path / "pids"

    def work(env: Any) -> None:
        report.write_text(f"{os.getpid()} {os.getppid()}\n")
        time.sleep(60)

    (task_id,) = scheduler.launch(session.launch(session.add(work)))
    worker, executor = (int(pid) for pid in written(report).split())
    os.kill(executor, signal.SIGKILL)
    status = scheduler.wait(task_id, "FAILED", "LOST")
    assert status["source"] != "SOURCE_EXECUTOR"
    assert gone([worker, executor])


def test_nothing_secret_can_be_read_from_the_cluster(
    scheduler: Scheduler, session: FakeSession, cluster: LocalMesos
) -> None:
    (task_id,) = scheduler.launch(session.launch(session.add(lambda env: time.sleep(60))))
    scheduler.wait(task_id, "RUNNING")
    host, _, port = cluster.master.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/master/state")
    text = connection.getresponse().read().decode()
    connection.close()
    assert task_id in text
    for secret in (session.secret, base64.b64encode(session.secret.encode()).decode()):
        assert secret not in text
