"""The reader of workers' output: what is read of a job is read once, however many views show it."""

import threading
import time

from t2fakes import Job

from t2notebook.notebook.tail_reader import Reading, reader


class CountedJob(Job):
    """Counts how often each stream of each worker is asked for, by the offset."""

    def __init__(self):
        super().__init__("pi", 2)
        self.asked = []
        self.start()

    def tails(self, files, most):
        self.asked += [(file["worker_id"], file["stream"], file["offset"]) for file in files]
        return super().tails(files, most)


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def lines(reading):
    return [text for _, _, text in reading.newest()["lines"]]


def test_two_views_of_a_job_read_its_output_once():
    job, told = CountedJob(), threading.Event()
    job.texts[0, "stdout"] = "one\ntwo\n"
    views = [Reading(job, lambda: None), Reading(job, told.set)]
    try:
        eventually(lambda: all(lines(view) == ["one", "two"] for view in views))
        assert job.asked.count((0, "stdout", 0)) == 1, "each byte was read once"
        told.clear()  # whoever came after the first round finds what was read, and is told of what comes
        job.texts[0, "stdout"] += "two and a half\n"
        assert told.wait(15)
        # an opened log is that view's; the other's are not disturbed
        views[0].open_log(0)
        views[1].open_log(0)
        eventually(lambda: all(view.log().get("lines") for view in views))
        views[0].open_log(None)
        assert not views[0].log() and views[1].log()["worker_id"] == 0
        # and who closes leaves the other alone
        reader.leave(views[0])
        job.texts[0, "stdout"] += "three\n"
        eventually(lambda: lines(views[1])[-1:] == ["three"])
        eventually(lambda: ["stdout", "three"] in views[1].log()["lines"])
    finally:
        for view in views:
            reader.leave(view)
    eventually(lambda: not any(one.name == "t2notebook-output" for one in threading.enumerate()))


def test_what_one_view_shows_is_read_although_another_is_hidden():
    job = CountedJob()
    hidden, shown = Reading(job, lambda: None), Reading(job, lambda: None)
    try:
        hidden.show(False)
        job.texts[1, "stderr"] = "trouble\n"
        eventually(lambda: lines(shown) == ["trouble"])
        shown.show(False)
        time.sleep(0.6)  # a round that was under way
        asked = len(job.asked)
        time.sleep(0.6)
        assert len(job.asked) == asked, "nothing is read for nobody"
        hidden.show(True)
        eventually(lambda: len(job.asked) > asked)
    finally:
        reader.leave(hidden)
        reader.leave(shown)


def test_the_end_is_told_to_all_views():
    job, told = CountedJob(), [threading.Event(), threading.Event()]
    job.texts[0, "stdout"] = "last\n"
    views = [Reading(job, event.set) for event in told]
    job.kill()
    for view in views:
        reader.hurry(view)
    eventually(lambda: all(view.is_complete and lines(view) == ["last"] for view in views))
    assert all(event.wait(15) for event in told)
