"""The verbs about jobs: status, list, why, logs, kill, attach."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ...frames import why_text
from ...model.wording import its_workers
from ...views.snapshot import snapshot
from ..errors import UsageError
from ..output import kernel_shell
from ..publisher import why_lost
from ..rendering.html import jobs_html
from ..rendering.text import job_text
from .parser import VerbParser, variable, whole
from .targets import find_job, the_client

JOB_HELP = "a job id, the beginning of one, a job's name, or a variable that holds a job"


def status_parser() -> VerbParser:
    """Return the parser of ``%twister2 status``."""
    parser = VerbParser("status", "Show a job and its workers as they are now.")
    parser.add_argument(
        "job", nargs="?", metavar="JOB", help=f"{JOB_HELP} (default: this kernel's running jobs)"
    )
    return parser


def status(ip: Any, arguments: argparse.Namespace) -> None:
    """Print one job, or all of this kernel that have not ended; without any, the newest."""
    if arguments.job:
        jobs = [find_job(arguments.job, ip.user_ns)]
    else:
        every = [find_job(job_id, ip.user_ns) for job_id in the_client().job_ids()]
        jobs = [job for job in every if not job.state.is_final] or every[-1:]
    if not jobs:
        print("This kernel has no job; %twister2 list shows those of earlier ones.")
        return
    records = [snapshot(job.view(), lost=why_lost(job)) for job in jobs]
    text = "\n\n".join(job_text(record) for record in records)
    if kernel_shell() is None:
        print(text)
    else:
        ip.display_pub.publish({"text/plain": text, "text/html": jobs_html(records)})


def list_parser() -> VerbParser:
    """Return the parser of ``%twister2 list``."""
    return VerbParser(
        "list", "Return a table of all your jobs, from all kernels and sessions, living and dead."
    )


def list_jobs(ip: Any, arguments: argparse.Namespace) -> Any:
    """Return the table of jobs."""
    return the_client().jobs()


def why_parser() -> VerbParser:
    """Return the parser of ``%twister2 why``."""
    parser = VerbParser(
        "why", "Say why a job waits for resources, or has waited: what each agent lacked for it."
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    return parser


def why(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the sentence and the table."""
    job = find_job(arguments.job, ip.user_ns)
    print(why_text(job.view(), job.why))


def logs_parser() -> VerbParser:
    """Return the parser of ``%twister2 logs``."""
    parser = VerbParser("logs", "Print what workers have written.")
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "worker",
        nargs="?",
        metavar="WORKER",
        type=whole("WORKER", minimum=0),
        help="the worker's id, from 0 (default: all workers, each line with its worker's id before it)",
    )
    parser.add_argument(
        "--tail",
        metavar="N",
        type=whole("--tail", minimum=0),
        help="only the last N lines, of each worker",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until the worker ends; stop with the stop button"
    )
    parser.add_argument("--stderr", action="store_true", help="its stderr instead of its stdout")
    return parser


def logs(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the output of a worker, or of all; if asked to, as it comes.

    Raises
    ------
    UsageError
        When the job has no such worker.
    """
    job = find_job(arguments.job, ip.user_ns)
    number = len(job.view().workers)
    if arguments.worker is not None and arguments.worker >= number:
        raise UsageError(f"job {job.job_id} has {its_workers(number)}, not {arguments.worker}")
    stream = "stderr" if arguments.stderr else "stdout"
    found = job.logs(arguments.worker, stream=stream, follow=arguments.follow, tail=arguments.tail)
    if not arguments.follow:
        print(found, end="" if found.endswith("\n") else "\n")
        return
    try:
        for piece in found:
            sys.stdout.write(piece)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("\n(stopped following; the job goes on)")


def kill_parser() -> VerbParser:
    """Return the parser of ``%twister2 kill``."""
    parser = VerbParser("kill", "End a job; its workers are killed.")
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    return parser


def kill(ip: Any, arguments: argparse.Namespace) -> None:
    """Kill a job, unless it has ended."""
    job = find_job(arguments.job, ip.user_ns, to_end=True)
    if job.state.is_final:
        print(f"Job {job.job_id} has already ended: {job.state}.")
        return
    job.kill()
    print(f"Job {job.job_id} is being killed.")


def restart_parser() -> VerbParser:
    """Return the parser of ``%twister2 restart``."""
    parser = VerbParser(
        "restart",
        "Run a job that has ended once more, from its last checkpoint if it has one, and show it.",
        epilog="It is another job, with the same code, values and resources; env.checkpoint gives it what the "
        "earlier one committed.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "-o", "--output", type=variable("--output"), metavar="VAR", help="put the handle into this variable"
    )
    return parser


def restart(ip: Any, arguments: argparse.Namespace) -> Any:
    """Return the new job's handle, which shows itself as a live view."""
    job = the_client().restart(find_job(arguments.job, ip.user_ns).job_id)
    if arguments.output:
        ip.user_ns[arguments.output] = job
    return job


def clear_parser() -> VerbParser:
    """Return the parser of ``%twister2 clear``."""
    parser = VerbParser(
        "clear", "Remove what a job that has ended left: results, package, its part of the persistent volume."
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    return parser


def clear(ip: Any, arguments: argparse.Namespace) -> None:
    """Print what was removed."""
    job = find_job(arguments.job, ip.user_ns)
    removed = the_client().clear(job.job_id)
    print("\n".join(f"Removed {one}." for one in removed) or f"Job {job.job_id} has left nothing.")


def attach_parser() -> VerbParser:
    """Return the parser of ``%twister2 attach``."""
    parser = VerbParser(
        "attach",
        "Return a handle on a job, also one that an earlier kernel started, and show it.",
        epilog="A job whose session has died is taken up again; one that has ended is read from its journal.\n",
    )
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.add_argument(
        "-o", "--output", type=variable("--output"), metavar="VAR", help="put the handle into this variable"
    )
    return parser


def attach(ip: Any, arguments: argparse.Namespace) -> Any:
    """Return the handle, which shows itself as a live view."""
    job = find_job(arguments.job, ip.user_ns)
    if arguments.output:
        ip.user_ns[arguments.output] = job
    return job
