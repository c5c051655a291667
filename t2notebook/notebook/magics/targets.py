"""The job that a line names: by its id, the beginning of one, or a variable that holds a handle."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.errors import UnknownJob
from ...model.wording import with_article
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


def find_job(name: str, namespace: Mapping[str, Any], *, to_end: bool = False) -> Any:
    """Return the handle that `name` means.

    Parameters
    ----------
    name : str
        A variable of the notebook, a job id, the beginning of exactly one job's id, or a job's name, whichever
        kernel submitted it; of several, the newest is meant, and that is said.
    namespace : mapping
        The notebook's variables.
    to_end : bool
        Whether it is to be ended: then only those that have not ended are meant, and a name has to be that of one.

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
    job_id = name if name in job_ids else _named(name, to_end) or _match(name, job_ids)
    for job in handles(namespace).values():
        if job.job_id == job_id:
            return job
    try:
        return client.attach(job_id or name)
    except UnknownJob:
        if name not in namespace:
            raise
        kind = type(namespace[name]).__name__
        raise UsageError(
            f"the variable {name} is {with_article(kind)}, not a job, and no job id begins so"
        ) from None


def _named(name: str, to_end: bool) -> str | None:
    """Return the id of the job that is called `name`, if there is one."""
    found = the_client().named(name)
    if to_end:
        found = [job for job in found if not job.has_ended] or found[:1]
    if len(found) > 1:
        older = [job.job_id for job in found[1:]]
        some = ", ".join(older[:3]) + (", ..." if len(older) > 3 else "")
        if to_end:
            raise UsageError(
                f"{len(found)} unfinished jobs are called {name!r}: {found[0].job_id}, {some}; write the id"
            )
        print(f"{len(found)} jobs are called {name!r}; this is the newest, {found[0].job_id}, not {some}.")
    return found[0].job_id if found else None


def _match(name: str, job_ids: Iterable[str]) -> str | None:
    found = sorted({job_id for job_id in job_ids if job_id.startswith(name)})
    if name in found:
        return name
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UsageError(f"{len(found)} job ids begin with {name!r}: {some}; write more of it")
    return found[0] if found else None
