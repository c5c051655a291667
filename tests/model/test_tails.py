import itertools
import random

import pytest
from t2fakes import Job

from t2notebook.model.tails import LOG, LONGEST, NEWEST, ROUND, WIDTH, Tails, fold


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("10%\r20%\r30%", "30%"),
        ("50%\r", "50%"),
        ("\r\r", ""),
        ("windows\r", "windows"),
        ("\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[K", "red and green"),
        ("\x1b]0;title\x07text", "text"),
        ("a\tb", "a       b"),
        ("bell\x07 and \x00 nothing", "bell and  nothing"),
        ("x" * (WIDTH + 1), "x" * WIDTH + "…"),
    ],
)
def test_a_line_is_what_a_terminal_shows_of_it(line, shown):
    assert fold(line) == shown


class Files:
    """Workers' files, read as the session reads them."""

    def __init__(self):
        self.texts = {}
        self.asked = []

    def write(self, worker_id, text, stream="stdout"):
        self.texts[worker_id, stream] = self.texts.get((worker_id, stream), "") + text

    def read(self, wants):
        self.asked += [(want["worker_id"], want["stream"]) for want in wants]
        for want in wants:
            data = self.texts.get((want["worker_id"], want["stream"]), "").encode()[want["offset"] :]
            yield {**want, "offset": want["offset"] + len(data), "text": data.decode(), "skipped": False}

    def past(self, job, worker_id, most=1 << 20):
        task_id = job.view().workers[worker_id].task_id
        for stream in ("stdout", "stderr"):
            data = self.texts.get((worker_id, stream), "").encode()
            text = data[-most:].decode(errors="ignore")
            file = {"worker_id": worker_id, "task_id": task_id, "stream": stream}
            yield {**file, "offset": len(data), "text": text, "skipped": len(data) > most}


def running(workers):
    job = Job("pi", workers)
    job.start()
    return job


def rounds(tails, job, files, seconds, begin=0.0, step=0.5):
    now = begin
    while now < begin + seconds:
        tails.take(files.read(tails.wants(job.view(), now)))
        now += step
    return now


def test_the_newest_lines_of_all_and_who_wrote_them():
    job, files, tails = running(2), Files(), Tails()
    files.write(0, "one\ntwo\nthr")
    files.write(1, "oops\n", "stderr")
    rounds(tails, job, files, 1)
    newest = tails.newest()
    assert newest["lines"] == [[0, "stdout", "one"], [0, "stdout", "two"], [1, "stderr", "oops"]]
    assert newest["current"] == [[0, "stdout", "thr"]] and newest["end"] == 3
    files.write(0, "ee\n")
    rounds(tails, job, files, 10, begin=1)
    assert tails.newest()["lines"][-1] == [0, "stdout", "three"] and not tails.newest()["current"]


def test_a_progress_bar_is_one_line_that_changes():
    job, files, tails = running(1), Files(), Tails()
    now = 0.0
    for percent in range(0, 100, 5):
        files.write(0, f"\r{percent}%|", "stderr")
        now = rounds(tails, job, files, 0.5, begin=now)
        assert tails.newest()["current"] == [[0, "stderr", f"{percent}%|"]]
    files.write(0, "\r100%|\n", "stderr")
    rounds(tails, job, files, 1, begin=now)
    assert tails.newest()["lines"] == [[0, "stderr", "100%|"]] and not tails.newest()["current"]


def test_lines_ended_by_a_carriage_return_show_before_the_next():
    job, files, tails = running(1), Files(), Tails()
    for text, shown in (("10 %\r", "10 %"), ("20 %\r", "20 %")):
        files.write(0, text)
        rounds(tails, job, files, 0.5, begin=len(files.asked))
        assert tails.newest()["current"] == [[0, "stdout", shown]]


def test_what_is_kept_has_a_bound():
    job, files, tails = running(1), Files(), Tails()
    files.write(0, "".join(f"{number}\n" for number in range(10_000)) + "x" * 100_000)
    tails.open_log(0)
    rounds(tails, job, files, 1)
    newest = tails.newest()
    assert len(newest["lines"]) == NEWEST and newest["end"] == 10_000
    assert len(newest["current"][0][2]) == WIDTH + 1
    assert len(tails.log(0)["lines"]) == LOG + 1


def test_a_round_asks_for_a_few_files_whatever_the_job_s_size():
    job, tails = running(300), Tails()
    for now in range(10):
        assert len(tails.wants(job.view(), now / 2)) <= ROUND


def test_every_worker_has_its_turn():
    job, files, tails = running(300), Files(), Tails()
    for worker_id in range(300):
        files.write(worker_id, "hello\n")
    rounds(tails, job, files, 60)
    assert {line[0] for line in tails.newest()["lines"]} and tails.newest()["end"] == 300
    # and one that writes without end takes nobody's
    files.asked.clear()
    now = 60.0
    for _ in range(200):
        files.write(7, "again\n")
        now = rounds(tails, job, files, 0.5, begin=now)
    assert len({worker_id for worker_id, _ in files.asked}) == 300


def test_who_writes_nothing_is_asked_less_and_less():
    job, files, tails = running(1), Files(), Tails()
    rounds(tails, job, files, 60)
    assert len(files.asked) <= 2 * (60 / LONGEST + 6)
    before = len(files.asked)
    files.write(0, "awake\n")
    rounds(tails, job, files, 60 + LONGEST, begin=60)
    assert tails.newest()["lines"] == [[0, "stdout", "awake"]] and len(files.asked) > before


def test_nobody_is_asked_who_cannot_have_written():
    job, tails = Job("pi", 3), Tails()
    assert tails.wants(job.view(), 0) == []
    job.launch(0)
    assert tails.wants(job.view(), 1) == []
    job.status(0, "RUNNING")
    assert {want["worker_id"] for want in tails.wants(job.view(), 2)} == {0}
    job.finish(0)
    assert {want["worker_id"] for want in tails.wants(job.view(), 20)} == {0}  # once more
    for now in range(40, 100):
        assert tails.wants(job.view(), now) == []


def test_a_worker_that_was_started_again_begins_anew():
    job, files, tails = running(1), Files(), Tails()
    files.write(0, "first life\n")
    rounds(tails, job, files, 1)
    late = [
        {**want, "offset": 99, "text": "late\n", "skipped": False} for want in tails.wants(job.view(), 99)
    ]
    job.status(0, "LOST")
    job.launch(0)
    job.status(0, "RUNNING")
    files.texts.clear()
    files.write(0, "second life\n")
    (first, *_) = tails.wants(job.view(), 200)
    assert first["offset"] == 0 and first["task_id"] == "0-1"
    tails.take(files.read([first]))
    tails.take(late)
    assert [line[2] for line in tails.newest()["lines"]] == ["first life", "second life"]


def test_an_open_log_comes_first_and_begins_with_its_past():
    job, files, tails = running(100), Files(), Tails()
    rounds(tails, job, files, 30)
    files.write(42, "a\nb\n")
    tails.open_log(42)
    tails.fill_log(42, files.past(job, 42))
    assert tails.log(42)["lines"] == [["stdout", "a"], ["stdout", "b"]]
    files.write(42, "c\n")
    now = next(
        now for now in itertools.count(30, 0.5) if tails.take(files.read(tails.wants(job.view(), now)))
    )
    assert now <= 30 + LONGEST
    assert tails.log(42)["lines"][-1] == ["stdout", "c"]
    files.asked.clear()
    tails.wants(job.view(), now + 100)
    tails.close_log(42)
    assert tails.log(42)["lines"] == []


@pytest.mark.parametrize("seed", range(20))
def test_opening_a_log_shows_no_line_twice_and_leaves_none_out(seed):
    """What was written between the last round and the opening stood in the log twice."""
    rng = random.Random(seed)
    job, files, tails, now, written = running(1), Files(), Tails(), 0.0, 0
    for _ in range(60):
        for _ in range(rng.randrange(3)):
            # In pieces: a line has no end yet when it is looked at.
            files.write(0, rng.choice((f"step {written}\n", f"step {written}", "\n", "é")))
            written += 1
        chance = rng.random()
        if chance < 0.4:
            now += 10
            tails.take(files.read(tails.wants(job.view(), now)))
        elif chance < 0.6:
            tails.open_log(0)
            tails.fill_log(0, files.past(job, 0))
    files.write(0, "\nlast\n")
    tails.take(files.read(tails.wants(job.view(), now + 10)))
    lines = files.texts[0, "stdout"].split("\n")[:-1]
    assert [line for _, _, line in tails.newest()["lines"]] == lines[-NEWEST:]
    opened = [line for _, line in tails.log(0)["lines"]]
    assert opened == lines[len(lines) - len(opened) :]


def test_a_log_opened_late_begins_with_a_whole_line_of_the_end():
    job, files, tails = running(1), Files(), Tails()
    files.write(0, "".join(f"line {number}\n" for number in range(100)))
    tails.open_log(0)
    tails.fill_log(0, files.past(job, 0, most=42))
    assert [line for _, line in tails.log(0)["lines"]][-4:] == ["line 96", "line 97", "line 98", "line 99"]
    assert "ne 95" not in [line for _, line in tails.log(0)["lines"]]


def test_at_the_end_trouble_is_read_first():
    job, tails = running(50), Tails()
    job.fail(37)
    assert [want["worker_id"] for want in tails.wants(job.view(), 1, last=True)][:2] == [37, 37]
    asked = 1
    while tails.wants(job.view(), 1, last=True):
        asked += 1
    assert asked == -(-100 // ROUND)


def test_what_was_left_out_is_marked():
    job, tails = running(1), Tails()
    (want, *_) = tails.wants(job.view(), 0)
    tails.take([{**want, "offset": 50_000, "text": "f a line\nwhole\n", "skipped": True}])
    assert [line[2] for line in tails.newest()["lines"]] == ["…", "whole"]
