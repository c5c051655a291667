from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.model.events import Event, EventKind
from t2notebook.model.packed_workers import PackedWorkers
from t2notebook.model.reducer import JobView, reduce
from t2notebook.model.states import JOB_TRANSITIONS, TASK_TRANSITIONS, JobState, TaskState
from t2notebook.model.worker_view import EARLIER

JOB = "ada-pi-abc"


def submitted(workers: int) -> Event:
    return Event(EventKind.SUBMITTED, JOB, 1.0, data={"number_of_workers": workers, "name": "pi"})


def launched(worker: int, incarnation: int = 0, time: float = 2.0) -> Event:
    data = {
        "agent": "S0",
        "host": "h1",
        "executor_id": "t2-1",
        "cpus": 1.0,
        "mem": 64.0,
        "restart_count": incarnation,
    }
    return Event(EventKind.LAUNCHED, JOB, time, worker, f"t-{worker}-{incarnation}", "STAGING", data=data)


def status(worker: int, state: str, incarnation: int = 0, time: float = 3.0, **fields: object) -> Event:
    return Event(EventKind.STATUS, JOB, time, worker, f"t-{worker}-{incarnation}", state, **fields)


def result(worker: int, ok: bool = True, incarnation: int = 0) -> Event:
    return Event(EventKind.RESULT, JOB, 3.5, worker, f"t-{worker}-{incarnation}", data={"ok": ok})


def test_a_job_that_goes_well() -> None:
    view = reduce(JOB, [submitted(2)])
    assert view.state is JobState.PENDING
    view.apply(launched(0))
    assert view.state is JobState.PENDING, "one worker still waits"
    view.apply(launched(1))
    assert view.state is JobState.STARTING
    view.apply(status(0, "RUNNING"))
    view.apply(status(1, "RUNNING", time=4.0))
    assert view.state is JobState.STARTED
    assert view.started == 4.0
    for worker in (0, 1):
        view.apply(result(worker))
        view.apply(status(worker, "FINISHED", time=5.0))
    assert view.state is JobState.COMPLETED
    assert view.finished == 5.0
    assert view.progress == 1.0


def test_a_finished_task_without_its_result_is_not_the_end() -> None:
    view = reduce(JOB, [submitted(1), launched(0), status(0, "FINISHED")])
    assert view.state is JobState.STARTED
    view.apply(result(0))
    assert view.state is JobState.COMPLETED


def test_a_lost_result_fails_the_job() -> None:
    view = reduce(JOB, [submitted(1), launched(0), status(0, "FINISHED"), result(0, ok=False)])
    assert view.state is JobState.FAILED
    assert view.failed_worker == 0


def test_a_failed_worker_fails_the_job_when_the_others_have_ended() -> None:
    view = reduce(JOB, [submitted(2), launched(0), launched(1)])
    view.apply(status(1, "FAILED", message="ValueError: boom"))
    view.apply(Event(EventKind.KILL, JOB, 3.0, reason="WORKER_FAILED"))
    assert not view.state.is_final
    view.apply(status(0, "KILLED"))
    assert view.workers[0].message == "killed because worker 1 failed"
    assert view.state is JobState.FAILED
    assert view.failed_worker == 1
    assert view.message == "worker 1 on h1 failed: ValueError: boom"


def test_without_a_kill_the_job_fails_when_all_have_ended_and_counts_those_that_failed() -> None:
    view = reduce(JOB, [submitted(3), *map(launched, range(3))])
    view.apply(status(1, "FAILED", message="ValueError: boom"))
    view.apply(status(2, "KILLED", message="by somebody else"))
    assert not view.state.is_final
    view.apply(status(0, "FINISHED", time=4.0))
    view.apply(result(0))
    assert view.state is JobState.FAILED
    assert view.message == "2 of 3 workers failed; the first: worker 1 on h1 failed: ValueError: boom"
    assert [worker.is_good for worker in view.workers] == [True, False, False]


def test_a_kill_of_a_job_that_went_on_after_a_failure_is_a_kill() -> None:
    view = reduce(JOB, [submitted(2), launched(0), launched(1), status(1, "FAILED", message="boom")])
    view.apply(Event(EventKind.KILL, JOB, 3.0, reason="USER", message="killed by the user"))
    view.apply(status(0, "KILLED"))
    assert (view.state, view.message) == (JobState.KILLED, "killed by the user")


def test_a_killed_worker_that_ended_by_itself_says_so_beside_its_exit_code() -> None:
    kill = Event(EventKind.KILL, JOB, 3.0, reason="USER", message="killed by the user")
    view = reduce(JOB, [submitted(3), *map(launched, range(3)), kill])
    view.apply(status(0, "KILLED", data={"exit_code": 0}))
    view.apply(status(1, "KILLED", data={"exit_code": -15}))
    view.apply(status(2, "KILLED", message="it was replaced", data={"exit_code": 0}))
    assert [worker.message for worker in view.workers] == [
        "killed by the user, and ended by itself with exit code 0",
        "killed by the user",
        "it was replaced",
    ]
    assert (view.state, view.message) == (JobState.KILLED, "killed by the user")


def test_a_lost_worker_that_runs_again_is_no_reason_for_waiting_any_more() -> None:
    restart = {"restart_count": 1, "failures": 0, "retries": 1, "pause": 0.0}

    def lost(worker: int) -> Event:
        return status(worker, "LOST", message="agent was lost", data={"restart": restart})

    view = reduce(JOB, [submitted(3), *map(launched, range(3)), *map(lost, range(3))])
    assert view.waiting_for == "worker 2: agent was lost"
    view.apply(launched(2, 1))
    assert view.waiting_for == "worker 1: agent was lost", "of those who wait"
    view.apply(launched(1, 1))
    assert view.waiting_for == "worker 0: agent was lost"
    view.apply(Event(EventKind.PENDING, JOB, 4.0, message="1 worker waiting: too little memory"))
    view.apply(lost_again := status(1, "LOST", 1, message="agent was lost", data={"restart": restart}))
    assert view.waiting_for == "worker 1: agent was lost" and lost_again.worker_id == 1
    view.apply(Event(EventKind.KILL, JOB, 4.5, 1, message="killed by the user"))
    assert view.workers[1].state is TaskState.KILLED
    assert view.waiting_for == "worker 0: agent was lost", "the scheduler tells more when it knows more"
    view.apply(launched(0, 1))
    assert view.waiting_for == ""


def test_a_kill_ends_the_workers_that_wait() -> None:
    view = reduce(JOB, [submitted(2), launched(0)])
    view.apply(Event(EventKind.KILL, JOB, 3.0, reason="USER", message="killed by the user"))
    assert view.workers[1].state is TaskState.KILLED
    assert not view.state.is_final
    view.apply(status(0, "KILLED"))
    assert view.state is JobState.KILLED
    assert view.message == "killed by the user"


def test_a_worker_killed_by_nobody_of_ours_is_a_failure() -> None:
    view = reduce(JOB, [submitted(1), launched(0), status(0, "KILLED", message="by an operator")])
    assert view.state is JobState.FAILED
    assert view.message == "worker 0 on h1 was killed: by an operator"


def test_an_update_of_an_older_task_changes_nothing() -> None:
    view = reduce(JOB, [submitted(1), launched(0), status(0, "LOST"), launched(0, incarnation=1)])
    assert view.apply(status(0, "FINISHED", incarnation=0)) is None
    assert view.workers[0].state is TaskState.STAGING
    assert view.workers[0].restarts == 1


def test_the_times_of_earlier_tasks_are_kept() -> None:
    restart = {"restart_count": 1, "failures": 1, "retries": 0, "pause": 0.5}
    view = reduce(JOB, [submitted(1), launched(0), status(0, "RUNNING", time=3.0)])
    assert (view.workers[0].waiting_since, view.workers[0].launched) == (0.0, 2.0), "since the submit"
    view.apply(status(0, "FAILED", time=4.0, data={"restart": restart}))
    assert (view.workers[0].waiting_since, view.workers[0].launched) == (4.0, None)
    view.apply(launched(0, 1, time=5.0))
    view.apply(status(0, "LOST", 1, time=7.0))  # it never ran, and another task follows at once
    view.apply(launched(0, 2, time=8.0))
    assert view.workers[0].earlier == (0.0, 2.0, 3.0, 4.0, 4.0, 5.0, 0.0, 7.0)
    assert (view.workers[0].waiting_since, view.workers[0].launched) == (7.0, 8.0)
    for incarnation in range(3, 20):
        view.apply(status(0, "LOST", incarnation - 1, time=9.0))
        view.apply(launched(0, incarnation, time=9.0))
    assert len(view.workers[0].earlier) == 4 * EARLIER


def test_an_event_is_applied_once() -> None:
    events = [submitted(1), launched(0)]
    numbered = [replace(event, seq=index) for index, event in enumerate(events, 1)]
    view = reduce(JOB, [*numbered, *numbered])
    assert view == reduce(JOB, numbered)


def test_progress_is_for_living_tasks() -> None:
    def tell(progress: float) -> Event:
        return Event(EventKind.PROGRESS, JOB, 3.0, 0, "t-0-0", data={"progress": progress, "text": "half"})

    view = reduce(JOB, [submitted(1), launched(0), status(0, "RUNNING"), tell(0.5)])
    assert view.workers[0].progress == 0.5
    view.apply(status(0, "FAILED"))
    view.apply(tell(0.9))
    assert view.workers[0].progress == 0.5


WORKERS = 3
any_event = st.one_of(
    st.builds(launched, st.integers(0, WORKERS - 1), st.integers(0, 2)),
    st.builds(
        status,
        st.integers(0, WORKERS - 1),
        st.sampled_from([state.value for state in TaskState if state is not TaskState.PENDING]),
        st.integers(0, 2),
    ),
    st.builds(result, st.integers(0, WORKERS - 1), st.booleans(), st.integers(0, 2)),
    st.just(Event(EventKind.KILL, JOB, 3.0, reason="USER")),
)


@given(st.lists(any_event, max_size=60))
def test_whatever_comes_the_tables_hold(events: list[Event]) -> None:
    view = JobView(JOB)
    view.apply(submitted(WORKERS))
    for event in events:
        state, tasks = view.state, [(worker.state, worker.task_id) for worker in view.workers]
        view.apply(event)
        assert view.state is state or view.state in JOB_TRANSITIONS[state]
        for worker, (before, task_id) in zip(view.workers, tasks, strict=True):
            if worker.state is before:
                continue
            restarted = worker.task_id != task_id or event.kind is EventKind.LAUNCHED
            assert worker.state in TASK_TRANSITIONS[before] or (
                restarted and worker.state is TaskState.STAGING
            )
        assert sum(view.counts.values()) == WORKERS
        for task_state in TaskState:
            assert view.counts[task_state] == sum(worker.state is task_state for worker in view.workers)
        assert view._done == sum(worker.is_done for worker in view.workers)


@given(st.lists(any_event, max_size=40), st.integers(0, 40))
def test_a_fold_may_be_interrupted_anywhere(events: list[Event], cut: int) -> None:
    numbered = [replace(event, seq=index) for index, event in enumerate([submitted(WORKERS), *events], 1)]
    view = reduce(JOB, numbered[:cut])
    for event in numbered[max(0, cut - 3) :]:  # some come twice
        view.apply(event)
    assert view == reduce(JOB, numbered)


@given(st.lists(any_event, max_size=10))
def test_events_survive_json(events: list[Event]) -> None:
    import json

    for event in events:
        assert Event.from_dict(json.loads(json.dumps(event.to_dict()))) == event


def asked(worker: int, restart: bool = False) -> Event:
    data = {"restart": True} if restart else {}
    return Event(EventKind.KILL, JOB, 3.0, worker, reason="USER", message="too slow", data=data)


def test_one_worker_that_is_ended_for_good_is_no_failure_and_the_others_go_on() -> None:
    view = reduce(JOB, [submitted(2), launched(0), launched(1), status(0, "RUNNING"), status(1, "RUNNING")])
    view.apply(asked(1))
    restart = {"restart_count": 1, "failures": 1, "retries": 0, "pause": 0.5}
    view.apply(status(1, "KILLED", time=4.0, data={"restart": restart}))
    assert (view.state, view.failed_worker) == (JobState.STARTED, None)
    assert (view.workers[1].state, view.workers[1].message) == (TaskState.KILLED, "too slow")
    view.apply(result(0))
    view.apply(status(0, "FINISHED", time=5.0))
    assert (view.state, view.message) == (JobState.KILLED, "worker 1 on h1 was killed: too slow")


def test_a_waiting_worker_that_is_ended_for_good_is_never_launched() -> None:
    view = reduce(JOB, [submitted(2), launched(0), status(0, "RUNNING")])
    view.apply(asked(1))
    assert view.workers[1].state is TaskState.KILLED
    view.apply(launched(1))
    assert view.state is JobState.STARTED


def test_a_worker_that_is_ended_to_be_restarted_waits_for_that() -> None:
    view = reduce(JOB, [submitted(1), launched(0), status(0, "RUNNING")])
    view.apply(asked(0, restart=True))
    restart = {"restart_count": 1, "failures": 0, "retries": 1, "pause": 0.1}
    view.apply(status(0, "KILLED", data={"restart": restart}))
    assert (view.state, view.workers[0].failures) == (JobState.PENDING, 0)
    view.apply(launched(0, incarnation=1))
    assert view.workers[0].asked == "", "the next one is not asked anything"


told_progress = st.builds(
    lambda worker, incarnation, progress: Event(
        EventKind.PROGRESS, JOB, 3.0, worker, f"t-{worker}-{incarnation}", data={"progress": progress}
    ),
    st.integers(0, WORKERS + 1),
    st.integers(0, 2),
    st.floats(0, 1),
)
scaled = st.builds(
    lambda number: Event(EventKind.SCALED, JOB, 3.0, data={"number_of_workers": number}),
    st.integers(1, WORKERS + 2),
)
one_worker_asked = st.builds(
    lambda worker, restart: Event(
        EventKind.KILL, JOB, 3.0, worker, reason="USER", data={"restart": True} if restart else {}
    ),
    st.integers(0, WORKERS - 1),
    st.booleans(),
)


@given(st.lists(st.one_of(any_event, told_progress, scaled, one_worker_asked), max_size=60))
def test_what_is_kept_of_all_workers_is_what_a_look_at_each_would_find(events: list[Event]) -> None:
    """A view of 50,000 workers must not look at each of them."""
    view, packed = JobView(JOB), JobView(JOB, workers=PackedWorkers())
    for event in [submitted(WORKERS), *events]:
        view.apply(event)
        packed.apply(event)
        assert list(packed.workers) == view.workers
        parts = [
            1.0 if worker.state is TaskState.FINISHED else worker.progress or 0.0 for worker in view.present
        ]
        assert abs(view.progress - sum(parts) / view.number_of_workers) < 1e-9
        assert packed.progress == view.progress and packed.troubled == view.troubled
        ended = (TaskState.KILLED, TaskState.KILLING)
        fine = (
            TaskState.PENDING,
            TaskState.STAGING,
            TaskState.STARTING,
            TaskState.RUNNING,
            TaskState.FINISHED,
        )
        for worker in view.workers:
            if worker.restarts or worker.result == "error" or worker.state not in (*fine, *ended):
                assert worker.worker_id in view.troubled
            elif worker.state in fine:
                assert worker.worker_id not in view.troubled
