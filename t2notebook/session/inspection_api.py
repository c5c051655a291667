"""Requests of kernels to look into workers: their stacks, profiles, and the debugger."""

from __future__ import annotations

from typing import Any

from .http_api import ApiHandler, Refused
from .inspections import inspect
from .session import Session

#: Seconds that a profile may take: a kernel waits a minute for an answer.
LONGEST = 40.0
#: Seconds that a debugger's answer may take; then the kernel asks again.
LONGEST_WAIT = 20.0
KINDS = ("stack", "profile")


class InspectHandler(ApiHandler):
    """``POST /v1/jobs/ID/inspect``: ``{"kind": "stack" or "profile", "workers": [N, ...], "seconds": S}``."""

    async def post(self, job_id: str) -> None:
        """Answer ``workers``: a record for each.

        Raises
        ------
        Refused
            404 when the job has no such worker, 400 for another kind, 503 before workers can be served.
        """
        job, record = self.job(job_id), self.content()
        masters = self.session.job_masters
        if masters is None:
            raise Refused(503, "the session is not ready yet")
        kind, number = str(record.get("kind")), len(job.view.workers)
        if kind not in KINDS:
            raise Refused(400, f"kind is {kind!r}; give {' or '.join(KINDS)}")
        workers = [int(worker_id) for worker_id in record.get("workers") or range(number)]
        for worker_id in workers:
            if not 0 <= worker_id < number:
                raise Refused(404, f"job {job_id} has no worker {worker_id}")
        seconds = min(max(0.0, float(record.get("seconds") or 0.0)), LONGEST)
        self.finish({"workers": await inspect(masters.executors, job, workers, kind, seconds)})


class DebugHandler(ApiHandler):
    """``POST /v1/jobs/ID/workers/N/debug``: a word of whoever debugs a worker, as `jobmaster.debugger` takes it."""

    async def post(self, job_id: str, worker: str) -> None:
        """Answer when the worker asks for a line, or after `LONGEST_WAIT` seconds.

        Raises
        ------
        Refused
            404 when the job has no such worker, 503 before workers can be served.
        """
        job, worker_id = self.job(job_id), int(worker)
        masters = self.session.job_masters
        if masters is None:
            raise Refused(503, "the session is not ready yet")
        if worker_id >= len(job.view.workers):
            raise Refused(404, f"job {job_id} has no worker {worker_id}")
        answer: dict[str, Any] = {"ended": True}
        if not job.view.state.is_final:
            answer = dict(await masters.driver.debug(job, worker_id, self.content(), LONGEST_WAIT))
        if answer.get("ended"):
            answer["over"] = job.view.state.is_final or job.view.workers[worker_id].state.is_terminal
        self.finish(answer)


def routes(session: Session) -> list[Any]:
    """Return the routes for a tornado Application."""
    settings = {"session": session}
    return [
        (r"/v1/jobs/([-a-z0-9]+)/inspect", InspectHandler, settings),
        (r"/v1/jobs/([-a-z0-9]+)/workers/([0-9]{1,9})/debug", DebugHandler, settings),
    ]
