"""Unfinished jobs of other kernels, as ``%load_ext t2notebook`` names them, and how to pick them up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..journal.unfinished import LeftJob

#: Seconds that looking for them may take, and how many are named.
PATIENCE, SHOWN = 0.04, 2


def say_what_runs() -> None:
    """Print a line or two if there is something; never fail, and start nothing."""
    try:
        from jupyter_core.paths import jupyter_data_dir

        # As `config.data_dir` has it, which would make the folder, and takes longer to import than this may.
        root = Path(jupyter_data_dir()) / "t2notebook" / "sessions"
        if not root.is_dir():
            return
        from ..journal.unfinished import left_jobs

        client = sys.modules.get("t2notebook.client")
        text = describe(left_jobs(root, () if client is None else client.job_ids(), PATIENCE))
    except Exception:
        return  # whoever loads an extension did not ask for this
    if text:
        print(text)


def describe(jobs: Sequence[LeftJob]) -> str:
    """Return the lines for these jobs, newest first; empty if there are none."""
    lines = [
        f"Job {job.job_id} ({job.workers} worker{'s' * (job.workers != 1)}) {_state(job)}: "
        f"%twister2 attach {job.job_id}"
        for job in jobs[:SHOWN]
    ]
    if (more := len(jobs) - SHOWN) > 0:
        lines[-1] += f"   (and {more} more: %twister2 list)"
    return "\n".join(lines)


def _state(job: LeftJob) -> str:
    return "is unfinished" if job.is_alive else "was left by a session that died, and can be taken up again"
