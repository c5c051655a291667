"""The kernel's side: submitting jobs, handles on them, and the connection to a session."""

from __future__ import annotations

from ..config import configure, get_config, help_of_settings, sources_of_settings
from .cluster import cluster_figures, cluster_info, cluster_page, jobs_on_cluster, start_cluster, stop_cluster
from .handles import attach, before_shutdown, job_ids, jobs, named, shutdown, unfinished_named
from .job import Job
from .locator import Named
from .restarting import clear, restart
from .setups import setup
from .submission import Prepared, prepare, submit

__all__ = [
    "Job",
    "Named",
    "Prepared",
    "attach",
    "before_shutdown",
    "clear",
    "cluster_figures",
    "cluster_info",
    "cluster_page",
    "configure",
    "get_config",
    "help_of_settings",
    "job_ids",
    "jobs",
    "jobs_on_cluster",
    "named",
    "prepare",
    "restart",
    "setup",
    "shutdown",
    "sources_of_settings",
    "start_cluster",
    "stop_cluster",
    "submit",
    "unfinished_named",
]
