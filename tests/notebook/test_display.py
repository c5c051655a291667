"""Writes of a live view: which parts of it go out when."""

from contextlib import contextmanager

import pytest
import t2fakes

from t2notebook.notebook import display
from t2notebook.notebook.display import JobSink


class Widget:
    """Keeps what is set between the beginning and the end of a message."""

    def __init__(self):
        object.__setattr__(self, "messages", [])

    def __setattr__(self, name, value):
        self.messages[-1][name] = value

    @contextmanager
    def hold_sync(self):
        self.messages.append({})
        yield


class Place:
    def __init__(self):
        self.updates = []

    def update(self, bundle, display_id):
        self.updates.append((display_id, bundle))


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        def __getattr__(self, name):
            import time

            return getattr(time, name)

    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


@pytest.fixture
def sink(clock, monkeypatch):
    monkeypatch.setattr(display, "Reading", Reading)
    job = t2fakes.Job("pi", 40)
    job.start()
    sink = JobSink(job, "t2-0123456789ab", Place(), Widget())
    sink.marks = []
    sink.begin(lambda: sink.marks.append(1), lambda: None)
    del sink.marks[:]
    return sink


class Reading:
    failures = ()
    is_complete = False
    lines = ()

    def __init__(self, job, on_change):
        pass

    def newest(self):
        return {"end": len(self.lines), "lines": list(self.lines), "current": []}

    def log(self):
        return {}


def write(sink):
    sink.write(sink.job.view())
    return set(sink._widget.messages[-1])


def test_a_change_of_state_is_shown_whole_at_once_and_kept_right_after(sink, clock):
    """The rows came a second after the state."""
    assert {"snapshot", "table", "output"} <= write(sink) and sink.marks
    sink.job.finish(0)
    clock.now += 0.01
    assert write(sink) == {"snapshot"} and not sink.place.updates, "there is no room for more"
    clock.now += 5.0
    assert write(sink) == {"snapshot"}
    ((display_id, kept),) = sink.place.updates
    assert display_id == "t2-0123456789ab" and "Not live" in kept["text/html"]
    for worker_id in range(1, 40):
        sink.job.finish(worker_id)
    assert sink.job.state.value == "COMPLETED"
    clock.now += 0.2
    assert {"snapshot", "table"} <= write(sink) and len(sink.place.updates) == 1


def test_it_is_kept_anew_every_ten_seconds_and_never_more_is_sent_than_allowed(sink, clock):
    import json

    sent = []
    for step in range(5 * 60):
        sink.reading.lines = [[step % 40, "stdout", f"line {step} " * 8]] * 100
        before = len(sink.place.updates)
        write(sink)
        size = len(json.dumps(sink._widget.messages[-1])) + len(json.dumps(sink.place.updates[before:]))
        sent.append(size)
        clock.now += 0.2
    assert 5 <= len(sink.place.updates) <= 7
    seconds = [sum(sent[at : at + 5]) for at in range(0, len(sent), 5)]
    assert sum(seconds) / 60 < 40_000 and max(seconds) < 60_000
    assert sum(len(message) > 1 for message in sink._widget.messages) > 60, "and the output goes on"


def test_without_news_nothing_large_is_sent(sink, clock):
    write(sink)
    for _ in range(3):
        clock.now += 3.0
        found = write(sink)
    assert found == {"snapshot"}


def test_the_answer_to_a_click_on_why_does_not_wait_for_the_large_parts(sink, clock):
    write(sink)
    sent = len(sink._widget.messages)
    sink.why = {"message": "2 workers wait", "rows": [], "at": 1.0}
    clock.now += 0.01  # what has been sent before still has its pause
    sink.write(sink.job.view())
    (message,) = sink._widget.messages[sent:]
    assert message["why"] == sink.why and "table" not in message
    sink.write(sink.job.view())
    assert all("why" not in message for message in sink._widget.messages[sent + 1 :])
