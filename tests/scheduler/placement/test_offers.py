from __future__ import annotations

import json
from typing import Any

import pytest

from t2notebook.scheduler.placement.offers import EXECUTOR, Offer, OfferLedger
from tests.localmesos.traces import TRACES

ROLE = {"allocation_info": {"role": "grp"}}
RESERVED = {**ROLE, "reservations": [{"type": "DYNAMIC", "role": "grp"}]}


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def ports(*spans: tuple[int, int], **more: Any) -> dict[str, Any]:
    ranges = {"range": [{"begin": begin, "end": end} for begin, end in spans]}
    return {"name": "ports", "type": "RANGES", "ranges": ranges, **more}


def read(*resources: dict[str, Any], number: int = 1, **more: Any) -> Offer:
    ids = {"id": {"value": f"O{number}"}, "agent_id": {"value": "S1"}, "hostname": "h1"}
    return Offer.from_mesos({**ids, "resources": list(resources), **more})


def test_an_offer_as_a_real_mesos_made_it() -> None:
    """A real offer of a master to a framework with a reservation (Mesos 1.12, recorded)."""
    offer = read(
        ports((31000, 31999), **ROLE),
        scalar("cpus", 1.0, **RESERVED),
        scalar("disk", 100.0, **RESERVED),
        scalar("cpus", 3.0, **ROLE),
        scalar("mem", 4096.0, **ROLE),
        scalar("disk", 9900.0, **ROLE),
        allocation_info={"role": "grp"},
        attributes=[{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}],
        executor_ids=[{"value": "t2-1"}],
        unavailability={"start": {"nanoseconds": 5_000_000_000}, "duration": {"nanoseconds": 1_000_000_000}},
    )
    assert offer.free == {"cpus": 4000, "mem": 4_096_000, "disk": 10_000_000, "gpus": 0, "ports": 1_000_000}
    assert (offer.role, offer.executors) == ("grp", {"t2-1"})
    assert offer.attributes == {"rack": ("r1",)}
    assert offer.maintenance == (5.0, 6.0)


def test_resources_of_one_name_are_summed() -> None:
    """Twister2 on Mesos let reservations overwrite each other."""
    offer = read(scalar("cpus", 1.5), scalar("cpus", 1.5, reservations=[{"role": "x"}]))
    assert offer.free["cpus"] == 3000


@pytest.mark.parametrize(
    "resource",
    [
        scalar("cpus", 2.0, revocable={}),
        scalar("disk", 2.0, shared={}),
        scalar("disk", 2.0, disk={"persistence": {"id": "vol-1"}}),
        scalar("disk", 2.0, disk={"source": {"type": "MOUNT"}}),
        scalar("disk", 2.0, provider_id={"value": "csi"}),
        scalar("bandwidth", 2.0),
        {"name": "cpus", "type": "SET", "set": {"item": ["a"]}},
    ],
)
def test_what_a_plain_task_cannot_be_carved_from_is_left_out(resource: dict[str, Any]) -> None:
    offer = read(resource, scalar("mem", 64.0))
    assert {name for name, amount in offer.free.items() if amount} == {"mem"}
    assert [item["name"] for item in offer.resources] == ["mem"]


def test_resources_are_carved_as_they_were_offered_reserved_ones_first() -> None:
    ledger = OfferLedger(
        [read(scalar("cpus", 3.0, **ROLE), scalar("cpus", 1.0, **RESERVED), scalar("mem", 512.0, **ROLE))]
    )
    executor, _ = ledger.take(EXECUTOR)
    assert executor == (scalar("cpus", 0.1, **RESERVED), scalar("mem", 64.0, **ROLE))
    task, _ = ledger.take({"cpus": 2000})
    assert task == (scalar("cpus", 0.9, **RESERVED), scalar("cpus", 1.1, **ROLE))
    with pytest.raises(ValueError, match="too little cpus"):
        ledger.take({"cpus": 2000})


def test_what_is_alike_becomes_one_resource_over_several_offers() -> None:
    """An ExecutorInfo with twice the same resource would be another one after a failover."""
    ledger = OfferLedger(
        [read(scalar("cpus", 0.05)), read(scalar("cpus", 0.3), scalar("mem", 64.0), number=2)]
    )
    assert ledger.take(EXECUTOR)[0] == (scalar("cpus", 0.1), scalar("mem", 64.0))
    assert ledger.touched == {"O1", "O2"}


def test_ports_are_ranges_carved_from_ranges() -> None:
    ledger = OfferLedger([read(ports((31000, 31001), (31005, 31009)))])
    assert ledger.take({"ports": 3000}) == ((ports((31000, 31001), (31005, 31005)),), (31000, 31001, 31005))
    assert ledger.take({"ports": 1000}) == ((ports((31006, 31006)),), (31006,))
    assert ledger.take({"ports": 3000})[1] == (31007, 31008, 31009)


def test_only_offers_of_which_something_is_taken_are_touched() -> None:
    ledger = OfferLedger([read(scalar("cpus", 1.0)), read(scalar("cpus", 1.0), number=2)])
    ledger.take({"cpus": 500})
    assert ledger.touched == {"O1"}


def test_recorded_offers_can_be_read() -> None:
    traces = TRACES / "scheduler-happy" / "001-subscribe.events.jsonl"
    offers = [
        offer
        for line in traces.read_text().splitlines()
        for offer in (json.loads(line).get("event") or {}).get("offers", {}).get("offers", [])
    ]
    assert offers
    for offer in map(Offer.from_mesos, offers):
        OfferLedger([offer]).take({name: amount for name, amount in offer.free.items() if amount})
