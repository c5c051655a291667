"""The persistent volume of a worker that has been replaced is its successor's."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2notebook.protocol.launch import WorkerLaunch
from t2notebook.worker.process.environment import WorkerEnvironment
from t2notebook.worker.process.job_master_client import JobMasterClient
from t2notebook.worker.process.progress import ChannelProgress, ProgressReporter
from t2notebook.worker.process.session_api import SessionClient
from t2notebook.worker.process.superseded import Superseded
from t2notebook.worker.process.volume import PersistentVolume
from tests.worker.fakes import free_port


def volume(root: Path | str, incarnation: int, worker: int = 0) -> PersistentVolume:
    launch = WorkerLaunch(
        "me-job-1",
        worker,
        incarnation,
        2,
        "00",
        "http://x:1",
        "0",
        1,
        "3.11",
        1,
        64,
        persistent_volume=str(root),
    )
    return PersistentVolume(launch)


def env_of(place: PersistentVolume | None) -> WorkerEnvironment:
    return WorkerEnvironment(
        worker_id=0,
        number_of_workers=1,
        job_id="me-job-1",
        config={},
        restart_count=0,
        report=lambda fraction, text: None,
        persistent_volume=place,
    )


def test_an_older_incarnation_is_stopped_when_it_asks_for_its_directory(tmp_path: Path) -> None:
    old = volume(tmp_path, 0)
    old.claim()
    env = env_of(old)
    assert env.persistent_volume == f"{tmp_path}/me-job-1/worker-0"
    volume(tmp_path, 0, worker=1).claim()
    assert Path(env.persistent_volume).is_dir()
    new = volume(tmp_path, 2)
    new.claim()
    with pytest.raises(Superseded):
        _ = env.persistent_volume
    assert env_of(new).persistent_volume == f"{tmp_path}/me-job-1/worker-0"
    with pytest.raises(Superseded):
        volume(tmp_path, 1).claim()  # it was launched before, and comes now
    assert env_of(new).persistent_volume
    for path in (tmp_path / "me-job-1").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_worker_that_is_cut_off_is_stopped_by_the_volume_when_it_calls(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    old = volume(tmp_path, 0)
    old.claim()
    hello = {"job_id": "me-job-1", "worker_id": 0, "incarnation": 0}
    job_master, client = JobMasterClient(nobody, "00", hello), SessionClient(nobody, "me-job-1", "00")
    progress = ProgressReporter(client, "/progress", clock=iter(range(0, 10**6, 1000)).__next__)
    through_channel = ChannelProgress(JobMasterClient(nobody, "00", hello), client, "/progress")
    for one in (job_master, progress, through_channel._job_master):
        one.fence = old.check
    progress.report(0.1, "nobody answers, and nobody has its place: it goes on")
    assert not job_master.note({"kind": "progress"})
    volume(tmp_path, 1).claim()
    with pytest.raises(Superseded):
        progress.report(0.2, "")
    with pytest.raises(Superseded):
        through_channel.report(0.2, "")
    with pytest.raises(Superseded):
        job_master.ask({"kind": "barrier"})
    with pytest.raises(Superseded):
        job_master.ask({"kind": "barrier"})  # as often as it asks


def test_addresses_and_jobs_without_a_volume() -> None:
    place = volume("memory://t2/x", 0)
    place.claim()
    assert env_of(place).persistent_volume == "memory://t2/x/me-job-1/worker-0"
    assert env_of(None).persistent_volume == env_of(volume("", 0)).persistent_volume == ""
