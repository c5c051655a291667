"""Launched workers of which nothing is heard: when that is told, and what is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.jobmaster.contacts import Contacts, canonical
from t2notebook.journal import read_events
from t2notebook.scheduler.silent_launches import Silence
from tests.scheduler.stage import Stage, on_stage

URL = "http://10.0.0.1:4000"
ASKED = "can agents connect to it? t2.configure(advertise_host=..., port=...) says where they can"


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    return lambda scenario: on_stage(tmp_path, scenario)


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize(
    ("address", "seen", "reached"),
    [
        ("10.0.0.7", [], False),
        ("10.0.0.7", ["10.0.0.7"], True),
        ("10.0.0.7", ["::ffff:10.0.0.7"], True),
        ("::1", ["0:0::1"], True),
        ("10.0.0.7", ["10.0.0.8"], False),
        ("10.0.0.7", ["192.168.1.1"], True),
        ("", [], False),
        ("", ["10.0.0.8"], True),
    ],
)
def test_who_has_reached_us(address: str, seen: list[str], reached: bool) -> None:
    """A request from no agent's address may be anybody's: no false alarm behind a router that hides addresses."""
    contacts = Contacts()
    for one in seen:
        contacts.heard(one)
    assert contacts.has_reached(address, ["10.0.0.7", "10.0.0.8"]) is reached


def test_what_is_no_address_is_itself() -> None:
    assert canonical("h1.example") == "h1.example"
    assert canonical("fe80::1%eth0") == "fe80::1"


def silence(*agents: int, contacts: Contacts | None = None) -> Silence:
    one = Silence(URL, contacts or Contacts())
    for agent in agents:
        one.agent_at(f"S{agent}", f"10.0.0.{agent}")
    return one


def test_nothing_is_said_before_there_is_a_reason_to() -> None:
    one = silence(1)
    one.launched("t0", "j", "S1", "h1", 10.0)
    assert list(one.sentences(17.9)) == []
    assert one.next_due(10.0) == 18.0
    one.over("t0")
    assert list(one.sentences(99.0)) == []
    assert one.next_due(10.0) is None


def test_agents_that_cannot_connect_are_asked_about_with_how_long_it_has_lasted() -> None:
    one = silence(1, 2)
    one.launched("t0", "j", "S1", "h1", 10.0)
    one.launched("t1", "j", "S1", "h1", 10.0)
    first = (
        f"agent h1 was given 2 workers 8 s ago, and nothing of it has reached this session at {URL}; {ASKED}"
    )
    assert dict(one.sentences(19.0)) == {"j": first}
    assert dict(one.sentences(29.9)) == {"j": first}, "told once a step, not once a second"
    one.launched("t2", "j", "S2", "h2", 20.0)
    later = "agents h1, h2 were given 3 workers 20 s ago, and nothing of them has reached this session at "
    assert dict(one.sentences(30.0)) == {"j": f"{later}{URL}; {ASKED}"}
    assert [(row.host, row.lacked) for row in one.vetoes("j", 30.0)] == [
        ("h1", "contact"),
        ("h2", "contact"),
    ]
    assert one.advice("S1", "h1") == f"nothing of agent h1 has ever reached this session at {URL}; {ASKED}"


def test_agents_that_did_connect_are_slow_or_fetch() -> None:
    clock = Clock()
    contacts = Contacts(clock)
    one = silence(1, 2, 3, contacts=contacts)
    for agent in (1, 2, 3):
        one.launched(f"t{agent}", "j", f"S{agent}", f"h{agent}", 100.0)
    contacts.heard("10.0.0.1")
    contacts.fetch_begun("10.0.0.2")
    clock.time = 109.0
    assert dict(one.sentences(109.0)) == {
        "j": f"agent h3 was given 1 worker 8 s ago, and nothing of it has reached this session at {URL}; {ASKED}; "
        "h2 has been fetching the executor from this session for 9 s; "
        "agent h1 was given 1 worker 8 s ago and has not started it yet"
    }
    contacts.fetch_ended("10.0.0.2")
    assert "fetching" not in dict(one.sentences(109.0))["j"]
    assert one.advice("S1", "h1") == one.advice("S2", "h2") == ""


def test_an_image_that_an_agent_may_be_pulling_is_named() -> None:
    contacts = Contacts()
    one = silence(1, contacts=contacts)
    one.launched("t1", "j", "S1", "h1", 100.0, "python:3.12-slim")
    contacts.heard("10.0.0.1")
    assert dict(one.sentences(109.0)) == {
        "j": "agent h1 was given 1 worker 8 s ago and has not started it yet; the image python:3.12-slim may be on its "
        "way there"
    }


def test_a_job_that_is_launched_into_silence_says_so_and_takes_it_back(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        contacts = Contacts()
        stage.state.silence._contacts = contacts
        job = stage.submit(workers=1)
        stage.offer()
        await asyncio.sleep(7.0)
        assert job.view.waiting_for == ""
        await asyncio.sleep(2.0)
        assert job.view.waiting_for.startswith(
            "agent h1 was given 1 worker 8 s ago, and nothing of it has reached"
        )
        (row,) = stage.scheduler.why(job)
        assert (row["host"], row["lacked"]) == ("h1", "contact")
        await asyncio.sleep(12.0)
        assert "20 s ago" in job.view.waiting_for
        contacts.heard("127.0.0.1")
        stage.play(job, "STARTING")
        await asyncio.sleep(40.0)
        assert job.view.waiting_for == "agent h1 was given 1 worker 60 s ago and has not started it yet"
        stage.play(job)
        await asyncio.sleep(0.1)
        assert job.view.waiting_for == ""
        assert stage.scheduler.why(job) == []

    play(scenario)


def test_the_end_of_a_launch_that_nobody_heard_of_names_it(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.state.silence._contacts = Contacts()
        job = stage.submit(workers=1)
        stage.offer()
        await asyncio.sleep(400.0)
        messages = [
            event.message
            for event in read_events(stage.jobs.journal.directory, job.job_id)
            if event.reason == "LAUNCH_TIMEOUT"
        ]
        assert messages
        assert "nothing of agent h1 has ever reached this session at http://127.0.0.1:1" in messages[0]

    play(scenario)


def test_many_silent_agents_cost_no_more_each_than_few() -> None:
    """Each agent's address was compared with every other's, again after each word of any of them."""
    import time

    one = Silence(URL, Contacts())
    for number in range(5000):
        one.agent_at(f"S{number}", f"10.0.{number >> 8}.{number & 255}")
        one.launched(f"t{number}", "job", f"S{number}", f"h{number}", 0.0)
    begun = time.process_time()
    ((_, sentence),) = one.sentences(10.0)
    assert sentence.startswith("agents h0, h1, h10 and 4997 more")
    assert time.process_time() - begun < 5.0
    for number in range(5000):
        one.over(f"t{number}")
    assert one.next_due(10.0) is None
