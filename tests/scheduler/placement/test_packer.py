"""A plan carried out by the scheduler: calls to Mesos, events in the journal, and offers held as long as promised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.errors import JournalError
from t2notebook.model.events import EventKind
from t2notebook.model.job import Placement
from t2notebook.model.states import JobState
from t2notebook.protocol.launch import WorkerLaunch
from t2notebook.scheduler.inputs import Submitted
from tests.scheduler.stage import EPOCH, Stage, on_stage

Scenario = Callable[[Stage], Awaitable[None]]
GANG = Placement(gang=True, gang_timeout=30.0)
RESERVED = {"allocation_info": {"role": "grp"}, "reservations": [{"type": "DYNAMIC", "role": "grp"}]}


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    return lambda scenario: on_stage(tmp_path, scenario)


def offer(
    number: int, cpus: float = 4.0, agent: int | None = None, ports: int = 0, **fields: Any
) -> dict[str, Any]:
    where = number if agent is None else agent
    more = fields.pop("more", {})
    resources: list[dict[str, Any]] = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}
        for name, value in (("cpus", cpus), ("mem", 1024.0))
    ]
    if ports:
        span = {"begin": 31000, "end": 31000 + ports - 1}
        resources.append({"name": "ports", "type": "RANGES", "ranges": {"range": [span]}, **more})
    return {
        "id": {"value": f"O{number}"},
        "agent_id": {"value": f"S{where}"},
        "hostname": f"h{where}",
        "resources": resources,
        **fields,
    }


def declined(stage: Stage) -> list[str]:
    return [one["value"] for offers, _ in stage.asked("declineOffer") for one in offers]


def accepted(stage: Stage) -> list[list[str]]:
    return [[one["value"] for one in offers] for offers, _, _ in stage.asked("acceptOffers")]


def test_offers_of_one_agent_are_one_accept(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(workers=3)
        stage.scheduler.offers([offer(1, 1.5, agent=7), offer(2, 2.0, agent=7)])
        assert accepted(stage) == [["O1", "O2"]]
        assert len(stage.driver.launched()) == 3

    play(scenario)


def test_a_warm_executor_is_described_as_it_was_launched(play: Any) -> None:
    """Carved from a reservation, its resources are others in each offer; its info must be the same all the same."""

    async def scenario(stage: Stage) -> None:
        first = stage.submit(workers=1)
        stage.scheduler.offers([offer(1, more=RESERVED)])
        (task,) = stage.driver.launched()
        assert task["executor"]["resources"][0] == {
            "name": "cpus",
            "type": "SCALAR",
            "scalar": {"value": 0.1},
            **RESERVED,
        }
        assert all(item["reservations"] == RESERVED["reservations"] for item in task["resources"])
        stage.play(first)
        stage.result(first, 0)
        stage.play(first, "FINISHED")
        stage.submit(workers=1)
        plain = {"allocation_info": RESERVED["allocation_info"]}
        stage.scheduler.offers([offer(2, agent=1, more=plain, allocation_info={"role": "grp"})])
        before, after = stage.driver.launched()
        assert after["executor"] == before["executor"]
        assert "reservations" not in after["resources"][0]
        launched = [event for event in first.events if event.kind is EventKind.LAUNCHED]
        assert launched[0].data["executor_resources"] == task["executor"]["resources"], (
            "for who takes it over"
        )

    play(scenario)


def test_ports_reach_the_journal_and_the_worker(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        from t2notebook.model.job import ComputeResource, JobSpec

        resource = ComputeResource(ram_mega_bytes=64, instances=2, ports=2, workers_per_executor="max")
        job = stage.jobs.create_now(JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11"), "k")
        stage.scheduler.feed(Submitted(job.job_id))
        stage.scheduler.offers([offer(1, ports=4)])
        told = [WorkerLaunch.decode(task["data"]).ports for task in stage.driver.launched()]
        assert told == [(31000, 31001), (31002, 31003)]
        data = [event.data for event in job.events if event.kind is EventKind.LAUNCHED]
        assert [entry["ports"] for entry in data] == [[31000, 31001], [31002, 31003]]
        (ports,) = [item for item in stage.driver.launched()[1]["resources"] if item["name"] == "ports"]
        assert ports["ranges"] == {"range": [{"begin": 31002, "end": 31003}]}

    play(scenario)


def test_a_gang_holds_offers_until_its_deadline_then_lets_them_go_and_later_asks_again(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])
        assert declined(stage) == []
        assert job.view.waiting_for == "6 workers waiting: gang: 3 of 6 workers fit"
        await asyncio.sleep(29.0)
        assert declined(stage) == []
        await asyncio.sleep(1.5)
        assert declined(stage) == ["O1"]
        revived = len(stage.asked("reviveOffers"))
        await asyncio.sleep(5.0)
        assert len(stage.asked("reviveOffers")) == revived + 1

    play(scenario)


def test_a_gang_that_is_whole_is_launched_on_what_was_held_and_what_came(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])
        await asyncio.sleep(10.0)
        stage.scheduler.offers([offer(2)])
        assert sorted(accepted(stage)) == [["O1"], ["O2"]]
        stage.play(job)
        assert job.view.state is JobState.STARTED
        await asyncio.sleep(60.0)
        assert declined(stage) == []

    play(scenario)


def test_who_comes_later_is_matched_with_what_is_held(play: Any) -> None:
    """What was held was all that was free: no offer came, and a small job waited behind the gang."""

    async def scenario(stage: Stage) -> None:
        stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])
        small = stage.submit(workers=1)
        await asyncio.sleep(0.01)
        assert accepted(stage) == [["O1"]]
        assert small.view.workers[0].task_id

    play(scenario)


def test_what_was_held_is_not_lost_with_a_launch_that_cannot_be_written_down(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new offers are declined by who passed them on; those that were held were forgotten, for good."""

    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])

        def fail(*rows: Any) -> None:
            raise JournalError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(stage.jobs.journal, "commit", fail)
            stage.scheduler.offers([offer(2)])
            assert (sorted(declined(stage)), accepted(stage), stage.state.matcher.held) == (
                ["O1", "O2"],
                [],
                {},
            )
            stage.scheduler.offers([offer(3)])
            assert declined(stage)[-1] == "O3", "nothing is held while nothing can be launched"
        await asyncio.sleep(5.0)
        assert stage.driver.names().count("reviveOffers") > 1
        stage.scheduler.offers([offer(4), offer(5)])
        assert sorted(accepted(stage)) == [["O4"], ["O5"]]
        states = [event.state for event in job.events if event.kind is EventKind.STATUS]
        assert set(states) == {"DROPPED"}, "the launches that never went out are on record as such"
        assert {worker.failures for worker in job.view.workers} == {0}

    play(scenario)


@pytest.mark.parametrize("how", ["kill", "rescind", "disconnect"])
def test_what_is_held_for_nobody_is_held_no_more(play: Any, how: str) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])
        assert list(stage.state.matcher.held) == ["O1"]
        if how == "kill":
            stage.kill(job, "USER", "killed by the user")
            assert declined(stage) == ["O1"]
        elif how == "rescind":
            stage.scheduler.rescinded("O1")
        else:
            stage.scheduler.disconnected("the master is gone")
        assert stage.state.matcher.held == {}
        await asyncio.sleep(60.0)
        assert declined(stage) == (["O1"] if how == "kill" else []), "an offer that is void is not declined"

    play(scenario)


def test_the_rest_of_a_gang_that_runs_starts_one_by_one(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=3, placement=GANG)
        stage.scheduler.offers([offer(1)])
        stage.play(job)
        for worker in (0, 1):
            stage.update(job.view.workers[worker].task_id, "FAILED", message="a crash")
        await asyncio.sleep(1.0)
        stage.scheduler.offers([offer(2, 1.1)])
        assert len(stage.driver.launched()) == 4

    play(scenario)


def test_a_restarted_worker_keeps_away_from_the_others_hosts(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        job = stage.submit(workers=2, placement=Placement(where="unique:hostname"))
        stage.scheduler.offers([offer(1), offer(2)])
        stage.play(job)
        stage.update(job.view.workers[0].task_id, "FAILED", message="a crash")
        await asyncio.sleep(1.0)
        there = job.view.workers[1].host
        stage.scheduler.offers([offer(3, agent=int(there[1:]))])
        assert job.view.waiting_for.endswith(
            f"{there}: one worker of this job is there already (unique:hostname)"
        )
        stage.scheduler.offers([offer(4, agent=int(job.view.workers[0].host[1:]))])
        assert job.view.workers[0].task_id.endswith("-0-1")

    play(scenario)


def test_a_host_that_is_avoided_is_asked_for_again_when_it_is_not(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.state.tracker.hosts.seen(["h1", "h2"])
        for other in ("a", "b"):
            stage.state.tracker.hosts.failed("h1", other, stage.loop.time())
        job = stage.submit(workers=1)
        stage.scheduler.offers([offer(1)])
        assert (
            job.view.waiting_for
            == "1 worker waiting: h1: avoided for 30 s, since workers failed there 2 times"
        )
        revived = len(stage.asked("reviveOffers"))
        await asyncio.sleep(31.0)
        assert len(stage.asked("reviveOffers")) == revived + 1
        stage.scheduler.offers([offer(2, agent=1)])
        assert accepted(stage) == [["O2"]]

    play(scenario)


def test_a_maintenance_window_is_read_by_the_calendar(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        stage.submit(workers=1)
        start = {"nanoseconds": int((EPOCH + 60.0) * 1e9)}
        stage.scheduler.offers([offer(1, unavailability={"start": start})])
        assert declined(stage) == ["O1"]
        stage.scheduler.offers(
            [offer(2, unavailability={"start": {"nanoseconds": int((EPOCH + 6000.0) * 1e9)}})]
        )
        assert accepted(stage) == [["O2"]]

    play(scenario)


def slaves(cpus: float) -> dict[str, Any]:
    resources = [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}]
    resources.append({"name": "mem", "type": "SCALAR", "scalar": {"value": 4096.0}})
    return {
        "slaves": [{"id": "S1", "hostname": "h1", "active": True, "unreserved_resources_full": resources}]
    }


def master_says(stage: Stage, answers: list[Any]) -> list[float]:
    """Have the master answer `/slaves`, the last answer for ever; return when it was asked."""
    import json

    from t2notebook.mesos.transport import Response

    asked: list[float] = []

    class Connection:
        async def get(self, path: str, headers: dict[str, str]) -> Any:
            if path != "/slaves":
                return Response(404, "Not Found", {})  # type: ignore[arg-type]
            asked.append(stage.loop.time())
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return Response(200, "OK", {}, json.dumps(answer).encode())  # type: ignore[arg-type]

        def close(self) -> None:
            pass

    async def connect() -> Connection:
        return Connection()

    stage.driver.connect = connect  # type: ignore[attr-defined]
    return asked


def test_that_nothing_can_ever_fit_is_said_after_a_second_and_taken_back_when_it_can(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = master_says(stage, [slaves(4.0), slaves(64.0)])
        job = stage.submit(workers=1, cpu=16)
        stage.offer()
        await asyncio.sleep(1.5)
        assert job.view.waiting_for == (
            "1 worker waiting: no agent of this cluster can hold such a worker: 16.1 cpus asked, 0.1 of it for the "
            "executor, the only one has 4.0; at most 3.9 cpus and 4032.0 MiB memory for a worker would do"
        )
        assert [row["message"] for row in stage.scheduler.why(job)] == [
            "h1: 4.0 cpus in all, 16.1 asked, 0.1 of it for the executor",
            "h1: 4.0 cpus free, 16.1 asked, 0.1 of it for the executor",
        ]
        other = stage.submit(workers=1, cpu=32)
        await asyncio.sleep(1.5)
        assert "32.1 cpus asked" in other.view.waiting_for
        assert asked == [1.0], "an answer holds for two seconds"
        await asyncio.sleep(10.0)
        assert asked == [1.0, 3.0, 7.0], "then more seldom"
        assert (
            job.view.waiting_for
            == "1 worker waiting: h1: 4.0 cpus free, 16.1 asked, 0.1 of it for the executor"
        )

    play(scenario)


def test_a_master_that_does_not_say_troubles_nobody(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = master_says(stage, [OSError("no route to host")])
        job = stage.submit(workers=1, cpu=16)
        stage.offer()
        await asyncio.sleep(24.0)
        assert asked == [1.0, 3.0, 7.0, 15.0]
        assert (
            job.view.waiting_for
            == "1 worker waiting: h1: 4.0 cpus free, 16.1 asked, 0.1 of it for the executor"
        )
        stage.kill(job, "USER", "killed by the user")
        await asyncio.sleep(60.0)
        assert len(asked) == 4, "nobody waits"

    play(scenario)


def test_for_a_gang_that_can_never_be_whole_nothing_is_held(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        master_says(stage, [slaves(4.0)])
        job = stage.submit(workers=6, placement=GANG)
        stage.scheduler.offers([offer(1)])
        assert declined(stage) == []
        await asyncio.sleep(1.5)
        assert declined(stage) == ["O1"]
        assert "cannot hold the whole gang: 3 of 6 workers would fit on its 1 agent" in job.view.waiting_for

    play(scenario)


def test_gpus_that_are_not_offered_are_named_before_any_offer_comes(play: Any) -> None:
    async def scenario(stage: Stage) -> None:
        from t2notebook.model.job import ComputeResource, JobSpec

        spec = JobSpec("pi", "ada", (ComputeResource(gpus=1),), "0" * 64, 10, "3.11")
        job = stage.jobs.create_now(spec, "k")
        stage.scheduler.feed(Submitted(job.job_id))
        await asyncio.sleep(1.5)
        assert "set t2.configure(gpus=True)" in job.view.waiting_for

    play(scenario)
