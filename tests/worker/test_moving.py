"""A session that has moved: who may say so, and who hears of it."""

from __future__ import annotations

import base64
import json
import os
import threading
from typing import Any

import pytest

from t2notebook.protocol import auth
from t2notebook.protocol.launch import MOST_WITH_END
from t2notebook.worker.session_address import SessionAddress
from tests.worker.fakes import FakeAgent, FakeSession, free_port


def test_a_forked_process_finds_the_new_address() -> None:
    session_address = SessionAddress("http://a:1")
    assert session_address.read() == (0, "http://a:1")
    asked, answered = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.read(asked[0], 1)
        os.write(answered[1], repr(session_address.read()).encode())
        os._exit(0)
    session_address.write("http://bbbbbb:22222", 3)
    os.write(asked[1], b"x")
    assert os.read(answered[0], 100) == b"(3, 'http://bbbbbb:22222')"
    os.waitpid(pid, 0)
    for descriptor in (*asked, *answered):
        os.close(descriptor)
    session_address.close()


def test_a_reader_meets_no_half_written_address() -> None:
    session_address = SessionAddress("http://h:1")
    texts = {number: f"http://{'h' * (number % 40)}:{number}" for number in range(1, 4000)}
    done = threading.Event()
    seen: list[tuple[int, str]] = []

    def look() -> None:
        while not done.is_set():
            seen.append(session_address.read())

    reader = threading.Thread(target=look)
    reader.start()
    for number, text in texts.items():
        session_address.write(text, number)
    done.set()
    reader.join()
    assert all(text == texts.get(number, "http://h:1") for number, text in seen)
    assert session_address.read() == (3999, texts[3999])
    with pytest.raises(ValueError, match="too long"):
        session_address.write("h" * 5000, 1)
    session_address.close()


def word(
    session: FakeSession, url: str, claims: int, secret: str | None = None, job_id: str = "tester-job-1"
) -> Any:
    signature = auth.sign_move(secret or session.secret, url, claims)
    record = {"kind": "session", "url": url, "claims": claims, "jobs": {job_id: signature}}
    return {"type": "MESSAGE", "message": {"data": base64.b64encode(json.dumps(record).encode()).decode()}}


def test_a_running_worker_turns_to_the_new_session(session: FakeSession, idle_agent: FakeAgent) -> None:
    """Its progress and its result come to the new session; a forged or an old word changes nothing."""
    answers: list[dict[str, Any]] = []

    def hook(call: dict[str, Any]) -> int | None:
        if call["type"] != "MESSAGE":
            return None
        answers.append(json.loads(base64.b64decode(call["message"]["data"])))
        return 202

    idle_agent.hook = hook
    idle_agent.start()
    other = FakeSession()
    other.secret, other.packages = session.secret, session.packages
    try:

        def work(env: Any) -> bytes:
            import time

            for step in range(60):
                env.progress(step, 60, "on the way")
                time.sleep(0.05)
            return os.urandom(2 * MOST_WITH_END)

        task_id = idle_agent.launch(session.launch(session.add(work)))
        idle_agent.running(task_id)
        dead = f"http://127.0.0.1:{free_port()}"
        idle_agent.send(word(session, dead, 9, secret=auth.new_secret()))
        idle_agent.send(word(session, other.url, 2))
        idle_agent.send(word(session, dead, 1))
        assert idle_agent.end_of(task_id, timeout=20)["state"] == "TASK_FINISHED"
    finally:
        other.close()
    assert list(other.results) == [0]
    assert not session.results
    assert other.progress
    assert answers == [{"kind": "session", "claims": 2}, {"kind": "session", "claims": 1}]
    assert "none of our jobs has signed" in idle_agent.log()
    assert session.secret not in idle_agent.log()


def test_a_word_that_overtakes_the_launch_is_not_answered(
    session: FakeSession, idle_agent: FakeAgent
) -> None:
    """An answer would end its repetition, and the worker would look for its session where it was before."""
    answers: list[dict[str, Any]] = []

    def hook(call: dict[str, Any]) -> int | None:
        if call["type"] != "MESSAGE":
            return None
        answers.append(json.loads(base64.b64decode(call["message"]["data"])))
        return 202

    idle_agent.hook = hook
    idle_agent.start()

    def work(env: Any) -> bytes:
        import time

        time.sleep(0.5)
        return os.urandom(2 * MOST_WITH_END)

    other = FakeSession()
    other.secret, other.packages = session.secret, session.packages
    try:
        idle_agent.send(word(session, other.url, 2))
        task_id = idle_agent.launch(session.launch(session.add(work)))
        idle_agent.running(task_id)
        assert not answers
        idle_agent.send(word(session, other.url, 2))
        assert idle_agent.end_of(task_id, timeout=20)["state"] == "TASK_FINISHED"
    finally:
        other.close()
    assert list(other.results) == [0]
    assert answers == [{"kind": "session", "claims": 2}]
