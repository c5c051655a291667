"""The options of ``%%twister2 submit``."""

from __future__ import annotations

from ...model.job import FaultTolerance, JobSpec, Placement
from .parser import VerbParser, add_include, amount, choice, variable, whole
from .resource_arguments import add_resources

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
