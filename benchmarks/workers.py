"""Costs of looking at workers: sampling a hundred of them, as their executor does once a second."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

WORKERS, ROUNDS = 100, 30


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


def main() -> int:
    """Print what each costs."""
    load = os.getloadavg()[0]
    print(f"workers, {os.cpu_count()} cores, load {load:.1f}")
    print(f"  a look at the use of {WORKERS} workers: {1000 * sampling():.2f} ms (aim: under 3 ms a second)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
