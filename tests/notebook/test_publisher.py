import itertools
import logging
import threading
import time

import pytest
from t2fakes import Job

from t2notebook.notebook.publisher import Publisher, why_lost
from tests.busy import longer


class Sink:
    def __init__(self, interval=0.2, cost=0.0, fails=0):
        self.interval = interval
        self.cost = cost
        self.fails = fails
        self.writes = []
        self.finished = None
        self.threads = set()
        self.beats = 0

    def write(self, view):
        self.threads.add(threading.current_thread().name)
        self.writes.append((time.monotonic(), view))
        time.sleep(self.cost)
        if len(self.writes) <= self.fails:
            raise RuntimeError("the browser is gone")

    def beat(self):
        self.beats += 1

    def is_ready(self, view):
        return True

    def finish(self, view, lost):
        self.writes.append((time.monotonic(), view))
        self.finished = (view, lost)


def call(function, *arguments):
    return function(*arguments)


@pytest.fixture
def publisher():
    publisher = Publisher()
    yield publisher
    publisher.stop()


def storm(job, updates=1000, threads=4, pause=0.001):
    def run(worker_id):
        for step in range(updates // threads):
            job.progress(worker_id, step / updates)
            time.sleep(pause)

    running = [threading.Thread(target=run, args=(worker_id,)) for worker_id in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_a_thousand_updates_from_four_threads_are_five_writes_a_second(publisher):
    job, sink = Job("pi", 4), Sink()
    watch = publisher.watch(job, sink, call)
    job.start()
    begin = time.monotonic()
    storm(job)
    for worker_id in range(4):
        job.finish(worker_id)
    spent = time.monotonic() - begin
    assert watch.finished.wait(2)
    assert 2 <= len(sink.writes) <= 5 * spent + 3
    times = [at for at, _ in sink.writes]
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(times))
    view, lost = sink.finished
    assert view.state == "COMPLETED" and not lost
    assert sink.threads == {"t2notebook-publisher"}


def test_the_last_state_arrives_although_nothing_follows(publisher):
    job, sink = Job("pi", 1), Sink()
    publisher.watch(job, sink, call)
    job.start()
    for step in range(50):
        job.progress(0, step / 100)
    job.progress(0, 0.77)
    time.sleep(0.5)
    assert sink.writes[-1][1].workers[0].progress == 0.77


def test_a_mark_returns_at_once_while_a_view_is_slow(publisher):
    job, sink = Job("pi", 1), Sink(cost=0.5)
    publisher.watch(job, sink, call)
    job.start()
    time.sleep(0.1)
    begin = time.monotonic()
    for _ in range(100):
        job.progress(0, 0.5)
    assert time.monotonic() - begin < longer(0.2)


def test_a_view_that_is_slow_to_draw_is_drawn_less_often(publisher):
    job, sink = Job("pi", 1), Sink(interval=0.01, cost=0.05)
    publisher.watch(job, sink, call)
    job.start()
    storm(job, updates=1000, threads=1)
    assert len(sink.writes) <= 5


def test_several_jobs_do_not_wait_for_each_other(publisher):
    jobs = [Job(f"j{number}", 1) for number in range(5)]
    sinks = [Sink(interval=0.1) for _ in jobs]
    watches = [publisher.watch(job, sink, call) for job, sink in zip(jobs, sinks, strict=True)]
    time.sleep(0.3)
    assert all(len(sink.writes) == 1 for sink in sinks)
    assert publisher.watches() == watches


def test_each_write_is_run_where_the_view_was_made(publisher):
    entered = []

    def run(function, *arguments):
        entered.append(threading.current_thread().name)
        return function(*arguments)

    job = Job("pi", 1)
    job.kill()
    watch = publisher.watch(job, Sink(), run)
    assert watch.finished.wait(2)
    assert entered == ["t2notebook-publisher"]


def test_after_the_end_nothing_is_kept(publisher):
    job, sink = Job("pi", 1), Sink()
    watch = publisher.watch(job, sink, call)
    job.kill()
    assert watch.finished.wait(2)
    time.sleep(0.05)
    assert not publisher.watches() and not job._listeners
    watch.mark()
    time.sleep(0.3)
    assert sink.writes[-1][1].state == "KILLED" and not publisher._dirty


def test_a_lost_session_ends_a_view(publisher):
    job, sink = Job("pi", 1), Sink()
    job.start()
    watch = publisher.watch(job, sink, call)
    job.lost = "the session process has ended"
    watch.mark()
    assert watch.finished.wait(2)
    view, lost = sink.finished
    assert (view.state, lost) == ("STARTED", "the session process has ended")


def test_why_lost():
    job = Job("pi", 1)
    assert why_lost(job) == ""
    job.lost = "gone"
    assert why_lost(job) == "gone"
    job.lost = ""
    job.kill()
    assert why_lost(job) == ""


def test_a_view_that_cannot_be_drawn_does_not_stop_the_others(publisher, caplog):
    caplog.set_level(logging.CRITICAL, "t2notebook.notebook.publisher")
    bad, good = Sink(fails=1), Sink()
    job = Job("pi", 1)
    watches = [publisher.watch(job, sink, call) for sink in (bad, good)]
    job.start()
    time.sleep(0.3)
    job.finish(0)
    assert all(watch.finished.wait(2) for watch in watches)
    assert bad.finished and good.finished


def test_stop_ends_the_thread_and_a_new_view_starts_one(publisher):
    publisher.watch(Job("pi", 1), Sink(), call)
    thread = publisher._thread
    publisher.stop()
    assert not thread.is_alive()
    sink = Sink()
    job = Job("again", 1)
    job.kill()
    assert publisher.watch(job, sink, call).finished.wait(2)


def test_somebody_who_waits_gets_the_last_write_at_once(publisher):
    job, sink = Job("pi", 1), Sink(interval=5)
    watch = publisher.watch(job, sink, call)
    job.kill()
    begin = time.monotonic()
    assert watch.finish(2)
    assert time.monotonic() - begin < longer(0.5)
    assert len(sink.writes) == 1
