"""The facts that a journal keeps of its framework, and what they mean for a session that takes it over. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any


class FrameworkFacts:
    """The facts in a journal, as they were when this session opened it.

    Parameters
    ----------
    meta : mapping
        As `Journal.meta` gives it.
    """

    def __init__(self, meta: Mapping[str, str]) -> None:
        self._meta = dict(meta)

    @property
    def claims(self) -> int:
        """The number of times that the journal has been taken over."""
        return int(self._meta.get("claims", 0))

    @property
    def is_adopted(self) -> bool:
        """Whether the framework is an earlier session's."""
        return self.claims > 0

    @property
    def worker_port(self) -> int:
        """The port at which its workers look for their session; 0 if it has had none."""
        return int(self._meta.get("worker_port", 0))

    def framework_info(self) -> dict[str, Any] | None:
        """Return the FrameworkInfo of a framework that has been subscribed, with its id; None of one that has not."""
        if not (framework_id := self._meta.get("framework_id")):
            return None
        return {**json.loads(self._meta["framework"]), "id": {"value": framework_id}}

    def master_address(self, current: str) -> str:
        """Return the address of the master that it was first subscribed to; `current` if it has not been."""
        return self._meta.get("master_address", current)

    def cluster_is_gone(self, master: str) -> bool:
        """Whether it ran on an embedded Mesos that is no more: another would take its id for a new one's."""
        return (
            self.is_adopted and self._meta.get("master") == "local" and self.master_address(master) != master
        )

    def explain_removal(self) -> str:
        """Return since when a master that has removed it knows it no more, and why."""
        timeout = float(json.loads(self._meta["framework"]).get("failover_timeout", 0.0))
        since = float(self._meta.get("last_seen") or self._meta.get("renewed") or 0.0)
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since + timeout))
        return (
            f"nobody took it up within failover_timeout ({timeout:g} s) of its session's end: Mesos removed its "
            f"framework about {until}"
        )
