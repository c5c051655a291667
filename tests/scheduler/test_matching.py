from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.job import MAX, ComputeResource
from t2notebook.scheduler.matching import (
    EXECUTOR,
    Demand,
    Offer,
    RunningExecutor,
    asked_by,
    match,
)


def offer(number: int, cpus: float, mem: float = 4096, agent: str | None = None) -> Offer:
    free = {"cpus": round(cpus * 1000), "mem": round(mem * 1000), "disk": 0, "gpus": 0}
    return Offer(f"O{number}", agent or f"S{number}", f"h{number}", free)


def demand(workers: int, cpu: float = 1.0, per_executor: int | str = MAX, job: str = "a") -> Demand:
    return Demand(
        job, range(workers), ComputeResource(cpu=cpu, ram_mega_bytes=64, workers_per_executor=per_executor)
    )


def placed(plan: object) -> list[tuple[str, str, int]]:
    return [
        (launch.offer.id, launch.executor_id, launch.worker_id)
        for launches in plan.launches.values()  # type: ignore[attr-defined]
        for launch in launches
    ]


def test_an_offer_takes_as_many_as_fit_with_the_executor_counted() -> None:
    plan = match([offer(1, 4.0), offer(2, 4.0), offer(3, 4.0)], [demand(4)])
    assert Counter(place for place, _, _ in placed(plan)) == {"O1": 3, "O2": 1}
    assert [declined.id for declined in plan.declined] == ["O3"]
    assert plan.refusals == []


def test_workers_share_executors_exactly_as_asked() -> None:
    plan = match([offer(1, 8.0)], [demand(5, per_executor=2)])
    assert sorted(Counter(executor for _, executor, _ in placed(plan)).values()) == [1, 2, 2]


def test_an_agent_with_a_waiting_executor_comes_first_and_needs_no_overhead() -> None:
    warm = RunningExecutor("t2-7", "S2")
    plan = match([offer(1, 4.0), offer(2, 4.0)], [demand(4)], [warm])
    assert placed(plan) == [("O2", "t2-7", worker) for worker in range(4)]


def test_an_executor_of_another_job_is_not_shared() -> None:
    busy = RunningExecutor("t2-7", "S1", job_id="b", workers=1)
    plan = match([offer(1, 4.0)], [demand(1)], [busy])
    assert [executor for _, executor, _ in placed(plan)] == ["executor-0"]


def test_a_refusal_says_what_was_lacking() -> None:
    plan = match([offer(3, 2.0)], [demand(1, cpu=4)])
    assert [refusal.message for refusal in plan.refusals] == [
        "h3: 2.0 cpus free, 4.1 asked, 0.1 of it for the executor"
    ]
    assert [declined.id for declined in plan.declined] == ["O3"]


def test_a_job_that_does_not_fit_blocks_nobody() -> None:
    plan = match([offer(1, 4.0)], [demand(1, cpu=64, job="big"), demand(2, job="small")])
    assert len(placed(plan)) == 2
    assert {refusal.job_id for refusal in plan.refusals} == {"big"}


def test_resources_of_one_name_are_summed() -> None:
    """Twister2 on Mesos let reservations overwrite each other."""
    scalar = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}}
    read = Offer.from_mesos(
        {
            "id": {"value": "O1"},
            "agent_id": {"value": "S1"},
            "hostname": "h1",
            "resources": [scalar, {**scalar, "reservations": [{"role": "x"}]}],
            "executor_ids": [{"value": "t2-1"}],
        }
    )
    assert read.free["cpus"] == 3000
    assert read.executors == {"t2-1"}


amounts = st.integers(0, 160).map(lambda tenth: tenth / 10)
demands = st.builds(
    demand,
    st.integers(1, 12),
    st.integers(1, 40).map(lambda tenth: tenth / 10),
    st.one_of(st.just(MAX), st.integers(1, 4)),
    st.sampled_from("abc"),
)


@given(st.lists(amounts, max_size=8), st.lists(demands, max_size=4, unique_by=lambda item: item.job_id))
def test_no_offer_is_overdrawn_held_or_forgotten(cpus: list[float], wanted: list[Demand]) -> None:
    offers = [offer(number, amount) for number, amount in enumerate(cpus)]
    warm = [RunningExecutor(f"t2-{number}", f"S{number}") for number in range(0, len(offers), 2)]
    plan = match(offers, wanted, warm)
    assert sorted([*plan.launches, *(declined.id for declined in plan.declined)]) == sorted(
        o.id for o in offers
    )
    assert all(plan.launches.values())
    by_id = {o.id: o for o in offers}
    for offer_id, launches in plan.launches.items():
        used: Counter[str] = Counter()
        for launch in launches:
            used.update(asked_by(launch.resource))
        for _ in {launch.executor_id for launch in launches if launch.new_executor}:
            used.update(EXECUTOR)
        assert all(amount <= by_id[offer_id].free[name] for name, amount in used.items())
    holders: dict[str, list[tuple[str, int | str]]] = defaultdict(list)
    for launches in plan.launches.values():
        for launch in launches:
            holders[launch.executor_id].append((launch.job_id, launch.resource.workers_per_executor))
    for held in holders.values():
        assert len({job_id for job_id, _ in held}) == 1
        assert held[0][1] == MAX or len(held) <= int(held[0][1])
    workers = Counter(
        (launch.job_id, launch.worker_id) for launches in plan.launches.values() for launch in launches
    )
    assert all(times == 1 for times in workers.values())


@given(st.lists(amounts, max_size=8), demands)
def test_who_still_waits_is_told_why(cpus: list[float], wanted: Demand) -> None:
    offers = [offer(number, amount) for number, amount in enumerate(cpus)]
    plan = match(offers, [wanted])
    if len(placed(plan)) < len(wanted.worker_ids):
        assert {refusal.offer.id for refusal in plan.refusals} == {o.id for o in offers}
        assert all(refusal.offered < refusal.asked for refusal in plan.refusals)
