import json
import time
from html.parser import HTMLParser

import pytest
from t2fakes import Job

from t2notebook.frames import task_rows
from t2notebook.model.events import EventKind
from t2notebook.model.packed_workers import PackedWorkers
from t2notebook.model.states import JobState, TaskState
from t2notebook.model.use import Use
from t2notebook.notebook.rendering.html import job_html, jobs_html
from t2notebook.notebook.rendering.text import job_text
from t2notebook.views.snapshot import (
    COLUMNS,
    TONES,
    cell_text,
    clock,
    duration,
    mebibytes,
    select,
    size,
    snapshot,
    zone,
)


class Cells(HTMLParser):
    """The texts of a table's cells, row by row, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags, self._cell = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self._cell)
            self._cell = None


@pytest.fixture
def job():
    job = Job("pi", 4, 0.5, 1536.0)
    job.start()
    job.progress(0, 0.425, "epoch 3")
    job.finish(1)
    job.status(2, "FAILED", reason="REASON_CONTAINER_LIMITATION_MEMORY", data={"exit_code": 137})
    return job


def test_rows_are_those_of_task_rows(job):
    record = snapshot(job.view())
    for row, task in zip(record["rows"], task_rows(job.view()), strict=True):
        assert {name: row[name] for name in task} == task


def test_rows_are_those_of_the_frame(job):
    rows = snapshot(job.view())["rows"]
    frame = job.tasks
    for column in ("worker_id", "task_id", "state", "host", "cpus", "mem", "restarts", "reason", "message"):
        assert [row[column] for row in rows] == list(frame[column])
    codes = [
        None if value is not value or str(value) == "<NA>" else int(value) for value in frame["exit_code"]
    ]
    assert [row["exit_code"] for row in rows] == codes
    started = [value.timestamp() for value in frame["started"]]
    assert [row["started"] for row in rows] == pytest.approx(started, abs=1e-3)


def test_the_html_has_the_texts_that_the_widget_gets(job):
    record = snapshot(job.view())
    head, *body = Cells(job_html(record)).rows
    # what is empty in all rows is left out, what all have in common stands above, and all started at once
    left_out = ("restarts", "cpus", "mem", "cpu_used", "mem_now")
    assert record["columns"] == [key for key, _ in COLUMNS if key not in left_out]
    assert record["each"] == "0.5 cpus and 1.5 GiB each" and record["each"] in job_html(record)
    shown = [key for key in record["columns"] if key != "started"]
    assert head == [heading for key, heading in COLUMNS if key in shown and key != "message"]
    for row in record["rows"]:
        cells = body.pop(0)
        expected = [cell_text(row, key) for key in shown if key != "message"]
        expected[1] = f"● {expected[1]}"
        at = shown.index("progress")
        if note := row["text"].get("note"):
            expected[at] += f" {note}"
        assert [cell.replace("\xa0", " ") for cell in cells] == expected
        if message := cell_text(row, "message"):
            assert body.pop(0) == [message], "the message has a line of its own"
    assert body == []
    rows = Cells(job_html(record)).rows
    assert rows[1][:3] == ["0", "●\xa0running", "node-1"] and rows[1][3] == "42\xa0% epoch 3"
    assert ["container limitation memory"] in rows


def test_columns_without_content_are_left_out():
    job = Job("pi", 2)
    assert snapshot(job.view())["columns"] == ["worker_id", "state"]
    job.start()
    html = job_html(snapshot(job.view()))
    assert "Restarts" not in html and "Message" not in html and "Exit" not in html


def test_endless_texts_are_cut():
    job = Job("pi", 1)
    job.start()
    job.progress(0, 0.5, "n" * 100_000)
    job.status(0, "FAILED", message="boom " * 20_000)
    record = snapshot(job.view())
    assert len(json.dumps(record)) < 10_000 and len(job_html(record)) < 20_000
    assert "more characters)" in record["reason"] and "more characters)" in job_text(record)


def test_a_snapshot_is_json(job):
    record = snapshot(job.view())
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_everything_is_escaped():
    evil = "<script>alert('x')</script>&\""
    job = Job(evil, 1, job_id=evil)
    job.pending(evil)
    waiting = snapshot(job.view(), lost=evil)
    job.launch(0, evil)
    job.status(0, "RUNNING")
    job.progress(0, 0.5, evil)
    running = snapshot(job.view())
    job.status(0, "FAILED", message=evil)
    for record in (waiting, running, snapshot(job.view())):
        found = Cells(job_html(record))
        assert "script" not in found.tags
        assert set(found.tags) <= {"div", "span", "strong", "table", "thead", "tbody", "tr", "th", "td"}
        assert "<script" not in job_html(record)


def test_the_job_line():
    job = Job("pi", 2)
    job.pending("2 offers came, each lacks 1 cpu")
    record = snapshot(job.view(), now=job.view().submitted + 65)
    assert record["state"] == "PENDING" and record["live"]
    assert record["waiting_for"] == "2 offers came, each lacks 1 cpu"
    assert (record["counts_text"], record["elapsed_text"]) == ("2 pending", "1 m 05 s")
    text = job_text(record)
    assert text.startswith(f"pi: PENDING, 2 pending, 1 m 05 s, 0 %  [{job.job_id}]\nwaiting: 2 offers came")
    assert "2 offers came, each lacks 1 cpu" in job_html(record)


def test_a_failed_job_says_why(job):
    job.fail(0, "ZeroDivisionError: division by zero")
    record = snapshot(job.view())
    assert (record["state"], record["live"], record["tone"]) == ("FAILED", False, "bad")
    assert record["reason"].startswith("worker 2 on node-1 failed: ")
    assert record["reason"] in job_html(record) and record["reason"] in job_text(record)


def test_a_job_whose_session_is_gone_says_so(job):
    record = snapshot(job.view(), lost="the session process has ended")
    assert not record["live"] and not record["final"]
    assert "the session process has ended" in job_html(record)
    assert "lost: the session process has ended" in job_text(record)
    assert (record["chip"], record["tone"], record["state"]) == ("LOST", "bad", "STARTED")


def test_running_times_count_and_ended_ones_stand(job):
    now = job.view().workers[0].started + 100
    running, finished, *_ = snapshot(job.view(), now=now)["rows"]
    assert running["ticking"] and running["text"]["runtime"] == "1 m 40 s"
    assert not finished["ticking"] and finished["runtime"] < 10


def test_a_restarted_worker_shows_it():
    job = Job("pi", 1)
    job.start()
    job.status(0, "LOST")
    job.launch(0)
    (row,) = snapshot(job.view())["rows"]
    assert (row["restarts"], row["state"], row["runtime"]) == (1, "STAGING", None)


def test_up_to_200_workers_have_a_row_each():
    view = Job("big", 200).view()
    assert [worker.worker_id for worker in select(view).workers] == list(range(200))
    assert snapshot(view)["hidden"] == ""


def test_of_more_the_troubled_and_the_first_ones_have():
    job = Job("big", 5000)
    job.launch(4000)
    job.status(4000, "RUNNING")
    job.status(4000, "FAILED")
    job.launch(4500)
    job.status(4500, "LOST")
    job.launch(4500)
    record = snapshot(job.view())
    shown = [row["worker_id"] for row in record["rows"]]
    assert shown == [4000, *range(98), 4500]
    assert record["hidden"] == (
        "100 of 5,000 workers are shown: the first ones and all 2 that had trouble. job.tasks has every one."
    )
    assert record["counts_text"] == "4,998 pending, 1 staging, 1 failed"
    assert record["hidden"] in job_text(record)
    assert "of 5,000 workers are shown, those that had trouble first. job.tasks has" in job_html(record)


def test_many_troubled_do_not_push_out_the_first_ones():
    job = Job("big", 300)
    for worker_id in range(100, 300):
        job.launch(worker_id)
        job.status(worker_id, "FAILED")
    selection = select(job.view())
    assert [worker.worker_id for worker in selection.workers] == [*range(50), *range(100, 150)]
    assert "50 of 200 that had trouble" in selection.hidden


def test_a_killed_job_s_workers_are_no_trouble():
    job = Job("big", 300)
    job.kill()
    assert select(job.view()).hidden.startswith("100 of 300 workers are shown: the first ones. ")


def test_every_state_has_a_tone():
    assert {state.value for state in (*JobState, *TaskState)} <= set(TONES)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.012, "12 ms"),
        (3.21, "3.2 s"),
        (9.97, "10 s"),
        (42.9, "43 s"),
        (192, "3 m 12 s"),
        (3840, "1 h 04 m"),
        (183600, "2 d 03 h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_running_duration_is_whole_seconds():
    assert duration(3.9, running=True) == "3 s"


def test_sizes():
    assert [mebibytes(256), mebibytes(0.5), mebibytes(1536)] == ["256 MiB", "0.5 MiB", "1.5 GiB"]
    assert [size(812), size(1200), size(3.4e6), size(5e9)] == ["812 B", "1.2 kB", "3.4 MB", "5.0 GB"]


def test_several_jobs(job):
    html = jobs_html([snapshot(job.view()), snapshot(Job("other").view())])
    assert html.count("<table") == 2


def test_text_for_a_terminal_is_cut():
    text = job_text(snapshot(Job("big", 100).view()))
    assert "... and 60 more workers" in text


def test_a_worker_that_was_never_launched_has_no_figures():
    job = Job("pi", 1)
    job.apply(EventKind.PENDING, message="no offer yet")
    (row,) = snapshot(job.view())["rows"]
    job.kill()
    (killed,) = snapshot(job.view())["rows"]
    assert killed["text"]["cpus"] == killed["text"]["mem"] == ""
    assert row["text"]["cpus"] == row["text"]["mem"] == row["text"]["started"] == ""


def test_the_worst_are_shown_when_there_are_too_many():
    job = Job("big", 300)
    job.start()
    for worker_id in range(100):
        job.status(
            worker_id, "LOST", data={"restart": {"restart_count": 1, "failures": 0, "retries": 1, "pause": 1}}
        )
    job.fail(296)
    assert 296 in [worker.worker_id for worker in select(job.view()).workers]
    assert snapshot(job.view())["rows"][0]["worker_id"] == 296


def test_one_failure_of_300_comes_first():
    job = Job("big", 300)
    job.start()
    job.fail(296)
    record = snapshot(job.view(), failures=job.failure_texts())
    assert [row["worker_id"] for row in record["rows"][:3]] == [296, 0, 1]
    _, first, *_ = Cells(job_html(record)).rows
    assert first[0] == "296"


@pytest.fixture(scope="module")
def fifty_thousand():
    """A view of 50,000 workers, of which some had trouble, as a kernel has them."""
    job = Job("big", 50_000)
    view = job.view()
    for worker in view.workers:
        worker.state, worker.task_id, worker.started = TaskState.RUNNING, "t", time.time()
        worker.agent = worker.host = f"node-{worker.worker_id % 10_000}.{HOST}"
        worker.progress, worker.text = 0.5, NOTE
        if worker.worker_id % 500 == 0:
            worker.state, worker.message, worker.result = TaskState.FAILED, MESSAGE, "error"
            view.troubled.add(worker.worker_id)
    view.counts.clear()
    view.counts.update(worker.state for worker in view.workers)
    view.workers = PackedWorkers(view.workers)
    return view


HOST = "rack-7.example.org"
NOTE = "a note that goes on and on, longer than the column is " * 3
MESSAGE = "boom & <bang> " * 200


@pytest.mark.parametrize("evil", ["&", "\U0001f4a5", "x", "\n"])
@pytest.mark.parametrize("workers", [1, 200, 300, 50_000])
def test_the_html_stays_small_whatever_is_in_it(workers, evil, fifty_thousand):
    if workers == 50_000:
        view, failure = fifty_thousand, (500, "traceback", (evil * 99 + "\n") * 1000)
    else:
        job = Job("name " + evil * 5000, workers, job_id="me-big-1")
        job.start([f"node-{number}.{HOST}" for number in range(90)])
        for worker_id in range(workers):
            job.progress(worker_id, 0.5, NOTE)
        job.stderr = evil * 100_000
        job.fail(workers - 1, MESSAGE + evil * 3000)
        view, failure = job.view(), (workers - 1, "traceback", (evil * 99 + "\n") * 1000)
    lines = [[0, "stdout", evil * 400]] * 100
    output = {"end": 100, "lines": lines, "current": lines[:12]}
    lost = "the session is gone, " + evil * 5000
    record = snapshot(view, lost=lost, failures=[failure], output=output)
    html = job_html(record, beside="t2-1")
    assert len(html.encode()) < 60_000
    assert html.count("<div") == html.count("</div>") and html.count("<tr") == html.count("</tr>")
    if workers > 1:
        assert (
            f"of {workers:,} workers are shown, those that had trouble first. job.tasks has every one."
            in html
        )
    if evil != "\n":
        assert "characters" in html and "job.results() raises all of it" in html
        assert html.count("more characters") >= 2, "it is said what is cut"


def test_a_failure_that_is_cut_keeps_its_end():
    job = Job("pi", 1)
    job.start()
    job.fail(0)
    text = "Traceback (most recent call last):\n" + "  &&&&\n" * 20_000 + "ValueError: the end"
    html = job_html(snapshot(job.view(), failures=[(0, "traceback", text)]))
    assert "ValueError: the end" in html and "job.results() raises all of it" in html
    html = job_html(snapshot(job.view(), failures=[(0, "stderr", text)]))
    assert "job.logs(0, &quot;stderr&quot;) has all of it" in html


def test_texts_are_apart_where_a_page_takes_the_styles_away(job):
    """As GitHub does: there it read "piSTARTED2 running"."""
    texts = []

    class Texts(HTMLParser):
        def handle_data(self, data):
            texts.append(data)

    Texts().feed(job_html(snapshot(job.view(), output={"lines": [[0, "stdout", "hello"]], "current": []})))
    text = "".join(texts)
    assert text.startswith("pi STARTED ") or text.startswith("pi 1 of 4 running ")
    assert "0 hello" in text


def test_a_reason_is_said_once_and_the_traceback_is_folded():
    job = Job("pi", 3)
    job.start()
    job.fail(1)
    written = [[1, "stdout", "hello"], *([1, "stderr", line] for line in job.remote_traceback.splitlines())]
    output = {"end": 9, "lines": written, "current": []}
    record = snapshot(job.view(), failures=job.failure_texts(), output=output)
    html = job_html(record)
    assert html.count("division by zero") == 2 and html.count("</details>") == 1
    assert html.index("division by zero") < html.index("<details") < html.rindex("division by zero")
    assert record["rows"][1]["text"]["message"] == ""
    assert record["output"] == [[1, "stdout", "hello"]]
    # nor does the view say it at all where an error that does follows
    told = snapshot(job.view(), failures=job.failure_texts(), output=output, is_told=True)
    assert "division by zero" not in job_html(told) and "FAILED" in job_html(told)


def test_another_worker_s_message_stays_in_its_row():
    job = Job("pi", 3)
    job.start()
    job.fail(1)
    record = snapshot(job.view())
    assert "message" not in record["columns"] and record["counts_text"] == "1 failed, 2 killed"
    other = Job("pi", 2)
    other.start()
    other.status(0, "FAILED", message="ValueError: 1")
    other.status(1, "FAILED", message="ValueError: 1")
    messages = [row["text"]["message"] for row in snapshot(other.view())["rows"]]
    assert messages == ["", "ValueError: 1"]


def test_a_killed_job_says_so_once():
    job = Job("pi", 3)
    job.start()
    job.kill()
    assert job_html(snapshot(job.view())).count("killed by its owner") == 1


def test_the_chip_counts_while_some_run():
    job = Job("pi", 8)
    job.pending("2 workers wait")
    assert snapshot(job.view())["chip"] == "PENDING"
    for worker_id in range(6):
        job.launch(worker_id)
        job.status(worker_id, "RUNNING")
    record = snapshot(job.view())
    assert (record["chip"], record["tone"], record["state"]) == ("6 of 8 running", "active", "PENDING")
    for worker_id in (6, 7):
        job.launch(worker_id)
        job.status(worker_id, "RUNNING")
    assert snapshot(job.view())["chip"] == "STARTED"


def test_agents_on_one_host_are_told_apart():
    job = Job("pi", 2)
    job.apply(EventKind.LAUNCHED, worker_id=0, task_id="a", data={"agent": "5c1e-77-S0", "host": "127.0.0.1"})
    job.apply(
        EventKind.LAUNCHED, worker_id=1, task_id="b", data={"agent": "5c1e-77-S12", "host": "127.0.0.1"}
    )
    texts = [row["text"]["host"] for row in snapshot(job.view())["rows"]]
    assert texts == ["S0 on 127.0.0.1", "S12 on 127.0.0.1"]
    job.start(("h1", "h2"))
    other = Job("pi", 2)
    other.start(("h1", "h2"))
    assert [row["text"]["host"] for row in snapshot(other.view())["rows"]] == ["h1", "h2"]


def test_times_are_local(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert clock(0) == "09:00:00" and zone(0) == "JST"
        assert clock(0, now=86_400) == "01 Jan 09:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_late_start_and_unlike_workers_have_columns(job):
    assert "Started" not in job_html(snapshot(job.view()))
    view = job.view()
    view.workers[3].started += 100
    view.workers[2].mem = 128
    html = job_html(snapshot(view))
    assert "Started" in html and "128&nbsp;MiB" in html and "each" not in html


def test_use_stands_in_the_view_and_what_would_have_been_enough_at_its_end():
    job = Job("pi", 1, 1.0, 512.0)
    job.start()
    use = Use(seconds=20.0, cpu=4.0, cpu_peak=0.3, mem=70.2, mem_peak=90.0)
    job.apply(EventKind.USE, data={"workers": [[0, job.view().workers[0].restarts, *use.to_list()]]})
    record = snapshot(job.view())
    row = record["rows"][0]
    assert (cell_text(row, "cpu_used"), cell_text(row, "mem_now")) == ("0.2", "71 MiB")
    assert record["advice"] == "" and "71&nbsp;MiB" in job_html(record)
    job.status(0, "FINISHED", data={"use": use.to_list()})
    job.finish(0)
    record = snapshot(job.view())
    assert cell_text(record["rows"][0], "mem_now") == "90 MiB"
    line = "used at most 0.3 of 1 cpu and 90 of 512 MiB a worker: --cpus 0.5 --ram 128 would do"
    assert record["advice"] == line and line in job_html(record) and line in job_text(record)


def test_a_saved_table_scrolls_one_way_at_most():
    """In a narrow window a table of many workers had a bar on two sides: its messages have a line of their own now."""
    job = Job("wide", workers=300)
    job.start(("agent-1.cluster.example.org",))
    job.status(
        5, "FAILED", reason="REASON_EXECUTOR_TERMINATED", message="killed by signal 9, for lack of memory"
    )
    job.fail(200, "ZeroDivisionError: division by zero, and a long text after it")
    record = {**snapshot(job.view()), "columns": [key for key, _ in COLUMNS]}
    long = job_html(record)
    assert "max-height:420px;overflow:auto" in long and "overflow-x" not in long
    assert ">Message<" not in long and long.count("colspan=") == 1
    assert ">Worker<" in long and ">Agent<" in long and ">Started<" not in long
    few = job_html({**record, "rows": record["rows"][:5]})
    assert "overflow-x:auto" in few and "max-height:420px" not in few
    assert ">Restarts<" in few, "what is short has all"
