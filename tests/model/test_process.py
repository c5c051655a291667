"""The identity of processes, and their states."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from t2notebook.model.process import is_stopped, start_time


def test_a_process_has_one_start_and_none_when_it_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        first = start_time(process.pid)
        assert first
        assert first == start_time(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_time(process.pid) == "", "a zombie has ended"
    assert start_time(process.pid) == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="proc(5)")
def test_a_name_with_parentheses_and_blanks_misleads_nobody() -> None:
    rename = "import ctypes; ctypes.CDLL(None).prctl(15, b') Z 0 (x', 0, 0, 0); print('named', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert start_time(process.pid).isdigit()
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="proc(5)")
def test_a_stopped_process_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while not is_stopped(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert not is_stopped(process.pid)


@pytest.mark.parametrize(("soft", "hard", "then"), [(256, 300, 300), (300, 300, 300), (128, 4096, 4096)])
def test_as_many_files_are_allowed_as_may_be(soft: int, hard: int, then: int) -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from t2notebook.model.process import allow_many_files
allow_many_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(then), str(hard)]
