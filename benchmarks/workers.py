"""Costs of looks at workers: sampling a hundred of them each second, and a profile, in the worker that it is of."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time

WORKERS, ROUNDS = 100, 30
#: Seconds of work, and how often with and without a profile in turns.
WORK, TURNS = 1.0, 7


def sampling() -> float:
    """Return the median seconds of cpu that one look at `WORKERS` processes takes."""
    from t2notebook.worker.executor.event_loop import Loop
    from t2notebook.worker.executor.memory import MemoryWatch
    from t2notebook.worker.executor.usage import UsageSampler

    children = [
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]) for _ in range(WORKERS)
    ]
    try:
        memory = MemoryWatch(Loop())
        sampler = UsageSampler(memory)
        for child in children:
            memory.add(str(child.pid), child.pid, 1 << 40, 0, lambda used, pids: None)
            sampler.add(str(child.pid), time.monotonic())
        times = []
        for _ in range(ROUNDS):
            time.sleep(0.05)
            began = time.process_time()
            sampler.sample()
            for child in children:
                use = sampler.use(str(child.pid))
                assert use is not None
                use.to_list()
            times.append(time.process_time() - began)
        return statistics.median(times)
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def profiling() -> float:
    """Return by how much more cpu the same work takes while it is profiled at 100 Hz, as a fraction."""
    from t2notebook.worker.executor.event_loop import Loop
    from t2notebook.worker.executor.inspection import Inspection
    from t2notebook.worker.process.inspection import Inspector

    spent: dict[bool, list[float]] = {False: [], True: []}
    steps = _steps()
    loop = Loop()
    for turn in range(2 * TURNS):
        is_profiled = bool(turn % 2)
        inspection = Inspection(loop)
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            Inspector(socket.socket(fileno=os.dup(inspection.theirs[0])), inspection.theirs[1]).listen()
            os.write(tell, b"ready\n")
            began = time.process_time()
            _work(steps)
            os.write(tell, f"{time.process_time() - began}\n".encode())
            os._exit(0)
        os.close(tell)
        inspection.begin(pid)
        with open(told) as answers:
            answers.readline()
            answered: list[object] = []
            if is_profiled:
                inspection.profile(0.8 * WORK, answered.append)
                while not answered:
                    loop.run_once()
            spent[is_profiled].append(float(answers.readline()))
        os.waitpid(pid, 0)
        inspection.close()
    plain, profiled = (statistics.median(spent[one]) for one in (False, True))
    return profiled / plain - 1


def _work(steps: int, depth: int = 15) -> int:
    """Compute in Python, some frames deep."""
    return _work(steps, depth - 1) if depth else sum(number * number for number in range(steps))


def _steps() -> int:
    """Return how many steps take about `WORK` seconds here."""
    began = time.process_time()
    _work(1_000_000)
    return int(WORK / (time.process_time() - began) * 1_000_000)


def main() -> int:
    """Print what each costs."""
    load = os.getloadavg()[0]
    print(f"workers, {os.cpu_count()} cores, load {load:.1f}")
    print(f"  a look at the use of {WORKERS} workers: {1000 * sampling():.2f} ms (aim: under 3 ms a second)")
    print(f"  a profile at 100 Hz, of the worker's cpu: {100 * profiling():.1f} % (aim: under 3 %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
