"""Requests of those who show a job and are none of its kernels: the Jupyter server, for pages."""

from __future__ import annotations

from typing import Any

from .http_api import ApiHandler
from .session import Session


class ViewHandler(ApiHandler):
    """``GET /v1/jobs/ID/view?version=V&worker=N``: the parts of a job's live view; it keeps nothing alive."""

    def get(self, job_id: str) -> None:
        """Answer what has changed since version V, and the newest output: of worker N more, if one is named."""
        job = self.job(job_id)
        worker = self.get_query_argument("worker", "")
        version = int(self.get_query_argument("version", "0"))
        self.finish(self.session.views.parts(job, version, int(worker) if worker else None))


def routes(session: Session) -> list[Any]:
    """Return the routes for a tornado Application."""
    return [(r"/v1/jobs/([-a-z0-9]+)/view", ViewHandler, {"session": session})]
