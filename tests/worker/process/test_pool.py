"""A pool's worker, from what its notebook sends to what it answers, across connections."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from t2notebook.package.job_package import build
from t2notebook.protocol import calls, outcomes
from t2notebook.protocol.archive import write
from t2notebook.protocol.frames import Bytes, Message
from t2notebook.worker.process import pool as module
from t2notebook.worker.process.pool import PART, Mapped, PoolWorker
from t2notebook.worker.process.superseded import Superseded


class Client:
    """A connection whose other side is the test."""

    def __init__(self) -> None:
        self.connections = 1
        self.is_up = True
        self.said: list[tuple[dict[str, Any], bytes]] = []
        self.script: list[Callable[[], list[dict[str, Any]]]] = []
        self.payloads: dict[int, bytes] = {}

    def receive(self, wait: bool) -> list[Message]:
        if not wait:
            return []
        if not self.script:
            raise Superseded("the test is over")
        return [Message({"pool": each}, each.pop("payload", b"")) for each in self.script.pop(0)()]

    def post(self, record: Mapping[str, Any], payload: Sequence[Bytes] = ()) -> bool:
        if self.is_up:
            self.said.append((dict(record), b"".join(bytes(each) for each in payload)))
        return self.is_up

    def post_head(self, head: bytes, payload: bytes) -> bool:
        said = outcomes.unpack(outcomes.sent_by(0, 0, head))
        record = {"done": said.ticket, "ok": said.is_good, "n": said.number, "more": outcomes.has_more(head)}
        return self.post(record, [payload])

    def kinds(self) -> list[str]:
        return [next(iter(record)) for record, _ in self.said]


def function(tmp_path: Path, fn: Any) -> bytes:
    return build(Mapped(fn), {}, directory=tmp_path, local_dirs=[], name="f").path.read_bytes()


def call(
    epoch: int, tickets: list[int], package: bytes = b"", arguments: Any = ((3,), {}), **more: Any
) -> dict[str, Any]:
    packed = b"".join(map(bytes, calls.pack(arguments)))
    functions = {"functions": [[1, len(package)]]} if package else {}
    return {
        "kind": "calls",
        "epoch": epoch,
        "calls": [[ticket, 1, len(packed)] for ticket in tickets],
        "payload": package + packed * len(tickets),
        **functions,
        **more,
    }


def run(client: Client, *script: Callable[[], list[dict[str, Any]]], alone: float = 60.0) -> PoolWorker:
    client.script = [list, *script]  # the greeting comes first
    worker = PoolWorker(client, ".", alone)  # type: ignore[arg-type]
    with pytest.raises(Superseded, match="the test is over"):
        worker.run()
    return worker


def results(client: Client) -> dict[int, Any]:
    return {record["done"]: calls.unpack(data) for record, data in client.said if "done" in record}


def test_calls_are_run_in_their_order_and_a_function_is_sent_once(tmp_path: Path) -> None:
    client, package = Client(), function(tmp_path, lambda x: x * 2)
    run(
        client,
        lambda: [{"kind": "attached"}],
        lambda: [call(2, [7, 8], package, tells=True)],
        lambda: [call(2, [9], arguments=((5,), {}), after=8)],
    )
    assert client.kinds() == ["hello", "hello", "started", "done", "done", "done"]
    assert results(client) == {7: 6, 8: 6, 9: 10}


@pytest.mark.parametrize("short", [3600.0, 0.0], ids=["short", "long"])
def test_a_short_call_says_that_others_follow_and_a_long_one_does_not(
    short: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORT", short)
    client, package = Client(), function(tmp_path, lambda x: x)
    run(client, lambda: [call(1, [1, 2, 3], package)])
    done = [(record["done"], record["more"]) for record, _ in client.said if "done" in record]
    assert done == [(1, short > 0), (2, short > 0), (3, False)]


def test_what_was_sent_on_another_connection_is_not_run_and_results_are_told_again(tmp_path: Path) -> None:
    client, package = Client(), function(tmp_path, lambda x: x)

    def breaks() -> list[dict[str, Any]]:
        client.connections += 1
        return [call(1, [2])]

    run(
        client,
        lambda: [call(1, [1], package)],
        breaks,
        lambda: [{"kind": "drop", "epoch": 2, "ticket": 99, "ack": 1}, call(2, [3], package)],
    )
    hellos = [record for record, _ in client.said if "hello" in record]
    assert [(each["hello"], each["holding"]) for each in hellos] == [(1, []), (2, [1])]
    assert [record["done"] for record, _ in client.said if "done" in record] == [1, 1, 3]


def test_what_has_been_acknowledged_is_not_told_again(tmp_path: Path) -> None:
    client, package = Client(), function(tmp_path, lambda x: x)

    def breaks() -> list[dict[str, Any]]:
        client.connections += 1
        return []

    run(client, lambda: [call(1, [1], package)], lambda: [{"kind": "ack", "epoch": 1, "ack": 1}], breaks)
    assert [record["done"] for record, _ in client.said if "done" in record] == [1]
    assert client.said[-1][0] == {"hello": 2, "holding": [], "epoch": 2}


def test_a_result_made_while_nobody_heard_is_told_when_somebody_does(tmp_path: Path) -> None:
    client, package = Client(), function(tmp_path, lambda x: x)

    def down() -> list[dict[str, Any]]:
        client.is_up = False
        return [call(1, [1], package)]

    def up() -> list[dict[str, Any]]:
        client.is_up, client.connections = True, 2
        return []

    run(client, down, up)
    assert client.kinds() == ["hello", "hello", "done"]
    assert client.said[1][0]["holding"] == [1]


def test_a_large_result_goes_in_parts(tmp_path: Path) -> None:
    client, package = Client(), function(tmp_path, bytes)
    size = 3 * PART + 5
    run(client, lambda: [call(1, [1], package, arguments=((size,), {}))])
    parts = [data for record, data in client.said if "part" in record]
    assert len(parts) == 4 and all(len(part) <= PART for part in parts)
    assert client.said[-1][0]["done"] == 1 and client.said[-1][1] == b""
    assert calls.unpack(b"".join(parts)) == bytes(size)


def test_a_function_that_cannot_be_rebuilt_fails_its_calls_and_no_others(tmp_path: Path) -> None:
    client = Client()
    target = io.BytesIO()
    write(target, [("object.pickle", b"no pickle")], {"kind": "job"})
    good = function(tmp_path, lambda x: x)
    broken = call(1, [1], target.getvalue())
    other = call(1, [2], good)
    other["functions"], other["calls"] = [[2, len(good)]], [[2, 2, other["calls"][0][2]]]
    run(client, lambda: [broken], lambda: [other])
    found = results(client)
    assert "cannot be rebuilt on the agent" in found[1][0]["line"]
    assert found[2] == 3


def test_it_ends_when_it_is_told_and_when_nobody_comes() -> None:
    client = Client()
    client.script = [lambda: [{"kind": "attached"}], lambda: [{"kind": "end", "epoch": 1}]]
    assert PoolWorker(client, ".").run() == 0  # type: ignore[arg-type]
    client = Client()
    client.script = [lambda: []] * 5
    assert PoolWorker(client, ".", alone=0.0).run() == 0  # type: ignore[arg-type]
    client = Client()
    client.script = [
        lambda: [{"kind": "attached"}],
        *[lambda: []] * 4,
        lambda: [{"kind": "alone"}],
        lambda: [],
    ]
    assert PoolWorker(client, ".", alone=0.0).run() == 0  # type: ignore[arg-type]
    assert len(client.script) <= 1, "with a notebook it stays"
