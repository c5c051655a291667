"""Lines of workers below the cell: told apart, in time, and with a word on what was left out."""

from __future__ import annotations

import re
import time

from t2notebook.notebook.follow import Lines

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> list[str]:
    return ANSI.sub("", text).splitlines()


def newest(
    end: int, lines: list[list[object]], current: list[list[object]] | None = None
) -> dict[str, object]:
    return {"end": end, "lines": lines, "current": current or []}


def test_each_line_once_with_its_workers_id() -> None:
    lines = Lines("ada-pi-1", 11)
    first = [[0, "stdout", "a"], [10, "stderr", "b"]]
    assert plain(lines.text(newest(2, first))) == [" 0 | a", "10 | b"]
    assert lines.text(newest(2, first)) == ""
    assert plain(lines.text(newest(3, [*first, [1, "stdout", "c"]]))) == [" 1 | c"]
    # what has no end yet is printed when it has one, or never will
    assert lines.text(newest(3, first, [[1, "stdout", "half"]])) == ""
    assert plain(lines.text(newest(3, first, [[1, "stdout", "half"]]), last=True)) == [" 1 | half"]


def test_what_came_too_fast_is_counted() -> None:
    lines = Lines("ada-pi-1", 1)
    assert plain(lines.text(newest(1200, [[0, "stdout", "x"]] * 100))) == [
        "… 1,100 more lines: %twister2 logs ada-pi-1",
        *["0 | x"] * 100,
    ]


def test_workers_have_colours_and_stderr_is_red() -> None:
    lines = Lines("ada-pi-1", 2)
    out, err = lines.text(newest(2, [[0, "stdout", "a"], [1, "stderr", "b"]])).splitlines()
    assert out == "\x1b[36m0 |\x1b[0m a" and err == "\x1b[33m1 |\x1b[0m \x1b[31mb\x1b[0m"


def test_lines_come_into_the_output_of_their_cell_while_another_runs(kernel) -> None:
    script = """
def script(job):
    job.start()
    for step in range(3):
        for worker_id in range(2):
            job.texts[worker_id, "stdout"] = job.texts.get((worker_id, "stdout"), "") + f"step {step}\\r\\n"
        time.sleep(0.3)
    job.finish(0)
    job.finish(1)
client.script = script
"""
    assert kernel.run(script).error == ""
    ran = kernel.run("%%twister2 submit --follow --workers 2\n1")
    assert ran.error == ""
    busy = kernel.run("time.sleep(2.5)")

    def said() -> str:
        return ANSI.sub(
            "", "".join(m["content"]["text"] for m in kernel.of(ran.id) if m["msg_type"] == "stream")
        )

    end = time.monotonic() + 20
    while said().count("step") < 6 and time.monotonic() < end:
        time.sleep(0.05)
    assert sorted(said().splitlines()) == [
        f"{worker} | step {step}" for worker in range(2) for step in range(3)
    ]
    assert not busy.text
