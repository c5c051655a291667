"""Showing a job: the live widget with the same view as HTML beside it, replaced by that HTML at the end."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

from ..model.reducer import JobView
from .html import job_html
from .output import OutputContext, kernel_shell, send_update
from .publisher import INTERVAL, Watch, publisher, why_lost
from .snapshot import snapshot
from .text import job_text

if TYPE_CHECKING:
    from .widgets import JobWidget

log = logging.getLogger(__name__)

#: Views with more rows than this are written at most twice a second.
MANY_ROWS = 50


def display_job(job: Any) -> Watch | None:
    """Show `job` in the output of the cell that runs now and keep it up to date until its end.

    In a kernel that is a widget, or HTML that is replaced once a second where widgets cannot be imported; a
    job that has ended is plain HTML at once. In a terminal it is text, once.

    Returns
    -------
    Watch or None
        None if nothing will change any more.
    """
    ip = kernel_shell()
    if ip is None:
        print(job_text(snapshot(job.view())))
        return None
    view = job.view()
    display_id = f"t2-{uuid.uuid4().hex[:12]}"
    record = snapshot(view, lost="" if view.state.is_final else why_lost(job))
    if not record["live"]:
        _show(ip, bundle(record), display_id)
        return None
    place = OutputContext(ip)
    widget = _make_widget(job, record)
    data = bundle(record)
    if widget is not None:
        data["application/vnd.jupyter.widget-view+json"] = {
            "version_major": 2,
            "version_minor": 0,
            "model_id": widget.model_id,
        }
    _show(ip, data, display_id)
    sink = JobSink(job, display_id, place, widget)
    watch = publisher.watch(job, sink, place.run)
    if widget is not None:
        widget.on_kill = lambda: _kill(job, sink, watch)
    return watch


def bundle(record: dict[str, Any]) -> dict[str, Any]:
    """Return a `snapshot` as text and HTML, keyed by MIME type."""
    return {"text/plain": job_text(record), "text/html": job_html(record)}


class JobSink:
    """Writes a job's states to one output; see `t2notebook.notebook.publisher.Sink`."""

    def __init__(self, job: Any, display_id: str, place: OutputContext, widget: JobWidget | None) -> None:
        self.job = job
        self.display_id = display_id
        self.place = place
        self.notice = ""
        self._widget = widget
        self.interval = INTERVAL if widget is not None else 1.0

    def write(self, view: JobView) -> None:
        """Show `view` in the widget; without one, as HTML."""
        record = snapshot(view)
        record["notice"] = self.notice
        if self._widget is None:
            self.place.update(bundle(record), self.display_id)
            return
        self.interval = INTERVAL if len(record["rows"]) <= MANY_ROWS else 0.5
        self._widget.snapshot = record

    def finish(self, view: JobView, lost: str) -> None:
        """Replace the output by HTML, which a saved notebook keeps, and close the widget."""
        record = snapshot(view, lost=lost)
        self.place.update(bundle(record), self.display_id)
        if self._widget is not None:
            self._widget.snapshot = record  # for a second view of it, and for a saved widget state
            self._widget.layout.close()
            self._widget.close()
            self._widget = None


class LateUpdates:
    """Repeats a job's final view as an output of the cell that runs when the job is found to have ended.

    A front end knows the output by its id and draws the same again. nbclient and what is built on it read
    only the messages of the cell that they run now: without this, a notebook that they execute
    would keep the state that the job had when its own cell ended.
    """

    def __init__(self, ip: Any) -> None:
        self._ip = ip
        self._open: dict[Watch, None] = {}

    def before_cell(self, *_: Any) -> None:
        """Remember the views that are live while a cell starts."""
        self._open.update(dict.fromkeys(publisher.watches()))

    def after_cell(self, *_: Any) -> None:
        """Send the final state of those that ended by now."""
        self._open.update(dict.fromkeys(publisher.watches()))
        for watch in list(self._open):
            if not watch.job.state.is_final:
                continue
            del self._open[watch]
            sink = watch.sink
            if isinstance(sink, JobSink):
                send_update(
                    self._ip, bundle(snapshot(watch.job.view())), sink.display_id, self._ip.get_parent()
                )


def _show(ip: Any, data: dict[str, Any], display_id: str) -> None:
    ip.display_pub.publish(data, transient={"display_id": display_id})


def _make_widget(job: Any, record: dict[str, Any]) -> JobWidget | None:
    try:
        from .widgets import JobWidget
    except ImportError as error:
        log.info("no widgets: %s", error)
        return None
    return JobWidget(snapshot=record)


def _kill(job: Any, sink: JobSink, watch: Watch) -> None:
    """Kill `job` from a click: on a thread of its own, as neither the kernel nor the publisher may wait."""

    def ask() -> None:
        try:
            job.kill()
        except Exception as error:
            sink.notice = f"It could not be killed: {error}"
        watch.mark()

    sink.notice = "Being killed."
    watch.mark()
    threading.Thread(target=ask, name="t2notebook-kill", daemon=True).start()
