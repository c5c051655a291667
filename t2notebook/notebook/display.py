"""Showing a job: a live widget, and below it the same view as HTML, which a saved notebook keeps.

The widget hides the HTML as long as it lives; at the end it goes, and the HTML stays. So a notebook that is opened
again without its kernel shows how the job was, and how to go on with it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..model.reducer import JobView
from ..views.live_record import Changes, live_record
from ..views.snapshot import snapshot
from ..views.why import why_part
from .output import OutputContext, kernel_id, kernel_shell, send_update
from .publisher import INTERVAL, Watch, publisher, why_lost
from .rendering.html import job_html
from .rendering.text import job_text
from .tail_reader import Reading, reader

if TYPE_CHECKING:
    from .widgets import JobWidget

log = logging.getLogger(__name__)

#: Of jobs with more workers than this, a change of what they use now alone is no reason to write.
MANY_ROWS = 50
#: Seconds between two writes of the HTML below a live widget, unless the job's state changes.
KEPT_INTERVAL = 10.0
#: Seconds that the last view of a job waits for the last output of its workers.
OUTPUT_PATIENCE = 1.0

WIDGET = "application/vnd.jupyter.widget-view+json"
#: For our extension of JupyterLab, which shows what the Jupyter server knows of the job where the widget does not come.
JOB = "application/vnd.t2notebook.job+json"


def display_job(job: Any, *, is_told: bool = False) -> Watch | None:
    """Show `job` in the output of the cell that runs now and keep it up to date until its end.

    In a kernel that is a widget, or HTML that is replaced once a second where widgets cannot be imported; a
    job that has ended is plain HTML at once. In a terminal it is text, once.

    Parameters
    ----------
    job : Job
    is_told : bool
        Whether the cell raises an error if the job fails, so that the view need not say why.

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
    lost = "" if view.state.is_final else why_lost(job)
    failures = job.failure_texts() if view.state.is_final and not is_told else ()
    record = snapshot(view, lost=lost, failures=failures, is_told=is_told)
    if not record["live"]:
        _show(ip, bundle(record), display_id)
        return None
    place = OutputContext(ip)
    widget = _make_widget(live_record(view), display_id)
    if widget is not None:
        # Without a text: what shows neither shows the HTML below, or its text.
        view_of = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        job_of = {"job_id": job.job_id, "beside": display_id}
        _show(ip, {WIDGET: view_of, JOB: job_of}, _live(display_id))
    _show(ip, bundle(record, beside="" if widget is None else display_id), display_id)
    sink = JobSink(job, display_id, place, widget, is_told=is_told)
    watch = publisher.watch(job, sink, place.run)
    sink.begin(watch.mark, lambda: publisher.hurry(watch))
    if widget is not None:
        widget.on_kill = lambda: _kill(job, sink, watch)
        widget.on_why = lambda: _ask_why(job, sink, watch)
        widget.on_open = sink.reading.open_log
        widget.on_show = sink.reading.show
    return watch


def bundle(record: dict[str, Any], *, beside: str = "") -> dict[str, Any]:
    """Return a `snapshot` as text and HTML, keyed by MIME type."""
    return {"text/plain": job_text(record), "text/html": job_html(record, beside=beside)}


class JobSink:
    """Writes a job's states to one output; see `t2notebook.notebook.publisher.Sink`."""

    def __init__(
        self,
        job: Any,
        display_id: str,
        place: OutputContext,
        widget: JobWidget | None,
        *,
        is_told: bool = False,
    ) -> None:
        self.job = job
        self.display_id = display_id
        self.place = place
        self.notice = ""
        self.why: dict[str, Any] = {}
        self.interval = INTERVAL if widget is not None else 1.0
        self.final: dict[str, Any] | None = None
        self.has_widget = widget is not None
        self._is_told = is_told
        self._widget = widget
        self._mark: Callable[[], None] = lambda: None
        self._hurry: Callable[[], None] = lambda: None
        self._ended: float | None = None
        self._kept = ("", time.monotonic())
        self._shown = ""
        self._changes = Changes()
        self.reading = Reading(job, self._has_read)

    def begin(self, mark: Callable[[], None], hurry: Callable[[], None]) -> None:
        """Show the workers' output from now on: `mark` asks for a write, `hurry` for the last one."""
        self._mark, self._hurry = mark, hurry
        mark()

    def write(self, view: JobView) -> None:
        """Show `view` in the widget; without one, as HTML."""
        if self._widget is None:
            self.place.update(bundle(self._record(view)), self.display_id)
            return
        now = time.monotonic()
        parts: dict[str, Any] = {"snapshot": self._record(view, rows=False), "why": self.why}
        state, (kept_state, at) = view.state.value, self._kept
        is_new = state != self._shown
        may_send_all = is_new or self._changes.may_send_all(now)
        wants_kept = state != kept_state or now - at >= KEPT_INTERVAL
        # What is kept is as large as the large parts: they go in turn, those of a new state first.
        if may_send_all and wants_kept and not is_new:
            self._kept = (state, now)
            kept = bundle(self._record(view), beside=self.display_id)
            self.place.update(kept, self.display_id)
            self._changes.also(kept, now)
        elif may_send_all:
            parts = {**live_record(view), **parts, **self._written()}
            self._shown = state
        self._send(self._changes.of(parts, now, last=is_new))
        if wants_kept or self._changes.is_behind:
            self._mark()

    def beat(self) -> None:
        """Let the widget know that this kernel lives, and what its workers use now: that costs no message more.

        Without a widget there is nobody to tell.
        """
        if self._widget is None:
            return
        view = self.job.view()
        if len(view.workers) <= MANY_ROWS and any(worker.use is not None for worker in view.workers):
            self.write(view)
        else:
            self._widget.beat += 1

    def is_ready(self, view: JobView) -> bool:
        """Return whether the last view can be shown: the workers' last output is here, or has taken too long."""
        if self.reading.is_complete or not view.state.is_final:
            return True
        if self._ended is None:
            self._ended = time.monotonic()
            reader.hurry(self.reading)
        return time.monotonic() - self._ended > OUTPUT_PATIENCE

    def finish(self, view: JobView, lost: str) -> None:
        """Replace the output by HTML, which a saved notebook keeps, and close the widget."""
        reader.leave(self.reading)
        self.final = bundle(self._record(view, lost))
        self.place.update(self.final, self.display_id)
        if self._widget is not None:
            # For a second view of it, and for a saved widget state.
            self._send(
                live_record(view) | {"snapshot": self._record(view, lost, rows=False)} | self._written()
            )
            self.place.update({}, _live(self.display_id))
            self._widget.layout.close()
            self._widget.close()
            self._widget = None

    def _send(self, parts: dict[str, Any]) -> None:
        assert self._widget is not None
        with self._widget.hold_sync():
            for name, part in parts.items():
                setattr(self._widget, name, part)

    def _written(self) -> dict[str, Any]:
        """Return the parts with what the workers have written, and with the last answer to a question."""
        return {"output": self.reading.newest(), "log": self.reading.log(), "why": self.why}

    def _record(self, view: JobView, lost: str = "", *, rows: bool = True) -> dict[str, Any]:
        record = snapshot(
            view,
            lost=lost,
            failures=self.reading.failures,
            output=self.reading.newest() if rows else None,  # without rows, output is a part by itself
            is_told=self._is_told,
            rows=rows,
        )
        record["notice"] = self.notice
        return record

    def _has_read(self) -> None:
        if self.reading.is_complete:
            self._hurry()
        else:
            self._mark()


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
                final = sink.final or bundle(snapshot(watch.job.view()))
                send_update(self._ip, final, sink.display_id, self._ip.get_parent())
                if sink.has_widget:
                    send_update(self._ip, {}, _live(sink.display_id), self._ip.get_parent())


def _live(display_id: str) -> str:
    """Return the id of the live view above the output `display_id`."""
    return f"{display_id}-live"


def _show(ip: Any, data: dict[str, Any], display_id: str) -> None:
    ip.display_pub.publish(data, transient={"display_id": display_id})


def _make_widget(parts: dict[str, Any], display_id: str) -> JobWidget | None:
    try:
        from .widgets import JobWidget
    except ImportError as error:
        log.info("no widgets: %s", error)
        return None
    return JobWidget(parts, beside=display_id, kernel_id=kernel_id())


def _ask_why(job: Any, sink: JobSink, watch: Watch) -> None:
    """Find out why `job` waits, for a click: on a thread of its own, too."""

    def ask() -> None:
        view = job.view()
        try:
            rows = job.why.to_dict("records")
            sink.why = why_part(view.message or view.waiting_for, rows, time.time())
        except Exception as error:
            sink.why = why_part(f"It could not be asked: {error}", (), time.time())
        watch.mark()

    threading.Thread(target=ask, name="t2notebook-why", daemon=True).start()


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
