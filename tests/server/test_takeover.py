"""Jobs whose session was lost, also those of another environment, and a server below a prefix or asleep."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from tests.server import made_journals
from tests.server.conftest import Server, run_server
from tests.session.conftest import end, eventually, sessions_of, submit

STAY = "\n    time.sleep(100)"


def lose(folder: Path, **meta: str) -> tuple[str, Path]:
    """Return a job whose kernel and session were killed, and its journal, in which `meta` stands then."""
    process, job_id = submit(600, then=STAY)
    (session,) = sessions_of(folder)
    process.kill()
    end(process)
    os.kill(session, signal.SIGKILL)
    eventually(lambda: not sessions_of(folder))
    (directory,) = (folder / "data" / "t2notebook" / "sessions").iterdir()
    with sqlite3.connect(directory / "journal.sqlite") as db:
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
    db.close()
    return job_id, directory


def test_a_job_of_another_environment_is_ended_by_that(server: Server, clean: Path) -> None:
    # as if a session of ours could not take it over; its own Python can
    job_id, _ = lose(clean, home="/elsewhere/session.sock", python=sys.executable)
    eventually(lambda: server.jobs().get(job_id, {}).get("session") == "lost")
    answer = server.post(f"/jobs/{job_id}/kill")
    assert (answer.code, answer.content) == (200, {"state": "KILLED"})
    eventually(lambda: server.jobs()[job_id]["state"] == "KILLED")
    eventually(lambda: not sessions_of(clean))
    server.post("/clear")


def test_the_python_of_a_lost_job_is_gone(server: Server, clean: Path) -> None:
    (job_id,) = made_journals.make(clean / "data" / "t2notebook" / "sessions", 1, 0, lost=1)
    answer = server.post(f"/jobs/{job_id}/kill")
    assert answer.code == 502
    assert "/nowhere/python with t2notebook 0.1, is gone" in answer.content["message"]
    assert server.get(f"/jobs/{job_id}/logs/0").code == 502  # the agent does not answer
    assert [task["state"] for task in server.get(f"/jobs/{job_id}/tasks").content["tasks"]] == ["RUNNING"] * 4
    # what is lost can be taken up again: clearing leaves it
    assert server.post("/clear").content["cleared"] == [] and job_id in server.jobs()


def test_below_a_prefix(home: Path, clean: Path) -> None:
    for server in run_server(clean, base="/user/ada/"):
        assert server.get("/summary").code == 200
        root = Server(server.address.removesuffix("/user/ada"), server.log, server.pid)
        assert root.get("/summary").code == 404


def test_a_server_that_nobody_asks_hears_of_jobs_and_lets_go_of_them(clean: Path) -> None:
    """It polls nothing: the session knocks."""
    for server in run_server(clean):
        descriptors = Path(f"/proc/{server.pid}/fd")

        def streams(descriptors: Path = descriptors) -> int:
            links = [os.readlink(path) for path in descriptors.iterdir() if path.exists()]
            return sum(link.startswith("socket:") for link in links)

        time.sleep(1)  # until our own last connection is closed
        before = streams()
        process, job_id = submit(300, then=STAY)
        eventually(lambda before=before: streams() > before)
        process.kill()
        end(process)
        assert server.post(f"/jobs/{job_id}/kill").code == 200
        eventually(lambda before=before: streams() <= before)
