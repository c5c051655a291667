"""The recorded wire traffic of a real Mesos 1.12 (`traces.tar.xz`; its README says how it was made), unpacked once.

Everything is as it was recorded, but for `*.chunks.jsonl`: what each recv() returned is of no use to a test.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("traces.tar.xz")


def unpacked() -> Path:
    """Give the folder of the traces, below pytest's cache; several test runs may do so at the same time."""
    cache = Path(__file__).resolve().parents[2] / ".pytest_cache"
    target = cache / f"mesos-traces-{hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:12]}"
    if not target.is_dir():
        cache.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache))
        try:
            with tarfile.open(ARCHIVE) as archive:
                archive.extractall(fresh, filter="data")
            os.rename(fresh / "mesos-traces", target)
        except OSError:
            if not target.is_dir():  # else another run was faster
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


TRACES = unpacked()
