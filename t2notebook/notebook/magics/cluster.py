"""The verbs about the cluster and the settings: cluster, config."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from ...views.snapshot import mebibytes
from ..cluster_view import show_cluster
from ..errors import UsageError
from ..rendering.text import align
from .parser import CLOSE, VerbParser
from .targets import the_client

ACTIONS = ("show", "start", "stop")
#: Jobs that are named.
SHOWN = 5


def cluster_parser() -> VerbParser:
    """Return the parser of ``%twister2 cluster``."""
    parser = VerbParser("cluster", "Show the Mesos cluster that jobs go to; start or stop the embedded one.")
    parser.add_argument(
        "action", nargs="?", default="show", metavar="ACTION", help="show (default), start or stop"
    )
    parser.add_argument(
        "--force", action="store_true", help="stop it although jobs run on it, which end with it"
    )
    return parser


def cluster(ip: Any, arguments: argparse.Namespace) -> None:
    """Print what is known of the cluster after the action, and what a stop has ended.

    Raises
    ------
    UsageError
        When jobs would end with it, and nothing says that they shall.
    """
    client = the_client()
    if arguments.action not in ACTIONS:
        raise UsageError(f"cluster {arguments.action}: say show, start or stop (%twister2 cluster --help)")
    if arguments.action == "stop":
        _stop(client, arguments.force)
        return
    info = client.start_cluster() if arguments.action == "start" else client.cluster_info()
    master = client.get_config().master
    if master != "local":
        print(f"Jobs go to the Mesos master {master}.")
    if show_cluster(ip):
        return
    facts = {} if info is None or master != "local" else {name: info[name] for name in ("master", "pid")}
    facts |= figures(client.cluster_figures())
    if facts:
        print(table(facts))
    elif master == "local":
        print("No embedded Mesos runs; the first job for it starts one.")
    else:
        print("Nothing is known of it yet: this kernel has no session there before its first job.")


def _stop(client: Any, is_forced: bool) -> None:
    job_ids = client.jobs_on_cluster()
    jobs = f"{len(job_ids)} unfinished job{'s' * (len(job_ids) != 1)}"
    some = ", ".join(job_ids[:SHOWN]) + (", ..." if len(job_ids) > SHOWN else "")
    if job_ids and not is_forced:
        raise UsageError(
            f"{jobs} would end with it: {some}; end them first, or %twister2 cluster stop --force"
        )
    if not client.stop_cluster():
        print("No embedded Mesos ran.")
    else:
        print(f"The embedded Mesos is stopped{f', and with it {jobs}: {some}' if job_ids else ''}.")


def figures(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return a master's metrics, named without ``master/``, as facts for people."""
    if not metrics:
        return {}
    count = {name: f"{metrics.get(name, 0.0):g}" for name in metrics}
    away = metrics.get("slaves_disconnected", 0.0) + metrics.get("slaves_unreachable", 0.0)
    waiting = sum(metrics.get(f"tasks_{state}", 0.0) for state in ("staging", "starting"))
    facts = {
        "agents": f"{count.get('slaves_active', 0)}{f' ({away:g} more cannot be reached)' if away else ''}",
        "cpus": f"{count.get('cpus_used', 0)} of {count.get('cpus_total', 0)} used",
        "memory": f"{_memory(metrics, 'used')} of {_memory(metrics, 'total')} used",
    }
    if metrics.get("gpus_total"):
        facts["gpus"] = f"{count.get('gpus_used', 0)} of {count['gpus_total']} used"
    starting = f", {waiting:g} starting" if waiting else ""
    return {
        **facts,
        "tasks": f"{count.get('tasks_running', 0)} running{starting}",
        "frameworks": count.get("frameworks_active", "0"),
    }


def _memory(metrics: Mapping[str, float], which: str) -> str:
    return mebibytes(metrics.get(f"mem_{which}", 0.0))


def config_parser() -> VerbParser:
    """Return the parser of ``%twister2 config``."""
    parser = VerbParser(
        "config",
        "Show the settings that hold now, and where each comes from.",
        epilog="The nearest place decides: t2.configure(NAME=value) or %config T2Notebook.NAME = value, a variable "
        "T2_NAME,\nt2notebook.toml in Jupyter's configuration folder, c.T2Notebook.NAME in IPython's and Jupyter's "
        "files.\n",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a setting: also what it means (default: all)"
    )
    return parser


def config(ip: Any, arguments: argparse.Namespace) -> None:
    """Print the settings.

    Raises
    ------
    UsageError
        When there is no such setting.
    """
    client = the_client()
    values, sources = asdict(client.get_config()), client.sources_of_settings()
    if not arguments.name:
        rows = [[name, _plain(value), sources[name] or "default"] for name, value in values.items()]
        print("\n".join(align([["setting", "value", "from"], *rows])))
        return
    if arguments.name not in values:
        close = difflib.get_close_matches(arguments.name, values, n=1, cutoff=CLOSE)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(values)}"
        raise UsageError(f"there is no setting {arguments.name!r}{hint}")
    print(f"{arguments.name} = {values[arguments.name]!r}, from {sources[arguments.name] or 'the default'}")
    if text := client.help_of_settings().get(arguments.name, ""):
        print(textwrap.fill(text, 96))


def table(record: Any) -> str:
    """Return a mapping or a dataclass as aligned lines ``name  value``; anything else as its text."""
    if is_dataclass(record) and not isinstance(record, type):
        record = asdict(record)
    if not isinstance(record, Mapping):
        return str(record)
    lines: list[str] = []
    for name, value in record.items():
        if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            lines += [f"{name}:", *(f"  {line}" for line in _rows(value))]
        else:
            lines.append(f"{name}\t{_plain(value)}")
    width = max((len(line.partition("\t")[0]) for line in lines if "\t" in line), default=0)
    return "\n".join(
        f"{name:<{width}}  {value}".rstrip() if tab else name for name, tab, value in _parts(lines)
    )


def _parts(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition("\t") for line in lines]


def _rows(records: list[Mapping[str, Any]] | tuple[Mapping[str, Any], ...]) -> list[str]:
    names = list(dict.fromkeys(name for record in records for name in record))
    return align([names, *([_plain(record.get(name, "")) for name in names] for record in records)])


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return "" if value is None else str(value)
