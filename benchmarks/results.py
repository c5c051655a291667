"""A large result against a plain socket: the same bytes over loopback, hashed and written by who receives them.

The result goes from a worker to its sandbox and to its session, which hashes it, checks its signature and writes it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SIZES = (16, 256)
ROUNDS = 5
_CHUNK = 1 << 20


def send(port: int, size: int) -> None:
    """Send so many bytes."""
    data = memoryview(os.urandom(_CHUNK))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for _ in range(size // _CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)


def plain(size: int, directory: str) -> float:
    """Return the seconds until the bytes of another process are hashed and written."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = multiprocessing.get_context("spawn").Process(
            target=send, args=(server.getsockname()[1], size)
        )
        process.start()
        connection, _ = server.accept()
        buffer, digest = memoryview(bytearray(_CHUNK)), hashlib.sha256()
        begun = time.perf_counter()
        with connection, open(os.path.join(directory, "plain"), "wb", buffering=0) as file:
            while count := connection.recv_into(buffer):
                digest.update(buffer[:count])
                file.write(buffer[:count])
            took = time.perf_counter() - begun
            connection.sendall(b"x")
        process.join()
    os.unlink(os.path.join(directory, "plain"))
    return took


def serve(directory: str, pipe: Connection) -> None:
    """Serve one running worker, as a session does; tell the port, the job's id and its secret."""
    from benchmarks.channel import serve as serve_workers

    serve_workers(directory, 1, pipe)


def result(size: int, directory: str, port: int, job_id: str, secret: str) -> float:
    """Return the seconds that delivering a result takes a worker."""
    from t2notebook.worker.process.result import Delivery, deliver, pack_value
    from t2notebook.worker.process.session_api import SessionClient

    value = bytearray(os.urandom(_CHUNK)) * (size // _CHUNK)
    client = SessionClient(f"http://127.0.0.1:{port}", job_id, secret)
    path = f"/v1/jobs/{job_id}/workers/0/result?incarnation=0"
    begun = time.perf_counter()
    members, facts = pack_value(_Large(value), 0)
    delivered = deliver(members, facts, directory=directory, client=client, path=path)
    took = time.perf_counter() - begun
    assert delivered.how is Delivery.SENT, delivered
    client.close()
    return took


class _Large:
    """A value whose bytes are pickled out of band, as a NumPy array's are."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        import pickle

        return _Large, (pickle.PickleBuffer(self.data),)


def measure(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> dict[str, float]:
    """Return medians in seconds, and their ratios: how fast a result is in terms of the plain socket."""
    context = multiprocessing.get_context("spawn")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="t2-bench-") as home:
        for megabytes in sizes:
            taken: dict[str, list[float]] = {"plain": [], "result": []}
            for index in range(rounds + 1):
                place = Path(home, f"{megabytes}-{index}")
                place.mkdir()
                peer = plain(megabytes << 20, str(place))
                ours, theirs = context.Pipe()
                process = context.Process(target=serve, args=(str(place / "session"), theirs))
                process.start()
                port, job_id, secret = ours.recv()
                took = result(megabytes << 20, str(place), port, job_id, secret)
                ours.send(None)
                process.join(20)
                if index:  # the first fills caches
                    taken["plain"].append(peer)
                    taken["result"].append(took)
            for name, seconds in taken.items():
                figures[f"{megabytes} MB, {name}"] = statistics.median(seconds)
            ratio = figures[f"{megabytes} MB, plain"] / figures[f"{megabytes} MB, result"]
            figures[f"{megabytes} MB, result / plain, speed"] = ratio
    return figures


def main() -> int:
    """Print the figures."""
    for name, value in measure().items():
        print(f"{name}: {value:.2f} x" if "/" in name else f"{name}: {value * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
