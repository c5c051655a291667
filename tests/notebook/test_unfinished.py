"""Unfinished jobs of other kernels, as ``%load_ext`` names them."""

from dataclasses import replace

import pytest

from t2notebook.journal import Journal, Lease
from t2notebook.journal.job_store import Jobs
from t2notebook.journal.unfinished import LeftJob
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.notebook import load_ipython_extension, unload_ipython_extension
from t2notebook.notebook.unfinished import describe

SPEC = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")


def test_a_line_a_job_and_never_more_than_two():
    assert describe([]) == ""
    alive, dead = LeftJob("ada-pi-1", 2, True), LeftJob("ada-sum-2", 1, False)
    assert describe([alive]) == "Job ada-pi-1 (2 workers) is unfinished: %twister2 attach ada-pi-1"
    text = describe([dead, alive, alive, alive])
    assert text.splitlines() == [
        "Job ada-sum-2 (1 worker) was left by a session that died, and can be taken up again: "
        "%twister2 attach ada-sum-2",
        "Job ada-pi-1 (2 workers) is unfinished: %twister2 attach ada-pi-1   (and 2 more: %twister2 list)",
    ]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    return tmp_path / "t2notebook" / "sessions"


def reload(shell):
    unload_ipython_extension(shell)
    load_ipython_extension(shell)


def test_loading_says_what_a_dead_session_left(shell, data, capsys):
    journal = Journal(data / "s", replace(Lease.mine(), pid=2**22 + 1))
    journal.set_meta(framework_id="F", framework='{"failover_timeout": 3600}')
    job = Jobs(journal).create_now(SPEC, "k")
    journal.close()
    reload(shell)
    assert capsys.readouterr().out == (
        f"Job {job.job_id} (2 workers) was left by a session that died, and can be taken up again: "
        f"%twister2 attach {job.job_id}\n"
    )


def test_loading_says_nothing_when_there_is_nothing_and_whatever_goes_wrong(shell, data, capsys):
    reload(shell)
    data.mkdir(parents=True)
    (data / "s").mkdir()
    (data / "s" / "journal.sqlite").write_text("nonsense")
    reload(shell)
    data.parent.chmod(0o700)
    (data / "s" / "journal.sqlite").unlink()
    (data / "s").rmdir()
    data.rmdir()
    data.write_text("a file")
    reload(shell)
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")
