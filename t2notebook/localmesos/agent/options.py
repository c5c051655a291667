"""Settings of an agent."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..common.resources import Resources
from ..common.task_states import Json
from .containerizer.cgroups import Cgroups

PING_SECONDS = 1.0

WEEK = 7 * 86400.0
GC_HEADROOM = 0.1
DISK_WATCH = 60.0


@dataclass(frozen=True)
class AgentOptions:
    """One agent's settings.

    Attributes
    ----------
    attributes
        `Attribute` messages.
    cgroups
        Where its containers have their control groups; None where there are none.
    owner
        Whose groups those are: its launcher's.
    hostname
        What the agent calls its host; empty: its ip.
    port
        Where it listens; 0: where it was before, or anywhere.
    docker
        The container engine's command line; empty: podman or docker, whichever is on PATH; "none": none.
    gc_delay, gc_disk_headroom, disk_watch_interval
        As Mesos's flags of these names; seconds, a share of the disk, seconds.
    registration_backoff_factor
        As Mesos's flag of this name; None: a master is asked again within a second.
    """

    index: int
    ip: str
    master: tuple[str, int]
    secret: str
    work_dir: str
    resources: Resources
    attributes: list[Json] = field(default_factory=list)
    ping: float = PING_SECONDS
    registration_timeout: float = 60.0
    zk: str | None = None
    zk_session_timeout: float = 10.0
    cgroups: Cgroups | None = None
    owner: str = ""
    gc_delay: float = WEEK
    gc_disk_headroom: float = GC_HEADROOM
    disk_watch_interval: float = DISK_WATCH
    hostname: str = ""
    port: int = 0
    docker: str = ""
    registration_backoff_factor: float | None = None
