"""A job on a cluster whose agent is killed goes on with the same workers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from t2notebook import LocalMesos
from tests.localmesos.client import Stream
from tests.session.conftest import eventually


def test_job_survives_the_death_of_an_agent(t2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of the agent's process: the executor and its workers wait for the next one, nothing is restarted."""
    go = str(tmp_path / "go")

    def work(env: Any) -> int:
        while not os.path.exists(go):
            __import__("time").sleep(0.05)
        restarts: int = env.restart_count
        return restarts

    with LocalMesos(agents=1, cpus=4, mem=2048, restart=0) as mesos:
        monkeypatch.setenv("T2_MASTER", mesos.master)
        watched = Stream(mesos.master, "/api/v1", {"type": "SUBSCRIBE"})
        job = t2.submit(work, workers=2, cpu=0.5, ram_mega_bytes=128)
        eventually(lambda: list(job.tasks.state) == ["RUNNING", "RUNNING"])
        os.kill(mesos.pids["agent1"], signal.SIGKILL)
        Path(go).touch()
        assert job.results(timeout=60) == [0, 0]
        assert list(job.tasks.restarts) == [0, 0]
        assert list(job.tasks.state) == ["FINISHED", "FINISHED"]
        t2.shutdown()
        # What the session did, as the operators' stream tells it: every event is of Mesos's shape (`oracle`).
        watched.next("FRAMEWORK_REMOVED", 30.0)
        told = [json.loads(chunk.split(b"\n", 1)[1])["type"] for chunk in watched.chunks]
        assert {"FRAMEWORK_ADDED", "TASK_ADDED", "TASK_UPDATED", "AGENT_ADDED"} <= set(told)
        watched.close()
