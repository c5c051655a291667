"""Folders of a living session that somebody removes, or that can no longer be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.journal import FILE, Journal, Lease, read_events, read_jobs, read_meta
from t2notebook.journal.job_store import Jobs
from t2notebook.model.errors import JournalError, NotOwner
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from tests.session.conftest import ROOT, eventually


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder in which a socket's path has room."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="t2-"))
    yield path
    shutil.rmtree(path)


SPEC = JobSpec("pi", "ada", (ComputeResource(instances=2),), "0" * 64, 10, "3.11")


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_removed_journal_is_there_again_with_all_that_was_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    from t2notebook.journal import journal as store

    monkeypatch.setattr(store, "is_on_network", lambda path: mode == "DELETE")
    directory = tmp_path / "sessions" / "one"
    journal = Journal(directory, Lease.mine())
    journal.set_meta(framework_id="F")
    jobs = Jobs(journal)
    job = jobs.create_now(SPEC, "k")
    for _ in range(2):  # again and again
        shutil.rmtree(tmp_path / "sessions")
        jobs.record(Event(EventKind.KILL, job.job_id, 1.0, reason="USER"))
    assert read_meta(directory)["framework_id"] == "F"
    assert list(read_jobs(directory)) == [job.job_id]
    assert [event.kind for event in read_events(directory, job.job_id)] == ["SUBMITTED", "KILL", "KILL"]
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    assert journal.packages.is_dir() and journal.results.is_dir()
    assert sorted(path.name for path in directory.iterdir() if "restored" in path.name) == []
    journal.close()
    assert read_jobs(directory)


def test_another_journal_in_the_place_of_ours_is_not_written_over(tmp_path: Path) -> None:
    ours = Journal(tmp_path / "one", Lease.mine())
    shutil.rmtree(tmp_path / "one")
    other = Journal(tmp_path / "one", Lease("h", "b", 1, "2"))
    with pytest.raises(NotOwner):
        ours.set_meta(a="b")
    assert "a" not in other.meta()
    other.close()
    ours.close()


def test_a_journal_that_cannot_be_made_again_says_so_in_one_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sessions" / "one", Lease.mine())
    shutil.rmtree(tmp_path / "sessions")
    (tmp_path / "sessions").write_text("")  # not a folder
    with pytest.raises(
        JournalError, match=r"the journal in .* cannot be written: .*; JUPYTER_DATA_DIR names"
    ) as caught:
        journal.renew()
    assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "sessions").unlink()
    journal.renew()
    assert "owner" in read_meta(tmp_path / "sessions" / "one")
    journal.close()


def test_sessions_removed_under_a_living_session(clean: Path) -> None:
    """A 300-character FileNotFoundError, and the running job STARTED for ever."""
    import t2notebook as t2

    job = t2.submit(lambda env: __import__("time").sleep(3) or env.worker_id, workers=2, ram_mega_bytes=64)
    eventually(lambda: job.state.value == "STARTED", timeout=40)
    shutil.rmtree(clean / "data" / "t2notebook")
    later = t2.submit(lambda env: "later", ram_mega_bytes=64)
    assert job.results(timeout=60) == [0, 1]
    assert later.results(timeout=60) == ["later"]
    assert {job.job_id, later.job_id} <= set(t2.jobs().job_id), "other kernels see them again"
    t2.shutdown()


def test_a_job_whose_package_was_removed_before_it_ran_says_so(clean: Path) -> None:
    import t2notebook as t2

    running = t2.submit(lambda env: __import__("time").sleep(60), ram_mega_bytes=64, cpu=3.5, workers=2)
    eventually(lambda: running.state.value == "STARTED", timeout=40)
    large = os.urandom(1 << 17)  # a small one goes along with the launch
    waiting = t2.submit(lambda env: len(large), ram_mega_bytes=64, cpu=3.5)
    small = t2.submit(lambda env: 1, ram_mega_bytes=64, cpu=1)
    shutil.rmtree(clean / "data" / "t2notebook" / "sessions")
    running.kill()
    running.wait(timeout=30)
    with pytest.raises(
        t2.JobFailed, match="its file was removed where the session kept it: submit the job again"
    ):
        waiting.results(timeout=60)
    assert small.results(timeout=60) == [1]
    t2.shutdown()


@pytest.mark.skipif(os.getuid() != 0, reason="needs a mount of its own")
def test_a_home_that_became_read_only(clean: Path, tmp_path: Path) -> None:
    """A raw OSError; the variable that names another folder is to be told."""
    code = """
    import subprocess, os, sys
    import t2notebook as t2
    data = os.environ["JUPYTER_DATA_DIR"]
    print(t2.submit(lambda env: 1, ram_mega_bytes=64).results(60))
    subprocess.run(["mount", "--bind", data, data], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", data], check=True)
    try:
        t2.submit(lambda env: 1, ram_mega_bytes=64)
    except t2.Twister2Error as error:
        print(error)
    t2.shutdown()
    """
    prefix = ("unshare", "--mount")
    if subprocess.run(
        [*prefix, "mount", "--bind", tmp_path, tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("nothing can be mounted here")
    (clean / "data").mkdir(exist_ok=True)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "[1]"
    assert "nothing was submitted: " in second and "Read-only file system" in second
    assert second.endswith("JUPYTER_DATA_DIR names another folder")


def test_a_relative_folder_is_where_the_kernel_was_when_it_began(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative JUPYTER_RUNTIME_DIR ended under the root directory, where sessions are."""
    from t2notebook import config
    from t2notebook.config import directories

    monkeypatch.chdir(short)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "run")
    monkeypatch.setenv("JUPYTER_DATA_DIR", "data")
    # a test that ran IPython in this process leaves its history of directories
    monkeypatch.delattr(sys.modules["__main__"], "_dh", raising=False)
    monkeypatch.setattr(directories, "_BEGINNING", directories._here())
    assert config.runtime_dir() == short / "run" / "t2notebook"
    (short / "below").mkdir()
    monkeypatch.chdir(short / "below")
    assert config.runtime_dir() == short / "run" / "t2notebook"
    assert config.data_dir() == short / "data" / "t2notebook"
    assert not list((short / "below").iterdir())
    monkeypatch.chdir("/")


def test_the_folder_that_is_wrong_is_named_with_its_variable(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import t2notebook as t2
    from t2notebook import config

    (short / "file").write_text("")
    for variable, folder in (
        ("JUPYTER_DATA_DIR", config.data_dir),
        ("JUPYTER_RUNTIME_DIR", config.runtime_dir),
    ):
        monkeypatch.setenv(variable, str(short / "file" / "x"))
        with pytest.raises(t2.Twister2Error, match=f"cannot be made: .*; {variable} names another"):
            folder()
        other = short / variable
        (other / "t2notebook").mkdir(parents=True)
        monkeypatch.setenv(variable, str(other))
        (other / "t2notebook").chmod(0o755)
        assert folder().stat().st_mode & 0o777 == 0o700
        if os.getuid() == 0:
            os.chown(other / "t2notebook", 12345, 12345)
            with pytest.raises(t2.Twister2Error, match=f"uid 12345.*set {variable}"):
                folder()


def test_a_folder_whose_name_is_no_text_is_refused_in_one_line(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's start ended in a UnicodeEncodeError of the journal."""
    import t2notebook as t2
    from t2notebook import config

    for variable, folder in (
        ("JUPYTER_DATA_DIR", config.data_dir),
        ("JUPYTER_RUNTIME_DIR", config.runtime_dir),
    ):
        monkeypatch.setenv(variable, f"{short}/caf\udce9")
        with pytest.raises(t2.Twister2Error, match=rf"caf\\xe9.*no UTF-8.*; {variable} names another"):
            folder()


def test_a_kernel_whose_directory_was_removed_submits_as_others_do(clean: Path, tmp_path: Path) -> None:
    """It was a bare FileNotFoundError."""
    (tmp_path / "gone").mkdir()
    code = """
        import os, sys
        sys.path.append("relative")
        os.rmdir(os.getcwd())
        import t2notebook as t2
        print(t2.submit(lambda env: env.worker_id, workers=2, ram_mega_bytes=64).results(timeout=60))
        t2.shutdown()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}relative"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "[0, 1]\n", done.stderr


def test_a_long_runtime_folder_leaves_room_for_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2notebook import config

    names: list[Any] = []
    for length in range(40, 120, 7):
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / ("x" * length)))
        path = config.runtime_dir()
        names.append(path)
        socket = path / f"session-{config.get_config().session_key}-{'f' * 8}.sock"
        assert len(os.fsencode(socket)) <= config.LONGEST_SOCKET
    for path in names:
        if path.parent == Path("/tmp"):
            path.rmdir()
