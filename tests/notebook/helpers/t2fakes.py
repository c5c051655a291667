"""A client without a session: jobs that a script drives through real events and the real reducer."""

from __future__ import annotations

import copy
import itertools
import sys
import threading
import time
import types
from dataclasses import dataclass, field, replace

from t2notebook.config import get_config, help_of_settings, sources_of_settings
from t2notebook.frames import events_frame, job_row, jobs_frame, tasks_frame, why_frame
from t2notebook.model.errors import JobFailed, SessionError, SubmitError, UnknownJob
from t2notebook.model.events import Event, EventKind
from t2notebook.model.job import ComputeResource, JobSpec
from t2notebook.model.reducer import JobView

_ids = itertools.count(1)


class Job:
    def __init__(self, name="pi", workers=2, cpu=1.0, ram=256.0, job_id=None):
        self.name = name
        self.job_id = job_id or f"me-{name}-{next(_ids):04}"
        self.spec = JobSpec(
            name, "me", (ComputeResource(cpu, ram, instances=workers),), "0" * 64, 1234, "3.11"
        )
        self.remote_traceback = ""
        self.stderr = ""
        self.killed_by_client = False
        self.lost = ""
        self.why_rows = []
        self.texts = {}
        self._view = JobView(self.job_id)
        self._events = []
        self._listeners = []
        self._condition = threading.Condition()
        self._attempts = [0] * workers
        self.apply(EventKind.SUBMITTED, data={"name": name, "number_of_workers": workers})

    # what the client's handle has

    @property
    def state(self):
        return self._view.state

    def view(self):
        with self._condition:
            workers = [replace(worker) for worker in self._view.workers]
            return replace(self._view, workers=workers, counts=copy.copy(self._view.counts))

    @property
    def tasks(self):
        return tasks_frame(self.view())

    @property
    def events(self):
        return events_frame(self._events)

    @property
    def why(self):
        return why_frame(self.why_rows)

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while not self._view.state.is_final:
                left = 0.1 if end is None else min(0.1, end - time.monotonic())
                if self.lost:
                    raise SessionError(self.lost)
                if left <= 0:
                    raise TimeoutError(f"job {self.job_id} has not ended")
                self._condition.wait(left)
        return self.state

    def held_workers(self):
        return {}

    def results(self):
        return [None] * self.spec.number_of_workers

    def kill(self):
        self.killed_by_client = True
        self.apply(EventKind.KILL, reason="USER", message="killed by its owner")
        for worker in self.view().workers:
            if not worker.state.is_terminal:
                self.status(worker.worker_id, "KILLED", source="SOURCE_EXECUTOR")

    def logs(self, worker_id=None, stream="stdout", follow=False, *, tail=None):
        if worker_id is None:
            text = "".join(f"{n} | {self.logs(n, stream)}" for n in range(self.spec.number_of_workers))
            return iter(text.splitlines(keepends=True)) if follow else text
        text = self.texts.get((worker_id, stream), f"{stream} of {worker_id}\n")
        return iter(text.splitlines(keepends=True)) if follow else text

    def tails(self, files, most):
        answers = []
        for file in files:
            text = self.texts.get((file["worker_id"], file["stream"]), "")[max(0, file["offset"]) :]
            answers.append(
                {**file, "offset": max(0, file["offset"]) + len(text), "text": text, "skipped": False}
            )
        return answers

    def failure_texts(self):
        if self.state.value != "FAILED":
            return []
        kind = "traceback" if self.remote_traceback else "stderr"
        return [(self._view.failed_worker, kind, self.remote_traceback or self.stderr)]

    def error(self):
        if self.state.value not in ("FAILED", "KILLED"):
            return None
        return JobFailed(
            f"job {self.job_id} ended as {self.state}: {self._view.message}",
            job_id=self.job_id,
            worker_id=self._view.failed_worker,
            remote_traceback=self.remote_traceback,
            stderr=self.stderr,
        )

    def add_listener(self, callback):
        self._listeners.append(callback)

    def remove_listener(self, callback):
        self._listeners.remove(callback)

    # what a script does

    def apply(self, kind, **fields):
        event = Event(kind, self.job_id, fields.pop("time", time.time()), **fields)
        with self._condition:
            self._events.append(event)
            self._view.apply(event)
            self._condition.notify_all()
        for listener in list(self._listeners):
            listener(self)

    def pending(self, message):
        self.apply(EventKind.PENDING, message=message)

    def launch(self, worker_id, host="node-1.example.org"):
        attempt = self._attempts[worker_id]
        self._attempts[worker_id] += 1
        resource = self.spec.resource_of(worker_id)
        data = {"agent": f"agent-{host}", "host": host, "cpus": resource.cpu, "mem": resource.ram_mega_bytes}
        data["restart_count"] = attempt
        self.apply(EventKind.LAUNCHED, worker_id=worker_id, task_id=f"{worker_id}-{attempt}", data=data)

    def status(self, worker_id, state, **fields):
        task_id = self._view.workers[worker_id].task_id
        self.apply(EventKind.STATUS, worker_id=worker_id, task_id=task_id, state=state, **fields)

    def progress(self, worker_id, fraction, text=""):
        task_id = self._view.workers[worker_id].task_id
        data = {"progress": fraction, "text": text}
        self.apply(EventKind.PROGRESS, worker_id=worker_id, task_id=task_id, data=data)

    def finish(self, worker_id, ok=True):
        task_id = self._view.workers[worker_id].task_id
        self.apply(EventKind.RESULT, worker_id=worker_id, task_id=task_id, data={"ok": ok})
        self.status(worker_id, "FINISHED", data={"exit_code": 0})

    def start(self, hosts=("node-1", "node-2")):
        for worker_id in range(self.spec.number_of_workers):
            self.launch(worker_id, hosts[worker_id % len(hosts)])
        for worker_id in range(self.spec.number_of_workers):
            self.status(worker_id, "RUNNING", source="SOURCE_EXECUTOR")

    def run_well(self, steps=4, pause=0.1):
        self.start()
        for step in range(1, steps):
            time.sleep(pause)
            for worker_id in range(self.spec.number_of_workers):
                self.progress(worker_id, step / steps, f"epoch {step}")
        for worker_id in range(self.spec.number_of_workers):
            self.finish(worker_id)

    def fail(self, worker_id=0, message="ZeroDivisionError: division by zero"):
        self.remote_traceback = (
            f'Traceback (most recent call last):\n  File "<cell {self.name}>", line 3, in <cell>\n'
            "    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n"
        )
        self.status(worker_id, "FAILED", reason="REASON_COMMAND_EXECUTOR_FAILED", message=message)
        self.apply(EventKind.KILL, reason="WORKER_FAILED", message=f"worker {worker_id} failed")
        for worker in self.view().workers:
            if not worker.state.is_terminal:
                self.status(worker.worker_id, "KILLED")


Job.__module__ = "t2notebook.client.job"


@dataclass
class Prepared:
    digest: str = "sha256:" + "a" * 12
    size: int = 12_345
    contents: dict = field(default_factory=lambda: {"data": 8_000_000, "model": 0})
    resources: tuple = ()
    files: dict = field(default_factory=dict)
    notes: tuple = ()


@dataclass
class Named:
    job_id: str
    has_ended: bool


@dataclass
class Submitted:
    function: object
    options: dict


class FakeClient(types.ModuleType):
    """`script(job)`, if set, is run on a thread for each submitted job."""

    def __init__(self):
        super().__init__("t2notebook.client")
        self.Job = Job
        self.script = None
        self.submitted = []
        self.handles = {}
        self.refuse = ""
        self.cluster = None

    def submit(self, function, **options):
        if self.refuse:
            raise SubmitError(self.refuse)
        self.submitted.append(Submitted(function, options))
        job = Job(options["name"], options["workers"], options["cpu"], options["ram_mega_bytes"])
        self.handles[job.job_id] = job
        if self.script is not None:
            threading.Thread(target=self.script, args=(job,), daemon=True).start()
        return job

    def prepare(self, function, **options):
        return Prepared()

    def named(self, name):
        found = [job for job in self.handles.values() if job.name == name]
        return [Named(job.job_id, job.state.is_final) for job in reversed(found)]

    def unfinished_named(self, name):
        return [self.handles[one.job_id] for one in self.named(name) if not one.has_ended]

    def jobs(self):
        return jobs_frame([job_row(job.view()) for job in self.handles.values()])

    def job_ids(self):
        return list(self.handles)

    def attach(self, job_id):
        try:
            return self.handles[job_id]
        except KeyError:
            raise UnknownJob(f"no session knows job {job_id}") from None

    def get_config(self):
        return get_config()

    sources_of_settings = staticmethod(sources_of_settings)
    help_of_settings = staticmethod(help_of_settings)

    def cluster_figures(self):
        names = {"slaves_active": 2, "slaves_unreachable": 1, "cpus_used": 3.4, "cpus_total": 8.8}
        names |= {"mem_used": 1000, "mem_total": 8704, "gpus_total": 0}
        names |= {"tasks_running": 3, "tasks_staging": 1, "frameworks_active": 2}
        return names if self.cluster else {}

    def cluster_page(self):
        return {}

    def jobs_on_cluster(self):
        return [job.job_id for job in self.handles.values() if not job.state.is_final]

    def cluster_info(self):
        return self.cluster

    def start_cluster(self):
        self.cluster = {"master": "127.0.0.1:5050", "pid": 17}
        return self.cluster

    def stop_cluster(self):
        was, self.cluster = self.cluster is not None, None
        return was


def install(set_item=None, set_attribute=None):
    """Put a `FakeClient` in the place of `t2notebook.client`; return it."""
    import t2notebook

    client = FakeClient()
    (set_item or dict.__setitem__)(sys.modules, "t2notebook.client", client)
    if set_attribute is None:
        t2notebook.client = client
    else:
        set_attribute(t2notebook, "client", client, raising=False)
    try:
        import t2notebook.package.cell
    except ImportError:
        capture = types.ModuleType("t2notebook.package.cell")
        capture.cell_function = _cell_function
        (set_item or dict.__setitem__)(sys.modules, "t2notebook.package.cell", capture)
    return client


def _cell_function(source, namespace, *, name, include=()):
    code = compile(source, f"<cell {name}>", "exec")

    def cell(env):
        exec(code, {**namespace, "env": env})

    return cell
