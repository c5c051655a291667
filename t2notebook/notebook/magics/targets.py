"""Which job a line means: a job id, the beginning of one, or a variable that holds a handle."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.errors import Twister2Error, UnknownJob
from ..errors import UsageError


def the_client() -> Any:
    """Return `t2notebook.client`, imported when first needed: loading the extension stays fast."""
    from ... import client

    return client


def is_job(value: Any) -> bool:
    """Whether `value` is a handle on a job."""
    client = sys.modules.get("t2notebook.client")
    return client is not None and isinstance(value, client.Job)


def handles(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a notebook that hold a job, without IPython's own (``_``, ``_3``)."""
    return {
        name: value for name, value in list(namespace.items()) if not name.startswith("_") and is_job(value)
    }


def find_job(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the handle that `name` means.

    Parameters
    ----------
    name : str
        A variable of the notebook, a job id, the beginning of exactly one job's id, or the name of exactly
        one of this kernel's jobs.
    namespace : mapping
        The notebook's variables.

    Raises
    ------
    UsageError
        When it is a variable that holds something else, the beginning of several ids, or several jobs' name.
    UnknownJob
        When no job is called so.
    """
    if name in namespace and is_job(namespace[name]):
        return namespace[name]
    client = the_client()
    job_ids = list(client.job_ids())
    job_id = _match(name, job_ids) or _named(name, job_ids)
    for job in handles(namespace).values():
        if job.job_id == job_id:
            return job
    try:
        return client.attach(job_id or name)
    except UnknownJob:
        if name not in namespace:
            raise
        kind = type(namespace[name]).__name__
        raise UsageError(f"the variable {name} is a {kind}, not a job, and no job id begins so") from None


def _named(name: str, job_ids: Iterable[str]) -> str | None:
    """Return the id of the one known job that is called `name`, if there is one."""
    found = []
    for job_id in job_ids:
        if name in job_id:  # an id holds the name
            try:
                if the_client().attach(job_id).name == name:
                    found.append(job_id)
            except Twister2Error:
                continue  # its session is gone
    if len(found) > 1:
        raise UsageError(f"{len(found)} jobs are called {name!r}: {', '.join(found[-3:])}; write the id")
    return found[0] if found else None


def _match(name: str, job_ids: Iterable[str]) -> str | None:
    found = sorted({job_id for job_id in job_ids if job_id.startswith(name)})
    if name in found:
        return name
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UsageError(f"{len(found)} job ids begin with {name!r}: {some}; write more of it")
    return found[0] if found else None
