"""Handlers of pages' requests to the Jupyter server, which authenticates, authorizes and checks each for XSRF."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import APIHandler, FileFindHandler, JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .. import __version__
from ..client.forecasts import question_of
from ..client.session_http import Connection
from ..model.errors import SubmitError, Twister2Error, UnknownJob
from ..model.text import dumps
from ..views.form_state import form_state
from ..views.modules import STATIC
from ..views.resource_values import ResourceValues, line
from . import actions
from .clusters import cluster_page, clusters, through_session
from .job_list import Change, JobList
from .job_view import ViewHandler
from .trust import NotOurs

#: By which an authorizer of the Jupyter server knows what is asked for.
RESOURCE = "t2notebook"


class Handler(APIHandler):
    """A request; answers JSON, and errors as ``{"message": text}`` with the real cause."""

    auth_resource = RESOURCE

    def initialize(self, job_list: JobList) -> None:
        self.job_list = job_list

    def answer(self, content: dict[str, Any]) -> None:
        """Answer JSON that everybody can read."""
        self.finish(dumps(content))

    async def ask(self, function: Callable[..., Any], job_id: str, *arguments: Any) -> Any:
        """Call one of `actions` for a job beside the loop; an error of ours is told as it is."""

        def call() -> Any:
            row = self.job_list.rows.get(job_id)
            return function(actions.JobLocation(job_id, row["directory"] if row else ""), *arguments)

        try:
            return await self.job_list.run(call)
        except (Twister2Error, sqlite3.Error, OSError) as error:
            self.refuse(error)
            return None

    def refuse(self, error: Exception) -> None:
        """Answer an error; the text is not tornado's ``log_message``, which is a format."""
        code = 404 if isinstance(error, UnknownJob) else 403 if isinstance(error, NotOurs) else 502
        self.set_status(code)
        self.answer({"message": str(error) or type(error).__name__})


class DashHandler(JupyterHandler):
    """``GET /t2notebook/dash``: the page of ``t2notebook dash``."""

    auth_resource = RESOURCE

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer the page, and with it the XSRF cookie that a kill needs."""
        _ = self.xsrf_token
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish((files(__package__) / "dash.html").read_text(encoding="utf-8"))


class SummaryHandler(Handler):
    """``GET /t2notebook/api/summary``: what a page needs to know when it opens."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer our version and how many jobs go on."""
        await self.job_list.refreshed()
        self.answer({"version": __version__, "active": self.job_list.active})
        self.job_list.warm()


class JobsHandler(Handler):
    """``GET /t2notebook/api/jobs``: all jobs, for who asks once."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer the rows."""
        self.answer({"jobs": await self.job_list.all_rows()})


class KillHandler(Handler):
    """``POST /t2notebook/api/jobs/ID/kill``."""

    @web.authenticated
    @authorized
    async def post(self, job_id: str) -> None:
        """End a job."""
        state = await self.ask(actions.kill, job_id)
        if state is not None:
            self.job_list.refresh()
            self.answer({"state": state})


class TasksHandler(Handler):
    """``GET /t2notebook/api/jobs/ID/tasks``."""

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        """Answer a row a worker."""
        rows = await self.ask(actions.tasks, job_id)
        if rows is not None:
            self.answer({"tasks": rows})


class WhyHandler(Handler):
    """``GET /t2notebook/api/jobs/ID/why``."""

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        """Say why it waits, or how it ended."""
        found = await self.ask(actions.why, job_id)
        if found is not None:
            self.answer(found)


class LogsHandler(Handler):
    """``GET /t2notebook/api/jobs/ID/logs/N?stream=stdout&offset=K``."""

    @web.authenticated
    @authorized
    async def get(self, job_id: str, worker: str) -> None:
        """Answer a page of what a worker wrote."""
        try:
            offset = int(self.get_query_argument("offset", "0"))
        except ValueError:
            raise web.HTTPError(400, "offset is not a whole number") from None
        stream = self.get_query_argument("stream", "stdout")
        page = await self.ask(actions.log_page, job_id, int(worker), stream, offset)
        if page is not None:
            self.answer(page)


class CellHandler(Handler):
    """``GET /t2notebook/api/jobs/ID/cell``."""

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        """Answer the source of a cell that attaches to a job."""
        source = await self.ask(lambda job: actions.attach_cell(job.job_id), job_id)
        if source is not None:
            self.answer({"source": source})


class ClearHandler(Handler):
    """``POST /t2notebook/api/clear``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Remove what has ended from the list, and from the disk where no session lives that has it."""
        try:
            cleared = await self.job_list.clear()
        except (Twister2Error, OSError) as error:
            self.refuse(error)
            return
        self.answer({"cleared": cleared})


class ClustersHandler(Handler):
    """``GET /t2notebook/api/clusters``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer a record a master."""
        sessions = [stream.connection for stream in self.job_list.streams.values()]
        try:
            self.answer({"clusters": await self.job_list.run(clusters, sessions)})
        except (Twister2Error, OSError) as error:
            self.refuse(error)


class ClusterPageHandler(Handler):
    """``GET /t2notebook/api/cluster?master=M``: for views of a cluster whose kernel does not answer."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer the page of a master; 404 where no session of this user is connected to it."""
        master = self.get_query_argument("master", "local")
        await self.job_list.refreshed()
        sessions = [stream.connection for stream in self.job_list.streams.values()]
        try:
            page = await self.job_list.run(cluster_page, sessions, master)
        except (Twister2Error, OSError) as error:
            self.refuse(error)
            return
        if not page:
            self.set_status(404)
            named = (
                "the embedded Mesos does not run"
                if master == "local"
                else f"no session is connected to {master}"
            )
            self.answer({"message": named})
            return
        self.answer(page)


class FormHandler(Handler):
    """``POST /t2notebook/api/form``: for a form of resources whose kernel does not answer."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Answer the form's state for the values that are chosen, or what is wrong with them.

        The request has ``values``, ``sequence`` (the page's number of them), ``others`` (the words of the line that the
        form does not set) and ``master``.

        Raises
        ------
        web.HTTPError
            400 when it is no such request.
        """
        content = self.get_json_body() or {}
        try:
            sequence, others = int(content["sequence"]), [str(word) for word in content["others"]]
            master, record = str(content["master"]), dict(content["values"])
        except (TypeError, ValueError, KeyError):
            raise web.HTTPError(400, "not the request of a form") from None
        try:
            values = ResourceValues.read(record)
        except (SubmitError, TypeError, ValueError, AttributeError) as error:
            self.answer({"sequence": sequence, "problem": str(error)})
            return
        await self.job_list.refreshed()
        sessions = [stream.connection for stream in self.job_list.streams.values()]
        question = question_of(values.resource, values.placement)

        def ask(connection: Connection) -> dict[str, Any]:
            found: dict[str, Any] = connection.post("/v1/forecast", question)
            return found

        found, trouble = None, ""
        try:
            found = await self.job_list.run(through_session, sessions, master, ask)
            trouble = "" if found else "no session is connected to its master now"
        except (Twister2Error, OSError) as error:
            trouble = str(error)
        text = line([*values.words(), *others])
        self.answer(form_state(values, text, sequence, found=found, trouble=trouble))


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """``/t2notebook/api/stream``, a WebSocket: all jobs, then each change."""

    auth_resource = RESOURCE

    def initialize(self, job_list: JobList) -> None:
        self.job_list = job_list

    @ws_authenticated
    async def get(self, *arguments: Any, **options: Any) -> None:
        """Open it, for who may read."""
        may = await ensure_async(self.authorizer.is_authorized(self, self.current_user, "read", RESOURCE))
        if not may:
            raise web.HTTPError(403)
        await super().get(*arguments, **options)

    def open(self, *arguments: Any, **options: Any) -> None:
        """Begin to listen."""
        super().open(*arguments, **options)
        self.job_list.listen(self.send)

    def send(self, change: Change) -> None:
        """Pass a change on."""
        try:
            self.write_message(dumps(change))
        except WebSocketClosedError:
            self.job_list.unlisten(self.send)

    def on_message(self, message: str | bytes) -> None:
        """Nothing is expected."""

    def on_close(self) -> None:
        """Listen no more."""
        self.job_list.unlisten(self.send)


def routes(job_list: JobList) -> list[Any]:
    """Return the routes, below the server's base URL."""
    settings = {"job_list": job_list}
    base = r"/t2notebook/api"
    job = rf"{base}/jobs/([-a-z0-9]{{1,80}})"
    return [
        (r"/t2notebook/dash", DashHandler),
        # As Jupyter serves extensions' scripts: without a token, as they hold nothing but what is published.
        (
            r"/t2notebook/static/([\w-]+\.(?:js|css))",
            FileFindHandler,
            {"path": [str(STATIC)], "no_cache_paths": ["/"]},
        ),
        (rf"{base}/summary", SummaryHandler, settings),
        (rf"{base}/stream", StreamHandler, settings),
        (rf"{base}/clusters", ClustersHandler, settings),
        (rf"{base}/cluster", ClusterPageHandler, settings),
        (rf"{base}/form", FormHandler, settings),
        (rf"{base}/clear", ClearHandler, settings),
        (rf"{base}/jobs", JobsHandler, settings),
        (rf"{job}/kill", KillHandler, settings),
        (rf"{job}/tasks", TasksHandler, settings),
        (rf"{job}/why", WhyHandler, settings),
        (rf"{job}/cell", CellHandler, settings),
        (rf"{job}/view", ViewHandler, settings),
        (rf"{job}/logs/([0-9]{{1,9}})", LogsHandler, settings),
    ]
