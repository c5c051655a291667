"""t2notebook: Twister2 jobs on Apache Mesos, run from a Jupyter cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._version import __version__

if sys.platform == "win32":
    raise ImportError("t2notebook runs on Linux and macOS; on Windows, run Jupyter in WSL")

#: Public name -> the module that has it. Everything is imported on first use: workers, agents and the session
#: import this package too, and need nothing of the notebook's side.
_PUBLIC = {
    "submit": "client",
    "jobs": "client",
    "attach": "client",
    "shutdown": "client",
    "restart": "client",
    "clear": "client",
    "setup": "client",
    "Job": "client",
    "map": "client.pool",
    "Executor": "client.pool",
    "as_completed": "client.pool",
    "Future": "client.pool",
    "configure": "config",
    "Twister2Job": "model.job",
    "ComputeResource": "model.job",
    "Placement": "model.job",
    "FaultTolerance": "model.job",
    "JobState": "model.states",
    "Twister2Error": "model.errors",
    "Twister2Warning": "model.errors",
    "SubmitError": "model.errors",
    "PackageError": "model.errors",
    "VersionMismatch": "model.errors",
    "SessionError": "model.errors",
    "UnknownJob": "model.errors",
    "JobFailed": "model.errors",
    "JobFaulty": "model.errors",
    "BarrierTimeout": "model.errors",
    "CheckpointError": "model.errors",
    "DiscoveryError": "model.errors",
    "MessageRefused": "model.errors",
    "ScalingError": "model.errors",
    "WorkerEvent": "model.worker_event",
    "WorkerInfo": "model.worker_info",
    "LocalMesos": "localmesos",
    "MesosCluster": "dataflow.cluster",
    "ResourceForm": "notebook.forms.form",
}

# `MesosCluster` is not among these: ``from t2notebook import *`` would need Dask, and import it.
__all__ = [
    "BarrierTimeout",
    "CheckpointError",
    "ComputeResource",
    "DiscoveryError",
    "Executor",
    "FaultTolerance",
    "Future",
    "Job",
    "JobFailed",
    "JobFaulty",
    "JobState",
    "LocalMesos",
    "MessageRefused",
    "PackageError",
    "Placement",
    "ResourceForm",
    "ScalingError",
    "SessionError",
    "SubmitError",
    "Twister2Error",
    "Twister2Job",
    "Twister2Warning",
    "UnknownJob",
    "VersionMismatch",
    "WorkerEvent",
    "WorkerInfo",
    "__version__",
    "as_completed",
    "attach",
    "clear",
    "configure",
    "jobs",
    "map",
    "restart",
    "setup",
    "shutdown",
    "submit",
]

if TYPE_CHECKING:
    from .client import Job, setup
    from .client.handles import attach, jobs, shutdown
    from .client.pool import Executor, Future, as_completed, map
    from .client.restarting import clear, restart
    from .client.submission import submit
    from .config import configure
    from .dataflow.cluster import MesosCluster as MesosCluster
    from .localmesos import LocalMesos
    from .model.errors import (
        BarrierTimeout,
        CheckpointError,
        DiscoveryError,
        JobFailed,
        JobFaulty,
        MessageRefused,
        PackageError,
        ScalingError,
        SessionError,
        SubmitError,
        Twister2Error,
        Twister2Warning,
        UnknownJob,
        VersionMismatch,
    )
    from .model.job import ComputeResource, FaultTolerance, Placement, Twister2Job
    from .model.states import JobState
    from .model.worker_event import WorkerEvent
    from .model.worker_info import WorkerInfo
    from .notebook.forms.form import ResourceForm


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 't2notebook' has no attribute {name!r}")
    from importlib import import_module

    try:
        if _PUBLIC[name].partition(".")[0] != "model":
            _show_errors_in_one_line()  # the import itself may say what is missing
        value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(f"{__name__}."):
            raise
        # Workers have what a worker needs of this package, and nothing of the notebook's side.
        from .model.errors import Twister2Error

        raise Twister2Error(
            f"t2notebook.{name} is for the notebook: a worker cannot submit jobs or look after them; return what is "
            "needed for that, and do it there"
        ) from None
    globals()[name] = value
    return value


def _show_errors_in_one_line() -> None:
    """Have IPython show errors and results as it does after ``%load_ext t2notebook``: frames of ours help nobody."""
    ipython = sys.modules.get("IPython.core.getipython")
    if ipython is not None and ipython.get_ipython() is not None:
        from .notebook.errors import install
        from .notebook.results import install as install_results

        install()
        install_results()


def _offer_to_joblib(joblib: Any) -> None:
    """Let ``joblib.parallel_config(backend="t2notebook")`` find its backend."""

    def make(**options: Any) -> Any:
        from .client.pool.joblib_backend import make as make_backend

        return make_backend(**options)

    joblib.register_parallel_backend("t2notebook", make)


def _await_joblib() -> None:
    from .protocol.after_import import when_imported

    when_imported("joblib", _offer_to_joblib)


_await_joblib()


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics; run by ``%load_ext t2notebook``."""
    from .notebook import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics away again; run by ``%unload_ext t2notebook``."""
    from .notebook import unload_ipython_extension as unload

    unload(ipython)
