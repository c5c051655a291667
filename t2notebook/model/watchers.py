"""Names that a session and those who watch sessions agree on."""

from __future__ import annotations

#: The sockets, in the runtime directory, of those who wait for sessions and jobs to appear.
WATCHERS = "observer-*.sock"
#: The header of a request that keeps no session alive.
OBSERVER_HEADER = "X-T2-Observer"


def watcher_name(pid: int) -> str:
    """Return the name of the socket at which a process waits."""
    return WATCHERS.replace("*", str(pid))
