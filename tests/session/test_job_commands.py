"""Commands on a framework's jobs: with a scheduler they are its, without one the journal keeps what it is to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from t2notebook.journal import Journal
from t2notebook.journal.job_store import JobRecord, Jobs
from t2notebook.model.errors import NotOwner, ScalingError
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.states import JobState
from t2notebook.scheduler import inputs
from t2notebook.scheduler.runner import Runner
from t2notebook.session.job_commands import JobCommands


class Told:
    """Stands where the scheduler is; `inputs` has what it was told."""

    def __init__(self) -> None:
        self.inputs: list[inputs.Input] = []

    def feed(self, told: inputs.Input) -> None:
        self.inputs.append(told)


class Desk:
    """Commands on one job of two workers."""

    def __init__(self, directory: Path) -> None:
        self.jobs = Jobs(Journal(directory))
        resource = ComputeResource(ram_mega_bytes=64, instances=2)
        self.job = self.jobs.create_now(JobSpec("pi", "ada", (resource,), "0" * 64, 10, "3.11"), "k")
        self.scheduler: Told | None = None
        self.trouble = ""
        self.commands = JobCommands(
            self.jobs, lambda: cast("Runner | None", self.scheduler), lambda: self.trouble
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "s")
    yield made
    made.jobs.journal.close()


COMMANDS: dict[str, tuple[Callable[[JobCommands, JobRecord], Any], Callable[[str], inputs.Input]]] = {
    "schedule": (lambda commands, job: commands.schedule(job), inputs.Submitted),
    "kill": (
        lambda commands, job: commands.kill(job, "USER", "enough"),
        lambda job_id: inputs.KillJob(job_id, "USER", "enough"),
    ),
    "kill_worker": (
        lambda commands, job: commands.kill_worker(job, 1, "USER", "enough", True),
        lambda job_id: inputs.KillWorker(job_id, 1, "USER", "enough", True),
    ),
    "kill_all": (
        lambda commands, job: commands.kill_all("over"),
        lambda job_id: inputs.KillJob(job_id, "SESSION", "over"),
    ),
    "scale": (
        lambda commands, job: commands.scale(job, 3, "r", "USER", 5.0),
        lambda job_id: inputs.Scale(job_id, 3, "r", "USER", 5.0),
    ),
    "give_silent_up": (
        lambda commands, job: commands.give_silent_up(job, (1,), 60.0),
        lambda job_id: inputs.Silent(job_id, (1,), 60.0),
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_scheduler_decides_where_there_is_one(desk: Desk, name: str) -> None:
    command, expected = COMMANDS[name]
    desk.scheduler = Told()
    seq = desk.job.view.last_seq
    command(desk.commands, desk.job)
    assert desk.scheduler.inputs == [expected(desk.job.job_id)]
    assert desk.job.view.last_seq == seq, "what becomes of it is the scheduler's to write down"


def test_a_job_is_killed_before_there_is_a_scheduler(desk: Desk) -> None:
    desk.commands.kill(desk.job, "USER", "enough")
    assert (desk.job.view.state, desk.job.view.kill_reason) == (JobState.KILLED, "USER")
    seq = desk.job.view.last_seq
    desk.commands.kill(desk.job, "USER", "once more")
    assert desk.job.view.last_seq == seq


def test_one_worker_is_killed_before_there_is_a_scheduler_but_none_is_started_anew(desk: Desk) -> None:
    desk.commands.kill_worker(desk.job, 1, "USER", "enough", restart=True)
    assert not any(event.kind == "KILL" for event in desk.job.events)
    desk.commands.kill_worker(desk.job, 1, "USER", "enough", restart=False)
    assert desk.job.events[-1].worker_id == 1
    assert desk.job.events[-1].message == "enough"


@pytest.mark.parametrize(("trouble", "why"), [("", "no master is known"), ("no way to it", "no way to it")])
def test_without_a_scheduler_no_job_is_scaled(desk: Desk, trouble: str, why: str) -> None:
    desk.trouble = trouble
    with pytest.raises(ScalingError, match=why):
        desk.commands.scale(desk.job, 3, "r", "USER", 5.0)


@pytest.mark.parametrize("name", ["kill", "kill_worker", "scale"])
@pytest.mark.parametrize("with_scheduler", [True, False])
def test_what_another_session_has_taken_over_is_left_to_it(
    desk: Desk, name: str, with_scheduler: bool
) -> None:
    desk.jobs.journal.is_lost = True
    desk.scheduler = Told() if with_scheduler else None
    with pytest.raises(NotOwner, match="another session has taken over the journal"):
        COMMANDS[name][0](desk.commands, desk.job)
    assert desk.scheduler is None or not desk.scheduler.inputs


def test_all_that_can_be_killed_is(desk: Desk) -> None:
    """Who has lost the journal, and who is to be killed already, is passed over."""
    desk.jobs.journal.is_lost = True
    desk.commands.kill_all("over")
    desk.jobs.journal.is_lost = False
    desk.scheduler = Told()
    desk.job.view.kill_reason = "USER"
    desk.commands.kill_all("over")
    assert desk.scheduler.inputs == []
