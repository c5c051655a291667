"""Jobs after SIGKILL of kernels, sessions, executors and workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from t2notebook.config import data_dir
from t2notebook.journal import read_events, session_directories
from tests.session.conftest import end, eventually, kernel, sessions_of


@pytest.fixture
def cluster(clean: Path) -> Iterator[Path]:
    """The embedded Mesos ends with the test, whatever frameworks it still has."""
    from t2notebook import client

    yield clean
    import t2notebook as t2

    t2.shutdown()
    client.stop_cluster()


def journal_of(job_id: str) -> Path:
    (found,) = [path for path in session_directories(data_dir() / "sessions") if read_events(path, job_id)]
    return found


def master_state() -> dict[str, Any]:
    from t2notebook import client

    info = client.cluster_info()
    assert info is not None
    with urllib.request.urlopen(f"http://{info['master']}/state", timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
    return state


def kill_sessions(home: Path) -> None:
    for pid in sessions_of(home):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not sessions_of(home))


def ran(folder: Path) -> list[str]:
    """Return who ran: each worker appends a line to its own file when it starts."""
    return sorted(line for path in folder.iterdir() for line in path.read_text().split())


WITNESS = """
    import time, sys
    import t2notebook as t2
    folder, seconds = {folder!r}, {seconds}

    def work(env):
        import os, time
        with open(f"{{folder}}/{{env.job_id}}-{{env.worker_id}}", "a") as file:
            file.write(f"{{env.worker_id}}-{{env.restart_count}}\\n")
        with open(f"{{folder}}.pids-{{env.worker_id}}", "w") as file:
            file.write(f"{{os.getpid()}} {{os.getppid()}}")
        print("begin", flush=True)
        time.sleep(seconds)
        {last}
        print("end", flush=True)
        return env.worker_id

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    while job.state.value != "STARTED":
        time.sleep(0.02)
    print(job.job_id, flush=True)
    time.sleep(1000)
"""


def witness(folder: Path, seconds: float, last: str = "pass") -> tuple[Any, str]:
    """Start a kernel with a job that says when it ran."""
    process = kernel(WITNESS.format(folder=str(folder), seconds=seconds, last=last))
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_handle_goes_on_when_its_session_is_killed(cluster: Path, tmp_path: Path) -> None:
    import t2notebook as t2

    go, folder = str(tmp_path / "go"), tmp_path / "ran"
    folder.mkdir()
    log = str(folder / "log")

    def work(env: Any) -> int:
        print("begin", flush=True)
        with open(log, "a") as file:
            file.write(f"{env.worker_id}-{env.restart_count}\n")
        while not os.path.exists(go):
            env.progress(0.5, text="half")
            __import__("time").sleep(0.05)
        print("end")
        return int(env.worker_id)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    (session,) = sessions_of(cluster)
    changes: list[int] = []
    job.add_listener(lambda job: changes.append(job.view().last_seq))
    threading.Timer(1.5, Path(go).touch).start()
    os.kill(session, signal.SIGKILL)
    assert job.wait(timeout=40).value == "COMPLETED"
    assert job.results() == [0, 1]
    assert job.logs(0) == job.logs(1) == "begin\nend\n"
    assert ran(folder) == ["0-0", "1-0"]
    assert changes, "who listened goes on hearing"
    assert sessions_of(cluster) not in ([], [session])
    events = read_events(journal_of(job.job_id), job.job_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(job.events) == len(events)
    assert t2.jobs().set_index("job_id").loc[job.job_id, "session"] == "living"
    eventually(lambda: len(master_state()["frameworks"]) == 1)
    again = t2.submit(lambda env: 1, ram_mega_bytes=64)
    assert again.results(timeout=30) == [1]


def test_what_ended_while_nobody_lived_is_all_there(cluster: Path, tmp_path: Path) -> None:
    """Kernel and session are killed; the workers go on; a new kernel has events, results and every log line."""
    import t2notebook as t2

    process, job_id = witness(tmp_path, seconds=1.0)
    kill_sessions_and(process, cluster)
    row = t2.jobs().set_index("job_id").loc[job_id]
    assert (row.state, row.session) == ("STARTED", "lost")
    assert "attach takes it up again" in row.message
    eventually(lambda: len(ran(tmp_path)) == 2)
    time.sleep(1.5)
    assert not sessions_of(cluster)
    job = t2.attach(job_id)
    assert job.results(timeout=30) == [0, 1]
    assert job.logs(0) == job.logs(1) == "begin\nend\n"
    assert ran(tmp_path) == ["0-0", "1-0"]
    assert job.events.kind.tolist()[:3] == ["SUBMITTED", "LAUNCHED", "LAUNCHED"]
    assert t2.attach(job_id) is job


def kill_sessions_and(process: Any, home: Path) -> None:
    """Kill the kernel first, so that it starts no other session."""
    end(process, signal.SIGKILL)
    kill_sessions(home)


def test_a_traceback_made_while_nobody_lived_is_there(cluster: Path, tmp_path: Path) -> None:
    import t2notebook as t2

    process, job_id = witness(tmp_path, seconds=1.0, last="env.worker_id == 1 and 1 / 0")
    kill_sessions_and(process, cluster)
    time.sleep(2.0)
    job = t2.attach(job_id)
    with pytest.raises(t2.JobFailed) as caught:
        job.results(timeout=30)
    assert "in work\nZeroDivisionError: division by zero" in caught.value.remote_traceback
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("victim", ["executor", "worker"])
def test_an_executor_or_a_worker_killed_while_nobody_lived_says_so(
    cluster: Path, tmp_path: Path, victim: str
) -> None:
    import t2notebook as t2

    process, job_id = witness(tmp_path, seconds=2.0)
    kill_sessions_and(process, cluster)
    worker, executor = map(int, Path(f"{tmp_path}.pids-0").read_text().split())
    os.kill({"worker": worker, "executor": executor}[victim], signal.SIGKILL)
    job = t2.attach(job_id)
    assert job.results(timeout=40) == [0, 1]
    failed = job.events[job.events.state == "FAILED"]
    assert {"worker": "signal 9", "executor": "xecutor"}[victim] in failed.message.iloc[0]
    assert job.tasks.restarts[0] == 1, "a worker that crashed is started again, whoever hears of it"
    assert ran(tmp_path)[:2] == ["0-0", "0-1"]


def test_sigterm_of_a_session_leaves_its_jobs_to_the_next(cluster: Path, tmp_path: Path) -> None:
    """Logging out or a reboot lost every running job: SIGTERM tore the framework down."""
    import t2notebook as t2

    process, job_id = witness(tmp_path, seconds=2.0)
    end(process, signal.SIGKILL)
    (session,) = sessions_of(cluster)
    os.kill(session, signal.SIGTERM)
    eventually(lambda: not sessions_of(cluster))
    job = t2.attach(job_id)
    assert job.results(timeout=30) == [0, 1]
    assert ran(tmp_path) == ["0-0", "1-0"]


def test_two_kernels_that_attach_at_once_have_one_session(cluster: Path, tmp_path: Path) -> None:
    process, job_id = witness(tmp_path, seconds=3.0)
    kill_sessions_and(process, cluster)
    code = f"""
        import t2notebook as t2
        job = t2.attach({job_id!r})
        print(job._connection.link.session["pid"], job.results(timeout=60), flush=True)
    """
    kernels = [kernel(code) for _ in range(3)]
    answers = set()
    for one in kernels:
        assert one.stdout is not None
        answers.add(one.stdout.read().strip())
        end(one)
    (answer,) = answers
    assert answer.endswith("[0, 1]")
    assert ran(tmp_path) == ["0-0", "1-0"]


def test_when_the_port_is_taken_the_executors_are_told(cluster: Path, tmp_path: Path) -> None:
    import t2notebook as t2

    process, job_id = witness(tmp_path, seconds=4.0, last="env.progress(0.75, text='moved')")
    old = next(
        json.loads(urllib_unix(path, "/v1/info"))["worker_url"]
        for path in (cluster / "runtime" / "t2notebook").glob("*.sock")
    )
    kill_sessions_and(process, cluster)
    with taken(int(old.rpartition(":")[2])):
        job = t2.attach(job_id)
        seen: set[str] = set()
        job.add_listener(lambda job: seen.update(worker.text for worker in job.view().workers))
        assert job.results(timeout=40) == [0, 1]
        assert "moved" in seen, "progress has come to where the new session listens"
    info = t2.attach(job_id)._connection.link.connection.get("/v1/info")
    assert info["worker_url"] != old
    events = read_events(journal_of(job_id), job_id)
    assert {event.source for event in events if event.kind == "RESULT"} == {"WORKER"}
    assert all("in the sandbox" not in message for message in job.tasks.message)


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen where a session listened that is just dying."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bind() -> bool:
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                listener.listen(1)
                return True
            return False

        eventually(bind)
        yield


def urllib_unix(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return answer.partition(b"\r\n\r\n")[2]


def subscribe_as(framework_id: str) -> socket.socket:
    """Take a framework over as any client of the master can; return the stream."""
    from t2notebook import client

    info = client.cluster_info()
    assert info is not None
    framework = {"user": "root", "name": "thief", "id": {"value": framework_id}, "roles": ["*"],
                 "capabilities": [{"type": "MULTI_ROLE"}], "failover_timeout": 600.0, "checkpoint": True}  # fmt: skip
    call = json.dumps(
        {
            "type": "SUBSCRIBE",
            "framework_id": {"value": framework_id},
            "subscribe": {"framework_info": framework, "suppressed_roles": ["*"]},
        }
    )
    host, _, port = info["master"].partition(":")
    stream = socket.create_connection((host, int(port)))
    stream.sendall(
        f"POST /api/v1/scheduler HTTP/1.1\r\nHost: {info['master']}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(call)}\r\n\r\n{call}".encode()
    )
    assert b"200 OK" in stream.recv(65536)
    return stream


def test_a_session_steps_back_for_good_when_its_framework_is_somebody_elses(
    cluster: Path, tmp_path: Path
) -> None:
    import t2notebook as t2

    go = str(tmp_path / "go")

    def work(env: Any) -> None:
        while not os.path.exists(go):
            __import__("time").sleep(0.05)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    (framework,) = master_state()["frameworks"]
    stream = subscribe_as(framework["id"])
    try:
        with pytest.raises(t2.SessionError, match="another client of the master"):
            job.wait(timeout=20)
        before = len(read_events(journal_of(job.job_id), job.job_id))
        eventually(lambda: not sessions_of(cluster))
        assert job.tasks.state.tolist() == ["RUNNING", "RUNNING"], "nothing is said of what nobody knows"
        (framework,) = master_state()["frameworks"]
        assert [task["state"] for task in framework["tasks"]] == ["TASK_RUNNING"] * 2, "nothing was torn down"
        with pytest.raises(t2.SessionError, match="another client of the master"):
            t2.attach(job.job_id).wait(timeout=5)
        assert t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=30) == [1]
        assert len(master_state()["frameworks"]) == 2, "no later session takes it back"
        assert len(read_events(journal_of(job.job_id), job.job_id)) == before
    finally:
        stream.close()


def test_a_session_whose_journal_has_another_owner_steps_back(cluster: Path) -> None:
    """As after a host was suspended: the journal is another's by now, though Mesos has not said anything."""
    import t2notebook as t2

    job = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED")
    thief = {"host": "elsewhere", "boot": "b", "pid": 4321, "start": "1", "space": ""}
    with sqlite3.connect(journal_of(job.job_id) / "journal.sqlite") as database:
        facts = [("owner", json.dumps(thief)), ("renewed", repr(time.time()))]
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts)
    database.close()
    with pytest.raises(t2.SessionError, match="journal"):
        job.kill()
    with pytest.raises(t2.SessionError, match="the session with pid 4321 on elsewhere has taken"):
        job.wait(timeout=20)
    assert job.tasks.state.tolist() == ["RUNNING"]
    eventually(lambda: not sessions_of(cluster))
    with pytest.raises(t2.SessionError, match="belongs to the session with pid 4321 on elsewhere"):
        t2.attach(job.job_id)


def test_nobody_came_in_time(cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mesos has removed the framework; who had finished before has its result all the same."""
    import t2notebook as t2

    monkeypatch.setenv("T2_FAILOVER_TIMEOUT", "2")
    monkeypatch.setenv("T2_LOCAL_LINGER", "20")  # so that the cluster is still there to be asked
    last = "time.sleep(60 * env.worker_id)"
    process, job_id = witness(tmp_path, seconds=0.5, last=last)
    kill_sessions_and(process, cluster)
    eventually(lambda: not master_state()["frameworks"], timeout=20)
    job = t2.attach(job_id)
    assert job.wait(timeout=30).value == "FAILED"
    assert job.result(0) == 0
    assert job.tasks.state.tolist() == ["FINISHED", "LOST"]
    assert "within failover_timeout (2 s)" in job.tasks.message[1]
    assert "Mesos removed its framework about 20" in job.tasks.message[1]


def test_what_waited_for_resources_is_launched_by_the_next_session(cluster: Path, tmp_path: Path) -> None:
    import t2notebook as t2

    go = str(tmp_path / "go")

    def block(env: Any) -> None:
        while not os.path.exists(go):
            __import__("time").sleep(0.05)

    first = t2.submit(block, workers=2, cpu=3.5, ram_mega_bytes=64)
    eventually(lambda: first.state.value == "STARTED")
    second = t2.submit(lambda env: env.restart_count, cpu=3.5, ram_mega_bytes=64)
    (session,) = sessions_of(cluster)
    os.kill(session, signal.SIGKILL)
    eventually(lambda: sessions_of(cluster) not in ([], [session]))
    Path(go).touch()
    assert second.results(timeout=40) == [0]
    assert first.results(timeout=40) == [None, None]


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_a_clean_exit_after_a_failover_still_ends_the_kernels_jobs(cluster: Path, pause: float) -> None:
    """The next session knows whose jobs it has; also when it is only just being started."""
    import t2notebook as t2

    code = f"""
        import os, signal, time
        import t2notebook as t2
        job = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64)
        while job.state.value != "STARTED":
            time.sleep(0.02)
        print(job.job_id, flush=True)
        os.kill(job._connection.link.session["pid"], signal.SIGKILL)
        time.sleep({pause})
    """
    process = kernel(code)
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    assert end(process) == 0
    eventually(lambda: t2.jobs().set_index("job_id").loc[job_id, "state"] == "KILLED", timeout=20)
    assert "the kernel that submitted it has ended" in t2.attach(job_id).view().message


def test_attach_goes_past_a_session_that_is_just_dying(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepted the connection, and was gone before the answer: `t2.attach` raised SessionEnding."""
    import t2notebook as t2
    from t2notebook.client import handles, session_link
    from t2notebook.client.session_http import Connection, SessionEnding
    from t2notebook.client.session_link import Link

    job = t2.submit(lambda env: 7, ram_mega_bytes=64)
    assert job.results(timeout=30) == [7]
    left = [1, 1]

    def dying(connection: Connection) -> Link:
        if left:
            left.pop()
            raise SessionEnding("the session has just ended")
        return real(connection)

    real = session_link.link_to
    monkeypatch.setattr(session_link, "link_to", dying)
    monkeypatch.setattr(handles, "_known", {})
    assert t2.attach(job.job_id).results(timeout=30) == [7]
    assert not left
