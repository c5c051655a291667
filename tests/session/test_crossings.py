"""Messages that cross on the wire: a rescind and an ACCEPT, an update and a session that knows nothing of its task."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from t2notebook import LocalMesos
from t2notebook.config import data_dir, get_config, runtime_dir
from tests.localmesos.client import request as ask
from tests.session.conftest import ROOT, eventually

#: A session whose scheduler is made to meet what cannot be brought about from outside at the right moment.
RESCINDING = """
from t2notebook.localmesos.faults.client import Faults
faults, offers, left = Faults({control!r}), Scheduler.offers, [1]

def late(self, found):
    if self.waiting and left:
        left.pop()
        faults.rescind()
    offers(self, found)

Scheduler.offers = late
"""
FORGETFUL = """
import copy
accept = Driver.acceptOffers

def more(self, offer_ids, operations, filters):
    stranger = copy.deepcopy(operations[0]["launch"]["task_infos"][0])
    stranger["task_id"]["value"] = "stranger"
    operations[0]["launch"]["task_infos"].append(stranger)
    accept(self, offer_ids, operations, filters)

Driver.acceptOffers = more
"""
SESSION = """
import json, sys
from t2notebook.mesos.driver import Driver
from t2notebook.scheduler.state import Scheduler
{patch}
from t2notebook.session.session import run
run(json.loads(sys.argv[1]), None, lambda: print("ready", flush=True))
"""


@contextmanager
def session(patch: str) -> Iterator[None]:
    """Have the session of the present settings be one with a patch."""
    config, runtime = get_config(), runtime_dir()
    settings = {
        "config": config.to_dict(),
        "runtime_dir": str(runtime),
        "data_dir": str(data_dir()),
        "socket": str(runtime / f"session-{config.session_key}.sock"),
    }
    command = [sys.executable, "-c", SESSION.format(patch=patch), json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield


@pytest.fixture
def mesos() -> Iterator[LocalMesos]:
    with LocalMesos(agents=1, cpus=2, mem=1024) as cluster:
        yield cluster


def test_a_rescind_between_offer_and_accept_costs_one_launch(
    t2: Any, mesos: LocalMesos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2_MASTER", mesos.master)
    assert mesos.faults is not None
    with session(RESCINDING.format(control=mesos.faults._path)):
        job = t2.submit(lambda env: env.restart_count, workers=1, cpu=0.5, ram_mega_bytes=64)
        assert job.results(timeout=30) == [1]
        dropped = job.events[job.events.state == "DROPPED"]
        assert dropped.reason.item() == "REASON_INVALID_OFFERS"
        assert job.metrics["ramp_up"] < 10
        t2.shutdown()


def test_a_task_that_nobody_knows_is_killed_and_harms_nothing(
    t2: Any, mesos: LocalMesos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2_MASTER", mesos.master)

    def stay(env: Any) -> int:
        import time

        time.sleep(2.0)
        return 7

    with session(FORGETFUL):
        job = t2.submit(stay, workers=1, cpu=0.5, ram_mega_bytes=64)
        assert job.results(timeout=30) == [7]

        def stranger() -> str:
            tasks = json.loads(ask(mesos.master, "GET", "/tasks").body)["tasks"]
            return next(task["state"] for task in tasks if task["id"] == "stranger")

        eventually(lambda: stranger() == "TASK_KILLED")
        assert "stranger" not in set(job.events.task_id)
        t2.shutdown()
