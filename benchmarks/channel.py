"""Workers' channels: a thousand that join at once and wait at barriers, and messages there and back.

The session's side is a process with the real server, state machine and store; the workers are as many real connections
of one other process, since a thousand interpreters would measure the machine.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import selectors
import socket
import statistics
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from t2notebook.protocol import channel

WORKERS = 1000
BARRIERS = 5
ROUND_TRIPS = 500


def serve(directory: str, workers: int, pipe: Connection) -> None:
    """Serve one job of running workers; tell the port, its id and its secret."""
    from tornado.netutil import bind_sockets
    from tornado.web import Application

    from t2notebook.jobmaster import http_api
    from t2notebook.journal import Journal
    from t2notebook.journal.job_store import AllJobs, Jobs
    from t2notebook.model.events import Event, EventKind
    from t2notebook.model.job import ComputeResource, JobSpec
    from t2notebook.session.job_masters import JobMasters
    from t2notebook.session.shared_port import SharedPort
    from t2notebook.session.worker_server import CHUNK

    raise_limit()

    async def run() -> None:
        jobs = Jobs(Journal(Path(directory)))
        everything = AllJobs()
        everything.add(jobs)
        job = jobs.create_now(
            JobSpec("bench", "me", (ComputeResource(instances=workers),), "0" * 64, 1, "3.11"), "me"
        )
        now = time.time()
        for worker in range(workers):
            task = f"{job.job_id}-{worker}-0"
            data = {"agent": "a", "host": "h", "agent_url": "http://127.0.0.1:5051", "restart_count": 0}
            launched = Event(EventKind.LAUNCHED, job.job_id, now, worker, task, "STAGING", data=data)
            jobs.record(launched, Event(EventKind.STATUS, job.job_id, now, worker, task, "RUNNING"))
        masters = JobMasters(everything, nothing_to_scale)
        server = SharedPort(Application(http_api.routes(everything)), chunk_size=CHUNK)
        server.channels = masters.server.connection
        sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
        server.add_sockets(sockets)
        pipe.send((sockets[0].getsockname()[1], job.job_id, job.secret))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await masters.close()
        server.stop()

    asyncio.run(run())


async def nothing_to_scale(*_: Any) -> int:
    """Refuse: this job is not scaled."""
    raise AssertionError


def raise_limit() -> None:
    """Have as many descriptors as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd:
    """Many workers' connections in one thread."""

    def __init__(self, port: int, job_id: str, secret: str, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._channels: list[tuple[socket.socket, channel.Channel]] = []
        for worker in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            try:
                sock.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
            opened = channel.connect(secret, {"job_id": job_id, "worker_id": worker, "incarnation": 0})
            self._channels.append((sock, opened))
            self._selector.register(sock, selectors.EVENT_WRITE, worker)

    def welcomed(self) -> None:
        """Wait until all are welcome."""
        self._until("welcome", len(self._channels))

    def barrier(self, number: int) -> None:
        """Take all through a barrier."""
        number += 1_000_000  # numbers of requests that no other client of these workers uses
        for sock, opened in self._channels:
            opened.send({"kind": "barrier", "timeout": 100, "request": number, "low": number, "faults": 0})
            self._flush(sock, opened)
        self._until("result", len(self._channels))

    def _until(self, what: str, count: int) -> None:
        while count:
            for key, _ in self._selector.select(60):
                sock, opened = self._channels[key.data]
                if key.events & selectors.EVENT_WRITE:
                    self._selector.modify(sock, selectors.EVENT_READ, key.data)
                else:
                    data = sock.recv(1 << 16)
                    assert data, "the connection was closed"
                    count -= sum(what in message.record for message in opened.feed(data))
                self._flush(sock, opened)

    def _flush(self, sock: socket.socket, opened: channel.Channel) -> None:
        while piece := opened.take():
            sock.sendall(piece)

    def close(self) -> None:
        """Close all."""
        self._selector.close()
        for sock, _ in self._channels:
            sock.close()


def messages(port: int, job_id: str, secret: str) -> list[float]:
    """Return the seconds of messages from one worker to another and back, both through the job master."""
    from t2notebook.worker.process.job_master_client import JobMasterClient
    from t2notebook.worker.process.messages import Messages

    clients = [
        JobMasterClient(
            f"http://127.0.0.1:{port}", secret, {"job_id": job_id, "worker_id": worker, "incarnation": 0}
        )
        for worker in (0, 1)
    ]
    one, other = (Messages(client) for client in clients)

    def echo() -> None:
        for number, value in enumerate(other.receive(None)):
            other.send(0, value)
            if number == ROUND_TRIPS - 1:
                return

    thread = threading.Thread(target=echo)
    thread.start()
    came = one.receive(None)
    took = []
    for number in range(ROUND_TRIPS):
        begun = time.perf_counter()
        one.send(1, number)
        assert next(came) == number
        took.append(time.perf_counter() - begun)
    thread.join()
    for client in clients:
        client.close()
    return took


def measure(workers: int = WORKERS) -> dict[str, float]:
    """Return the figures, in seconds."""
    raise_limit()
    context = multiprocessing.get_context("spawn")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(directory, workers, theirs))
        process.start()
        port, job_id, secret = ours.recv()
        begun = time.perf_counter()
        crowd = Crowd(port, job_id, secret, workers)
        crowd.welcomed()
        figures["joined"] = time.perf_counter() - begun
        crowd.barrier(1)
        figures["joined and through a barrier"] = time.perf_counter() - begun
        barriers = []
        for number in range(2, BARRIERS + 2):
            again = time.perf_counter()
            crowd.barrier(number)
            barriers.append(time.perf_counter() - again)
        figures["the next barrier"] = statistics.median(barriers)
        crowd.close()
        took = sorted(messages(port, job_id, secret))
        figures["message there and back"] = statistics.median(took)
        figures["message there and back, p99"] = took[int(len(took) * 0.99)]
        ours.send(None)
        process.join(20)
    return figures


def main() -> int:
    """Print the figures."""
    for name, seconds in measure().items():
        print(f"{name}: {seconds * 1000:.2f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
