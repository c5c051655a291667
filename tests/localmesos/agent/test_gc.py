"""Garbage collection: when directories go, which may, and that nothing living ever does."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos import LocalMesos
from t2notebook.localmesos.agent.gc import Collector, Schedule, allowed_age, disk_usage
from t2notebook.localmesos.agent.state.retention import directories
from t2notebook.localmesos.cluster.flags import parse
from t2notebook.localmesos.common.durations import duration, parse_duration
from tests.localmesos.agent.test_recovery import browse, checkpointing, kill_agent, launch, wait_for
from tests.localmesos.client import Framework, agent_address, encoded, request, task
from tests.localmesos.conftest import executor_info

DAY, WEEK = 86400.0, 7 * 86400.0


def test_allowed_age() -> None:
    assert allowed_age(WEEK, 0.1, 0.12) == pytest.approx(5.46 * DAY), "sooner than a week on a disk 12 % full"
    assert allowed_age(WEEK, 0.1, 0.0) == pytest.approx(6.3 * DAY)
    assert allowed_age(WEEK, 0.1, 0.9) == 0
    assert allowed_age(WEEK, 0.1, 1.0) == 0


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 20)))),
    st.integers(0, 20),
)
def test_a_schedule_gives_what_is_due_in_order(changes: list[tuple[str, int | None]], until: int) -> None:
    """Against the plain rule: the last word on a path counts."""
    schedule, plain = Schedule(), dict[str, int]()
    for path, due in changes:
        if due is None:
            assert schedule.discard(path) == (plain.pop(path, None) is not None)
        else:
            schedule.add(path, due)
            plain[path] = due
    assert schedule.next_due() == min(plain.values(), default=None)
    taken = schedule.take(until)
    assert sorted(taken) == sorted(path for path, due in plain.items() if due <= until)
    assert [plain[path] for path in taken] == sorted(plain[path] for path in taken)
    assert len(schedule) == len(plain) - len(taken)


@given(st.integers(0, 10**15))
def test_durations_are_read_as_they_are_written(nanoseconds: int) -> None:
    assert parse_duration(duration(nanoseconds / 1e9)) == pytest.approx(nanoseconds / 1e9)


def test_flags() -> None:
    options = parse(["--gc-delay", "2hrs", "--gc-disk-headroom", "0.3", "--disk-watch-interval", "1.5"])
    assert (options.gc_delay, options.gc_disk_headroom, options.disk_watch_interval) == (7200, 0.3, 1.5)
    assert parse([]).gc_delay == WEEK
    for wrong in (["--gc-delay", "soon"], ["--gc-disk-headroom", "2"], ["--gc-delay", "-1"]):
        with pytest.raises(SystemExit):
            parse(wrong)


# The collector


class Disk:
    """A directory with old directories in it, and a collector of its own."""

    def __init__(self, root: Path, delay: float, usage: float = 0.0, headroom: float = 0.0) -> None:
        self.root, self.usage, self.living, self.removed = root, usage, set[str](), list[str]()
        self.collector = Collector(
            str(root),
            delay,
            headroom,
            0.02,
            self.living.__contains__,
            self.removed.append,
            lambda _: self.usage,
        )

    def make(self, name: str, age: float) -> str:
        path = self.root / name
        (path / "deep/er").mkdir(parents=True)
        (path / "deep/er/file").write_text("x")
        then = time.time() - age
        os.utime(path, (then, then))
        self.collector.add(str(path), fresh=False)
        return str(path)


async def gone(path: str) -> None:
    while os.path.exists(path):
        await asyncio.sleep(0.005)


def run(work: object) -> None:
    asyncio.run(asyncio.wait_for(work, 10))  # type: ignore[arg-type]


def test_what_is_old_enough_goes_and_nothing_else(tmp_path: Path) -> None:
    async def work() -> None:
        disk = Disk(tmp_path, delay=100.0)
        old, almost = disk.make("old", 101), disk.make("almost", 99.9)
        young, kept = disk.make("young", 10), disk.make("kept", 200)
        disk.living.add(kept)
        fresh = disk.make("fresh", 99)
        disk.collector.add(fresh, fresh=True)
        await gone(old)
        await gone(almost)
        assert disk.removed == [old, almost]
        assert all(map(os.path.exists, (young, kept, fresh)))
        assert disk.collector.pending == 2
        while list((tmp_path / "trash").iterdir()):
            await asyncio.sleep(0.005)

    run(work())


def test_a_fuller_disk_lets_less_old_ones_go(tmp_path: Path) -> None:
    async def work() -> None:
        disk = Disk(tmp_path, delay=1000.0, usage=0.3, headroom=0.1)
        older, younger = disk.make("older", 610), disk.make("younger", 500)
        watching = asyncio.ensure_future(disk.collector.watch())
        await gone(older)
        await asyncio.sleep(0.1)
        assert os.path.exists(younger)
        disk.usage = 0.5
        await gone(younger)
        watching.cancel()

    run(work())


def test_what_was_taken_back_stays(tmp_path: Path) -> None:
    async def work() -> None:
        disk = Disk(tmp_path, delay=0.1)
        back, other = disk.make("back", 0), disk.make("other", 0)
        disk.collector.discard(back)
        await gone(other)
        assert os.path.exists(back)

    run(work())


def test_a_directory_around_others_takes_them_along(tmp_path: Path) -> None:
    async def work() -> None:
        disk = Disk(tmp_path, delay=0.1)
        around = disk.make("around", 0.05)
        (tmp_path / "around/in").mkdir()
        disk.collector.add(str(tmp_path / "around/in"), fresh=True)
        await gone(around)
        while len(disk.removed) < 2:
            await asyncio.sleep(0.005)
        assert disk.collector.removed == 1

    run(work())


def test_what_an_agent_had_no_time_for_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "trash/x/y").mkdir(parents=True)

    async def work() -> None:
        Disk(tmp_path, delay=100.0)
        await gone(str(tmp_path / "trash/x"))

    run(work())


def test_a_link_out_of_a_sandbox_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")

    async def work() -> None:
        disk = Disk(tmp_path / "work", delay=0.05)
        old = disk.make("old", 0)
        os.symlink(outside, tmp_path / "work/old/link")
        await gone(old)
        while any((tmp_path / "work/trash").iterdir()):
            await asyncio.sleep(0.005)

    run(work())
    assert (outside / "file").read_text() == "mine"


def test_disk_usage(tmp_path: Path) -> None:
    assert 0 <= disk_usage(str(tmp_path)) <= 1
    with pytest.raises(OSError):
        disk_usage(str(tmp_path / "absent"))


def test_directories_of_earlier_agents(tmp_path: Path) -> None:
    runs = tmp_path / "slaves/S1/frameworks/F/executors/E/runs"
    (runs / "R").mkdir(parents=True)
    os.symlink(runs / "R", runs / "latest")
    (tmp_path / "slaves/S0").mkdir()
    others, own = directories(str(tmp_path), "S1")
    assert others == [str(tmp_path / "slaves/S0")]
    base = str(tmp_path / "slaves/S1/frameworks/F")
    assert own == [base, f"{base}/executors/E", f"{base}/executors/E/runs/R"]
    assert directories(str(tmp_path / "absent"), "S1") == ([], [])


# Agents


def agent(**flags: object) -> LocalMesos:
    given = {"gc_delay": "1weeks", "disk_watch_interval": "100ms", "gc_disk_headroom": 0, **flags}
    return LocalMesos(agents=1, cpus=4, mem=1024, restart=0, agent_flags=given)


def test_sandboxes_of_the_ended_go_and_those_of_the_living_stay() -> None:
    with agent(gc_delay="300ms", disk_watch_interval="1hrs") as cluster:
        one = Framework(cluster.master).subscribed()
        offer = one.offers()[0]
        info = executor_info("lives")
        one.accept(
            offer, [task("ends", offer, "true"), task("lives", offer, executor=info, data=encoded("run"))]
        )
        one.until("TASK_FINISHED", "ends")
        base = f"/frameworks/{one.id}/executors"
        address = agent_address(offer)
        assert browse(address, f"{base}/ends/runs/latest")
        frameworks = next(Path(cluster.work_dir).glob("agent1/slaves/*/frameworks"))
        wait_for(lambda: not (frameworks / one.id / "executors/ends").exists())
        time.sleep(0.5)
        assert browse(address, f"{base}/lives/runs/latest"), "it is older than gc_delay, but lives"
        assert request(address, "GET", f"/files/browse?path={base}/ends/runs/latest").status == 404
        attached = request(address, "GET", "/files/debug").json()
        assert not [name for name in attached if "/ends/" in name]
        state = request(address, "GET", "/state").json()
        assert [run["id"] for run in state["frameworks"][0]["completed_executors"]] == ["ends"]
        # An executor of the same name finds a place of its own, whatever was noted of the last one.
        offer = one.offers()[0]
        one.accept(offer, [task("ends", offer, "sleep 1000")])
        one.until("TASK_RUNNING", "ends")
        time.sleep(0.5)
        assert browse(address, f"{base}/ends/runs/latest")
        one.call("TEARDOWN")
        wait_for(lambda: not (frameworks / one.id).exists())
        one.close()


def test_a_full_disk_hurries_and_flags_say_so(tmp_path: Path) -> None:
    """With all of the disk kept free nothing may be older than nothing."""
    with agent(gc_disk_headroom=1) as cluster:
        one = Framework(cluster.master).subscribed()
        offer = one.run("true")
        one.until("TASK_FINISHED")
        frameworks = next(Path(cluster.work_dir).glob("agent1/slaves/*/frameworks"))
        wait_for(lambda: not (frameworks / one.id).exists())
        flags = request(agent_address(offer), "GET", "/flags").json()["flags"]
        shown = (flags["gc_delay"], flags["gc_disk_headroom"], flags["disk_watch_interval"])
        assert shown == ("1weeks", "1", "100ms")
        one.call("TEARDOWN")
        one.close()


def test_an_agents_death_changes_no_ages(tmp_path: Path) -> None:
    """What ended before an agent's death goes in time, checkpointed or not; what lives stays; old ids go, too."""
    with agent(gc_delay="1500ms", disk_watch_interval="1hrs") as cluster:
        one = checkpointing(cluster)
        loose = Framework(cluster.master, failover_timeout=60).subscribed()
        offer, _ = launch(one, ("lives", "sleep 1000"))
        _, _ = launch(loose, ("goes", "sleep 1000"))
        offer2 = one.offers()[0]
        one.accept(offer2, [task("ended", offer2, "true")])
        one.until("TASK_FINISHED", "ended")
        base = Path(cluster.work_dir) / "agent1/slaves"
        (base / "old-S7").mkdir()
        wait_for(lambda: "completed" in str(request(agent_address(offer), "GET", "/state").json()))
        kill_agent(cluster, offer)
        frameworks = next(path for path in base.glob("*/frameworks"))
        for gone_by in (
            frameworks / one.id / "executors/ended",
            frameworks / loose.id,
            base / "old-S7",
        ):
            wait_for(lambda path=gone_by: not path.exists())  # type: ignore[misc]
        assert (frameworks / one.id / "executors/lives").exists()
        assert browse(agent_address(offer), f"/frameworks/{one.id}/executors/lives/runs/latest")
        for each in (one, loose):
            each.call("TEARDOWN", expect=None)
            each.close()
