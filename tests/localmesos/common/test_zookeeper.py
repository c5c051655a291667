"""Reaching a ZooKeeper that is not there yet, or of which a part is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos.common.zookeeper import Observer, servers_of, wait_reachable
from tests.localmesos.zookeeper import absent, zookeeper

needs_zookeeper = pytest.mark.skipif(absent() is not None, reason=absent() or "")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port whose queue of connections is full: whoever connects gets no answer, as from a host that is not there."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def test_servers() -> None:
    assert servers_of("a:1,b") == [("a", 1), ("b", 2181)]
    assert servers_of("[::1]:7,10.0.0.1:2182") == [("::1", 7), ("10.0.0.1", 2182)]


def test_an_attempt_that_hangs_in_the_resolver_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that came to be known after the first look-up is found by the next, not when the first gives up."""
    resolve, asked, over = socket.getaddrinfo, [], threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        asked.append(args)
        if len(asked) == 1:
            over.wait(30)
        return resolve(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = time.monotonic()
        wait_reachable([server.getsockname()], threading.Event(), pause=0.2)
        assert time.monotonic() - before < 5
    over.set()
    assert len(asked) >= 2


def test_waiting_ends_when_it_is_stopped() -> None:
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    before = time.monotonic()
    wait_reachable([("127.0.0.1", free_port())], stopped, pause=0.1)
    assert 0.2 < time.monotonic() - before < 5


def reach(uri: str, **options: Any) -> tuple[float, str | None]:
    """Contend for the leadership; the seconds until there is a leader, and its node."""

    async def run() -> tuple[float, str | None]:
        found: asyncio.Queue[str | None] = asyncio.Queue()
        before = time.monotonic()
        info = {"hostname": "h", "port": 1}
        observer = Observer(uri, lambda node, _: found.put_nowait(node), lambda: None, info=info, **options)
        try:
            return await asyncio.wait_for(found.get(), 40) and (time.monotonic() - before), observer.node
        finally:
            await asyncio.to_thread(observer.stop)

    return asyncio.run(run())


@needs_zookeeper
def test_a_zookeeper_that_starts_later_is_reached_at_once(tmp_path: Path) -> None:
    port, started = free_port(), []

    def start() -> None:
        time.sleep(3)
        with zookeeper(tmp_path / "zookeeper", port):
            started.append(time.monotonic())
            done.wait(60)

    done = threading.Event()
    thread = threading.Thread(target=start)
    thread.start()
    try:
        seconds, node = reach(f"zk://127.0.0.1:{port}/later")
        assert node == "json.info_0000000000"
        assert seconds < 3 + 6
        assert time.monotonic() - started[0] < 5
    finally:
        done.set()
        thread.join()


@needs_zookeeper
def test_servers_that_do_not_answer_keep_nobody_from_one_that_does(tmp_path: Path) -> None:
    """Else each takes a session's time, in which a session ends."""
    with zookeeper(tmp_path / "zookeeper") as address, contextlib.ExitStack() as stack:
        silent = [f"127.0.0.1:{stack.enter_context(silent_server())}" for _ in range(3)]
        seconds, node = reach(f"zk://{','.join([*silent, address])}/part", timeout=20.0)
    assert node == "json.info_0000000000"
    assert seconds < 18
