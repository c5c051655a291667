"""Sessions whose master has gone for good do not outlive their kernels for long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos
from tests.busy import longer
from tests.localmesos.zookeeper import absent, zookeeper
from tests.session.conftest import end, eventually, sessions_of, submit

pytestmark = pytest.mark.slow


@pytest.fixture
def one_master(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMesos]:
    with LocalMesos(agents=1) as mesos:
        monkeypatch.setenv("T2_MASTER", mesos.master)
        yield mesos


def kill_all(mesos: LocalMesos) -> None:
    for pid in mesos.pids.values():
        os.kill(pid, signal.SIGKILL)


def session_seconds(clean: Path, began: float) -> float:
    eventually(lambda: not sessions_of(clean), timeout=120)
    return time.monotonic() - began


def test_a_session_without_jobs_ends_soon_after_its_kernel(clean: Path, one_master: LocalMesos) -> None:
    process, _ = submit(steps=1, then="    job.results()\n    print('done')\n    input()\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    kill_all(one_master)
    end(process, signal.SIGTERM)
    assert session_seconds(clean, time.monotonic()) < longer(15)


def test_a_job_that_is_to_be_killed_does_not_keep_it_for_long(clean: Path, one_master: LocalMesos) -> None:
    """Nobody can say that its workers have ended; who comes later, or Mesos's failover_timeout, sees to that."""
    wait = "    try:\n        time.sleep(1000)\n    except KeyboardInterrupt:\n        pass\n"
    process, job_id = submit(steps=10000, then=wait)
    kill_all(one_master)
    end(process, signal.SIGINT)
    assert session_seconds(clean, time.monotonic()) < longer(30)
    import t2notebook as t2

    row = t2.jobs().set_index("job_id").loc[job_id]
    assert (row.state, row.session) == ("STARTED", "lost"), "it is left to whoever comes next"


@pytest.mark.skipif(absent() is not None, reason=absent() or "")
def test_a_zookeeper_that_hangs_does_not_keep_it(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zookeeper(tmp_path / "zookeeper") as quorum:
        import psutil

        port = int(quorum.rpartition(":")[2])
        (java,) = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.status == "LISTEN" and one.laddr.port == port
        }
        uri = f"zk://{quorum}/mesos"
        monkeypatch.setenv("T2_MASTER", uri)
        with LocalMesos(agents=1, zk=uri, zk_session_timeout=1.0) as mesos:
            process, _ = submit(steps=1, then="    job.results()\n    print('done')\n    input()\n")
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            try:
                os.kill(java, signal.SIGSTOP)
                kill_all(mesos)
                end(process, signal.SIGTERM)
                took = session_seconds(clean, time.monotonic())
            finally:
                os.kill(java, signal.SIGCONT)
    assert took < longer(20)
