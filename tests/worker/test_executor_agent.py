"""An executor and its agent: streams in pieces, lost agents, updates that wait for their acknowledgement."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from t2notebook.worker.executor.status_updates import RUNNING_DELAY
from tests.worker.fakes import FakeAgent, FakeSession, eventually
from tests.worker.test_executor_ends import gone, sleeper, start


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_stream_that_comes_in_pieces(session: FakeSession, idle_agent: FakeAgent, pieces: int) -> None:
    idle_agent.pieces = pieces
    idle_agent.start()
    task_id = idle_agent.launch(session.launch(session.add(lambda env: env.worker_id)))
    assert idle_agent.end_of(task_id)["state"] == "TASK_FINISHED"


def test_events_that_come_with_the_headers(session: FakeSession, idle_agent: FakeAgent) -> None:
    launch = session.launch(session.add(lambda env: 1))

    def hook(call: dict[str, Any]) -> None:
        if call["type"] == "SUBSCRIBE":
            threading.Timer(0.005, burst).start()

    def burst() -> None:
        for number in range(20):
            idle_agent.launch(launch, f"task-{number}")

    idle_agent.hook = hook
    idle_agent.start()
    for number in range(20):
        assert idle_agent.end_of(f"task-{number}")["state"] == "TASK_FINISHED"


@pytest.mark.parametrize(("pieces", "pause"), [(0, 0.0), (7, 0.0), (0, 0.2)])
def test_an_agent_that_speaks_tls(
    session: FakeSession, idle_agent: FakeAgent, tmp_path: Path, pieces: int, pause: float
) -> None:
    """Where an operator has turned TLS on, the agent speaks nothing else, and wants a certificate of its executors."""
    ca = trustme.CA()
    ours, theirs = ca.issue_cert("executor@example.org"), ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    idle_agent.speak_tls(context)
    idle_agent.pieces, idle_agent.pause = pieces, pause
    idle_agent.start(
        LIBPROCESS_SSL_ENABLED="1",
        LIBPROCESS_SSL_VERIFY_SERVER_CERT="true",
        LIBPROCESS_SSL_CA_FILE=str(tmp_path / "ca.pem"),
        LIBPROCESS_SSL_CERT_FILE=str(tmp_path / "cert.pem"),
        LIBPROCESS_SSL_KEY_FILE=str(tmp_path / "key.pem"),
    )
    launch = session.launch(session.add(lambda env: 1))
    for number in range(5):
        idle_agent.launch(launch, f"task-{number}")
    for number in range(5):
        assert idle_agent.end_of(f"task-{number}")["state"] == "TASK_FINISHED"


def test_without_checkpointing_workers_end_with_the_agent(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None
    pids = start(session, agent, sleeper)
    agent.disconnect()
    assert agent.process.wait(5) == 1
    assert gone(pids)
    assert "does not checkpoint" in agent.log()


def test_with_checkpointing_they_wait_for_each_other(session: FakeSession, idle_agent: FakeAgent) -> None:
    idle_agent.start(MESOS_CHECKPOINT="1", MESOS_RECOVERY_TIMEOUT="1mins")
    pids = start(session, idle_agent, sleeper)
    idle_agent.acknowledge = False
    # An update that is never acknowledged, a task that has had no acknowledgement, and an end in the dark.
    short = session.add(lambda env: __import__("time").sleep(0.5))
    idle_agent.launch(session.launch(short, 1), "short")
    idle_agent.running("short")
    idle_agent.stop()
    time.sleep(1)
    idle_agent.updates.clear()
    idle_agent.acknowledge = True
    idle_agent.come_back()
    assert idle_agent.end_of("short")["state"] == "TASK_FINISHED"
    subscribe = idle_agent.subscriptions[-1]
    states = [update["status"]["state"] for update in subscribe["unacknowledged_updates"]]
    assert states[-2:] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert [task["task_id"]["value"] for task in subscribe["unacknowledged_tasks"]] == ["short"]
    assert session.result(1) is None
    idle_agent.kill("task")
    assert idle_agent.end_of("task")["state"] == "TASK_KILLED"
    assert gone(pids)
    # Everything has been acknowledged by now, so nothing is told again.
    idle_agent.disconnect()
    idle_agent.wait(lambda: len(idle_agent.subscriptions) == 3, "no third subscription")
    assert idle_agent.subscriptions[-1] == {"unacknowledged_updates": [], "unacknowledged_tasks": []}


def test_an_agent_that_recovers(session: FakeSession, idle_agent: FakeAgent) -> None:
    answers = iter([503, 404, 0])
    idle_agent.hook = lambda call: next(answers, None) if call["type"] == "SUBSCRIBE" else None
    idle_agent.start()
    assert idle_agent.end_of(idle_agent.launch(session.launch(session.add(lambda env: 1))))


def test_an_agent_that_does_not_come_back(session: FakeSession, idle_agent: FakeAgent) -> None:
    idle_agent.start(MESOS_CHECKPOINT="1", MESOS_RECOVERY_TIMEOUT="1secs")
    assert idle_agent.process is not None
    pids = start(session, idle_agent, sleeper)
    idle_agent.stop()
    assert idle_agent.process.wait(8) == 1
    assert gone(pids)
    idle_agent.come_back()


def test_an_agent_that_does_not_know_the_executor(idle_agent: FakeAgent) -> None:
    idle_agent.hook = lambda call: 400
    with pytest.raises(AssertionError, match="did not subscribe"):
        idle_agent.start(timeout=0.5)
    assert idle_agent.process is not None
    assert idle_agent.process.wait(5) == 1
    assert "the agent refuses this executor: HTTP 400" in idle_agent.log()


def test_updates_are_tried_again(session: FakeSession, agent: FakeAgent) -> None:
    answers = iter([0, 503, None, None])
    agent.hook = lambda call: next(answers, None) if call["type"] == "UPDATE" else None
    task_id = agent.launch(session.launch(session.add(lambda env: 1)))
    assert agent.end_of(task_id)["state"] == "TASK_FINISHED"
    assert agent.states(task_id) == ["TASK_RUNNING", "TASK_FINISHED"]


def refuse(state: str, less_than: int = 3, status: int = 400) -> Callable[[dict[str, Any]], int | None]:
    """Return a hook that refuses updates of a state: the first ones, until they say little enough."""
    seen: list[dict[str, Any]] = []

    def hook(call: dict[str, Any]) -> int | None:
        if call["type"] != "UPDATE" or call["update"]["status"]["state"] != state or len(seen) >= less_than:
            return None
        seen.append(call["update"]["status"])
        return status

    return hook


def test_an_update_that_the_agent_refuses_holds_up_no_other(session: FakeSession, agent: FakeAgent) -> None:
    agent.hook = refuse("TASK_RUNNING", less_than=99)
    task_id = agent.launch(session.launch(session.add(lambda env: time.sleep(5 * RUNNING_DELAY))))
    assert agent.end_of(task_id)["state"] == "TASK_FINISHED"
    assert "the agent refuses the update TASK_RUNNING" in agent.log()


def failing(env: Any) -> None:
    raise ValueError("cannot read caf\udce9.txt\0\x1f")


def test_what_utf8_cannot_carry_arrives_as_python_shows_it(session: FakeSession, agent: FakeAgent) -> None:
    task_id = agent.launch(session.launch(session.add(failing)))
    end = agent.end_of(task_id)
    assert end == {
        "state": "TASK_FAILED",
        "message": "ValueError: cannot read caf\\udce9.txt\\x00\\x1f",
        "exit_code": 1,
    }
    error = session.facts()["error"]
    assert "caf\\udce9.txt" in error["message"] and "caf\\udce9.txt" in error["traceback"]
    str(session.facts()).encode("utf-8")


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("times", [1, 2])
def test_a_refused_end_is_followed_by_one_that_says_less(
    session: FakeSession, agent: FakeAgent, status: int, times: int
) -> None:
    agent.hook = refuse("TASK_FAILED", times, status)
    task_id = agent.launch(session.launch(session.add(failing)))
    end = agent.end_of(task_id)
    assert end["state"] == "TASK_FAILED"
    if times == 1:
        assert (
            "ValueError" in end["message"] and f"refused the whole message: HTTP {status}" in end["message"]
        )
        assert end["exit_code"] == 1
    else:
        assert not end["message"] and "exit_code" not in end
    assert f"the agent refuses the update TASK_FAILED of {task_id}: HTTP {status}" in agent.log()
    assert (
        agent.end_of(agent.launch(session.launch(session.add(lambda env: 1)), "next"))["state"]
        == "TASK_FINISHED"
    )


def test_an_executor_that_cannot_tell_an_end_ends_when_nobody_needs_it(
    session: FakeSession, agent: FakeAgent
) -> None:
    """Then the agent tells the end in its place."""
    agent.hook = lambda call: (
        400 if call["type"] == "UPDATE" and call["update"]["status"]["task_id"]["value"] == "mute" else None
    )
    assert agent.process is not None
    pids = start(session, agent, sleeper, "neighbour")
    agent.launch(session.launch(session.add(failing)), "mute")
    eventually(lambda: "its end cannot be told" in agent.log())
    assert agent.process.poll() is None, "its neighbour goes on"
    assert (
        agent.end_of(agent.launch(session.launch(session.add(failing)), "late"))["message"]
        == "the executor is ending"
    )
    agent.kill("neighbour")
    assert agent.end_of("neighbour")["state"] == "TASK_KILLED"
    assert agent.process.wait(5) == 1
    assert gone(pids)


def test_a_subscription_that_is_refused_for_what_it_repeats_is_made_with_less(
    session: FakeSession, idle_agent: FakeAgent
) -> None:
    agent = idle_agent
    agent.acknowledge = False
    agent.start(MESOS_CHECKPOINT="1")
    agent.launch(session.launch(session.add(failing)), "task")
    agent.end_of("task")

    def hook(call: dict[str, Any]) -> int | None:
        if call["type"] != "SUBSCRIBE":
            return None
        repeated = call["subscribe"]["unacknowledged_updates"]
        return (
            400 if any("refused" not in one["status"].get("message", "refused") for one in repeated) else None
        )

    agent.hook = hook
    agent.disconnect()
    agent.wait(lambda: len(agent.subscriptions) == 2, "it did not come back")
    repeated = agent.subscriptions[1]["unacknowledged_updates"]
    assert [one["status"]["state"] for one in repeated] == ["TASK_RUNNING", "TASK_FAILED"]


def test_a_kept_connection_that_the_agent_closed(session: FakeSession, agent: FakeAgent) -> None:
    # The fake closes the connection after the answer, without saying so.
    assert agent.end_of(agent.launch(session.launch(session.add(lambda env: 1)), "one"))
    agent.close_after_answer = True
    for number in range(3):
        assert agent.end_of(agent.launch(session.launch(session.add(lambda env: 1)), f"t{number}"))
    assert len(agent.states("t2")) == 2


def test_a_heartbeat_is_no_news(session: FakeSession, agent: FakeAgent) -> None:
    agent.send({"type": "HEARTBEAT"})
    assert agent.end_of(agent.launch(session.launch(session.add(lambda env: 1))))["state"] == "TASK_FINISHED"
    assert "HEARTBEAT" not in agent.log()


def test_an_error_event_ends_the_executor(session: FakeSession, agent: FakeAgent) -> None:
    assert agent.process is not None
    pids = start(session, agent, sleeper)
    agent.send({"type": "ERROR", "error": {"message": "no more"}})
    assert agent.process.wait(5) == 1
    assert "the agent says: no more" in agent.log()
    assert gone(pids)


def test_the_bearer_token_goes_to_the_agent_and_not_to_workers(
    session: FakeSession, idle_agent: FakeAgent
) -> None:
    idle_agent.start(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="abc.def")
    task_id = idle_agent.launch(
        session.launch(session.add(lambda env: [k for k in __import__("os").environ if "TOKEN" in k]))
    )
    idle_agent.end_of(task_id)
    assert session.result() == []
    assert set(idle_agent.authorizations) == {"Bearer abc.def"}
