import json

import pytest
from t2fakes import Job

from t2notebook.model.packed_workers import PackedWorkers
from t2notebook.model.use import Use
from t2notebook.views.snapshot import snapshot
from t2notebook.views.table import agent_sums, worker_table


def at(table, name, row):
    column = table[name]
    return column[row] if isinstance(column, list) else column


def packed(job):
    view = job.view()
    view.workers = PackedWorkers(view.workers)
    return view


@pytest.fixture
def job():
    job = Job("pi", 4, 0.5, 1536.0)
    job.start()
    job.progress(0, 0.425, "epoch 3")
    job.finish(1)
    job.status(2, "FAILED", reason="REASON_CONTAINER_LIMITATION_MEMORY", data={"exit_code": 137})
    return job


def test_a_table_says_what_rows_say(job):
    view = job.view()
    table, rows = worker_table(view), snapshot(view)["rows"]
    assert table["ids"] == [0, 1, 2, 3] and table["bad"] == [2] and table["hidden"] == ""
    for row, worker in enumerate(rows):
        state, words, tone = table["states"][at(table, "state", row)]
        assert (state, words, tone) == (worker["state"], worker["text"]["state"], worker["tone"])
        agent, host, text = table["agents"][at(table, "agent", row)]
        assert (agent, host, text) == (worker["agent"], worker["host"], worker["text"]["host"])
        for name in ("progress", "cpus", "mem"):
            assert at(table, name, row) == worker[name]
        for name in ("started", "finished"):
            time = None if worker[name] is None else round(worker[name] - view.submitted, 2)
            assert at(table, name, row) == time
        assert table["exit_code"].get(row) == worker["exit_code"]
        assert table["message"].get(row, "") == worker["text"]["message"]
    assert table["note"] == {0: "epoch 3"} and table["mem"] == 1536.0
    assert json.loads(json.dumps(table, allow_nan=False))["states"] == table["states"]


def test_workers_that_wait_have_no_agent():
    table = worker_table(Job("pi", 3).view())
    assert table["agent"] == -1 and table["cpus"] is None and table["started"] is None
    assert table["states"] == [["PENDING", "pending", "waiting"]]


def test_times_of_earlier_tasks():
    job = Job("pi", 2)
    job.start()
    begun = job.view().submitted
    job.status(1, "LOST", data={"restart": {"restart_count": 1, "failures": 0, "retries": 1, "pause": 1}})
    job.launch(1)
    worker, table = job.view().workers[1], worker_table(job.view())
    ((waiting, launched, started, ended),) = table["earlier"][1]
    assert waiting == 0.0 and None not in (launched, started, ended) and 0 not in table["earlier"]
    assert at(table, "waiting", 1) == round(worker.waiting_since - begun, 2)
    assert at(table, "started", 1) is None and at(table, "launched", 1) is not None


def test_a_failed_worker_stands_first_among_those_in_trouble():
    job = Job("pi", 4)
    job.start()
    for worker_id in (0, 3):
        job.status(worker_id, "FAILED")
    view = job.view()
    view.failed_worker = 3
    assert worker_table(view)["bad"] == [3, 0]


def test_use_is_there_where_it_is_measured():
    job = Job("pi", 2)
    job.start()
    assert "cpu_used" not in worker_table(job.view())
    view = job.view()
    view.workers[1].note_use(Use(seconds=20.0, cpu=4.0, cpu_peak=0.3, mem=70.2, mem_peak=90.0))
    table = worker_table(view)
    assert table["cpu_used"] == [None, 0.2] and table["mem_now"] == [None, 70]


@pytest.mark.parametrize("workers", [40, 2000])
def test_a_table_is_small(workers):
    job = Job("big", workers)
    job.start([f"node-{number}.rack-7.example.org" for number in range(90)])
    for worker_id in range(workers):
        job.progress(worker_id, worker_id / workers, "a note that goes on and on " * 10)
        job.status(worker_id, "FAILED", message="a message that goes on and on " * 50)
    table = worker_table(packed(job))
    assert len(table["ids"]) == workers
    assert len(json.dumps(table)) < 70_000 + 100 * workers
    end = "…" if workers > 40 else "more characters)"
    assert all(text.endswith(end) for text in table["message"].values())


def test_of_more_the_troubled_and_the_first_ones_have_rows():
    job = Job("big", 2001)
    job.start()
    job.status(2000, "FAILED")
    table = worker_table(packed(job))
    assert table["ids"] == [*range(99), 2000] and table["bad"] == [99]
    assert table["hidden"].startswith("100 of 2,001 workers are shown")


@pytest.mark.parametrize("pack", [False, True])
def test_sums_by_agent_and_state(pack):
    job = Job("big", 300)
    for worker_id in range(290):
        job.launch(worker_id, f"node-{worker_id % 3}")
    for worker_id in range(0, 290, 3):
        job.status(worker_id, "RUNNING")
    names, sums = agent_sums(packed(job) if pack else job.view())
    assert names == ["node-0", "node-1", "node-2"]
    found = {state: column for (state, *_), column in zip(sums["states"], sums["counts"], strict=True)}
    assert found == {"RUNNING": [97, 0, 0], "STAGING": [0, 97, 96]}
    assert (sums["waiting"], sums["hidden"]) == (10, 0)


def test_few_workers_have_no_sums():
    assert agent_sums(Job("few", 200).view()) == ([], {})


def test_sums_of_50_000_workers_are_small():
    job = Job("big", 50_000)
    view = job.view()
    for worker in view.workers:
        worker.agent = worker.host = f"node-{worker.worker_id % 10_000}"
    view.workers = PackedWorkers(view.workers)
    names, sums = agent_sums(view)
    assert len(names) == 10_000 and sums["counts"] == [5]
    assert len(json.dumps(sums)) < 200
    assert snapshot(view, rows=False)["workers"] == 50_000


def test_who_waits_in_the_debugger_is_named_also_among_packed_workers():
    job = Job("big", 5)
    job.start()
    view = job.view()
    for worker_id in (2, 4):
        view.workers[worker_id].held = "breakpoint()"
    view.workers = PackedWorkers(view.workers)
    record = snapshot(view, rows=False)
    assert record["waiting_for"].startswith("worker 2 and 1 more wait in the debugger (breakpoint())")
    assert "rows" not in record
