"""Listeners of a worker: callbacks that are told what happens to the workers of the job, on a thread of their own."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ...model.worker_event import WorkerEvent, WorkerEventKind
from .job_master_client import JobMasterClient
from .superseded import Superseded

Callback = Callable[[WorkerEvent], Any]


class Listeners:
    """Callbacks, and the threads that ask for events and give them to these; there are none before the first callback.

    Parameters
    ----------
    client : JobMasterClient
    """

    def __init__(self, client: JobMasterClient) -> None:
        self._client = client
        self._callbacks: tuple[Callback, ...] = ()
        self._events: queue.SimpleQueue[tuple[WorkerEvent, Callback | None]] = queue.SimpleQueue()
        self._pid = 0

    def add(self, callback: Callback) -> None:
        """Have one more callback called; first with what still holds of what was before."""
        self._client.connect()  # which refuses in a process that was forked
        record, _ = self._client.ask({"kind": "happenings", "after": -1})
        for happened in record["happened"]:
            self._events.put((WorkerEvent.from_record(happened), callback))
        self._callbacks = (*self._callbacks, callback)
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._client.on_contact = self._on_contact
        last = int(record["last"])
        for work in (lambda: self._ask(last), self._give):
            threading.Thread(target=work, name="t2-worker-events", daemon=True).start()

    def _on_contact(self, is_there: bool) -> None:
        kind = WorkerEventKind.JOB_MASTER_RESTARTED if is_there else WorkerEventKind.JOB_MASTER_FAILED
        self._events.put((WorkerEvent(kind.value, self._client.number_of_workers), None))

    def _ask(self, last: int) -> None:
        try:
            while True:
                record, _ = self._client.ask({"kind": "happenings", "after": last})
                for happened in record["happened"]:
                    event = WorkerEvent.from_record(happened)
                    self._client.number_of_workers = event.number_of_workers
                    self._events.put((event, None))
                last = int(record["last"])
        except Superseded:
            pass  # the worker's own code is told at its next question

    def _give(self) -> None:
        while True:
            event, only = self._events.get()
            for callback in self._callbacks if only is None else (only,):
                try:
                    callback(event)
                except Superseded:
                    return
                except BaseException:
                    traceback.print_exc()
