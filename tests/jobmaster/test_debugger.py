"""Workers that wait in the debugger: clocks stand still, one driver at a time, and nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from t2notebook.jobmaster.actions import Action, Answer, Hold
from t2notebook.jobmaster.debugger import LEASE, Debugger
from t2notebook.jobmaster.job_master import JobMaster
from t2notebook.jobmaster.members import Presence

WHY = "breakpoint() in f at cell:3"


def answers(actions: list[Action]) -> list[Answer]:
    return [one for one in actions if isinstance(one, Answer)]


def question(output: str = "", prompt: str = "(Pdb) ", timeout: float = 600.0) -> dict[str, Any]:
    return {"kind": "debug", "why": WHY, "output": output, "prompt": prompt, "timeout": timeout}


@pytest.fixture
def master() -> JobMaster:
    master = JobMaster(2)
    for worker_id in (0, 1):
        master.observe(worker_id, 0, Presence.JOINED, {})
    return master


def test_a_line_goes_to_the_worker_and_its_output_comes_back() -> None:
    debugger = Debugger()
    assert debugger.drive(0, {"do": "attach", "driver": "d"}, 0.0)[0] == {"ended": True}
    assert debugger.ask(0, 7, question("hello\n"), 0.0) == [Hold(0, WHY)]
    answer, actions = debugger.drive(0, {"do": "attach", "driver": "d"}, 1.0)
    assert answer == {"output": "hello\n", "why": WHY, "prompt": "(Pdb) "} and actions == []
    answer, actions = debugger.drive(0, {"do": "line", "driver": "d", "line": "p x"}, 2.0)
    assert answer == {"output": "", "why": WHY} and actions == [Answer(0, 7, {"line": "p x"})]
    assert debugger.ask(0, 7, question("hello\n"), 2.5) == [Answer(0, 7, {"line": "p x"})], "it asked again"
    assert debugger.ask(0, 8, question("1\n"), 3.0) == []
    assert debugger.drive(0, {"do": "poll", "driver": "d"}, 3.0)[0]["output"] == "1\n"
    ended, stood = debugger.end(0, 9, {}, 5.0)
    assert ended == [Hold(0, ""), Answer(0, 9, {})] and stood == 5.0
    assert debugger.drive(0, {"do": "poll", "driver": "d"}, 5.0)[0] == {"ended": True}


def test_one_driver_at_a_time_and_one_that_died_holds_nobody() -> None:
    debugger = Debugger()
    debugger.ask(0, 1, question(), 0.0)
    debugger.drive(0, {"do": "attach", "driver": "a"}, 0.0)
    assert "somebody else" in debugger.drive(0, {"do": "attach", "driver": "b"}, 1.0)[0]["error"]
    debugger.drive(0, {"do": "ping", "driver": "a"}, LEASE - 1)
    assert (
        debugger.tick(LEASE + 1) == []
        and "error" in debugger.drive(0, {"do": "poll", "driver": "b"}, LEASE + 1)[0]
    )
    debugger.tick(3 * LEASE)
    assert "error" not in debugger.drive(0, {"do": "attach", "driver": "b"}, 3 * LEASE)[0]
    debugger.drive(0, {"do": "detach", "driver": "b"}, 3 * LEASE)
    assert debugger.next_deadline == 3 * LEASE + 600.0, "from then on it waits anew"


def test_nobody_comes() -> None:
    debugger = Debugger()
    debugger.ask(0, 1, question(timeout=5.0), 0.0)
    assert debugger.next_deadline == 5.0 and debugger.tick(4.9) == []
    assert debugger.tick(5.0) == [Answer(0, 1, {"end": "nobody attached for 5 s"})]


def test_clocks_stand_still_while_a_worker_is_held(master: JobMaster) -> None:
    master.request(1, 1, {"kind": "barrier", "timeout": 10.0, "faults": 0}, b"", 0.0)
    assert master.next_deadline == 10.0
    master.request(0, 1, question(), b"", 4.0)
    assert master.next_deadline == 604.0 and master.tick(100.0) == []
    master.request(0, 2, {"kind": "debug_end"}, b"", 100.0)
    assert master.next_deadline == 10.0 + 96.0, "what was left of its time is left"
    assert master.tick(105.9) == []
    assert [one.record["result"] for one in answers(master.tick(106.0))] == ["TIMED_OUT"]


def test_a_held_worker_that_ends_lets_the_clocks_go(master: JobMaster) -> None:
    master.request(1, 1, {"kind": "barrier", "timeout": 10.0, "faults": 0}, b"", 0.0)
    master.request(0, 1, question(), b"", 0.0)
    assert master.leave_debugger(1, 20.0) == []
    assert master.leave_debugger(0, 20.0) == [Hold(0, "")]
    assert master.next_deadline == 30.0 and not master.debugger.is_holding


def test_a_worker_whose_connection_broke_asks_again() -> None:
    debugger = Debugger()
    debugger.ask(0, 1, question("a"), 0.0)
    debugger.disconnected(0)
    assert "prompt" not in debugger.drive(0, {"do": "attach", "driver": "d"}, 1.0)[0]
    assert debugger.drive(0, {"do": "line", "driver": "d", "line": "c"}, 1.0)[1] == [], (
        "there is nobody to give it to"
    )
    debugger.ask(0, 1, question("a"), 2.0)
    answer = debugger.drive(0, {"do": "poll", "driver": "d"}, 2.0)[0]
    assert answer["prompt"] == "(Pdb) " and answer["output"] == "", "its output has been read already"
