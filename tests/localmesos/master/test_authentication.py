"""HTTP authentication: the recorded exchanges, and what goes on working beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2notebook.localmesos import LocalMesos, StartError
from t2notebook.localmesos.master.authentication import CredentialsError, read_credentials
from tests.localmesos.client import Json, Stream, request
from tests.localmesos.traces import TRACES

CREDENTIALS = {
    "credentials": [{"principal": "alice", "secret": "s3cret"}, {"principal": "bob", "secret": "b0b"}]
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesos]:
    path = tmp_path_factory.mktemp("credentials") / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    with LocalMesos(agents=1, credentials=path) as cluster:
        yield cluster


def recorded() -> list[Json]:
    path = TRACES / "auth/index.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


class Recorded:
    """The stream of 007, and the ids to put in place of the recorded ones."""

    def __init__(self, master: str) -> None:
        call = {"user": "root", "name": "auth", "principal": "alice"}
        headers = {"Authorization": basic("alice", "s3cret")}
        subscribe = {"type": "SUBSCRIBE", "subscribe": {"framework_info": call}}
        self.stream = Stream(master, "/api/v1/scheduler", subscribe, headers)
        self.id = self.stream.next("SUBSCRIBED")["subscribed"]["framework_id"]["value"]
        self.stream_id = next(v for k, v in self.stream.headers if k == "Mesos-Stream-Id")


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.mark.parametrize("exchange", recorded(), ids=lambda one: one["file"])
def test_recorded(guarded: LocalMesos, exchange: Json) -> None:
    asked = exchange["request"]
    headers = dict(asked["headers"])
    if exchange.get("stream"):
        stream = Stream(guarded.master, asked["path"], json.loads(asked["body"]), headers)
        assert [name for name, _ in stream.headers] == [name for name, _ in exchange["headers"]]
        stream.next("SUBSCRIBED")
        stream.close()
        return
    one = Recorded(guarded.master)
    body = asked.get("body")
    if "Mesos-Stream-Id" in headers:
        headers["Mesos-Stream-Id"] = one.stream_id
        body = json.dumps({**json.loads(body), "framework_id": {"value": one.id}})
    answer = request(
        guarded.master, asked["method"], asked["path"], None if body is None else body.encode(), headers
    )
    assert answer.status == exchange["status"]
    assert [name for name, _ in answer.headers] == [name for name, _ in exchange["headers"]]
    wanted = dict(exchange["headers"])
    assert answer.header("WWW-Authenticate") == wanted.get("WWW-Authenticate")
    if exchange["status"] >= 400:
        assert answer.text == exchange["body"]
    one.stream.close()


def test_framework_without_principal_gets_the_askers(guarded: LocalMesos) -> None:
    headers = {"Authorization": basic("bob", "b0b")}
    call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "mine"}}}
    stream = Stream(guarded.master, "/api/v1/scheduler", call, headers)
    framework_id = stream.next("SUBSCRIBED")["subscribed"]["framework_id"]
    stream_id = next(v for k, v in stream.headers if k == "Mesos-Stream-Id")
    revive = {"type": "REVIVE", "framework_id": framework_id}
    more = {"Mesos-Stream-Id": stream_id, "Authorization": basic("alice", "s3cret")}
    refused = request(guarded.master, "POST", "/api/v1/scheduler", revive, more)
    assert (refused.status, "does not match principal 'bob'" in refused.text) == (400, True)
    # The agent is there: its link needs no principal.
    stream.next("OFFERS")
    stream.close()


def test_teardown_needs_a_principal(guarded: LocalMesos) -> None:
    answer = request(guarded.master, "POST", "/teardown", b"frameworkId=x")
    assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Basic realm="mesos-master-readwrite"')


@pytest.mark.parametrize(
    "text",
    [
        "a b\n\n c d ",
        '{"credentials": [{"principal": "a", "secret": "b"}, {"principal": "c", "secret": "d"}]}',
    ],
)
def test_credentials_files(text: str) -> None:
    assert read_credentials(text) == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    "text", ["", "alone", "a b c", "{", '{"x": 1}', '{"credentials": [{"principal": "a"}]}']
)
def test_bad_credentials_files(text: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError):
        read_credentials(text)


def test_bad_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--credentials"):
        LocalMesos(agents=1, credentials=tmp_path / "absent")
