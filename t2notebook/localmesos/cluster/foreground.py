"""`t2notebook local`: an embedded Mesos in the foreground, with what one needs to know of it on one screen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..common import attributes
from ..faults.faults import Json
from . import flags, supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C; give the exit code."""
    options = flags.parse(arguments, program="t2notebook local")
    code = supervisor.run(options, lambda line: print(summary(options, line), flush=True))
    if code == 0:
        print("\nstopped; nothing is left running", flush=True)
    return code


def summary(options: argparse.Namespace, line: Json) -> str:
    """Describe a cluster.

    Parameters
    ----------
    line
        The supervisor's announcement.
    """
    master, work_dir = line["master"], line["work_dir"]
    each = f"{options.cpus:g} cpus, {options.mem:g} MiB memory, {options.disk:g} MiB disk"
    if options.gpus:
        each += f", {options.gpus:g} gpus"
    rows = [("master", f"http://{master}/"), ("use it", f't2.configure(master="{master}")')]
    rows.append(("", f"T2_MASTER={master} for programs that do not call t2.configure"))
    if options.agents:
        rows.append(("agents", f"{options.agents} with {each}" + (" each" if options.agents > 1 else "")))
    for index, found in enumerate(options.parsed_attributes):
        if found:
            who = f"agent{index + 1}: " if len(options.parsed_attributes) > 1 else ""
            rows.append(("", who + attributes.flag(found)))
    if options.simulate:
        rows.append(("simulated", f"{options.simulate:,} agents with {each} each"))
        rows.append(("", f"their tasks only pass their time: {options.simulate_duration} s"))
    if options.allocator != "drf" or options.weights:
        weights = ", ".join(f"{role}={weight:g}" for role, weight in options.weights.items())
        rows.append(("allocator", options.allocator + (f" with weights {weights}" if weights else "")))
    if options.agents:
        rows.append(("memory", f"containers are kept to it {line['isolation']}"))
    rows.append(("work dir", work_dir + ("" if options.work_dir else "  (removed at the end)")))
    rows.append(("logs", f"{work_dir}/log"))
    rows += [("fault", f"after {one.after:g} s: {_shown(one.request)}") for one in options.fault]
    rows.append(("stop", f"kill {line['pid']}" if options.detach else "Ctrl-C"))
    return "\n".join(
        ["An embedded Mesos is running.", "", *(f"  {name:11}{text}" for name, text in rows), ""]
    )


def _shown(request: Json) -> str:
    return " ".join(str(value) for value in request.values())


if __name__ == "__main__":
    sys.exit(main())
