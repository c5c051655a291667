"""Use as the executor measures it, and what it says of it to the job master."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.model.use import use_of
from t2notebook.protocol.launch import decode_status_data
from t2notebook.worker.executor.event_loop import Loop
from t2notebook.worker.executor.gpus import GpuWatch, parse
from t2notebook.worker.executor.usage import cpu_seconds, transferred, waited_seconds
from tests.worker.fakes import FakeAgent, FakeSession

PMON = """\
# gpu         pid   type     sm    mem    enc    dec    jpg    ofa     fb   ccpm    command
# Idx           #    C/G      %      %      %      %      %      %     MB     MB    name
    0          {0}     C     45     20      -      -      -      -   1024      0    python
    1          {0}     C     30     10      -      -      -      -    512      0    python
    1          99     G      -      -      -      -      -      -      4      0    Xorg
    2           -      -     -      -      -      -      -      -      -      -    -
"""


def test_what_a_process_has_spent_and_moved(tmp_path: Path) -> None:
    cpu, (read, written) = cpu_seconds(os.getpid()), transferred(os.getpid())
    deadline = time.process_time() + 0.1
    while time.process_time() < deadline:
        pass
    path = tmp_path / "data"
    path.write_bytes(bytes(1 << 20))
    path.read_bytes()
    assert 0.08 <= cpu_seconds(os.getpid()) - cpu < 5
    more = transferred(os.getpid())
    assert more[0] - read >= 1 << 20 and more[1] - written >= 1 << 20
    assert 0 <= waited_seconds(os.getpid()) < 3600 and waited_seconds(2**22 + 1) == 0.0
    assert cpu_seconds(2**22 + 1) == 0.0 and transferred(2**22 + 1) == (0, 0)


def test_the_end_of_a_worker_tells_its_use(session: FakeSession, agent: FakeAgent) -> None:
    def work(env: Any) -> int:
        import time

        kept = bytearray(40 << 20)
        deadline = time.process_time() + 0.3
        while time.process_time() < deadline:
            pass
        return len(kept)

    agent.end_of(agent.launch(session.launch(session.add(work), mem=128.0), "task"))
    use = use_of(decode_status_data(agent.updates[-1]["data"]))
    assert use is not None
    assert (
        0.3 <= use.cpu < 3 and use.cpu_used <= 1.1 and use.cpu_peak == pytest.approx(use.cpu_used, abs=0.02)
    )
    assert 40 <= use.mem_peak < 128 and use.gpu is None


def test_a_worker_that_does_next_to_nothing_has_memory_of_its_own(
    session: FakeSession, agent: FakeAgent
) -> None:
    """It was said to have none, and that 32 MiB would do for one whose last moment took 150."""

    def work(env: Any) -> None:
        import mmap
        import time

        time.sleep(0.6)
        if env.worker_id:
            populated = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
            mmap.mmap(-1, 150 << 20, flags=populated).close()

    digest = session.add(work)
    for worker_id in (0, 1):
        agent.launch(session.launch(digest, worker_id=worker_id, mem=256.0), f"task-{worker_id}")
    uses = {}
    for worker_id in (0, 1):
        agent.end_of(f"task-{worker_id}")
    for update in agent.updates:
        if update.get("data") and (use := use_of(decode_status_data(update["data"]))) is not None:
            uses[update["task_id"]["value"]] = use
    assert 1 < uses["task-0"].mem_peak < 30
    assert 145 < uses["task-1"].mem_peak < 190


def test_gpus_by_process() -> None:
    assert parse(PMON.format(7372)) == {7372: (0.75, 1536.0), 99: (None, 4.0)}
    assert parse("") == {} == parse("No devices were found\n")


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an `nvidia-smi` with this body on PATH."""

    def put(body: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


def asked(watch: GpuWatch, loop: Loop, done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        watch.ask(time.monotonic())
        loop.call_later(0.02, lambda: None)
        loop.run_once()


def test_nvidia_smi_is_asked_where_it_is(smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    smi(f"cat <<'END'\n{PMON.format(os.getpid())}END")
    loop, told = Loop(), []
    try:
        watch = GpuWatch(loop, told.append)
        asked(watch, loop, lambda: told)
        assert told == [parse(PMON.format(os.getpid()))]
        smi("exec sleep 60")  # a driver that hangs
        monkeypatch.setattr("t2notebook.worker.executor.gpus.PATIENCE", 0.1)
        watch = GpuWatch(loop, told.append)
        asked(watch, loop, lambda: watch._program is None)
        assert watch._program is None and watch._process is None and len(told) == 1
    finally:
        import signal

        signal.set_wakeup_fd(-1)
        loop.close()


@pytest.mark.slow
def test_a_worker_on_an_agent_with_gpus(session: FakeSession, idle_agent: FakeAgent, tmp_path: Path) -> None:
    head, units = PMON.splitlines()[:2]
    program = tmp_path / "nvidia-smi"
    # Every process has half of a GPU, and 256 MB of its memory.
    row = 'echo "0 $pid C 50 20 - - - - 256 0 python"'
    program.write_text(
        f"#!/bin/sh\necho '{head}'\necho '{units}'\ncd /proc\nfor pid in [0-9]*; do {row}; done\n"
    )
    program.chmod(0o755)
    idle_agent.start(PATH=f"{tmp_path}:{os.environ['PATH']}")

    def work(env: Any) -> None:
        import time

        time.sleep(4)

    idle_agent.end_of(idle_agent.launch(session.launch(session.add(work)), "task"), timeout=30)
    use = use_of(decode_status_data(idle_agent.updates[-1]["data"]))
    assert use is not None and (use.gpu, use.gpu_mem) == (0.5, 256.0)
