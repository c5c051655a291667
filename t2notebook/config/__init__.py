"""Settings of a kernel and its session. The nearest place that names one decides:

1. `configure`, or ``%config T2Notebook.NAME = VALUE`` in IPython;
2. the environment: ``T2_NAME``;
3. ``t2notebook.toml`` in Jupyter's configuration folder, or the file that ``T2_CONFIG`` names;
4. the section ``T2Notebook`` of IPython's or the kernel's own configuration (``c.T2Notebook.master = "h:5050"``);
5. the same section of Jupyter's ``t2notebook_config`` and ``jupyter_config`` (`t2notebook.jupyter_config`);
6. the default.

Secrets are no settings: they come from a file or the environment, never from a notebook's text, and no record of
settings holds one (`secrets_of`).
"""

from .directories import LONGEST_SOCKET, absolute_paths, data_dir, runtime_dir
from .secrets import Secrets, secrets_of
from .settings import PATHS, SYSTEM_CA, Config, help_of_settings
from .sources import config_file, configure, get_config, sources_of_settings

__all__ = [
    "LONGEST_SOCKET",
    "PATHS",
    "SYSTEM_CA",
    "Config",
    "Secrets",
    "absolute_paths",
    "config_file",
    "configure",
    "data_dir",
    "get_config",
    "help_of_settings",
    "runtime_dir",
    "secrets_of",
    "sources_of_settings",
]
