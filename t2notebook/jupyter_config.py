"""Settings in the section ``T2Notebook`` of Jupyter's configuration files, and of the application that runs here.

The application is IPython, a kernel, or a Jupyter server, with its own configuration files and command line. Files are
those of any Jupyter application, in the same order: ``jupyter_config`` before ``t2notebook_config``, and each from the
system's folders to the user's; ``.py`` before ``.json``. The later one wins.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .model.errors import Twister2Error

log = logging.getLogger(__name__)

SECTION = "T2Notebook"
#: The file of all Jupyter applications, and the one of this project alone.
SHARED, OWN = "jupyter_config", "t2notebook_config"


@dataclass(frozen=True)
class Layer:
    """Settings that stand in one place.

    Parameters
    ----------
    values : mapping
        As they stand there.
    source : str
        The place, for messages.
    folder : Path or None
        The directory at which relative paths begin; None: the current one.
    """

    values: Mapping[str, Any]
    source: str
    folder: Path | None = None


def layers() -> list[Layer]:
    """Return all settings that are configured so, from the farthest to the nearest.

    Raises
    ------
    Twister2Error
        When ``t2notebook_config`` cannot be read. Of ``jupyter_config``, which is not this project's, the log tells it.
    """
    from jupyter_core.paths import jupyter_config_path

    folders = jupyter_config_path()[::-1]
    found = []
    for path in [
        f"{folder}/{name}{end}" for name in (SHARED, OWN) for folder in folders for end in (".py", ".json")
    ]:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if values := _section(path, (status.st_mtime_ns, status.st_size)):
            found.append(Layer(values, path, Path(path).parent))
    if values := _of_application():
        found.append(Layer(values, "the configuration of this process"))
    return found


#: By path: what the file was like when it was read (time, size), and its section.
_read: dict[str, tuple[tuple[int, int], Mapping[str, Any]]] = {}


def _section(path: str, mark: tuple[int, int]) -> Mapping[str, Any]:
    if path not in _read or _read[path][0] != mark:
        _read[path] = mark, _load(Path(path))
    return _read[path][1]


def _load(path: Path) -> Mapping[str, Any]:
    from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader

    kind = JSONFileConfigLoader if path.suffix == ".json" else PyFileConfigLoader
    try:
        config = kind(path.name, str(path.parent)).load_config()
    except (Exception, SystemExit) as error:  # a .py file is a program
        why = f"{path}: {type(error).__name__}: {error}"
        if path.stem == OWN:
            raise Twister2Error(why) from None
        log.warning("%s", why)
        return {}
    return dict(config.get(SECTION) or {})


def _of_application() -> Mapping[str, Any]:
    application = sys.modules.get("traitlets.config.application")  # without it, there is none
    if application is None or not application.Application.initialized():
        return {}
    return dict(application.Application.instance().config.get(SECTION) or {})
