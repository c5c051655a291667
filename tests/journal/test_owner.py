"""Owners of journals: leases, claims, and what a former owner may still do."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from t2notebook.journal import FILE, Journal, Lease, is_owned, owner_is_alive, read_meta, read_unfinished
from t2notebook.journal.filesystem import filesystem_of, is_on_network
from t2notebook.journal.job_store import Jobs
from t2notebook.journal.unfinished import LeftJob, left_jobs
from t2notebook.model.errors import JournalError, NotOwner
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.states import JobState

SPEC = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")
DEAD = replace(Lease.mine(), pid=2**22 + 1, start="1")


def left_by_the_dead(path: Path, **facts: str) -> str:
    """Write a journal whose owner has died; return its job's id."""
    journal = Journal(path, DEAD)
    journal.set_meta(framework_id="F", framework='{"failover_timeout": 3600}', **facts)
    job_id = Jobs(journal).create_now(SPEC, "k").job_id
    journal.close()
    return job_id


def test_a_lease_is_this_very_process() -> None:
    mine = Lease.mine()
    assert Lease.decode(mine.encode()) == mine
    assert mine.is_alive(renewed=0.0), "where it can be seen, no renewal is asked for"
    for other in (
        DEAD,
        replace(mine, start="1"),
        replace(mine, boot="another"),
    ):
        assert not other.is_alive(renewed=time.time())
    assert Lease.decode("") is Lease.decode("[]") is Lease.decode("{}") is None


@pytest.mark.parametrize("elsewhere", [{"host": "another", "boot": "another"}, {"space": "pid:[1]"}])
def test_where_it_cannot_be_seen_a_lease_has_to_be_renewed(elsewhere: dict[str, str]) -> None:
    """A session on another host that shares the home directory, and one in a container with this host's name."""
    lease = replace(Lease.mine(), **elsewhere)
    assert lease.is_alive(renewed=1000.0, now=1059.0)
    assert not lease.is_alive(renewed=1000.0, now=1061.0)


def test_a_host_that_was_renamed_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rename it took 60 s to see that a session had died, though boot and pid namespace were the same."""
    mine = Lease.mine()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert mine.is_here and mine.is_alive(renewed=0.0)
    assert not replace(DEAD, host=mine.host).is_alive(renewed=time.time())
    assert not replace(mine, boot="another", host="renamed").is_alive(renewed=time.time()), (
        "before the last boot"
    )


def test_where_boots_have_no_names_the_hosts_name_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    from t2notebook.journal import lease

    monkeypatch.setattr(lease, "_boot_id", lambda: "")
    mine = Lease.mine()
    assert mine.is_alive(renewed=0.0)
    other = replace(mine, host="another")
    assert not other.is_here
    assert other.is_alive(renewed=1000.0, now=1059.0)


def test_a_zombie_owns_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    lease = replace(Lease.mine(), pid=child.pid, start=start)
    assert lease.is_alive(0.0)
    child.communicate(b"\n")
    assert not lease.is_alive(time.time())


def claim(path: Path, barrier: Any, answers: Any) -> None:
    barrier.wait()
    journal = Journal.claim(path, Lease.mine(), is_owned)
    if journal is not None:
        journal.renew()
        answers.put(os.getpid())
        barrier.wait()  # alive until everybody has tried
        journal.close()
    else:
        barrier.wait()


def test_of_many_that_claim_at_once_one_succeeds(tmp_path: Path) -> None:
    left_by_the_dead(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(6), context.Queue()
    children = [context.Process(target=claim, args=(tmp_path, barrier, answers)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert answers.get(timeout=5)
    assert answers.empty()
    assert read_meta(tmp_path)["claims"] == "1"


def test_what_is_over_or_owned_is_not_claimed(tmp_path: Path) -> None:
    left_by_the_dead(tmp_path / "over", over="torn down")
    assert Journal.claim(tmp_path / "over", Lease.mine(), is_owned) is None
    owned = Journal(tmp_path / "owned", Lease.mine())
    assert owner_is_alive(tmp_path / "owned")
    assert Journal.claim(tmp_path / "owned", Lease.mine(), is_owned) is None
    owned.close()


def test_a_successor_goes_on_with_jobs_and_numbers(tmp_path: Path) -> None:
    job_id = left_by_the_dead(tmp_path)
    assert not owner_is_alive(tmp_path)
    journal = Journal.claim(tmp_path, Lease.mine(), is_owned)
    assert journal is not None
    jobs = Jobs(journal)
    job = jobs[job_id]
    assert (job.spec, job.owner, len(job.secret), job.view.state) == (SPEC, "k", 64, JobState.PENDING)
    jobs.record(Event(EventKind.KILL, job_id, 1.0, reason="USER"))
    assert [event.seq for event in job.events] == [1, 2]
    assert owner_is_alive(tmp_path)
    journal.close()


def test_a_former_owner_writes_nothing(tmp_path: Path) -> None:
    """A session that slept on another host for long: its first write is refused, and so is every later one."""
    sleeper = Journal(tmp_path, replace(Lease.mine(), host="another", boot="another"))
    jobs = Jobs(sleeper)
    job = jobs.create_now(SPEC, "k")
    told: list[bool] = []
    sleeper.on_lost = lambda: told.append(True)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE meta SET value = '1.0' WHERE name = 'renewed'")
    database.close()
    heir = Journal.claim(tmp_path, Lease.mine(), is_owned)
    assert heir is not None
    for write in (
        lambda: jobs.record(Event(EventKind.KILL, job.job_id, 1.0)),
        sleeper.renew,
        lambda: sleeper.set_meta(owner=""),
        sleeper.check_owner,
        lambda: jobs.create_now(SPEC, "k"),
    ):
        with pytest.raises(NotOwner):
            write()
    assert told == [True], "once"
    heir.set_meta(owner="")
    with pytest.raises(NotOwner):
        sleeper.renew()
    assert len(job.events) == 1
    sleeper.close()
    heir.close()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Lease.mine())
    jobs = Jobs(journal)
    job = jobs.create_now(SPEC, "k")
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # a lock that is not given, as a full disk is room that is not given
    with pytest.raises(JournalError, match="cannot be written: database is locked"):
        jobs.record(Event(EventKind.KILL, job.job_id, 1.0))
    assert job.view.state is JobState.PENDING
    other.execute("ROLLBACK")
    other.close()
    jobs.record(Event(EventKind.KILL, job.job_id, 1.0))
    assert [event.seq for event in job.events] == [1, 2]
    journal.close()


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:28 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
32 31 0:29 / /home/my\\040disk rw - xfs /dev/sdb rw
33 22 0:30 / /mnt/s rw - fuse.sshfs me@host: rw
34 22 0:31 / /mnt/s rw - tmpfs tmpfs rw
35 22 0:32 / /gone rw - 9p share rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/var/lib", "ext4", False),
        ("/home/ada/.local", "nfs4", True),
        ("/homestead", "ext4", False),
        ("/home/my disk/x", "xfs", False),
        ("/mnt/s/x", "tmpfs", False),
        ("/gone", "9p", True),
    ],
)
def test_network_file_systems_are_told_from_local_ones(
    tmp_path: Path, path: str, kind: str, network: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert filesystem_of(Path(path), mounts) == kind
    assert is_on_network(Path(path), mounts) is network
    assert not is_on_network(Path(path), tmp_path / "none"), "no table, no answer"


@pytest.mark.parametrize(("network", "mode"), [(True, "delete"), (False, "wal")])
def test_on_a_network_file_system_there_is_no_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: bool, mode: str
) -> None:
    from t2notebook.journal import journal as store

    monkeypatch.setattr(store, "is_on_network", lambda path: network)
    journal = Journal(tmp_path, Lease.mine())
    job = Jobs(journal).create_now(SPEC, "k")
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert (tmp_path / f"{FILE}-wal").exists() is not network
    assert list(read_unfinished(tmp_path).jobs) == [job.job_id]
    journal.close()


def test_what_others_have_left(tmp_path: Path) -> None:
    lost = left_by_the_dead(tmp_path / "a")
    left_by_the_dead(tmp_path / "b", over="torn down")
    left_by_the_dead(tmp_path / "c", renewed="1.0")
    living = Journal(tmp_path / "d", Lease.mine())
    jobs = Jobs(living)
    mine, running, done = (jobs.create_now(SPEC, "k") for _ in range(3))
    jobs.record(Event(EventKind.KILL, done.job_id, 1.0))
    assert left_jobs(tmp_path, {mine.job_id}, 5.0) == [
        LeftJob(running.job_id, 2, True),
        LeftJob(lost, 2, False),
    ]
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / FILE).write_text("no database")
    assert len(left_jobs(tmp_path, (), 5.0)) == 3
    living.close()


def test_a_hundred_journals_are_looked_through_at_once(tmp_path: Path) -> None:
    for number in range(100):
        left_by_the_dead(
            tmp_path / f"s{number:03}", socket="/run/x.sock", config=json.dumps({"x": "y" * 500})
        )
    left_jobs(tmp_path, (), 5.0)
    started = time.process_time()
    assert len(left_jobs(tmp_path, (), 5.0)) == 100
    spent = time.process_time() - started
    assert spent < 0.25, spent  # 0.03 on an idle machine
    assert len(left_jobs(tmp_path, (), 0.0)) <= 1, "and bounded where there are more, or the disk is slow"


def test_hosts_are_told_apart_by_name() -> None:
    assert Lease.mine().host == socket.gethostname()
    assert "pid" in Lease.mine().name
