"""Imports, ahead of the workers, what `distributed.Worker` imports while it starts: executors preload this module."""

from __future__ import annotations

import contextlib
import importlib

import dask
import distributed.worker  # noqa: F401

from . import dask_worker, memory, tls  # noqa: F401

# Each serves pages of a worker's, and imports `prometheus_client`, where that is installed.
for _name in (
    *dask.config.get("distributed.worker.http.routes", ()),
    "distributed.http.worker.prometheus.core",
):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
