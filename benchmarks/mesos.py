"""The embedded Mesos at the Mesos paper's scale: ``python -m benchmarks mesos``.

Three measurements: from the start of a cluster to its first offer; what 10,000 offers cost the allocator and the
master; and the paper's own (its section 6.5): frameworks keep every simulated agent busy, and then a framework that
runs one task tells how much longer than the task it waited, from its registration to TASK_FINISHED.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.common.resources import Resources
from t2notebook.localmesos.http.recordio import Decoder, encode_event
from t2notebook.localmesos.master.allocator.hierarchical import Allocator
from t2notebook.localmesos.master.master import Master
from t2notebook.localmesos.master.state import MasterState, ToStream

Json = dict[str, Any]
AGENT = Resources.of(cpus=4, mem=4096, disk=10240, ports=[(31000, 31999)])
PROBE_SECONDS = 1.0
PAPER = "the Mesos paper: under 1 s (99 EC2 machines; C++)"
MESOS = "Mesos's own benchmark: 10,000 offers to 1,000 frameworks in 1.06 s"


_ENCODER = json.JSONEncoder(check_circular=False)


class Framework:
    """An asynchronous framework that starts one task on every offer and acknowledges every update.

    It shares the machine with what it measures, so it does nothing twice: no streams and tasks between a socket and
    its protocol, and the calls of one turn of the loop go out at once.
    """

    def __init__(self, master: str, name: str) -> None:
        self.host, _, port = master.rpartition(":")
        self.port, self.name = int(port), name
        self.launched: dict[str, float] = {}
        self.waited: list[float] = []
        self.offers = 0
        self.command = "true"
        self.once = False
        self.on_offers: Callable[[], None] | None = None
        self.on_finished: Callable[[], None] | None = None
        self._stream: _Events
        self._calls: _Answers
        self._gathered: list[bytes] = []

    @property
    def refused(self) -> int:
        """Calls that were not accepted."""
        return self._calls.refused

    async def start(self) -> None:
        info = {"user": "nobody", "name": self.name, "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
        call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        loop = asyncio.get_running_loop()
        _, self._calls = await loop.create_connection(_Answers, self.host, self.port)
        subscribe = _post(_ENCODER.encode(call).encode(), "")
        _, self._stream = await loop.create_connection(
            lambda: _Events(subscribe, self._event), self.host, self.port
        )

    async def stop(self) -> None:
        self.call("TEARDOWN")
        await asyncio.sleep(0)
        self._stream.transport.close()
        self._calls.transport.close()

    def call(self, kind: str, **payload: Any) -> None:
        call = {"type": kind, "framework_id": self.id, **payload}
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._send)
        header = f"Mesos-Stream-Id: {self._stream.id}\r\n"
        self._gathered.append(_post(_ENCODER.encode(call).encode(), header))

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._calls.transport.write(b"".join(gathered))

    def _event(self, event: Json) -> None:
        kind = event["type"]
        if kind == "SUBSCRIBED":
            self.id = event["subscribed"]["framework_id"]
        elif kind == "OFFERS":
            self._offered(event["offers"]["offers"])
        elif kind == "UPDATE":
            status = event["update"]["status"]
            task_id = status["task_id"]["value"]
            if status["state"] == "TASK_RUNNING":
                sent = self.launched.pop(task_id, None)
                if sent is not None:  # else it is a repetition
                    self.waited.append(time.perf_counter() - sent)
            if "uuid" in status:
                ids = {"task_id": status["task_id"], "agent_id": status["agent_id"], "uuid": status["uuid"]}
                self.call("ACKNOWLEDGE", acknowledge=ids)
            if status["state"] == "TASK_FINISHED" and self.on_finished is not None:
                self.on_finished()

    def _offered(self, offers: list[Json]) -> None:
        self.offers += len(offers)
        if self.on_offers is not None:
            self.on_offers()
        if not self.once:
            for offer in offers:
                self._launch(offer)
            return
        # Who has all that it wants says so, as Mesos asks of a framework: else it is offered everything again.
        if not self.launched and not self.waited:
            self._launch(offers.pop(0))
            self.call("SUPPRESS")
        if offers:
            self.call("DECLINE", decline={"offer_ids": [offer["id"] for offer in offers]})

    def _launch(self, offer: Json) -> None:
        task_id = f"{self.name}-{offer['id']['value']}"
        task = {"name": task_id, "task_id": {"value": task_id}, "agent_id": offer["agent_id"]}
        resources = [
            {name: item[name] for name in ("name", "type", "scalar", "ranges") if name in item}
            for item in offer["resources"]
        ]
        task |= {"resources": resources, "command": {"value": self.command}}
        operation = {"type": "LAUNCH", "launch": {"task_infos": [task]}}
        self.launched[task_id] = time.perf_counter()
        self.call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [operation]})


class _Events(asyncio.Protocol):
    """A subscription's stream: chunks to records to events."""

    transport: asyncio.Transport

    def __init__(self, subscribe: bytes, on_event: Callable[[Json], None]) -> None:
        self._subscribe, self._on_event = subscribe, on_event
        self._buffer = bytearray()
        self._decoder = Decoder()
        self.id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._subscribe)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.id:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self.id = head.partition(b"Mesos-Stream-Id: ")[2].partition(b"\r\n")[0].decode()
            self._buffer = rest
        start = 0
        while (end_of_size := self._buffer.find(b"\r\n", start)) >= 0:
            first = end_of_size + 2
            last = first + int(self._buffer[start:end_of_size], 16)
            if len(self._buffer) < last + 2:
                break
            for record in self._decoder.feed(self._buffer[first:last]):
                self._on_event(json.loads(record))
            start = last + 2
        del self._buffer[:start]


class _Answers(asyncio.Protocol):
    """The connection of a framework's calls: counts what is not accepted."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.refused = 0
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        lines, end, self._rest = (self._rest + data).rpartition(b"\n")
        self.refused += (lines + end).count(b"HTTP/1.1 ") - (lines + end).count(b"HTTP/1.1 202 ")


def _post(body: bytes, headers: str) -> bytes:
    head = "POST /api/v1/scheduler HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    head += f"Accept: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


# Start-up


def first_offer() -> float:
    """Seconds from the call that starts a cluster to the first offer."""

    async def wait(master: str) -> None:
        framework = Framework(master, "first")
        got = asyncio.Event()
        framework.on_offers = got.set
        await framework.start()
        await got.wait()
        await framework.stop()

    began = time.perf_counter()
    with LocalMesos(agents=2) as cluster:
        asyncio.run(wait(cluster.master))
        return time.perf_counter() - began


def starts_with_byte_code(count: int) -> list[float]:
    """Several start-ups of what is installed as pip does it: with byte code, which a checkout may lack."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, PYTHONPYCACHEPREFIX=folder):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        first_offer()
        return [first_offer() for _ in range(count)]


# What offers cost


def allocator_seconds(agents: int, frameworks: int) -> float:
    """Seconds that the allocator takes to offer every agent to somebody."""
    one = Allocator(seed=1)
    for index in range(agents):
        one.add_agent(f"agent{index}", AGENT)
    for index in range(frameworks):
        one.add_framework(f"framework{index}", ["*"], gpus=False, suppressed=[])
    began = time.perf_counter()
    assert len(one.allocate(0.0)) == agents
    return time.perf_counter() - began


def master_seconds(agents: int, frameworks: int) -> float:
    """Seconds that the master takes for the same, its events written for the wire included."""
    state = MasterState("127.0.0.1", 5050)
    master = Master(state)
    message: Json = {"op": "register", "pid": "slave(1)@127.0.0.1:5051", "agent_id": None}
    for index in range(agents):
        info = {"hostname": f"host{index}", "port": 5051, "resources": AGENT.to_json()}
        master.agents.register(0.0, f"link{index}", {**message, "index": index, "info": info})
    for index in range(frameworks):
        info = {"user": "nobody", "name": f"f{index}", "checkpoint": False, "failover_timeout": 0.0}
        info |= {"roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
        call = {"subscribe": {"framework_info": info, "suppressed_roles": ["*"]}}
        master.subscribe(0.0, call, f"stream{index}")
    for framework in state.frameworks.values():
        framework.suppressed.clear()
        state.allocator.add_framework(framework.id, ["*"], gpus=False, suppressed=[])
    state.out.clear()
    began = time.perf_counter()
    state.allocate(1.0)
    wire = [encode_event(one.event) for one in state.out if isinstance(one, ToStream)]
    taken = time.perf_counter() - began
    assert len(state.offers) == agents and len(wire) == min(agents, frameworks)
    return taken


# The paper's experiment


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def queued_seconds(pid: int) -> float:
    """Seconds that a process could have run and had no core (0.0 where Linux does not count them)."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


async def probe(master: str, index: int) -> tuple[float, int]:
    """Seconds that a newcomer with one task waits beyond its task, and the offers that were made to it."""
    framework = Framework(master, f"probe{index}")
    framework.command, framework.once = f"sleep {PROBE_SECONDS:g}", True
    done = asyncio.Event()
    framework.on_finished = done.set
    began = time.perf_counter()
    await framework.start()
    await asyncio.wait_for(done.wait(), 60)
    taken = time.perf_counter() - began - PROBE_SECONDS
    await framework.stop()
    return taken, framework.offers


async def busy_cluster(
    master: str, pids: dict[str, int], agents: int, count: int, probes: int
) -> dict[str, Any]:
    frameworks = [Framework(master, f"f{index}") for index in range(count)]
    began = time.perf_counter()
    for framework in frameworks:
        await framework.start()
    while sum(len(framework.waited) for framework in frameworks) < agents:
        await asyncio.sleep(0.1)
        if time.perf_counter() - began > 120:
            raise TimeoutError("the cluster did not fill within 120 s")
    filled = time.perf_counter() - began
    # Tasks start together and end together, at first; the paper waited for its steady state, too.
    await asyncio.sleep(30.0)
    for framework in frameworks:
        framework.waited.clear()
    offers, window, running = sum(f.offers for f in frameworks), time.perf_counter(), []
    cpu = {name: cpu_seconds(pid) for name, pid in pids.items()} | {"frameworks": time.process_time()}
    queued = queued_seconds(pids["master"])
    for index in range(probes):
        running.append(asyncio.create_task(probe(master, index)))
        await asyncio.sleep(0.25)
    found = await asyncio.gather(*running)
    overheads = [overhead for overhead, _ in found]
    seconds = time.perf_counter() - window
    after = {name: cpu_seconds(pid) for name, pid in pids.items()} | {"frameworks": time.process_time()}
    launched = sum(framework.offers for framework in frameworks) - offers + probes
    offers = launched - probes + sum(made for _, made in found)
    waited = sorted(one for framework in frameworks for one in framework.waited)
    refused = sum(framework.refused for framework in frameworks)
    for framework in frameworks:
        await framework.stop()
    return {
        "filled": filled,
        "overheads": sorted(overheads),
        "waited": waited,
        "offers": offers,
        "launched": launched,
        "seconds": seconds,
        "queued": queued_seconds(pids["master"]) - queued,
        "cpu": {name: after[name] - before for name, before in cpu.items()},
        "refused": refused,
    }


def quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks mesos")
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--frameworks", type=int, default=200)
    parser.add_argument("--probes", type=int, default=200)
    options = parser.parse_args(arguments)
    gc.set_threshold(50_000, 20, 100)
    starts = sorted(starts_with_byte_code(7))
    print(
        f"start-up to first offer: {statistics.median(starts):.3f} s (max {starts[-1]:.3f}; aim: under 0.4 s)"
    )
    for frameworks in (options.frameworks, 1000):
        alone = statistics.median(allocator_seconds(options.agents, frameworks) for _ in range(3))
        whole = statistics.median(master_seconds(options.agents, frameworks) for _ in range(3))
        print(
            f"{options.agents:,} offers to {frameworks:,} frameworks: allocator {alone:.2f} s "
            f"({1e6 * alone / options.agents:.0f} µs an offer), whole master {whole:.2f} s "
            f"({1e6 * whole / options.agents:.0f} µs an offer)"
        )
    print(f"  {MESOS}")
    with LocalMesos(simulate=options.agents, agents=0, simulate_duration="normal:30,10") as cluster:
        found = asyncio.run(
            busy_cluster(
                cluster.master, dict(cluster.pids), options.agents, options.frameworks, options.probes
            )
        )
    rate = found["launched"] / found["seconds"]
    print(
        f"{options.agents:,} simulated agents, {options.frameworks} frameworks, tasks of 30 s ± 10 s: "
        f"all agents busy after {found['filled']:.1f} s; then {rate:.0f} tasks started a second"
    )
    median, p99 = quantile(found["overheads"], 0.5), quantile(found["overheads"], 0.99)
    print(
        f"launch overhead of one task of a new framework (registration to TASK_FINISHED, less the task): "
        f"median {median:.3f} s, p99 {p99:.3f} s, max {found['overheads'][-1]:.3f} s of {len(found['overheads'])}"
    )
    print(f"  {PAPER}")
    print(
        f"ACCEPT to TASK_RUNNING: median {quantile(found['waited'], 0.5) * 1e3:.0f} ms, "
        f"p99 {quantile(found['waited'], 0.99) * 1e3:.0f} ms of {len(found['waited']):,}"
    )
    cpu, launched = found["cpu"], max(1, found["launched"])
    print(
        f"cpu of the master for a task's life (offer, launch, three updates, their acknowledgements): "
        f"{1e3 * cpu['master'] / launched:.2f} ms ({100 * cpu['master'] / found['seconds']:.0f} % of a core; "
        f"{1e3 * cpu['master'] / max(1, found['offers']):.2f} ms for each of all {found['offers']:,} offers)"
    )
    print(
        f"beside it, for a task: simulated agents {1e3 * cpu['simulator'] / launched:.2f} ms, "
        f"frameworks (this process) {1e3 * cpu['frameworks'] / launched:.2f} ms"
    )
    print(
        f"the master had no core for {100 * found['queued'] / found['seconds']:.0f} % of the time "
        "(much more than its own share: others use the machine, and the overheads above are theirs)"
    )
    if found["refused"]:
        print(f"calls refused: {found['refused']}")
    return 0
