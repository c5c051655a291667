"""The frameworks of a session: which of dead sessions' it takes over, and what their journals say of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from t2notebook.journal import RENEW, Journal, Lease, read_meta
from t2notebook.journal.job_store import AllJobs, Jobs
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.session.framework import Framework
from t2notebook.session.frameworks import Frameworks

SPEC = JobSpec("pi", "ada", (ComputeResource(ram_mega_bytes=64),), "0" * 64, 10, "3.11")
DEAD = replace(Lease.mine(), pid=2**22 + 1, start="1")
HOME = "/run/ada/session.sock"


class Session:
    """Frameworks, and whom they told of."""

    def __init__(self, base: Path) -> None:
        self.sessions = base / "sessions"
        self.jobs = AllJobs()
        self.adopted: list[Framework] = []
        self.over: list[Framework] = []
        facts = {"name": "new", "home": HOME, "socket": HOME, "master": "local"}
        self.frameworks = Frameworks(
            self.sessions, facts, self.jobs, 1.0, self.adopted.append, self.over.append
        )


def of_the_dead(base: Path, name: str, *, lease: Lease = DEAD, jobs: int = 1, **facts: str) -> Path:
    """Write down a session that has ended without a word; return its folder."""
    directory = base / "sessions" / name
    journal = Journal(directory, lease)
    journal.set_meta(**{"name": "old", "home": HOME, "socket": HOME, **facts})
    for _ in range(jobs):
        Jobs(journal).create_now(SPEC, "k")
    (journal.packages / f"{SPEC.package}.t2").write_bytes(b"package")
    journal.close()
    return directory


def in_session(base: Path, test: Callable[[Session], Awaitable[None]]) -> None:
    async def main() -> None:
        session = Session(base)
        try:
            await test(session)
        finally:
            await session.frameworks.end(leaving=True)

    asyncio.run(main())


def test_one_of_its_own_comes_first(tmp_path: Path) -> None:
    async def test(session: Session) -> None:
        frameworks = session.frameworks
        assert list(frameworks) == [frameworks.own] and frameworks.adopted == []
        assert not frameworks.connected and not frameworks.own.is_adopted
        assert read_meta(frameworks.own.journal.directory)["home"] == HOME
        job = await frameworks.own.jobs.create(SPEC, "k")
        assert frameworks.of(job) is frameworks.own
        assert [known.job_id for known in session.jobs] == [job.job_id]

    in_session(tmp_path, test)


def test_what_sessions_of_the_same_home_have_left_is_taken_over_at_once(tmp_path: Path) -> None:
    left = of_the_dead(tmp_path, "a")
    of_the_dead(tmp_path, "b", home="/run/ada/another.sock")
    earlier = of_the_dead(tmp_path, "c", jobs=0, framework_id="F", framework="{}")

    async def test(session: Session) -> None:
        frameworks = session.frameworks
        frameworks.adopt_left()
        assert {one.journal.directory for one in frameworks.adopted} == {left, earlier}
        assert session.adopted == frameworks.adopted
        assert all(one.is_adopted for one in frameworks.adopted)
        (job,) = session.jobs
        assert frameworks.of(job).journal.directory == left
        assert read_meta(left)["name"] == "new", "kernels find their job with this session now"
        (package,) = frameworks.own.journal.packages.iterdir()
        assert package.read_bytes() == b"package", "its executors fetch it from here"
        assert frameworks.adopt(left), "it is here already"
        assert len(frameworks) == 3

    in_session(tmp_path, test)


def test_packages_come_along_where_no_hard_link_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not on this file system")

    left = of_the_dead(tmp_path, "a")
    monkeypatch.setattr(Path, "hardlink_to", refuse)

    async def test(session: Session) -> None:
        session.frameworks.adopt(left)
        (package,) = session.frameworks.own.journal.packages.iterdir()
        assert package.read_bytes() == b"package"

    in_session(tmp_path, test)


def test_what_lives_or_is_over_or_has_done_nothing_is_left_alone(tmp_path: Path) -> None:
    directories = [
        of_the_dead(tmp_path, "living", lease=Lease.mine()),
        of_the_dead(tmp_path, "over", over="torn down"),
        of_the_dead(tmp_path, "nothing", jobs=0),
    ]

    async def test(session: Session) -> None:
        assert [session.frameworks.adopt(directory) for directory in directories] == [False] * 3
        assert session.adopted == [] and len(session.frameworks) == 1
        assert [read_meta(directory)["name"] for directory in directories] == ["old"] * 3

    in_session(tmp_path, test)


def test_one_journal_that_cannot_be_read_keeps_nobody_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = of_the_dead(tmp_path, "a")
    (broken / "journal.sqlite").write_bytes(b"no database" * 1000)
    left = of_the_dead(tmp_path, "b")

    async def test(session: Session) -> None:
        session.frameworks.adopt_left()
        assert [one.journal.directory for one in session.frameworks.adopted] == [left]

    in_session(tmp_path, test)
    assert str(broken) in caplog.text


def test_one_that_is_somebody_elses_now_is_forgotten(tmp_path: Path) -> None:
    left = of_the_dead(tmp_path, "a")

    async def test(session: Session) -> None:
        session.frameworks.adopt(left)
        session.frameworks.drop(session.adopted[0])
        assert session.frameworks.adopted == []
        assert list(session.jobs) == []

    in_session(tmp_path, test)


def test_each_journal_says_where_kernels_find_the_session(tmp_path: Path) -> None:
    left = of_the_dead(tmp_path, "a")

    async def test(session: Session) -> None:
        session.frameworks.adopt(left)
        session.frameworks.moved(Path("/run/ada/session-2.sock"))
        for framework in session.frameworks:
            meta = read_meta(framework.journal.directory)
            assert (meta["home"], meta["socket"]) == (HOME, "/run/ada/session-2.sock")
        later = of_the_dead(tmp_path, "b")
        session.frameworks.adopt(later)
        assert read_meta(later)["socket"] == "/run/ada/session-2.sock"

    in_session(tmp_path, test)


def test_leases_are_renewed_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(session: Session) -> None:
        now, renewed = time.monotonic(), list[Framework]()
        monkeypatch.setattr(session.frameworks.own, "renew", lambda: renewed.append(session.frameworks.own))
        session.frameworks.renew(now + RENEW)
        assert renewed == [session.frameworks.own]
        session.frameworks.renew(now + 2 * RENEW - 0.1)
        assert renewed == [session.frameworks.own]
        session.frameworks.renew(now + 2 * RENEW)
        assert renewed == [session.frameworks.own] * 2

    in_session(tmp_path, test)


def test_who_leaves_lets_jobs_go_on_and_who_ends_ends_them(tmp_path: Path) -> None:
    async def main() -> None:
        left, ended = Session(tmp_path / "left"), Session(tmp_path / "ended")
        for session in (left, ended):
            await session.frameworks.own.jobs.create(SPEC, "k")
        await left.frameworks.end(leaving=True)
        await ended.frameworks.end(leaving=False)
        (job,), (killed,) = left.jobs, ended.jobs
        assert not job.view.state.is_final
        assert killed.view.state.is_final and killed.view.kill_reason == "SESSION"
        assert not read_meta(left.frameworks.own.journal.directory).get("over")
        assert read_meta(ended.frameworks.own.journal.directory)["over"] == "torn down"

    asyncio.run(main())
