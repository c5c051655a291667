"""Use of workers: records, what is kept of it over a day, and what would have been enough."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.frames import usage_frame
from t2notebook.model.events import Event, EventKind
from t2notebook.model.reducer import JobView
from t2notebook.model.states import TaskState
from t2notebook.model.use import Thinning, Use, use_of, workers_use
from t2notebook.model.use_advice import advice
from t2notebook.model.worker_view import WorkerView

IDLE = Use(seconds=10.0, cpu=1.0, cpu_peak=0.3, mem=80.0, mem_peak=90.0, read=5, written=6)


def ended(cpus: float, mem: float, *uses: Use) -> list[WorkerView]:
    return [
        WorkerView(number, task_id="t", state=TaskState.FINISHED, cpus=cpus, mem=mem, use=use)
        for number, use in enumerate(uses)
    ]


def test_a_record_there_and_back() -> None:
    assert Use.from_list(IDLE.to_list()) == IDLE
    with_gpu = replace(IDLE, gpu=0.5, gpu_mem=None)
    assert Use.from_list(with_gpu.to_list()) == with_gpu


@pytest.mark.parametrize("record", [None, [], [1] * 6, [1] * 11, ["1"] * 7, [float("nan")] * 7, [True] * 7])
def test_what_is_no_record(record: Any) -> None:
    with pytest.raises(ValueError):
        Use.from_list(record)
    assert use_of({"use": record}) is None
    assert list(workers_use({"workers": [[0, 0, *(record or [])], 7, ["a", 0, *IDLE.to_list()]]})) == []


def test_what_would_have_been_enough() -> None:
    assert advice(ended(1.0, 512.0, IDLE)) == (
        "used at most 0.3 of 1 cpu and 90 of 512 MiB a worker: --cpus 0.5 --ram 128 would do"
    )
    busy = replace(IDLE, cpu_peak=0.98, mem_peak=400.0)
    assert advice(ended(1.0, 512.0, busy)) == "", "it asked for what it needs"
    assert advice(ended(1.0, 512.0, IDLE, busy)) == "", "one of them needs it"
    more = replace(IDLE, cpu_peak=1.96, mem_peak=400.0)
    assert advice(ended(1.0, 512.0, more)).endswith(": --cpus 2 would do")
    assert advice(ended(1.0, 512.0, replace(IDLE, seconds=2.0))) == "", "too short to say"
    assert advice(ended(0.1, 32.0, replace(IDLE, cpu_peak=0.01, mem_peak=3.0))) == "", "there is no less"
    starved = replace(IDLE, waited=5.0)
    assert advice(ended(1.0, 512.0, starved)).endswith(": --ram 128 would do"), "it would have used more cpu"
    assert Use.from_list(starved.to_list()) == starved
    running = ended(1.0, 512.0, IDLE)
    running[0].state = TaskState.RUNNING
    assert advice(running) == "" and advice([WorkerView(0)]) == ""


def test_nothing_less_is_advised_for_what_was_cut_short() -> None:
    """A job that was killed at once was told that 32 MiB would do."""
    for change in ({"state": TaskState.KILLED}, {"state": TaskState.FAILED}, {"restarts": 1}):
        workers = ended(1.0, 512.0, IDLE, IDLE)
        workers[1] = replace(workers[1], **change)
        assert advice(workers) == "", change
        other = replace(workers[1], cpus=2.0)
        assert advice([workers[0], other]).endswith("--ram 128 would do"), (
            "those with other resources are told"
        )
    busy = replace(IDLE, cpu_peak=1.96, mem_peak=400.0)
    killed = [replace(one, state=TaskState.KILLED) for one in ended(1.0, 512.0, busy)]
    assert advice(killed).endswith(": --cpus 2 would do"), "more is more, however long it ran"


@given(st.floats(0.0, 4000.0), st.sampled_from((64.0, 100.0, 512.0, 4096.0)))
def test_advised_memory_has_room_above_what_was_used(peak: float, mem: float) -> None:
    told = advice(ended(1.0, mem, replace(IDLE, cpu_peak=0.9, mem_peak=peak)))
    if told:
        amount = float(told.partition("--ram ")[2].partition(" ")[0])
        assert max(32.0, 1.25 * peak) <= amount < mem
    else:
        assert peak >= mem / 2 or mem - 32 < max(32.0, 2.5 * peak)


def test_a_day_stays_small_and_no_peak_is_lost() -> None:
    thinning = Thinning(0.0)
    kept: list[tuple[float, Use]] = []
    for second in range(1, 86_401):
        use = replace(IDLE, seconds=float(second), cpu=second / 2, mem=500.0 if second == 50_000 else 80.0)
        kept += [(second, one) for _, _, one in thinning.add(float(second), [(0, 0, use)])]
    assert 300 < len(kept) < 500
    assert sum(second <= 25 for second, _ in kept) >= 20
    assert sum(use.mem == 500.0 for _, use in kept) == 1
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(kept)]
    assert max(gaps) <= Thinning.LONGEST + 1
    for (_, before), (_, after) in itertools.pairwise(kept):
        assert after.cpu - before.cpu == pytest.approx((after.seconds - before.seconds) / 2), "cpu counts on"


def test_the_view_takes_figures_of_the_present_task_only() -> None:
    view = JobView("j")
    view.apply(Event(EventKind.SUBMITTED, "j", 0.0, data={"number_of_workers": 2}))

    def look(seconds: float, cpu: float, restarts: int = 0) -> None:
        use = replace(IDLE, seconds=seconds, cpu=cpu)
        view.apply(Event(EventKind.USE, "j", 1.0, data={"workers": [[0, restarts, *use.to_list()]]}))

    look(1.0, 1.0)
    assert view.workers[0].use is None, "it has no task"
    view.apply(Event(EventKind.LAUNCHED, "j", 1.0, 0, "t-0", data={"cpus": 1.0, "mem": 512.0}))
    look(1.0, 0.5)
    look(2.0, 1.25)
    assert view.workers[0].cpu_now == pytest.approx(0.75)
    look(1.5, 0.9)
    assert view.workers[0].use is not None and view.workers[0].use.seconds == 2.0, "older news change nothing"
    look(9.0, 9.0, restarts=1)
    assert view.workers[0].use.seconds == 2.0
    assert view.workers[1].use is None


def test_the_frame_counts_between_rows() -> None:
    view = JobView("j")
    events = [
        Event(EventKind.SUBMITTED, "j", 0.0, data={"number_of_workers": 1}),
        Event(EventKind.LAUNCHED, "j", 1.0, 0, "t-0", data={"cpus": 1.0, "mem": 512.0}),
        Event(EventKind.STATUS, "j", 2.0, 0, "t-0", "RUNNING"),
    ]
    for second, cpu in ((1.0, 0.5), (2.0, 1.5)):
        use = replace(IDLE, seconds=second, cpu=cpu)
        events.append(Event(EventKind.USAGE, "j", 2.0 + second, data={"workers": [[0, 0, *use.to_list()]]}))
    use = replace(IDLE, seconds=4.0, cpu=1.7)
    events.append(Event(EventKind.STATUS, "j", 6.0, 0, "t-0", "FINISHED", data={"use": use.to_list()}))
    for event in events:
        view.apply(event)
    frame = usage_frame(events, view, 7.0)
    assert frame.cpu.tolist() == [0.5, 1.0, 0.1]
    assert view.workers[0].use == use
    restarted = Event(EventKind.LAUNCHED, "j", 8.0, 0, "t-1", data={"restart_count": 1})
    view.apply(restarted)
    assert view.workers[0].use is None
    anew = Event(EventKind.USAGE, "j", 9.0, data={"workers": [[0, 1, *replace(IDLE, seconds=2.0).to_list()]]})
    assert usage_frame([*events, restarted, anew], view, 9.0).cpu.tolist() == [0.5, 1.0, 0.1, 0.5]
