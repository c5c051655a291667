"""One connection of a worker to its job master: how it opens, and what it does when nobody reads or writes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t2notebook.protocol import channel
from t2notebook.worker.process.job_master_link import Link, open_link

SECRET = "5e" * 32
HELLO = {"job_id": "ada-pi-1", "worker_id": 3, "incarnation": 0}


class JobMaster:
    """The other side: it takes one connection, proves itself, and then says what it is to say."""

    def __init__(self, says: Callable[[channel.Channel], None]) -> None:
        self._says = says
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.hello: dict[str, Any] = {}
        self.sock: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self.sock, _ = self._listening.accept()
        except OSError:
            return
        side = channel.respond({"ada-pi-1": SECRET}.get)
        while not side.is_open and (data := self.sock.recv(65536)):
            side.feed(data)
            self.hello = dict(side.hello)
            if side.is_open:
                self._says(side)
            while piece := side.take():
                self.sock.sendall(piece)

    def close(self) -> None:
        self._listening.close()
        if self.sock is not None:
            self.sock.close()
        self._thread.join(10)


Make = Callable[[Callable[[channel.Channel], None]], JobMaster]


@pytest.fixture
def serve() -> Iterator[Make]:
    made: list[JobMaster] = []

    def make(says: Callable[[channel.Channel], None]) -> JobMaster:
        made.append(JobMaster(says))
        return made[-1]

    yield make
    for one in made:
        one.close()


def opened(master: JobMaster, limit: float = 30.0) -> Link:
    return open_link(master.url, 2, SECRET, HELLO, limit)


def test_it_is_open_when_it_is_welcome_and_keeps_what_came_with_that(serve: Make) -> None:
    def says(side: channel.Channel) -> None:
        side.send({"welcome": {"worker_id": 3}, "faults": 1})
        side.send({"request": 1}, b"early")

    master = serve(says)
    link = opened(master)
    try:
        assert (link.first["welcome"], link.first["faults"]) == ({"worker_id": 3}, 1)
        early = link.early
        while not early:
            early = link.channel.feed(link.read(30.0))
        assert [(one.record, bytes(one.payload)) for one in early] == [({"request": 1}, b"early")]
        assert (link.url, link.number) == (master.url, 2)
        assert master.hello.items() >= {**HELLO, "address": "127.0.0.1"}.items(), (
            "others are told where it is"
        )
    finally:
        link.sock.close()


def test_one_that_is_to_stop_is_told_why(serve: Make) -> None:
    link = opened(serve(lambda side: side.send({"stop": "the job is over"})))
    link.sock.close()
    assert link.first == {"stop": "the job is over"}


def test_a_job_master_that_says_nothing_is_not_waited_for(serve: Make) -> None:
    with pytest.raises(TimeoutError):
        opened(serve(lambda side: None), limit=0.1)


def test_a_job_master_that_closes_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def close() -> None:
            listening.accept()[0].close()

        closing = threading.Thread(target=close)
        closing.start()
        with pytest.raises(OSError, match=r"closed|reset|[Bb]roken"):
            open_link(f"http://127.0.0.1:{listening.getsockname()[1]}", 0, SECRET, HELLO, 30.0)
        closing.join(10)


def test_neither_reading_nor_writing_hangs() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(ours, channel.connect(SECRET, HELLO), "http://h:1")
        with pytest.raises(TimeoutError):
            link.read(0.0)
        with pytest.raises(TimeoutError):
            link.send(bytes(64 << 20), 0.05)
        theirs.close()
        with pytest.raises(OSError):
            link.send(b"x", 0.05)
