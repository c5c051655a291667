"""Agents that ask a master before it leads, with the pauses of Apache Mesos's: the first job waits, and says why."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import ROOT, eventually

pytestmark = pytest.mark.slow

#: Mesos's second and ten seconds of asking in vain, both at a quarter.
FACTOR, DEAF = "250ms", 2.5


class Parts:
    """Masters and agents as processes of their own, and the port at which a master will be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.master = f"127.0.0.1:{free.getsockname()[1]}"

    def start(self, kind: str, *arguments: str) -> None:
        work = str(self._folder / f"{kind}{len(self._processes)}")
        command = [sys.executable, "-m", "t2notebook", f"mesos-{kind}", "--work-dir", work, *arguments]
        with open(f"{work}.log", "wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT))

    def start_agents(self) -> None:
        for number in range(3):
            has = f"cpus:2.2;mem:512;disk:1000;ports:[4{number}000-4{number}009]"
            how = ("--registration-backoff-factor", FACTOR, "--resources", has)
            self.start("agent", "--master", self.master, "--port", "0", *how)

    def start_master(self) -> float:
        """Start it; return when it leads."""
        self.start("master", "--port", self.master.rpartition(":")[2])
        eventually(self._leads, 30)
        return time.time()

    def _leads(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.master}/health", timeout=5):
                return True
        except OSError:
            return False

    def registered(self) -> list[float]:
        """Return when each agent was."""
        with urllib.request.urlopen(f"http://{self.master}/slaves", timeout=10) as answer:
            return sorted(one["registered_time"] for one in json.load(answer)["slaves"])

    def end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    one = Parts(tmp_path)
    yield one
    one.end()


def first_job(t2: Any, master: str) -> tuple[float, set[str]]:
    """Run workers that need all three agents at once; return when they had results, and what the job said meanwhile."""

    def meet(env: Any) -> int:
        env.worker_controller.wait_on_barrier(60)
        return int(env.worker_id)

    t2.configure(master=master)
    try:
        job = t2.submit(meet, workers=6, cpu=1, ram_mega_bytes=64)
        said = set()
        while not job.state.is_final:
            said.add(job.view().waiting_for)
            time.sleep(0.1)
        assert job.results(1) == [0, 1, 2, 3, 4, 5]
        return time.time(), said
    finally:
        t2.shutdown()
        t2.configure(master="local")


def test_the_first_job_waits_until_the_last_agent_asks_again_and_no_longer(t2: Any, parts: Parts) -> None:
    parts.start_agents()
    time.sleep(DEAF)
    leads = parts.start_master()
    done, said = first_job(t2, parts.master)
    late = [when - leads for when in parts.registered()]
    assert len(late) == 3
    # Mesos's allocator looks once a second, and executors have to start.
    assert done - leads - max(late) < 8
    if max(late) > 3:
        assert any("no agents" in text or "agent" in text for text in said), said


def test_agents_that_start_when_somebody_leads_are_there_for_the_first_job(t2: Any, parts: Parts) -> None:
    """So the containers' agents wait for a master that knows who leads."""
    leads = parts.start_master()
    parts.start_agents()
    first_job(t2, parts.master)
    assert max(parts.registered()) - leads < 10
