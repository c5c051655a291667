"""Two sessions on one cluster: each gets its jobs done, and neither holds what it does not use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook import LocalMesos
from tests.localmesos.client import request as ask
from tests.session.conftest import eventually, kernel

#: Three jobs, each of which takes the whole cluster.
GREEDY = """
import t2notebook as t2

def work(env):
    import time
    time.sleep(0.3)
    return env.worker_id

jobs = [t2.submit(work, workers=4, cpu=0.9, ram_mega_bytes=128) for _ in range(3)]
print([job.results(timeout=90) for job in jobs] == [[0, 1, 2, 3]] * 3, flush=True)
import time; time.sleep(120)
"""


@pytest.fixture
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=2, cpus=2, mem=1024) as cluster:
        yield cluster


def test_two_sessions_that_want_the_whole_cluster_get_their_jobs_done(home: Any, mesos: LocalMesos) -> None:
    import subprocess

    def start(role: str) -> subprocess.Popen[str]:
        return kernel(GREEDY, T2_MASTER=mesos.master, T2_ROLE=role, T2_EXECUTOR_LINGER="30")

    kernels = [start("one"), start("two")]
    try:
        for process in kernels:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
        assert len(json.loads(ask(mesos.master, "GET", "/frameworks").body)["frameworks"]) == 2

        def held() -> list[Any]:
            frameworks = json.loads(ask(mesos.master, "GET", "/frameworks").body)["frameworks"]
            return [offer for framework in frameworks for offer in framework["offers"]]

        eventually(lambda: not held())
    finally:
        for process in kernels:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
