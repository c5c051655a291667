"""Lifetimes of kernels, sessions and the embedded Mesos."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.session.conftest import ROOT, end, eventually, kernel, processes, sessions_of, submit


def listening(pids: set[int]) -> set[str]:
    """Return the TCP addresses on which these processes listen."""
    inodes = set()
    for pid in pids:
        try:
            links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_a_clean_exit_leaves_no_task_process_or_port(clean: Path) -> None:
    process, _ = submit(steps=1000, then="    print(input)\n")
    pids = set(processes(clean))
    ports = listening(pids)
    assert len(pids) >= 6, "kernel, session, supervisor or master, agents, executor, workers"
    assert ports
    assert end(process) == 0
    eventually(lambda: not processes(clean), timeout=20)
    still = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line}
    assert not ports & still


def test_what_is_detached_goes_on_without_its_kernel(clean: Path) -> None:
    import t2notebook as t2

    process, job_id = submit(steps=15, on_exit="detach")
    end(process)
    job = t2.attach(job_id)
    assert job.results(timeout=30) == [0, 1]
    t2.shutdown()


def test_a_killed_kernels_job_goes_on_and_a_new_kernel_has_it(clean: Path) -> None:
    import t2notebook as t2

    process, job_id = submit(steps=80, then="    time.sleep(1000)\n")
    assert end(process, signal.SIGKILL) == -signal.SIGKILL
    assert job_id in set(t2.jobs().job_id)
    job = t2.attach(job_id)
    assert not job.state.is_final
    assert "SUBMITTED" in set(job.events.kind), "its whole past comes along"
    assert job.results(timeout=30) == [0, 1]
    assert job.logs(0) == ""
    t2.shutdown()


def test_a_killed_kernels_job_ends_then_so_does_the_session_and_the_journal_has_it_all(clean: Path) -> None:
    process, job_id = submit(steps=5, then="    time.sleep(1000)\n")
    end(process, signal.SIGKILL)
    eventually(lambda: not processes(clean), timeout=20)
    import t2notebook as t2

    row = t2.jobs().set_index("job_id").loc[job_id]
    assert (row.state, row.session) == ("COMPLETED", "ended")
    job = t2.attach(job_id[:-2])
    assert job.results() == [0, 1]
    assert job.tasks.state.tolist() == ["FINISHED", "FINISHED"]
    assert job.why.empty
    job.kill()  # what has ended cannot be killed, and needs not
    with pytest.raises(t2.SessionError, match=r"stdout of worker 0 of .* is gone"):
        job.logs(0)
    assert not processes(clean), "reading what is over starts nothing"


def test_two_kernels_share_a_session_and_neither_ends_the_others_job(clean: Path) -> None:
    import t2notebook as t2

    first, first_job = submit(steps=1000, then="    time.sleep(1000)\n")
    second, second_job = submit(steps=12, then="    print(job.results())\n")
    assert len(sessions_of(clean)) == 1
    assert {first_job, second_job} <= set(t2.jobs().job_id)
    assert second.stdout is not None
    assert second.stdout.readline().strip() == "[0, 1]"
    assert end(second) == 0
    assert not t2.attach(first_job).state.is_final
    end(first, signal.SIGKILL)
    t2.attach(first_job).kill()
    t2.attach(first_job).wait(timeout=20)
    t2.shutdown()


def test_kernels_that_start_at_once_start_one_session(clean: Path) -> None:
    code = "    import t2notebook as t2\n    print(t2.submit(lambda env: 1, ram_mega_bytes=64).results())\n"
    kernels = [kernel(code) for _ in range(3)]
    for process in kernels:
        assert process.stdout is not None
        assert process.stdout.read().strip() == "[1]"
        end(process)
    logs = list((clean / "runtime" / "t2notebook").glob("session-*.log"))
    assert len(logs) == 1


def test_an_interrupt_reaches_neither_session_nor_cluster(clean: Path) -> None:
    """The session and Mesos are in sessions of their own, so a terminal's ^C is the kernel's alone."""
    process, _ = submit(steps=12, then="    time.sleep(1000)\n")
    groups = {os.getsid(pid) for pid in processes(clean) if pid != process.pid}
    assert os.getsid(process.pid) not in groups
    end(process, signal.SIGKILL)


def test_the_session_listens_on_loopback_and_its_socket_is_ours(clean: Path) -> None:
    process, _ = submit(steps=1000, then="    time.sleep(1000)\n")
    runtime = clean / "runtime" / "t2notebook"
    assert runtime.stat().st_mode & 0o077 == 0
    (path,) = runtime.glob("session-*.sock")
    assert path.stat().st_mode & 0o077 == 0
    addresses = {address.partition(":")[0] for address in listening(set(processes(clean)))}
    assert addresses == {socket.inet_aton("127.0.0.1")[::-1].hex().upper()}
    end(process, signal.SIGTERM)
    import t2notebook as t2

    for job_id in t2.jobs().query("state not in ['COMPLETED', 'KILLED', 'FAILED']").job_id:
        t2.attach(job_id).kill()
    t2.shutdown()


def test_when_the_embedded_mesos_ends_its_jobs_say_so_and_the_next_submit_works(clean: Path) -> None:
    import t2notebook as t2
    from t2notebook import client

    done = t2.submit(lambda env: 1, ram_mega_bytes=64)
    assert done.results(timeout=30) == [1]
    job = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    client.stop_cluster()
    with pytest.raises(t2.JobFailed, match="the embedded Mesos has ended"):
        job.results(timeout=30)
    assert done.results() == [1], "what was done stays done"
    assert t2.submit(lambda env: 2, ram_mega_bytes=64).results(timeout=30) == [2]
    t2.shutdown()


def test_an_agent_without_the_python_says_what_to_do(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    monkeypatch.setenv("T2_PYTHON", "/opt/no-such/python3")
    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    with pytest.raises(t2.JobFailed) as caught:
        job.results(timeout=30)
    assert "this agent has no /opt/no-such/python3; workers need CPython" in str(caught.value)
    t2.shutdown()


@pytest.mark.usefixtures("uncalled")
def test_a_session_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    monkeypatch.setenv("T2_BIND", "192.0.2.1")  # nobody's address (RFC 5737)
    with pytest.raises(t2.JobFailed, match="assign requested address"):
        t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=40)
    t2.shutdown()


def test_a_cluster_of_the_users_own(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    with t2.LocalMesos(agents=2, cpus=4, mem=4096) as mesos:
        monkeypatch.setenv("T2_MASTER", mesos.master)
        job = t2.submit(lambda env: __import__("numpy").ones(2).sum(), workers=6, ram_mega_bytes=64)
        assert job.results(timeout=30) == [2.0] * 6, "the workers' Python is the kernel's, with its packages"
        assert job.tasks.agent.nunique() == 2
        from t2notebook import client

        figures = client.cluster_figures()
        assert (figures["slaves_active"], figures["cpus_total"], figures["mem_total"]) == (2.0, 8.0, 8192.0)
        assert client.jobs_on_cluster() == []
        t2.shutdown()
        assert client.cluster_figures() == {}, "who has no session there has no way in"


def test_shutdown_leaves_no_job_without_an_end(clean: Path) -> None:
    """Jobs that ran when their session ended stayed STARTED for ever."""
    import t2notebook as t2

    job = t2.submit(lambda env: __import__("time").sleep(60), workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    t2.shutdown()
    assert job.state.value == "KILLED"
    assert set(job.tasks.message) == {"ended by t2.shutdown()"}
    assert t2.jobs().set_index("job_id").loc[job.job_id, "state"] == "KILLED"
    eventually(lambda: not processes(clean), timeout=20)
    with pytest.raises(t2.SessionError, match="the session process has ended"):
        job.logs(0)


def test_a_submit_right_after_the_cluster_was_stopped(clean: Path) -> None:
    import t2notebook as t2
    from t2notebook import client

    assert t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=30) == [1]
    job = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    assert client.jobs_on_cluster() == [job.job_id]
    assert client.cluster_figures()["tasks_running"] == 1.0
    assert client.stop_cluster()
    assert client.cluster_figures() == {}
    assert t2.submit(lambda env: 2, ram_mega_bytes=64).results(timeout=30) == [2]
    t2.shutdown()


def test_a_master_that_cannot_be_found_spoils_nothing(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import t2notebook as t2

    monkeypatch.setenv("T2_MASTER", "no-such-host.invalid")
    for _ in range(2):
        with pytest.raises(t2.JobFailed, match=r"the master 'no-such-host\.invalid' cannot be found"):
            t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=40)
        # a session that found no master is no session for the next submit
        eventually(lambda: not sessions_of(clean))


def test_a_script_is_told_what_its_end_killed(clean: Path) -> None:
    import subprocess
    import sys

    code = "import t2notebook as t2; t2.submit(lambda env: __import__('time').sleep(60), ram_mega_bytes=64)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert "t2notebook: killed job " in done.stderr
    assert 'on_exit="detach" lets jobs go on' in done.stderr


def test_shutdown_beside_another_kernel_tells_the_end_of_our_jobs(clean: Path) -> None:
    """The handle said STARTED for ever, since the link was cut right after the kill."""
    first = kernel(
        """
        import sys, time
        import t2notebook as t2
        job = t2.submit(lambda env: __import__("time").sleep(60), workers=2, ram_mega_bytes=64)
        while job.state != "STARTED":
            time.sleep(0.02)
        print(job.job_id, flush=True)
        time.sleep(2.5)
        t2.shutdown()
        print(job.state, *job.tasks.state, flush=True)
        """
    )
    assert first.stdout is not None
    job_id = first.stdout.readline().strip()
    second = kernel(f"import time, t2notebook as t2; t2.attach({job_id!r}); time.sleep(8)")
    try:
        assert first.stdout.readline() == "KILLED KILLED KILLED\n"
    finally:
        end(first)
        second.kill()
        end(second)


def test_a_kill_right_after_the_session_died_is_done_by_the_next(clean: Path) -> None:
    import t2notebook as t2

    job = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64)
    eventually(lambda: job.state == "STARTED")
    os.kill(job._connection.link.connection.get("/v1/info")["pid"], signal.SIGKILL)
    job.kill()
    assert job.wait(30) == "KILLED"
    t2.shutdown()


@pytest.mark.parametrize("stopped", [False, True], ids=["kernel", "session"])
def test_a_session_waits_for_the_kernel_that_has_started_it(clean: Path, stopped: bool) -> None:
    """On a busy machine either came too late: the session had ended by its linger, the next one too, and so on."""
    process = kernel(
        f"""
        import os, signal, threading, time
        import t2notebook as t2
        from t2notebook.client import session_link, session_process

        start, begin = session_link.ensure_session, session_process._start
        started = []

        def late(config):
            connection = start(config)
            started.append(connection)
            if {stopped}:
                pid = t2.client.peer_process.pid_of(connection._connect().sock)
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(1.0, os.kill, [pid, signal.SIGCONT]).start()
            else:
                time.sleep(1.0)
            return connection

        session_link.ensure_session = late
        print(t2.submit(lambda: "came", workers=1, ram_mega_bytes=64).results(timeout=60), len(started))
        """
    )
    assert process.stdout is not None
    assert process.stdout.read() == "['came'] 1\n"
    end(process)
