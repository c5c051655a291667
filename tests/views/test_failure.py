import pytest
from t2fakes import Job

from t2notebook.model.events import Event, EventKind
from t2notebook.notebook.rendering.html import job_html
from t2notebook.views.failure import MOST, errors_of, failures_of
from t2notebook.views.snapshot import snapshot


def failed(*worker_ids, workers=20):
    job = Job("pi", workers)
    job.start()
    for worker_id in worker_ids:
        job.apply(
            EventKind.RESULT,
            worker_id=worker_id,
            task_id=job.view().workers[worker_id].task_id,
            data={"ok": False},
        )
        job.status(worker_id, "FAILED")
    job.fail(worker_ids[-1]) if len(worker_ids) == 1 else job.kill()
    return job


def errors(view, texts):
    return {view.workers[worker_id].task_id: {"traceback": text} for worker_id, text in texts.items()}


@pytest.fixture
def view():
    view = failed(*range(1, 12)).view()
    view.state = type(view.state)("FAILED")
    view.failed_worker = 7
    return view


def test_who_failed_the_job_stands_first_and_there_are_not_too_many(view):
    found = failures_of(view, errors(view, {worker_id: f"boom {worker_id}" for worker_id in range(1, 12)}))
    assert found[0] == (7, "traceback", "boom 7") and len(found) == MOST
    assert [worker_id for worker_id, _, _ in found[1:]] == [1, 2, 3, 4, 5, 6, 8]


def test_who_raised_nothing_left_stderr(view):
    assert failures_of(view, {}) == [(7, "stderr", "")]


def test_a_job_that_has_not_failed_has_none(view):
    view.state = type(view.state)("KILLED")
    assert failures_of(view, errors(view, {7: "boom"})) == []


def test_errors_by_task():
    events = [
        Event(EventKind.RESULT, "j", 1.0, 0, "a", data={"ok": False, "error": {"traceback": "boom"}}),
        Event(EventKind.RESULT, "j", 1.0, 1, "b", data={"ok": True}),
        Event(EventKind.STATUS, "j", 1.0, 2, "c", "FAILED"),
    ]
    assert errors_of(events) == {"a": {"traceback": "boom"}, "b": None}


def test_the_same_traceback_is_shown_once(view):
    texts = {1: "ValueError: one", 2: "ValueError: one", 7: "KeyError: other"}
    record = snapshot(view, failures=failures_of(view, errors(view, texts)))
    assert [one["title"] for one in record["failures"]] == [
        "Traceback of worker 7",
        "Traceback of workers 1, 2",
    ]
    html = job_html(record)
    assert html.count("<details") == 2 and html.count("ValueError: one") == 1
    assert html.index("KeyError: other") < html.index("Traceback of workers 1, 2")
