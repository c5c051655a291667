"""The command line: the notebook's verbs where there is no notebook, and the embedded Mesos in the foreground."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence

from ._version import __version__
from .model.errors import Twister2Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``t2notebook VERB``; return the exit code."""
    _escape_what_cannot_be_shown()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["local"]:
        from .localmesos.cluster.foreground import main as local

        return local(given[1:])
    if given[:1] in (["mesos-master"], ["mesos-agent"]):
        from .localmesos.cluster import standalone

        return (standalone.master if given[0] == "mesos-master" else standalone.agent)(given[1:])
    if given[:1] == ["dash"]:
        return _dash(given[1:])
    options = _parser().parse_args(given)
    if "job" in options:
        options.job = _as_it_was_typed(options.job)
    try:
        code = int(options.run(options) or 0)
        sys.stdout.flush()
        return code
    except Twister2Error as error:
        print(f"t2notebook: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read us has seen enough, as in `t2notebook list | head`; there is nobody to be told at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _as_it_was_typed(argument: str) -> str:
    """Return a job's name, which is UTF-8 whatever the locale says of the command line's bytes."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument


def _escape_what_cannot_be_shown() -> None:
    r"""Show what the output's encoding has no place for as ``\u2192``, as in a terminal with Latin-1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="t2notebook", description="Twister2 jobs on Apache Mesos.")
    parser.add_argument("--version", action="version", version=f"t2notebook {__version__}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    verbs.add_parser("local", help="run an embedded Mesos in the foreground", add_help=False)
    verbs.add_parser("mesos-master", help="run a master of the embedded Mesos alone", add_help=False)
    verbs.add_parser("mesos-agent", help="run an agent of the embedded Mesos alone", add_help=False)
    verbs.add_parser("dash", help="show your jobs on a web page of their own", add_help=False)
    listing = verbs.add_parser("list", help="list your jobs, of all kernels and sessions")
    listing.add_argument("--all", action="store_true", help="not just the last 20")
    listing.set_defaults(run=_list)
    status = verbs.add_parser("status", help="show a job's workers")
    status.add_argument("job", help="a job's id, the beginning of one, or its name (the newest of several)")
    status.set_defaults(run=_status)
    why = verbs.add_parser("why", help="say why a job waits for resources, or has waited")
    why.add_argument("job")
    why.set_defaults(run=_why)
    logs = verbs.add_parser("logs", help="show what workers wrote")
    logs.add_argument("job")
    logs.add_argument("worker", type=int, nargs="?", help="by default all, each line with its worker's id")
    logs.add_argument("--tail", type=int, metavar="N", help="only the last N lines, of each worker")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the worker ends")
    logs.add_argument("--stderr", action="store_true")
    logs.set_defaults(run=_logs)
    top = verbs.add_parser("top", help="show what a job's workers use: cpu, memory, bytes, GPUs")
    top.add_argument("job")
    top.add_argument("--by", choices=("worker", "cpu", "mem"), default="worker", help="order")
    top.add_argument("-f", "--follow", action="store_true", help="show it anew until the job ends")
    top.set_defaults(run=_top)
    stack = verbs.add_parser("stack", help="show where workers are: the stack of each thread")
    stack.add_argument("job")
    stack.add_argument("worker", type=int, nargs="?", help="by default all that run")
    stack.set_defaults(run=_stack)
    profile = verbs.add_parser("profile", help="show where a worker spends its time")
    profile.add_argument("job")
    profile.add_argument("worker", type=int)
    profile.add_argument("--seconds", type=float, default=5.0, help="how long to look, 40 at the most")
    profile.set_defaults(run=_profile)
    debug = verbs.add_parser("debug", help="debug a worker that waits in the debugger")
    debug.add_argument("job")
    debug.add_argument("worker", type=int, nargs="?", help="by default the first that waits")
    debug.set_defaults(run=_debug)
    kill = verbs.add_parser("kill", help="end a job")
    kill.add_argument("job")
    kill.set_defaults(run=_kill)
    restart = verbs.add_parser("restart", help="run a job that has ended once more, from its last checkpoint")
    restart.add_argument("job")
    restart.set_defaults(run=_restart)
    clear = verbs.add_parser("clear", help="remove what a job that has ended left")
    clear.add_argument("job")
    clear.set_defaults(run=_clear)
    return parser


_DASH_HELP = """\
usage: t2notebook dash [-h] [--no-browser] [--port PORT] [OPTION ...]

Show your jobs, those of scripts included, on a web page of their own, on loopback with a token.

options:
  -h, --help    show this help message and exit
  --no-browser  open no browser; the page's address is printed
  --port PORT   where to listen (default: 8888, or the next one that is free)

All other options are the Jupyter server's: jupyter server --help-all"""


def _dash(arguments: Sequence[str]) -> int:
    """Become the server of the page: the Jupyter server's side is nothing that the command line holds."""
    from importlib.util import find_spec

    if {"-h", "--help"} & set(arguments):
        print(_DASH_HELP)
        return 0

    if find_spec("jupyter_server") is None:
        print("t2notebook: dash needs the Jupyter server: pip install jupyter_server", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", f"{__package__}.server.dash", *arguments]
    os.execv(sys.executable, command)


def _list(options: argparse.Namespace) -> None:
    from . import client

    frame = client.jobs()
    if frame.empty:
        print("no jobs yet")
        return
    frame = frame[["job_id", "state", "workers", "submitted", "session", "message"]].tail(
        None if options.all else 20
    )
    frame["submitted"] = frame.submitted.dt.strftime("%Y-%m-%d %H:%M:%S")
    frame["message"] = frame.message.str.slice(0, 60)
    print(frame.to_string(index=False, justify="left"))


def _status(options: argparse.Namespace) -> None:
    from . import client

    job = client.attach(options.job)
    print(job)
    columns = ["worker_id", "state", "host", "cpus", "mem", "started", "finished", "progress", "message"]
    print(job.tasks[columns].to_string(index=False))


def _why(options: argparse.Namespace) -> None:
    from . import client
    from .frames import why_text

    job = client.attach(options.job)
    print(why_text(job.view(), job.why))


def _logs(options: argparse.Namespace) -> None:
    from . import client

    job = client.attach(options.job)
    stream = "stderr" if options.stderr else "stdout"
    text = job.logs(options.worker, stream, follow=options.follow, tail=options.tail)
    for piece in text if options.follow else [text]:
        print(piece, end="", flush=True)


def _top(options: argparse.Namespace) -> None:
    from . import client
    from .client.top import top_text

    job = client.attach(options.job)
    # The first look that comes after attaching tells what is so now; without one there is what the journal has.
    job.await_use(2.0)
    while True:
        view = job.view()
        if options.follow and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        print(top_text(view, options.by), flush=True)
        if not options.follow or view.state.is_final or not job.is_attached:
            return
        time.sleep(2.0)


def _stack(options: argparse.Namespace) -> None:
    from . import client

    print(client.attach(options.job).stack(options.worker))


def _profile(options: argparse.Namespace) -> None:
    from . import client

    print(client.attach(options.job).profile(options.worker, options.seconds))


def _debug(options: argparse.Namespace) -> None:
    from . import client

    client.attach(options.job).debug(options.worker)


def _kill(options: argparse.Namespace) -> None:
    from . import client

    unfinished = [one.job_id for one in client.named(options.job) if not one.has_ended]
    if len(unfinished) > 1:
        raise Twister2Error(
            f"{len(unfinished)} unfinished jobs are called {options.job!r}: {', '.join(unfinished)}; give an id"
        )
    job = client.attach(unfinished[0] if unfinished else options.job)
    job.kill()
    print(f"{job.job_id} {job.wait(timeout=30)}")


def _restart(options: argparse.Namespace) -> None:
    from . import client

    job = client.restart(options.job)
    print(f"{job.job_id} {job.wait()}")


def _clear(options: argparse.Namespace) -> None:
    from . import client

    for one in client.clear(options.job):
        print(f"removed {one}")


if __name__ == "__main__":
    sys.exit(main())
