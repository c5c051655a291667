"""Stacks as text, profiles as tables and flame graphs, dumps of C code read."""

from __future__ import annotations

from typing import Any

from t2notebook.client.profile import Profile
from t2notebook.client.stacks import stacks_text
from t2notebook.notebook.rendering.flame import flame_html
from t2notebook.worker.executor.inspection import _is_whole, parse
from t2notebook.worker.process.inspection import _WORKER

FRAME = ["<cell>", 3, "step", "total += <x>"]


def answer(worker_id: int, *frames: list[Any], note: str = "") -> dict[str, Any]:
    threads = [{"name": "MainThread", "is_daemon": False, "frames": list(frames)}]
    facts = {"worker_id": worker_id, "host": "h", "pid": 7, "state": "runs", "note": note}
    return {**facts, "threads": threads} if frames else facts


def test_workers_at_the_same_place_stand_together() -> None:
    answers = [answer(number, FRAME) for number in (0, 1, 2, 5)]
    answers += [answer(3, note="it is PENDING"), answer(4, ["a.py", 1, "f", ""])]
    assert stacks_text(answers).split("\n\n") == [
        'Workers 0-2, 5\n  File "<cell>", line 3, in step\n    total += <x>',
        "Worker 3 on h, pid 7: it is PENDING",
        'Worker 4 on h, pid 7, runs\n  File "a.py", line 1, in f',
    ]


def test_a_frame_that_comes_again_and_again_is_shown_three_times() -> None:
    text = stacks_text([answer(0, FRAME, *[["a.py", 1, "deep", "deep(n - 1)"]] * 40, FRAME)])
    assert text.count("in deep") == 3 and text.count("in step") == 2
    assert "\n  [Previous line repeated 37 more times]\n" in text


def test_a_dump_of_c_code() -> None:
    text = f'''Thread 0x00007fd44a5fb6c0 (most recent call first):
  File "/x/threading.py", line 982 in run

Current thread 0x00007fd44c014b80 (most recent call first):
  File "a.py", line 7 in hang
  File "a.py", line 8 in work
  File "{_WORKER}process/run.py", line 150 in call
  File "{_WORKER}executor/executor.py", line 3 in run
  File "<frozen runpy>", line 88 in _run_code
'''
    main, other = parse(text)
    assert main["name"] == "MainThread"
    assert main["frames"] == [["a.py", 8, "work", None], ["a.py", 7, "hang", None]]
    assert other["name"] == "thread 0x00007fd44a5fb6c0" and other["frames"]
    assert parse("") == []


PROFILE = Profile(
    "j",
    2,
    {
        "count": 30,
        "samples": [
            ["MainThread", 2.0, [["<cell>", 1, "work", "step(x < 3)"], FRAME]],
            ["MainThread", 1.0, [["<cell>", 2, "work", ""], ["lib.py", 9, "<lambda>", None]]],
            ["io & so", 3.0, [["<cell>", 8, "reads", ""]]],
        ],
    },
)


def test_a_profile_as_table_and_text() -> None:
    assert PROFILE.seconds == 3.0
    rows = PROFILE.frame.set_index("function")
    assert (rows.own["step"], rows.total["work"], rows.own["work"]) == (2.0, 3.0, 0.0)
    assert " 66.7 %  MainThread  File" in repr(PROFILE)


def test_a_flame_graph_is_whole_in_itself() -> None:
    html = flame_html(PROFILE)
    assert html.count("<g ") == 7, "all, two threads, work, step, a lambda, reads"
    assert "&lt;lambda&gt;" in html and "<lambda>" not in html and "io &amp; so" in html
    assert "http" not in html.replace("http-equiv", ""), "nothing comes from elsewhere"
    empty = flame_html(Profile("j", 0, {"note": "it is <stopped>"}))
    assert "it is &lt;stopped&gt;" in empty and "<svg" not in empty


def test_a_dump_that_is_being_written_is_not_all() -> None:
    """Under load a thread was shown without any frame."""
    head = "Current thread 0x00007fd44c014b80 (most recent call first):\n"
    assert not _is_whole("") and not _is_whole(head) and not _is_whole(f'{head}  File "a.py", line 7')
    assert _is_whole(f'{head}  File "a.py", line 7 in hang\n') and _is_whole(f"{head}  <no Python frame>\n")
