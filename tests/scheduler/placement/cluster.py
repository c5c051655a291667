"""Offers and demands for tests of matching, and the rules that every plan keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from t2notebook.model.container_image import ContainerImage
from t2notebook.model.job import MAX, ComputeResource, Placement
from t2notebook.model.placement import value_of
from t2notebook.scheduler.placement.matcher import Plan
from t2notebook.scheduler.placement.offers import EXECUTOR, Offer, asked_by, scalars
from t2notebook.scheduler.placement.requests import Launch, ResourceRequest, RunningExecutor

RACKS, ZONES = 3, 2


def offer(
    number: int, cpus: float = 4.0, mem: float = 4096, agent: int | None = None, **fields: Any
) -> Offer:
    """Return offer `number`, of the agent of the same number if no other is said; racks and zones go by agent."""
    where = number if agent is None else agent
    free = {"cpus": round(cpus * 1000), "mem": round(mem * 1000), "disk": 0, "gpus": 0, "ports": 0}
    free |= {name: fields.pop(name) * 1000 for name in ("gpus", "ports") if name in fields}
    attributes = {"rack": (f"r{where % RACKS}",), "zone": ("ab"[where % ZONES],)}
    resources = scalars({name: amount for name, amount in free.items() if name != "ports"})
    begin = 31000 + 100 * number
    span = {"begin": begin, "end": begin + free["ports"] // 1000 - 1}
    if free["ports"]:
        resources.append({"name": "ports", "type": "RANGES", "ranges": {"range": [span]}})
    fields.setdefault("resources", tuple(resources))
    return Offer(f"O{number}", f"S{where}", f"h{where}", free, **{"attributes": attributes, **fields})


def request(
    workers: int | Sequence[int],
    cpu: float = 1.0,
    per_executor: int | str = MAX,
    job: str = "a",
    placement: Placement | None = None,
    **fields: Any,
) -> ResourceRequest:
    resource = ComputeResource(cpu=cpu, ram_mega_bytes=64, workers_per_executor=per_executor, **fields)
    placement = placement or Placement()
    ids = range(workers) if isinstance(workers, int) else workers
    image = ContainerImage(resource.image)
    return ResourceRequest(job, ids, resource, placement, placement.gang, image=image)


def placed(plan: Plan) -> list[tuple[str, str, int]]:
    return [(launch.host, launch.executor_id, launch.worker_id) for launch in plan.launches]


def hosts(plan: Plan) -> list[str]:
    return [launch.host for launch in plan.launches]


def messages(plan: Plan) -> list[str]:
    return [veto.message for veto in plan.vetoes]


def check(
    plan: Plan,
    offers: Iterable[Offer],
    requests: Sequence[ResourceRequest],
    executors: Iterable[RunningExecutor] = (),
) -> None:
    """Assert what holds of every plan."""
    offers = {one.id: one for one in offers}
    accepted = [one.id for acceptance in plan.acceptances for one in acceptance.offers]
    held = [one.id for gathered in plan.gathered.values() for one in gathered]
    declined = [one.id for one in plan.declined]
    assert sorted(accepted + held + declined) == sorted(offers), "each offer once: accepted, held or declined"
    for acceptance in plan.acceptances:
        assert acceptance.launches
        assert {one.agent for one in acceptance.offers} == {acceptance.agent}, "one agent to an ACCEPT"
        _check_amounts(acceptance.offers, acceptance.launches)
    launches = list(plan.launches)
    workers = Counter((launch.job_id, launch.worker_id) for launch in launches)
    assert all(times == 1 for times in workers.values())
    _check_executors(launches, executors)
    for one in requests:
        mine = [
            launch
            for launch in launches
            if launch.job_id == one.job_id and launch.worker_id in one.worker_ids
        ]
        for launch in mine:
            at = next(some for some in offers.values() if some.agent == launch.agent)
            assert not one.placement.nodes or at.host in one.placement.nodes
            assert all(constraint.admits(at.host, at.attributes) for constraint in one.placement.constraints)
        for constraint in one.placement.constraints:
            if constraint.operator == "unique":
                values = Counter(_value(constraint.attribute, launch, offers) for launch in mine)
                assert all(times == 1 for times in values.values())
        if one.gang:
            assert len(mine) in (0, len(one.worker_ids)), "a gang is launched whole or not at all"


def _value(attribute: str, launch: Launch, offers: dict[str, Offer]) -> str | None:
    at = next(some for some in offers.values() if some.agent == launch.agent)
    return value_of(attribute, at.host, at.attributes)


def _check_amounts(offers: Sequence[Offer], launches: Sequence[Launch]) -> None:
    used: Counter[str] = Counter()
    for launch in launches:
        used.update(asked_by(launch.resource))
        assert len(launch.ports) == launch.resource.ports
        carved = {item["name"]: item for item in launch.resources}
        assert round(carved["cpus"]["scalar"]["value"] * 1000) == asked_by(launch.resource)["cpus"]
    for _ in {launch.executor_id for launch in launches if launch.new_executor}:
        used.update(EXECUTOR)
    assert all(amount <= sum(one.free.get(name, 0) for one in offers) for name, amount in used.items())
    ports = [port for launch in launches for port in launch.ports]
    assert len(ports) == len(set(ports)), "no port twice"


def _check_executors(launches: Sequence[Launch], executors: Iterable[RunningExecutor]) -> None:
    before = {executor.executor_id: executor for executor in executors}
    held: dict[str, list[Launch]] = defaultdict(list)
    for launch in launches:
        held[launch.executor_id].append(launch)
    for executor_id, mine in held.items():
        assert len({(launch.agent, launch.job_id, launch.new_executor) for launch in mine}) == 1
        # Everything in an executor runs in its image.
        assert {launch.resource.image for launch in mine} == {mine[0].image.name}
        known = before.get(executor_id)
        assert mine[0].new_executor == (known is None)
        if known is not None:
            assert known.job_id in ("", mine[0].job_id)
            assert known.agent == mine[0].agent
            assert known.image == mine[0].image
        limits = [launch.resource.workers_per_executor for launch in mine]
        limits += [known.limit] if known is not None and known.job_id else []
        count = len(mine) + (known.workers if known is not None else 0)
        assert all(limit == MAX or count <= int(limit) for limit in limits)


tenths = st.integers(1, 60).map(lambda tenth: tenth / 10)
wheres = st.sampled_from(
    [
        "",
        "",
        "rack=r1",
        "rack=r0|r2",
        "zone!=a",
        "unique:hostname",
        "unique:rack",
        "spread:rack",
        "spread:hostname",
        "rack!=r0,unique:hostname",
        "spread:zone,unique:hostname",
        "shelf=1",
    ]
)
placements = st.builds(
    Placement,
    nodes=st.one_of(
        st.just(()), st.sets(st.integers(0, 7).map(lambda number: f"h{number}"), min_size=1).map(tuple)
    ),
    where=wheres,
    gang=st.booleans(),
)
requests = st.builds(
    request,
    st.integers(1, 8),
    st.integers(1, 40).map(lambda tenth: tenth / 10),
    st.one_of(st.just(MAX), st.integers(1, 4)),
    st.sampled_from("abcd"),
    placements,
    ports=st.integers(0, 2),
    image=st.sampled_from(["", "", "a:1", "b"]),
)
several = st.lists(requests, max_size=4, unique_by=lambda one: one.job_id)
offers = st.lists(
    st.builds(
        lambda agent, cpus, mem, ports: (agent, cpus, mem, ports),
        st.integers(0, 7),
        tenths,
        st.integers(64, 1024),
        st.integers(0, 4),
    ),
    max_size=10,
).map(
    lambda rows: [
        offer(number, cpus, mem, agent, ports=ports) for number, (agent, cpus, mem, ports) in enumerate(rows)
    ]
)
executors = st.lists(
    st.builds(
        lambda *row: row,
        st.integers(0, 7),
        st.sampled_from(["", "", "a", "b"]),
        st.integers(1, 2),
        st.sampled_from([MAX, 2, 3]),
        st.sampled_from(["", "", "a:1", "b"]),
    ),
    max_size=6,
).map(
    lambda rows: [
        RunningExecutor(
            f"t2-{number}",
            f"S{agent}",
            job,
            workers if job else 0,
            limit,
            image=ContainerImage(image),
        )
        for number, (agent, job, workers, limit, image) in enumerate(rows)
    ]
)
