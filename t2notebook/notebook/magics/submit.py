"""``%%twister2 submit``: the cell becomes a job."""

from __future__ import annotations

import argparse
from typing import Any

from ...model.errors import JobFailed, Twister2Error
from ...model.job import FaultTolerance, JobSpec, Placement
from ...model.states import JobState
from ...views.snapshot import mebibytes, size, snapshot
from ..display import display_job
from ..errors import CellSyntaxError, Interrupted, UsageError
from ..follow import follow
from ..notices import told
from ..output import kernel_shell
from ..publisher import Watch
from ..rendering.text import align, job_text
from . import cell_jobs
from .parser import MAX, VerbParser, add_include, amount, choice, variable, whole
from .resources import add_resources
from .targets import the_client

#: How long the final view may take after the job has ended, s.
DRAW_TIMEOUT = 2.0
#: How long an interrupted cell waits for its killed job's end, s.
KILL_TIMEOUT = 10.0
#: Seconds between two looks whether a worker of an awaited job waits in the debugger.
HELD_LOOK = 0.5
#: How many sentences about what an awaited job waits for a terminal shows, where no view changes.
REASONS_TOLD = 5

#: Of `WorkerEnvironment`, for people.
ENV = """\
  env.worker_id, env.number_of_workers    its id, from 0, and how many workers there are
  env.job_id, env.config                  the job's id, and what config= gave
  env.progress(done, total, text)         shown in the view; without total, done is a fraction
  env.restart_count                       how often this worker was started again
  env.additional_ports                    the ports of --ports
  env.credentials                         the secrets of t2.submit(credentials=...)
  env.persistent_volume                   its directory on --persistent-volume, which outlives it
  env.volatile_volume                     a directory that is removed when it ends
  env.checkpoint                          init_variable(name, default), update_variable(name, value), commit()
  env.worker_controller                   finds the other workers and waits for them: get_all_workers(),
                                          wait_on_barrier()
  env.on_worker_event(callback)           callback(event) when workers join, fail, come or leave
  env.scale_up_workers(n)                 adds workers to a job of --scalable; env.scale_down_workers(n) takes some away
  env.send_to_driver(obj)                 to the notebook: job.on_message(callback)
  env.send(worker_id, obj)                to another worker
  env.messages(timeout)                   yields what the notebook (job.send) and other workers send"""

EPILOG = f"""\
The cell is the worker's code; the notebook's variables, functions and imports that it uses travel along. The
value of the last expression is the worker's result: job.results(). `env` tells the worker who it is:

{ENV}

  %%twister2 submit --workers 4 --cpus 1 --ram 256 -o job
  total = sum(data[env.worker_id :: env.number_of_workers])
  total

A value may be taken from a variable: --workers {{n}}
"""
ON_EXIT = ("kill", "detach")
JOB_MASTERS = ("session", "cluster")
WAIT_HELP = "wait for the end; without -o, return the workers' results; the stop button kills the job"


def make_parser() -> VerbParser:
    """Return the parser of ``%%twister2 submit``."""
    parser = VerbParser(
        "submit", "Run the cell as a job: on every worker, at once.", cell=True, epilog=EPILOG
    )
    add = parser.add_argument
    add("--name", metavar="NAME", help="name of the job (default: the notebook's, and N of In [N])")
    add_resources(parser)
    add(
        "--ports",
        type=whole("--ports", minimum=0),
        default=0,
        metavar="N",
        help="ports of its host that each worker has to itself: env.additional_ports (default: 0)",
    )
    add(
        "--image",
        default="",
        metavar="NAME",
        help="container image that the workers run in, with this notebook's version of CPython: python:3.12-slim "
        "(default: none, the agent's own file system)",
    )
    add("--gang", action="store_true", help="launch all workers at once, or none")
    add(
        "--gang-timeout",
        type=amount("--gang-timeout", "seconds"),
        default=Placement.gang_timeout,
        metavar="S",
        help="seconds for which offers are gathered for a gang before they are let go "
        f"(default: {Placement.gang_timeout:g})",
    )
    add(
        "--max-restarts",
        type=whole("--max-restarts", minimum=0),
        default=FaultTolerance.max_worker_restarts,
        metavar="N",
        help="how often one worker is started again before the job fails "
        f"(default: {FaultTolerance.max_worker_restarts})",
    )
    add(
        "--keep-going",
        action="store_true",
        help="when a worker fails, let the others go on: job.results(return_exceptions=True)",
    )
    add(
        "--scalable",
        action="store_true",
        help="let the number of workers change while the job runs: job.scale_up_workers(n), job.scale_down_workers(n)",
    )
    add(
        "--replace",
        action="store_true",
        help="first end the unfinished jobs of this cell's earlier runs, and with --name those of the name",
    )
    add(
        "--on-exit",
        type=choice("--on-exit", ON_EXIT),
        metavar="X",
        help="what becomes of the job when the kernel ends: kill or detach (default: t2.configure(on_exit=...))",
    )
    add(
        "--persistent-volume",
        default="",
        metavar="DIR",
        help="a directory that all agents have, or an address such as s3://bucket/t2: env.persistent_volume, "
        "env.checkpoint",
    )
    add(
        "--time-limit",
        type=amount("--time-limit", "seconds"),
        metavar="S",
        help="seconds after which the job is ended, from when its first worker runs (default: none)",
    )
    add(
        "--debug",
        action="store_true",
        help="let an exception that nobody catches hold its worker: %%twister2 debug JOB WORKER looks at it. "
        "A breakpoint() does so in any job",
    )
    add(
        "--debug-timeout",
        type=amount("--debug-timeout", "seconds"),
        default=JobSpec.debug_timeout,
        metavar="S",
        help="seconds that a worker waits in the debugger for somebody; then it goes on, or ends "
        f"(default: {JobSpec.debug_timeout:g})",
    )
    add(
        "--setenv",
        default=[],
        action="append",
        metavar="NAME",
        help="an environment variable of the kernel's that workers are given as well; may be given again",
    )
    add(
        "--discovery",
        default="",
        metavar="X",
        help="zookeeper: workers find each other in the ZooKeeper of t2.configure(zookeeper=...), or of a zk:// "
        "master; or its address, zk://h1:2181/path (default: they ask the job master)",
    )
    add(
        "--job-master",
        type=choice("--job-master", JOB_MASTERS),
        default="session",
        metavar="X",
        help="cluster: the job master runs as a task on Mesos, so that the job goes on without a session "
        "(default: session)",
    )
    add_include(parser)
    add(
        "--file",
        default=[],
        action="append",
        metavar="F",
        help="a file to take along, also a folder or a glob, relative to the notebook; workers find it under the "
        "same path; may be given again",
    )
    add(
        "-o",
        "--output",
        type=variable("--output"),
        metavar="VAR",
        help="put the job's handle into this variable",
    )
    add("--wait", action="store_true", help=WAIT_HELP)
    add(
        "--on-interrupt",
        type=choice("--on-interrupt", ON_EXIT),
        default="kill",
        metavar="X",
        help="what the stop button does to the job during --wait or --follow: kill or detach (default: kill)",
    )
    add(
        "--follow",
        action="store_true",
        help="print what workers write below the cell, as it comes; each line with its worker's id before it",
    )
    add(
        "--form",
        action="store_true",
        help="show sliders for workers, cpus, memory, ... that know the cluster; their button submits the cell",
    )
    add(
        "--dry-run",
        action="store_true",
        help="print what would be submitted, and submit nothing",
    )
    return parser


def run(ip: Any, arguments: argparse.Namespace, cell: str) -> list[Any] | None:
    """Submit `cell`, show its live view, and wait if asked to.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
    cell : str

    Returns
    -------
    list or None
        The results, after a wait where no variable has the handle.

    Raises
    ------
    UsageError
        When options contradict each other, or the cell cannot run on workers.
    JobFailed
        After a wait for a job that failed.
    """
    name = arguments.name or cell_jobs.default_name(ip)
    this = cell_jobs.SubmitCell(arguments.words, cell, cell_jobs.cell_key(ip, cell), name)
    if arguments.form:
        refuse_magics(cell)
        cell_worker(cell, ip.user_ns, name, arguments.include)  # better now than when somebody clicks
        from ..forms.form import show_for

        show_for(ip, arguments, this)
        return None
    return submit_cell(ip, arguments, this)


def submit_cell(ip: Any, arguments: argparse.Namespace, cell: cell_jobs.SubmitCell) -> list[Any] | None:
    """Submit a cell.

    Parameters
    ----------
    ip : InteractiveShell
    arguments : argparse.Namespace
        Of a line, which need not be the cell's own.
    cell : SubmitCell

    Returns
    -------
    list or None
        The results, after a wait where no variable has the handle.

    Raises
    ------
    UsageError
        When options contradict each other, or the cell cannot run on workers.
    JobFailed
        After a wait for a job that failed.
    """
    name = cell.name
    refuse_magics(cell.text)
    function = cell_worker(cell.text, ip.user_ns, name, arguments.include)
    options = {
        "workers": arguments.workers,
        "cpu": arguments.cpus,
        "ram_mega_bytes": arguments.ram,
        "disk_giga_bytes": arguments.disk,
        "workers_per_executor": arguments.workers_per_executor,
        "name": name,
        "gpus": arguments.gpus,
        "ports": arguments.ports,
        "image": arguments.image,
        "nodes": tuple(arguments.nodes),
        "where": arguments.where,
        "gang": arguments.gang,
        "gang_timeout": arguments.gang_timeout,
        "max_worker_restarts": arguments.max_restarts,
        "keep_going": arguments.keep_going,
        "scalable": arguments.scalable,
        "files": tuple(arguments.file),
    }
    client = the_client()
    if arguments.dry_run:
        print(describe(client.prepare(function, **options), arguments, name))
        return None
    earlier = cell_jobs.unfinished(cell.key)
    if arguments.replace:
        if arguments.name:
            earlier += client.unfinished_named(arguments.name)
        options["replace"] = earlier
    with told():
        job = client.submit(
            function,
            on_exit=arguments.on_exit,
            persistent_volume=arguments.persistent_volume,
            time_limit=arguments.time_limit,
            debug=arguments.debug,
            debug_timeout=arguments.debug_timeout,
            setenv=arguments.setenv,
            discovery=arguments.discovery,
            job_master=arguments.job_master,
            **options,
        )
    cell_jobs.remember(cell, job)
    if earlier and not arguments.replace:
        print(_still_running(earlier))
    if arguments.output:
        ip.user_ns[arguments.output] = job
    if not arguments.wait:
        display_job(job)
        if arguments.follow and follow(job) is None:
            _print_lines(job)
        return None
    watch = followed = None
    shown = job.view().waiting_for
    try:
        watch = display_job(job, is_told=True)
        if arguments.follow and (followed := follow(job)) is None:
            _print_lines(job)
        wait(job, watch, followed, shown=shown)
    except KeyboardInterrupt:
        if arguments.on_interrupt == "detach":
            raise Interrupted(
                f"you stopped the cell; job {job.job_id} goes on, and %twister2 kill ends it"
            ) from None
        raise Interrupted(_kill(job, watch)) from None
    return None if arguments.output else list(job.results())


def _still_running(jobs: list[Any]) -> str:
    one = len(jobs) == 1
    ids = ", ".join(job.job_id for job in jobs)
    return (
        f"Of this cell's earlier runs {'job' if one else 'jobs'} {ids} {'has' if one else 'have'} not ended; "
        f"%twister2 kill ends {'it' if one else 'them'}, and --replace does so first."
    )


def _print_lines(job: Any) -> None:
    """Print what workers write until the job's end: in a terminal, where nothing goes on below the prompt."""
    for piece in job.logs(follow=True):
        print(piece, end="", flush=True)


def wait(job: Any, *watches: Watch | None, shown: str = "") -> None:
    """Wait for the job's end and for its last view, and lines.

    Parameters
    ----------
    job : Job
    watches : Watch or None
        Whatever shows something of it.
    shown : str
        The reason for waiting that is on the screen already.

    Raises
    ------
    JobFailed
        When it did not end well.
    Interrupted
        When a worker was held, and somebody left the debugger.
    """
    state = _await_end(job, shown)
    for watch in watches:
        if watch is not None:
            watch.finish(DRAW_TIMEOUT)
    if kernel_shell() is None:
        print(job_text(snapshot(job.view())))
    if state is not JobState.COMPLETED:
        raise job.error() or JobFailed(f"job {job.job_id} ended as {state}", job_id=job.job_id)


def _await_end(job: Any, shown: str) -> JobState:
    """Wait for the job's end, and open the debugger here on workers that wait in it."""
    passed: set[int] = set()  # those that nothing can be typed for here
    told = {shown}
    while True:
        try:
            return JobState(job.wait(HELD_LOOK))
        except TimeoutError:
            if kernel_shell() is None:
                _say_why(job.view().waiting_for, told)
            held = next((worker_id for worker_id in job.held_workers() if worker_id not in passed), None)
        if held is None:
            continue
        try:
            if not job.attach_debugger(held):
                raise Interrupted(
                    f"you left the debugger; job {job.job_id} goes on, and %twister2 debug leads back"
                )
        except Interrupted:
            raise
        except Twister2Error as error:
            passed.add(held)
            print(error)


def _say_why(reason: str, told: set[str]) -> None:
    """Print what a job waits for, if that is new; a job whose reason changes all the time does not fill the screen."""
    if reason and reason not in told and len(told) <= REASONS_TOLD:
        told.add(reason)
        print(f"waiting: {reason}")


def _kill(job: Any, watch: Watch | None) -> str:
    """Kill `job` and say in one line what came of it; a second interrupt ends only the waiting."""
    try:
        job.kill()
        state = job.wait(KILL_TIMEOUT)
        if watch is not None:
            watch.finish(DRAW_TIMEOUT)
    except (KeyboardInterrupt, TimeoutError):
        return f"you stopped the cell; job {job.job_id} is being killed"
    except Exception as error:
        return f"you stopped the cell, but job {job.job_id} could not be killed: {error}"
    if state is JobState.KILLED:
        return f"you stopped the cell, so job {job.job_id} was killed"
    return f"you stopped the cell, but job {job.job_id} had already ended as {state}"


def refuse_magics(cell: str) -> None:
    """Refuse a line that only IPython understands: workers run plain Python.

    Raises
    ------
    UsageError
    """
    from IPython.core.inputtransformer2 import (
        EscapedCommand,
        HelpEnd,
        MagicAssign,
        SystemAssign,
        make_tokens_by_line,
    )

    lines = cell.splitlines(keepends=True)
    try:
        tokens = make_tokens_by_line(lines)
        kinds = (EscapedCommand, MagicAssign, SystemAssign, HelpEnd)
        found = [kind.find(tokens) for kind in kinds]  # type: ignore[no-untyped-call]
    except SyntaxError:
        return  # Python's own message is better
    numbers = [transformer.start_line + 1 for transformer in found if transformer is not None]
    if numbers:
        number = min(numbers)
        text = lines[number - 1].strip()
        raise UsageError(
            f"line {number} of the cell is no Python: {text!r}; workers run plain Python, so run %, ! "
            "and ? lines in a cell of their own"
        )


def cell_worker(cell: str, namespace: dict[str, Any], name: str, include: list[str]) -> Any:
    """Return the worker function that a cell is.

    Parameters
    ----------
    cell : str
    namespace : dict
        The notebook's variables.
    name : str
        The job's, for tracebacks.
    include : list of str
        Variables of ``-i``.

    Raises
    ------
    CellSyntaxError
        When the cell is no Python; it shows where.
    UsageError
        When there is no variable of a name in `include`.
    """
    if not cell.strip():
        raise UsageError("the cell is empty; write the worker's code below the %%twister2 line")
    from ...package.cell import cell_function

    try:
        return cell_function(cell, namespace, name=name, include=tuple(include))
    except SyntaxError as error:
        raise CellSyntaxError(error) from None


def describe(prepared: Any, arguments: argparse.Namespace, name: str) -> str:
    """Return what ``--dry-run`` prints of a prepared job.

    Parameters
    ----------
    prepared : Prepared
    arguments : argparse.Namespace
    name : str
        The job's.
    """
    extras = f", {arguments.disk:g} GiB of disk" if arguments.disk else ""
    for count, what in ((arguments.gpus, "GPU"), (arguments.ports, "port")):
        extras += f", {count} {what}{'s' * (count != 1)}" if count else ""
    cpus = f"{arguments.cpus:g} cpu{'' if arguments.cpus == 1 else 's'}"
    each = f"{cpus}, {mebibytes(arguments.ram)} of memory{extras}"
    share = arguments.workers_per_executor
    facts = [
        ["job", name],
        ["workers", f"{arguments.workers}, each with {each}"],
        [
            "executors",
            "as many workers in each as an offer holds"
            if share == MAX
            else f"{share} worker{'s' * (share != 1)} in each",
        ],
        *([["image", arguments.image]] if arguments.image else []),
        *_placement(arguments),
        ["package", f"{size(prepared.size)}, {prepared.digest}"],
    ]
    lines = ["Nothing was submitted. This would be:", *align(facts)]
    if prepared.contents:
        largest = sorted(prepared.contents.items(), key=lambda item: (-item[1], item[0]))
        # sizes are counted in steps of 64 KiB
        rows = [[f"  {key}", size(value) if value else "under 64 KiB"] for key, value in largest]
        lines += ["", "What travels with the cell:", *align(rows, right=[False, True])]
    else:
        lines += ["", "Nothing travels with the cell: it uses no name of this notebook."]
    if prepared.files:
        rows = [[f"  {key}", size(value)] for key, value in prepared.files.items()]
        lines += ["", "Files in each worker's current directory:", *align(rows, right=[False, True])]
    lines += ["", *(f"Note: {note}" for note in prepared.notes)] if prepared.notes else []
    return "\n".join(lines)


def _placement(arguments: argparse.Namespace) -> list[list[str]]:
    """Return what ``--dry-run`` prints of where and how the workers start, if that is not left open."""
    facts = []
    if arguments.nodes:
        facts.append(["nodes", f"only {', '.join(arguments.nodes)}"])
    if arguments.where:
        facts.append(["agents", arguments.where])
    if arguments.gang:
        facts.append(["gang", f"all workers at once; offers are gathered for {arguments.gang_timeout:g} s"])
    if arguments.keep_going:
        facts.append(["failures", "the other workers go on"])
    if arguments.max_restarts != FaultTolerance.max_worker_restarts:
        facts.append(["restarts", f"up to {arguments.max_restarts} of each worker"])
    if arguments.discovery:
        facts.append(["discovery", f"workers find each other in {arguments.discovery}"])
    if arguments.job_master == "cluster":
        facts.append(["job master", "a task on Mesos"])
    return facts
