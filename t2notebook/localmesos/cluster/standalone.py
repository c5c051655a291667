"""`t2notebook mesos-master` and `t2notebook mesos-agent`: an embedded Mesos whose parts start alone, on any hosts.

A small cluster for demos and tests, in containers for one; not a replacement of Apache Mesos.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shutil
import tempfile
from collections.abc import Sequence

from ..common import attributes, zookeeper
from ..common.resources import Resources
from ..common.task_ports import FIRST_PORT, PORTS
from ..faults.faults import Json
from ..master.allocator.sorter import POLICIES
from . import flags, supervisor
from .supervisor import AGENT, MASTER

MASTER_PORT, AGENT_PORT = 5050, 5051
SHORTEST_SECRET = 16
MEBIBYTE = 1 << 20

#: As in Mesos's agent: what it leaves of memory and disk to the rest of the host (MiB), at the most half of it.
SPARE_MEM, SPARE_DISK = 1024.0, 5120.0

PLAINTEXT = "not encrypted: the secret keeps others out, but who can see the network can read it"


def master(arguments: Sequence[str] | None = None) -> int:
    """Run a master alone until it is told to end; give the exit code."""
    options = parse_master(arguments)
    where = f"zk     {options.zk}" if options.zk else "leads  always, for want of --zk"
    return supervisor.run(
        options, lambda line: _tell("master", f"http://{line['master']}/", where, options, line)
    )


def agent(arguments: Sequence[str] | None = None) -> int:
    """Run an agent alone until it is told to end; give the exit code."""
    options = parse_agent(arguments)
    has = f"has    {options.resources.text().replace('(allocated: *)', '')}"
    where = f"http://{_bracketed(options.ip)}:{options.agent_port or '(a free port)'}/"
    return supervisor.run(options, lambda line: _tell("agent", where, has, options, line))


def parse_master(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line of a master."""
    parser = _parser(
        MASTER,
        "A master of the embedded Mesos, alone: agents on other hosts join it with `t2notebook mesos-agent`. For demos "
        "and tests; it is no Apache Mesos.",
    )
    parser.add_argument(
        "--ip", default="127.0.0.1", help="address to listen on, which agents and frameworks reach"
    )
    parser.add_argument("--port", type=int, default=MASTER_PORT, help=f"{MASTER_PORT}; 0 takes a free one")
    parser.add_argument(
        "--zk",
        metavar="zk://HOST:PORT,.../PATH",
        help="the ZooKeeper where masters are elected; alone it leads",
    )
    _common(parser)
    parser.add_argument(
        "--agent-timeout", type=float, default=5.0, metavar="SECONDS", help="silence of a lost agent"
    )
    parser.add_argument(
        "--credentials",
        metavar="FILE",
        help="ask frameworks for HTTP authentication, as mesos-master's flag does",
    )
    parser.add_argument("--allocator", choices=sorted(POLICIES), default="drf")
    parser.add_argument("--weights", type=flags.read_weights, default={}, metavar="ROLE=NUMBER,...")
    options = parser.parse_args(arguments)
    try:
        options.secrets = flags.read_secrets(options.credentials)
    except (OSError, ValueError) as error:
        parser.error(f"--credentials: {error}")
    _settle(parser, options, [options.ip])
    return options


def parse_agent(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line of an agent."""
    parser = _parser(
        AGENT,
        "An agent of the embedded Mesos, alone: joins a `t2notebook mesos-master`, or the one that leads. For demos "
        "and tests; it is no Apache Mesos.",
    )
    parser.add_argument("--master", required=True, metavar="HOST:PORT|zk://...", help="whom to join")
    parser.add_argument(
        "--ip",
        default="127.0.0.1",
        help="address to listen on, which masters, executors and frameworks reach",
    )
    parser.add_argument(
        "--port", dest="agent_port", type=int, default=AGENT_PORT, help=f"{AGENT_PORT}; 0 takes a free one"
    )
    parser.add_argument(
        "--hostname", default="", help="what the host is called in offers; by default its --ip"
    )
    parser.add_argument(
        "--resources",
        default="",
        metavar="TEXT",
        help="'cpus:4;mem:4096;disk:10240;ports:[31000-31999]'; what is not named is what the host has",
    )
    parser.add_argument(
        "--attributes", default="", metavar="TEXT", help="'rack:r1;level:10;keys:[1000-1500]'"
    )
    _common(parser)
    parser.add_argument("--executor-registration-timeout", type=float, default=60.0, metavar="SECONDS")
    flags.add_agent_flags(parser)
    options = parser.parse_args(arguments)
    options.remote = ("", 0)
    if options.master.startswith("zk://"):
        options.zk = options.master
    else:
        options.remote = _address(parser, options.master)
    try:
        options.parsed_attributes = [attributes.parse(options.attributes)]
        options.resources = _resources(options.resources, options.work_dir)
    except ValueError as error:
        parser.error(str(error))
    _settle(parser, options, [options.ip, options.remote[0]])
    return options


def _parser(kind: str, description: str) -> argparse.ArgumentParser:
    epilog = f"What passes between a master and its agents is {PLAINTEXT}."
    parser = argparse.ArgumentParser(prog=f"t2notebook mesos-{kind}", description=description, epilog=epilog)
    parser.set_defaults(**flags.WHOLE_CLUSTER)
    parser.set_defaults(alone=kind, masters=int(kind == MASTER), agents=int(kind == AGENT), simulate=0)
    parser.set_defaults(exit_when_idle=None, port=0, zk=None, isolation="auto")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        help=f"what agents show to masters: the same text of {SHORTEST_SECRET} characters or more on all hosts; may be "
        "left out on loopback only",
    )
    parser.add_argument("--work-dir", help="kept; without it a temporary one that is removed at the end")
    parser.add_argument("--zk-session-timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument(
        "--restart",
        type=float,
        metavar="SECONDS",
        help="begin anew after so many seconds when it died unasked",
    )
    parser.set_defaults(detach=False, parent_pid=None, announce_fd=1, fault=[])


def _settle(parser: argparse.ArgumentParser, options: argparse.Namespace, hosts: Sequence[str]) -> None:
    """Check addresses, and read the secret that they ask for."""
    if options.zk is not None:
        try:
            zookeeper.parse(options.zk)
        except ValueError as error:
            parser.error(str(error))
    try:
        if ipaddress.ip_address(options.ip).is_unspecified:
            parser.error(f"--ip {options.ip} is no address that others can reach; give this host's own")
    except ValueError:
        parser.error(f"--ip {options.ip!r} is no address; give one of this host's, in digits")
    open_to_others = [host for host in hosts if host and not _is_loopback(host)]
    if options.secret_file is None:
        if open_to_others:
            parser.error(
                f"{open_to_others[0]} is reached by other hosts, so --secret-file is needed: the same random text "
                "on all of them (openssl rand -hex 32 makes one)"
            )
        options.link_secret = ""
        return
    try:
        with open(options.secret_file, encoding="utf-8") as file:
            options.link_secret = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(
            f"--secret-file {options.secret_file}: {getattr(error, 'strerror', None) or 'it is no text'}"
        )
    if len(options.link_secret) < SHORTEST_SECRET or not options.link_secret.isprintable():
        parser.error(
            f"--secret-file {options.secret_file} has to hold one line of {SHORTEST_SECRET} characters or more"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(parser: argparse.ArgumentParser, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        parser.error(f"--master {text!r} is neither HOST:PORT nor zk://HOST:PORT,.../PATH")
    return host, int(port)


def _resources(text: str, work_dir: str | None) -> Resources:
    """Read `cpus:4;mem:4096;ports:[31000-31999]`; what it does not name is found out.

    Raises
    ------
    ValueError
        It is not of this form.
    """
    try:
        given = attributes.parse(text)
    except ValueError as error:
        raise ValueError(str(error).replace("--attributes", "--resources")) from None
    scalars = {"cpus": float(os.cpu_count() or 1), "mem": _memory(), "disk": _disk(work_dir)}
    ports = [(FIRST_PORT, FIRST_PORT + PORTS - 1)]
    for one in given:
        name = one["name"]
        if name == "ports" and "ranges" in one:
            ports = [(span["begin"], span["end"]) for span in one["ranges"]["range"]]
        elif name in ("cpus", "mem", "disk", "gpus") and "scalar" in one:
            scalars[name] = one["scalar"]["value"]
        else:
            raise ValueError(
                f"--resources: {name} is none of cpus, mem, disk, gpus (numbers) and ports (ranges)"
            )
    return Resources.of(ports=ports, **scalars)


def _memory() -> float:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MEBIBYTE
    return float(int(max(total / 2, total - SPARE_MEM)))


def _disk(work_dir: str | None) -> float:
    place = work_dir if work_dir and os.path.isdir(work_dir) else tempfile.gettempdir()
    total = shutil.disk_usage(place).total / MEBIBYTE
    return float(int(max(total / 2, total - SPARE_DISK)))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tell(kind: str, where: str, more: str, options: argparse.Namespace, line: Json) -> None:
    link = f"link   {PLAINTEXT}" if options.link_secret else "link   for this machine alone, without a secret"
    joins = [f"joins  {options.master}"] if kind == AGENT else []
    rows = [f"at     {where}", *joins, more, link, f"files  {line['work_dir']}"]
    print(
        "\n".join([f"An embedded Mesos {kind} is running.", "", *(f"  {row}" for row in rows), ""]),
        flush=True,
    )
