"""Job packages on their way to an executor, and what it says when one does not come."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from t2notebook.protocol.auth import new_secret
from t2notebook.protocol.launch import MOST_WITH_ALL, MOST_WITH_LAUNCH, compressed_package
from tests.worker.fakes import FakeAgent, FakeSession, free_port


def end(
    session: FakeSession, agent: FakeAgent, digest: str, task_id: str = "task", **more: Any
) -> dict[str, Any]:
    agent.launch(session.launch(digest, **more), task_id)
    return agent.end_of(task_id)


def test_another_python(session: FakeSession, agent: FakeAgent) -> None:
    told = end(session, agent, session.add(lambda env: 1), python="3.9")
    assert told["state"] == "TASK_FAILED"
    assert told["message"].startswith(
        "the job was packaged by Python 3.9, this agent's executor runs Python 3.1"
    )
    assert session.requests == []


@pytest.mark.parametrize("data", ["", "bm9uc2Vuc2U=", "W10=", "eyJmb3JtYXQiOiA5fQ==", "eyJmb3JtYXQiOiAxfQ=="])
def test_a_launch_that_cannot_be_read(agent: FakeAgent, data: str) -> None:
    agent.send({"type": "LAUNCH", "launch": {"task": {"task_id": {"value": "task"}, "data": data}}})
    assert agent.end_of("task")["message"].startswith("cannot read the launch of task: ")


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "the signature was refused"), (404, "does not know it"), (410, "its file was removed")],
)
def test_refusals_are_told_at_once(session: FakeSession, agent: FakeAgent, status: int, told: str) -> None:
    session.hook = lambda method, path: status
    message = end(session, agent, session.add(lambda env: 1))["message"]
    assert f"HTTP {status}" in message and told in message and session.url in message
    assert len(session.requests) == 1


def test_a_wrong_secret(session: FakeSession, agent: FakeAgent) -> None:
    message = end(session, agent, session.add(lambda env: 1), secret=new_secret())["message"]
    assert "HTTP 401" in message


def test_a_session_in_trouble_is_asked_again(session: FakeSession, agent: FakeAgent) -> None:
    answers = iter([503, 0, None, None, None])
    session.hook = lambda method, path: next(answers)
    assert end(session, agent, session.add(lambda env: 1))["state"] == "TASK_FINISHED"


def test_an_unreachable_session(
    session: FakeSession, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    message = end(session, agent, session.add(lambda env: 1), url=url)["message"]
    assert message.startswith(
        f"cannot fetch the job package from {url}: [Errno 111] Connection refused (6 attempts"
    )
    assert end(session, agent, session.add(lambda env: 1), "odd", url="gopher://x")["message"].startswith(
        "cannot fetch the job package: cannot talk to 'gopher://x'"
    )


def with_package(session: FakeSession, digest: str, package: bytes | None = None) -> dict[str, Any]:
    """Give what a launch has that brings its package along."""
    whole = session.packages[digest]
    return {
        "package_size": len(whole),
        "package_data": compressed_package(whole if package is None else package, 2),
    }


def test_a_small_package_comes_with_the_launch(session: FakeSession, agent: FakeAgent) -> None:
    """A helper process and a request of each executor's were a tenth of a warm job's time."""
    digest = session.add(lambda env: env.worker_id + 1)
    more = with_package(session, digest)
    del session.packages[digest]
    for task_id in ("one", "two"):
        assert end(session, agent, digest, task_id, **more)["state"] == "TASK_FINISHED"
    assert not [path for _, path in session.requests if "/packages/" in path]


@pytest.mark.parametrize("damage", ["flip", "cut", "more", "other"])
def test_damage_of_what_comes_with_the_launch(session: FakeSession, agent: FakeAgent, damage: str) -> None:
    digest = session.add(lambda env: 1)
    good = session.packages[digest]
    flipped = bytearray(good)
    flipped[good.index(b"worker")] ^= 1
    bad = {"flip": bytes(flipped), "cut": good[:-600], "more": good + b"x", "other": bytes(len(good))}[damage]
    told = end(session, agent, digest, **with_package(session, digest, bad))
    assert told["state"] == "TASK_FAILED"
    assert told["message"].startswith("cannot use the job package that came with the launch: ")


def test_large_packages_and_those_of_many_workers_are_fetched() -> None:
    noise = os.urandom(MOST_WITH_LAUNCH)
    assert compressed_package(noise[:1000], 1)
    assert not compressed_package(noise, 1)
    assert not compressed_package(noise[:1000], MOST_WITH_ALL // 1000)


@pytest.mark.parametrize("damage", ["flip", "cut", "more", "nothing", "other"])
def test_damage_is_seen_before_anything_is_unpickled(
    session: FakeSession, agent: FakeAgent, damage: str
) -> None:
    digest = session.add(lambda env: 1)
    good = session.packages[digest]
    flipped = bytearray(good)
    flipped[good.index(b"worker")] ^= 1
    session.packages[digest] = {
        "flip": bytes(flipped),
        "cut": good[:-600],
        "more": good + b"x",
        "nothing": b"",
        "other": bytes(len(good)),
    }[damage]
    told = end(session, agent, digest, package_size=len(good))
    assert told["state"] == "TASK_FAILED"
    assert told["message"].startswith("the job package is damaged, nothing of it was used: ")
    session.packages[digest] = good
    assert end(session, agent, digest, "again")["state"] == "TASK_FINISHED"


def test_a_package_stays_for_the_next_job_and_failures_do_not(session: FakeSession, agent: FakeAgent) -> None:
    digest = session.add(lambda env: env.job_id)
    assert end(session, agent, digest, "a", job_id="job-a")["state"] == "TASK_FINISHED"
    assert end(session, agent, digest, "b", job_id="job-b")["state"] == "TASK_FINISHED"
    assert [path for method, path in session.requests if method == "GET"] == [f"/v1/packages/{digest}"]


def test_the_loop_goes_on_while_a_package_is_fetched(session: FakeSession, agent: FakeAgent) -> None:
    quick, slow = session.add(lambda env: "quick"), session.add(lambda env: "slow")

    def hook(method: str, path: str) -> None:
        if slow in path:
            time.sleep(0.6)

    session.hook = hook
    agent.launch(session.launch(slow, job_id="slow"), "slow")
    agent.launch(session.launch(quick, job_id="quick"), "quick")
    agent.end_of("quick")
    assert agent.states("slow") in ([], ["TASK_STARTING"])
    assert agent.end_of("slow")["state"] == "TASK_FINISHED"
    assert agent.states("slow") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_a_worker_cannot_change_the_package_for_the_next(session: FakeSession, agent: FakeAgent) -> None:
    def scribble(env: Any) -> str:
        for name in os.listdir("/proc/self/fd"):
            path = f"/proc/self/fd/{name}"
            if os.path.exists(path) and "t2-package" in os.readlink(path):
                try:
                    os.pwrite(int(name), b"scribble", 0)
                except PermissionError:
                    return "sealed"
        return "open"

    assert end(session, agent, session.add(scribble))["state"] == "TASK_FINISHED"
    assert session.result() == "sealed"


def test_descriptors_and_processes_do_not_pile_up(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None

    def held() -> int:
        return len(os.listdir(f"/proc/{agent.process.pid}/fd"))  # type: ignore[union-attr]

    end(session, agent, session.add(lambda env: 0), "first")
    before = held()
    for number in range(10):
        end(session, agent, session.add(lambda env: 1 / 0), f"task-{number}", job_id=f"job-{number}")
    # One digest, kept for a while.
    assert held() <= before + 1
    children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text()
    assert children == ""


def test_what_cannot_be_rebuilt_is_said_without_our_frames(
    session: FakeSession, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own frames stay: here those of a module that fails while it is imported."""
    (tmp_path / "only_at_home.py").write_text(
        "import os\nif 'MESOS_SANDBOX' in os.environ: raise ValueError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("only_at_home")
    try:
        digest = session.add(lambda: module)
        told = end(session, agent, digest)
        assert "cannot be rebuilt on the agent: module only_at_home is missing" in told["message"]
        traceback = session.facts()["error"]["traceback"]
        assert (
            traceback.startswith("PackageError: the job's function cannot be rebuilt")
            and " File " not in traceback
        )
        source = (tmp_path / "only_at_home.py").read_text()
        told = end(session, agent, session.add(lambda: module, modules={"only_at_home": source}), "task-2")
        traceback = session.facts()["error"]["traceback"]
        assert told["message"].endswith("ValueError: no")
        assert '  File "only_at_home.py", line 2, in <module>' in traceback
        assert traceback.count(" File ") == 1
    finally:
        sys.modules.pop("only_at_home")
