"""A session and an agent for each test, and an executor where a test asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.fakes import FakeAgent, FakeSession


@pytest.fixture
def session() -> Iterator[FakeSession]:
    session = FakeSession()
    yield session
    session.close()


@pytest.fixture
def idle_agent(tmp_path: Path) -> Iterator[FakeAgent]:
    """An agent that has not started its executor."""
    agent = FakeAgent(tmp_path / "sandbox")
    yield agent
    agent.close()


@pytest.fixture
def agent(idle_agent: FakeAgent) -> FakeAgent:
    """An agent with a subscribed executor."""
    idle_agent.start()
    return idle_agent


@pytest.fixture
def run(session: FakeSession, agent: FakeAgent) -> Callable[..., dict[str, Any]]:
    """Run one worker to its end: ``run(fn, config, ...)`` gives its last status."""
    ran = 0

    def run(worker: Callable[..., Any], config: Any = None, **more: Any) -> dict[str, Any]:
        nonlocal ran
        travels = {name: more.pop(name) for name in ("modules", "sources") if name in more}
        digest = session.add(worker, config, **travels)
        ran += 1
        return agent.end_of(agent.launch(session.launch(digest, **more), f"task-{ran}"))

    return run
