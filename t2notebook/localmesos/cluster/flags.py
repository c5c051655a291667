"""The embedded Mesos's command line: `python -m t2notebook.localmesos` and `t2notebook local`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..agent.containerizer.isolator import CGROUPS, WATCHING
from ..agent.options import DISK_WATCH, GC_HEADROOM, WEEK
from ..common import attributes, zookeeper
from ..common.durations import parse_duration
from ..common.task_ports import FIRST_PORT, PORTS
from ..faults import faults
from ..master import authentication
from ..master.allocator.sorter import POLICIES
from ..simulation import durations

WHOLE_CLUSTER = {
    "alone": None,
    "remote": None,
    "link_secret": None,
    "resources": None,
    "hostname": "",
    "agent_port": 0,
}
"""Options that only a master or an agent that runs alone has otherwise (`standalone`)."""


def parse(
    arguments: Sequence[str] | None, *, program: str = "python -m t2notebook.localmesos"
) -> argparse.Namespace:
    """Read the command line.

    Returns
    -------
    argparse.Namespace
        With `agents` settled, `parsed_attributes` (a list of `Attribute` messages for each agent) and `fault` (a
        list of `faults.Timed`).
    """
    parser = argparse.ArgumentParser(prog=program, description="An embedded Mesos cluster.")
    parser.add_argument("--agents", type=int, metavar="N", help="2; with --simulate none")
    parser.add_argument("--cpus", type=float, default=4, help="of each agent")
    parser.add_argument("--mem", type=float, default=4096, help="MiB of each agent")
    parser.add_argument("--disk", type=float, default=10240, help="MiB of each agent")
    parser.add_argument("--gpus", type=float, default=0, help="of each agent")
    parser.add_argument(
        "--attributes",
        action="append",
        help="'rack:r1;level:10;ports:[1-9]': text, numbers and ranges; once for all agents, or once for each",
    )
    parser.add_argument("--work-dir", help="kept; without it a temporary one that is removed at the end")
    parser.add_argument("--ip", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="of the master; 0 takes a free one")
    parser.add_argument(
        "--first-port",
        type=int,
        default=FIRST_PORT,
        metavar="PORT",
        help=f"of the first agent's {PORTS} ports for tasks; those of the others follow (default: {FIRST_PORT})",
    )
    parser.add_argument("--exit-when-idle", type=float, metavar="SECONDS")
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process is gone")
    parser.add_argument("--detach", action="store_true", help="go on as nobody's child")
    parser.add_argument("--announce-fd", type=int, metavar="FD", default=1)
    parser.add_argument(
        "--agent-timeout", type=float, default=5.0, metavar="SECONDS", help="silence of a lost agent"
    )
    parser.add_argument(
        "--masters", type=int, default=1, metavar="N", help="with --zk: so many, of which one leads"
    )
    parser.add_argument(
        "--zk", metavar="zk://HOST:PORT,.../PATH", help="the ZooKeeper where masters are elected"
    )
    parser.add_argument("--zk-session-timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument(
        "--credentials",
        metavar="FILE",
        help="ask for HTTP authentication: JSON as Mesos has it, or lines 'principal secret'",
    )
    parser.add_argument(
        "--restart",
        type=float,
        metavar="SECONDS",
        help="start an agent or a master that died unasked again after so many seconds",
    )
    parser.add_argument("--executor-registration-timeout", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument(
        "--allocator",
        choices=sorted(POLICIES),
        default="drf",
        help="drf: fair shares; priority: the greatest weight first",
    )
    parser.add_argument(
        "--weights", type=read_weights, default={}, metavar="ROLE=NUMBER,...", help="of roles; 1 for the rest"
    )
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="add N simulated agents")
    parser.add_argument(
        "--simulate-duration",
        default="normal:30,10",
        type=_duration,
        metavar="KIND:NUMBERS",
        help="how long their tasks run: fixed:S, normal:MEAN,DEVIATION, exp:MEAN, uniform:LEAST,MOST (seconds)",
    )
    parser.add_argument(
        "--fault", action="append", type=_fault, default=[], metavar="SECONDS:WHAT[:...]", help=faults.HELP
    )
    add_agent_flags(parser)
    parser.set_defaults(**WHOLE_CLUSTER)
    options = parser.parse_args(arguments)
    if options.agents is None:
        options.agents = 0 if options.simulate else 2
    if options.agents < 0 or options.simulate < 0 or options.agents + options.simulate < 1:
        parser.error("--agents must be at least 1")
    if options.masters < 1 or (options.masters > 1 and options.zk is None):
        parser.error("--masters above 1 needs --zk")
    try:
        options.secrets = read_secrets(options.credentials)
        if options.zk is not None:
            zookeeper.parse(options.zk)
    except (OSError, ValueError) as error:
        parser.error(f"--credentials: {error}" if options.zk is None else str(error))
    if options.attributes and len(options.attributes) not in (1, options.agents):
        parser.error("--attributes must be given once, or once for each agent")
    try:
        options.parsed_attributes = [attributes.parse(text) for text in options.attributes or [""]]
    except ValueError as error:
        parser.error(str(error))
    return options


def add_agent_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that mesos-agent has by the same names."""
    group = parser.add_argument_group("agents, as mesos-agent's flags of these names")
    group.add_argument(
        "--isolation",
        choices=("auto", CGROUPS, WATCHING),
        default="auto",
        help="how containers are kept to their memory: by control groups (also to their share of the cpus), by "
        "watching them, or (auto) by control groups where they can be had",
    )
    group.add_argument(
        "--cgroups-enable-cfs", action="store_true", help="with control groups: cpus are a limit, not a share"
    )
    group.add_argument(
        "--docker",
        default="",
        metavar="PROGRAM",
        help="what runs containers with images: podman or docker (by default whichever is on PATH), or none",
    )
    group.add_argument(
        "--gc-delay",
        type=_seconds,
        default=WEEK,
        metavar="DURATION",
        help="sandboxes are kept so long (1weeks)",
    )
    group.add_argument(
        "--gc-disk-headroom",
        type=_share,
        default=GC_HEADROOM,
        metavar="SHARE",
        help="they go after gc_delay * (1 - this - disk usage), if that is sooner (0.1)",
    )
    group.add_argument(
        "--disk-watch-interval",
        type=_seconds,
        default=DISK_WATCH,
        metavar="DURATION",
        help="how often the disk is looked at (1mins)",
    )
    group.add_argument(
        "--registration-backoff-factor",
        type=_seconds,
        metavar="DURATION",
        help="a master that does not take the agent is asked again after pauses at random of at most this, twice this "
        "and so on, up to a minute, as mesos-agent does (1secs there; without this flag: within a second each time)",
    )


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share between 0 and 1")
    return share


def read_secrets(path: str | None) -> dict[str, str] | None:
    """Read credentials, by principal; None for no file."""
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return authentication.read_credentials(file.read())


def _duration(text: str) -> str:
    try:
        durations.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _fault(text: str) -> faults.Timed:
    try:
        return faults.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_weights(text: str) -> dict[str, float]:
    """Read weights, by role.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is not `ROLE=NUMBER,...`.
    """
    found = {}
    for part in text.split(","):
        role, equals, number = part.strip().partition("=")
        weight = float(number) if equals else 0.0
        if not role or not 0 < weight < float("inf"):
            raise argparse.ArgumentTypeError(f"'{part}' is not ROLE=NUMBER, with a number above 0")
        found[role] = weight
    return found
