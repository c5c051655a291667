"""Playing a recorded folder to the embedded Mesos: the same calls at the same points of the story, ids translated.

A recorded call is sent when every event that had come before it then has come now. Offers are not the same from
run to run (Mesos itself splits them by chance), so a call that names offers gets those of the same agent; ids,
uuids and times are translated, and everything else has to be equal. What was done to the recorded cluster between
the calls (an agent was killed, say) is an `Act` of the story.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.localmesos import client, oracle
from tests.localmesos.client import Connection, Json, Stream
from tests.localmesos.likeness import UUID, canonical, difference, of_frameworks, settled
from tests.localmesos.traces import TRACES

FRAMEWORK = re.compile(UUID.pattern + r"-\d{4}")
NOT_EVENTS = ("HEARTBEAT", "OFFERS", "RESCIND")
WAIT = 25.0


@dataclass
class Recorded:
    """One recorded exchange."""

    name: str
    at: float
    request: Json
    status: str
    headers: list[tuple[str, str]]
    body: str
    events: list[tuple[float, Json]] = field(default_factory=list)
    ended: tuple[float, str] | None = None
    stream: bool = False
    marks: list[tuple[float, str]] = field(default_factory=list)

    def call(self) -> Json:
        """Give the call of its body; {} if it has none."""
        try:
            found = json.loads(self.request.get("body") or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass
class Act:
    """Something that is not a call and has its moment in a story."""

    at: float
    do: Callable[[], object]
    name: str = ""


def load(folder: str) -> list[Recorded]:
    """Read a folder's exchanges in the order of their time."""
    directory = TRACES / folder
    found = []
    for line in oracle.lines(directory / "index.jsonl"):
        if "file" not in line:
            continue
        name, at = line["file"], line["t"]
        path = directory / f"{name}.response.http"
        if path.exists():
            head, _, body = path.read_bytes().partition(b"\r\n\r\n")
            first, *rest = head.decode().split("\r\n")
        else:  # an HTML page, which was not kept
            head = b""
            first, body = f"HTTP/1.1 {line['status']} {line['reason']}", b"html"
            rest = [f"{key}: {value}" for key, value in line["headers"]]
        one = Recorded(
            name=name,
            at=at,
            request=line["request"],
            status=first.split(" ", 1)[1],
            headers=[tuple(item.split(": ", 1)) for item in rest],  # type: ignore[misc]
            body=body.decode("utf-8", "replace"),
            stream=b"\r\nMesos-Stream-Id:" in head or (bool(line.get("stream")) and " 200 " in first),
        )
        if one.stream and not line.get("stream"):  # it was left at once
            one.ended = (at + line["seconds"], "closed")
            one.events = [(at, json.loads(text)) for text in one.body.splitlines() if text.startswith("{")]
        elif one.stream:
            path = directory / f"{name}.events.jsonl"
            for item in oracle.lines(path):
                if item.get("mark"):
                    one.marks.append((at + item["t"], item["mark"]))
                elif item.get("event"):
                    one.events.append((at + item["t"], item["event"]))
                elif item.get("connection"):
                    one.ended = (at + item["t"], item["how"])
        found.append(one)
    return sorted(found, key=lambda one: one.at)


def subject(event: Json) -> str:
    """Say what an event is about: only events of one subject have an order."""
    if event["type"] == "UPDATE":
        return f"UPDATE {event['update']['status']['task_id']['value']}"
    if event["type"] == "ACKNOWLEDGED":
        return f"ACKNOWLEDGED {event['acknowledged']['task_id']['value']}"
    return str(event["type"])


class Player:
    """Plays a story.

    Parameters
    ----------
    story
        Exchanges, in the order of their time: a folder's (`load`), or those of several.
    master
        The embedded Mesos.
    skip
        Exchanges that are known to differ (by name); they are not sent.
    forgive
        Subjects of events that are known to differ.
    rewrite
        Text in requests -> ours (a file server's address, say).
    acts
        What is done between the calls.
    """

    def __init__(
        self,
        story: Sequence[Recorded],
        master: str,
        *,
        skip: tuple[str, ...] = (),
        forgive: tuple[str, ...] = (),
        rewrite: dict[str, str] | None = None,
        acts: Sequence[Act] = (),
    ) -> None:
        self.master = master
        self.skip = skip
        self.forgive = forgive
        self.rewrite = rewrite or {}
        self.acts = acts
        self.recorded = [one for one in story if one.name not in skip]
        self.streams: dict[str, Stream] = {}
        self.seen: dict[str, list[Json]] = {}
        self.offers: dict[str, Json] = {}
        self.used: dict[str, list[str]] = {}
        self.ids: dict[str, str] = {}
        self.stream_ids: dict[str, str] = {}
        self.uuids: dict[str, str] = {}
        self.agents: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.recorded_offers = {
            offer["id"]["value"]: offer
            for one in self.recorded
            for _, event in one.events
            if event["type"] == "OFFERS"
            for offer in event["offers"]["offers"]
        }
        self.hosts = {
            f"{offer['url']['address']['ip']}:{offer['url']['address']['port']}": offer["agent_id"]["value"]
            for offer in self.recorded_offers.values()
        }
        """The recorded agents, by their address."""

    def run(self) -> None:
        """Play it all; what came beyond the recorded story is a fault, too."""
        try:
            for one in sorted((*self.recorded, *self.acts), key=lambda one: one.at):
                self._end_streams(one.at)
                self._wait_for(max(one.at, self._answered(one)))
                if isinstance(one, Act):
                    one.do()
                elif one.stream:
                    self._subscribe(one)
                else:
                    self._call(one)
            self._wait_for(float("inf"))
            beyond = self._beyond()
            assert not beyond, beyond
        finally:
            for stream in self.streams.values():
                stream.close()
            for framework_id in self.ids.values():
                client.request(self.master, "POST", "/teardown", f"frameworkId={framework_id}".encode())

    def _answered(self, one: Recorded | Act) -> float:
        """Give the time of the update that a call acknowledges (the recorded clocks differ by milliseconds)."""
        if isinstance(one, Act) or one.call().get("type") != "ACKNOWLEDGE":
            return 0.0
        for other in self.recorded:
            for when, event in other.events:
                status = event.get("update", {}).get("status", {})
                if status.get("uuid") and status["uuid"] in (one.request.get("body") or ""):
                    return when + 1e-6
        return 0.0

    # Events

    def _pump(self, seconds: float) -> None:
        for name, stream in self.streams.items():
            if not stream.ended:
                stream.poll(seconds / max(1, len(self.streams)))
            while stream.events:
                event = stream.events.popleft()
                self._event(name, event)

    def _event(self, name: str, event: Json) -> None:
        if event["type"] == "OFFERS":
            for offer in event["offers"]["offers"]:
                self.offers[offer["id"]["value"]] = {**offer, "stream": name}
        elif event["type"] == "RESCIND":
            self.offers.pop(event["rescind"]["offer_id"]["value"], None)
        elif event["type"] not in NOT_EVENTS:
            self.seen.setdefault(f"{name} {subject(event)}", []).append(event)

    def _wait_for(self, at: float) -> None:
        """Wait until everything has come that had come at that time, and compare it."""
        self._pump(0)
        for one in self.recorded:
            if one.name not in self.streams:
                continue
            counts: Counter[str] = Counter()
            for when, event in one.events:
                about = subject(event)
                if when >= at or event["type"] in NOT_EVENTS or about in self.forgive:
                    continue
                index, counts[about] = counts[about], counts[about] + 1
                mine = self._nth(f"{one.name} {about}", index)
                theirs = canonical(self._rewritten(event))
                assert canonical(mine) == theirs, f"{about} {index + 1}:\n{mine}\n{event}"
                # Byte for byte, but for what differs from run to run: fields stand in the recorded order.
                assert json.dumps(canonical(mine)) == json.dumps(theirs)
                if event["type"] == "ACKNOWLEDGED":
                    uuid = event["acknowledged"]["uuid"]
                    assert mine["acknowledged"]["uuid"] == self.uuids.get(uuid, uuid)
                self._learn(event, mine)

    def _nth(self, about: str, index: int) -> Json:
        deadline = time.monotonic() + WAIT
        while len(self.seen.get(about, ())) <= index:
            assert time.monotonic() < deadline, f"{about} number {index + 1} did not come; {list(self.seen)}"
            self._pump(0.05)
        return self.seen[about][index]

    def _learn(self, theirs: Json, mine: Json) -> None:
        if theirs["type"] == "SUBSCRIBED" and "framework_id" in theirs["subscribed"]:
            self.ids[theirs["subscribed"]["framework_id"]["value"]] = mine["subscribed"]["framework_id"][
                "value"
            ]
        elif theirs["type"] == "UPDATE":
            status, own = theirs["update"]["status"], mine["update"]["status"]
            if "uuid" in status:
                self.uuids[status["uuid"]] = own["uuid"]

    def _beyond(self) -> dict[str, list[Json]]:
        """Give the events of ours that the recorded story does not have."""
        self._pump(0.1)
        left = {}
        for about, found in self.seen.items():
            name, _, what = about.partition(" ")
            one = next(one for one in self.recorded if one.name == name)
            expected = sum(subject(event) == what for _, event in one.events)
            if len(found) > expected and what not in self.forgive:
                left[about] = found[expected:]
        return left

    # Streams

    def _subscribe(self, one: Recorded) -> None:
        body = self._translate(one.call())
        headers = dict(one.request["headers"])
        headers.setdefault("Accept", "")
        if not headers["Accept"]:
            del headers["Accept"]
        self.streams[one.name] = stream = Stream(self._address(one), one.request["path"], body, headers)
        assert f"HTTP/1.1 {stream.status} {stream.reason}".split(" ", 1)[1] == one.status
        assert [name for name, _ in stream.headers] == [name for name, _ in one.headers]
        for (name, mine), (_, theirs) in zip(stream.headers, one.headers, strict=True):
            if name == "Mesos-Stream-Id":
                self.stream_ids[theirs] = mine
            elif name != "Date":
                assert mine == theirs, name

    def _end_streams(self, at: float) -> None:
        for one in self.recorded:
            stream = self.streams.get(one.name)
            if one.ended is None or one.ended[0] >= at or stream is None:
                continue
            if one.ended[1] == "last-chunk":
                stream.end()
            elif not stream.connection.closed:
                self._wait_for(one.ended[0])
                stream.close()
                stream.ended = True
                self.offers = {k: v for k, v in self.offers.items() if v["stream"] != one.name}
                time.sleep(0.05)

    # Calls

    def _call(self, one: Recorded) -> None:
        path = one.request["path"]
        text = one.request.get("body") or ""
        if one.call():
            text = json.dumps(self._translate(one.call()))
        else:
            text = FRAMEWORK.sub(lambda m: self.ids.get(m[0], m[0]), text)
        headers = {}
        for name, value in one.request["headers"]:
            headers[name] = self.stream_ids.get(value, value) if name == "Mesos-Stream-Id" else value
        connection = Connection(self._address(one))
        connection.send(one.request["method"], path, text.encode() if text else None, headers)
        answer = connection.answer()
        connection.close()
        assert f"{answer.status} {answer.reason}" == one.status, f"{one.name}: {answer.text}"
        assert [name for name, _ in answer.headers] == [name for name, _ in one.headers], one.name
        for (name, mine), (_, theirs) in zip(answer.headers, one.headers, strict=True):
            if name not in ("Date", "Content-Length"):
                assert mine == theirs, f"{one.name}: {name}"
        if answer.text.startswith("{"):
            oracle.check(answer.json(), oracle.path_of(one.request))
            if "/state" in path or "/slaves" in path or "/frameworks" in path:
                ours = settled(of_frameworks(answer.json(), self.ids.values()))
                recorded = settled(of_frameworks(self._rewritten(json.loads(one.body)), self.ids))
                assert ours == recorded, f"{one.name}:\n{difference(ours, recorded)}"
        else:
            assert canonical(answer.text) == canonical(one.body), one.name

    def _translate(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name: self._offers(item) if name == "offer_ids" else self._translate(item, name)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._translate(item, key) for item in value]
        if not isinstance(value, str):
            return value
        if key == "uuid":
            return self.uuids.get(value, value)
        for theirs, mine in (*self.ids.items(), *self.rewrite.items()):
            value = value.replace(theirs, mine)
        return re.sub(UUID.pattern + r"-S(\d+)", lambda m: self._agent(m[1]), value)

    def _rewritten(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._rewritten(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._rewritten(item) for item in value]
        if isinstance(value, str):
            for theirs, mine in self.rewrite.items():
                value = value.replace(theirs, mine)
        return value

    def _address(self, one: Recorded) -> str:
        """Give the address of who was asked: the master, or one of the agents."""
        agent = self.hosts.get(one.request["host"])
        return self.master if agent is None else self.addresses[self._agent(agent.rsplit("-S", 1)[1])]

    def _agent(self, number: str) -> str:
        deadline = time.monotonic() + WAIT
        while number not in self.agents:
            assert time.monotonic() < deadline, f"no agent {number}"
            found = client.request(self.master, "GET", "/slaves").json()["slaves"]
            self.agents = {one["id"].rsplit("-S", 1)[1]: one["id"] for one in found}
            self.addresses = {one["id"]: f"{one['hostname']}:{one['port']}" for one in found}
        return self.agents[number]

    def _offers(self, wanted: list[Json]) -> list[Json]:
        """Give offers that are like the recorded ones: of the same agents, and at least as large together."""
        names = [item["value"] for item in wanted]
        result: list[str] = []
        for agent in dict.fromkeys(self._agent_of(name) for name in names):
            mine = [name for name in names if self._agent_of(name) == agent]
            if agent is None:
                result += mine
                continue
            if mine[0] in self.used:
                result += self.used[mine[0]]
                continue
            found = self._enough(agent, [self.recorded_offers[name] for name in dict.fromkeys(mine)])
            for name in mine:
                self.used[name] = found
                self.offers = {k: v for k, v in self.offers.items() if k not in found}
            result += found * (len(mine) // len(set(mine)))
        return [{"value": name} for name in result]

    def _agent_of(self, offer_id: str) -> str | None:
        offer = self.recorded_offers.get(offer_id)
        return None if offer is None else self._agent(offer["agent_id"]["value"].rsplit("-S", 1)[1])

    def _enough(self, agent: str, recorded: list[Json]) -> list[str]:
        wanted, deadline = amounts(recorded), time.monotonic() + 4.0
        while True:
            theirs = {one["framework_id"]["value"] for one in recorded}
            owners = {self.ids.get(name, name) for name in theirs}
            mine = [
                offer
                for offer in self.offers.values()
                if offer["agent_id"]["value"] == agent
                and offer["framework_id"]["value"] in owners
                and not self.streams[offer["stream"]].ended
            ]
            have = amounts(mine)
            if mine and (all(have[name] >= wanted[name] for name in wanted) or time.monotonic() > deadline):
                return [offer["id"]["value"] for offer in mine]
            assert time.monotonic() < deadline + WAIT, f"no offers of {agent}"
            self._pump(0.05)


def amounts(offers: list[Json]) -> Counter[str]:
    """Sum up scalars."""
    total: Counter[str] = Counter()
    for offer in offers:
        for item in offer["resources"]:
            if "scalar" in item:
                total[item["name"]] += round(item["scalar"]["value"] * 1000)
    return total
