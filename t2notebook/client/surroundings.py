"""Paths of modules and programs that workers on this machine take over from the kernel.

Only on the embedded Mesos; on other machines these paths mean nothing, or something else.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

from ..config import Config, absolute_paths

#: Variables that say where programs and modules are found, and in which words they speak; none holds a secret.
VARIABLES = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LANG", "LC_ALL", "LC_CTYPE", "TZ")


def is_embedded(config: Config) -> bool:
    """Whether the master of these settings is an embedded one: the user's own, or one that this kernel started."""
    if config.master == "local":
        return True
    control = sys.modules.get("t2notebook.localmesos.cluster.local_mesos")
    return control is not None and config.master.removeprefix("http://") in control.masters()


def module_path() -> tuple[str, ...]:
    """Return where this kernel finds modules, in its order, but for its own directory: what lies there travels."""
    here = absolute_paths([""])
    found = absolute_paths(path for path in sys.path if path)
    return tuple(path for path in found if path not in here and Path(path).exists())


def variables() -> dict[str, str]:
    """Return the environment that workers are given; `HOME` is none of it, hence where the user's own packages are."""
    found = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if site.ENABLE_USER_SITE:
        found["PYTHONUSERBASE"] = site.getuserbase()
    return found
