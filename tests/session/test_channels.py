"""The workers' end of a session: one port for files and channels, who is welcome there, and a thousand at once."""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import channel as benchmark
from t2notebook.protocol import channel
from t2notebook.protocol.frames import FrameError


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, str, str]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=benchmark.serve, args=(str(tmp_path), 3, theirs))
    process.start()
    yield ours.recv()
    ours.send(None)
    process.join(20)
    assert process.exitcode == 0


def greet(port: int, secret: str, hello: dict[str, Any], cut: int = 0) -> Any:
    """Return the first record that a worker is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        opened = channel.connect(secret, hello)
        while True:
            while piece := opened.take():
                if cut:
                    sock.sendall(piece[:cut])
                    time.sleep(0.05)
                    piece, cut = piece[cut:], 0
                sock.sendall(piece)
            data = sock.recv(1 << 16)
            if not data:
                return None
            for message in opened.feed(data):
                return message.record


def test_files_and_channels_come_to_one_port(served: tuple[int, str, str]) -> None:
    port, job_id, secret = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        connection.request("GET", "/nothing")
        answer = connection.getresponse()
        assert answer.status == 404
        answer.read()
    connection.close()
    for cut in (0, 1, 3, 5):
        record = greet(port, secret, {"job_id": job_id, "worker_id": 1, "incarnation": 0}, cut)
        assert record["welcome"]["worker_id"] == 1
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.close()
    assert greet(port, secret, {"job_id": job_id, "worker_id": 2, "incarnation": 0})["faults"] == 0


def test_who_is_not_welcome(served: tuple[int, str, str]) -> None:
    port, job_id, secret = served
    with pytest.raises(FrameError):
        greet(port, "00" * 32, {"job_id": job_id, "worker_id": 1, "incarnation": 0})
    with pytest.raises(FrameError):
        greet(port, secret, {"job_id": "me-other-1", "worker_id": 1, "incarnation": 0})
    for incarnation in (1, 7, None, "0"):
        stopped = greet(port, secret, {"job_id": job_id, "worker_id": 1, "incarnation": incarnation})
        assert stopped == {"stop": "a newer worker replaces this one"}
    for worker in (3, -1, None, True):
        told = greet(port, secret, {"job_id": job_id, "worker_id": worker, "incarnation": 0})
        assert "stop" in told or worker is True
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(channel.MAGIC + b"\0\0\0\x02{}")
        while data := sock.recv(1 << 16):
            sock.sendall(b"\0\0\0\x02{}")
            assert b"proof" in data
    assert "welcome" in greet(port, secret, {"job_id": job_id, "worker_id": 1, "incarnation": 0})


def test_a_thousand_workers_join_at_once_and_pass_barriers() -> None:
    figures = benchmark.measure(1000)
    # Far from what it takes on a quiet machine (benchmarks/README.md), and from hanging.
    assert figures["joined and through a barrier"] < 30
    assert figures["message there and back"] < 0.2
