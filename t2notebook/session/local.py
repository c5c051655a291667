"""The embedded Mesos of a session: one cluster per user, started by whoever needs it first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..localmesos import spawn_shared


def spawn(runtime_dir: Path, config: dict[str, Any]) -> Any:
    """Find the user's cluster or start it, without waiting; the handle's `wait` gives its master."""
    return spawn_shared(
        runtime_dir,
        agents=config["local_agents"],
        cpus=config["local_cpus"],
        mem=config["local_mem"],
        idle=config["local_linger"],
    )
