"""Places that settings come from, and what therefore holds."""

from __future__ import annotations

import inspect
import os
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .. import jupyter_config
from ..model import address
from ..model.errors import Twister2Error
from .directories import absolute
from .settings import PATHS, SYSTEM_CA, Config

#: Settings that may name a ZooKeeper, and with it a password that is none of theirs.
ZOOKEEPERS = ("master", "zookeeper")
_configured: dict[str, Any] = {}


def _with_settings(function: Any) -> Any:
    """Give a function of any settings the signature and the documentation of the fields of `Config`."""
    function.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=type(one.default)
            )
            for one in fields(Config)
        ],
        return_annotation=Config,
    )
    if function.__doc__ and Config.__doc__:  # there is none under python -OO
        settings = Config.__doc__.partition("----------\n")[2].rstrip()
        function.__doc__ = function.__doc__.replace("    **settings\n", f"{settings}\n")
    return function


@_with_settings
def configure(**settings: Any) -> Config:
    """Set what is given for this kernel, and leave the rest as it is; the next submit uses it.

    Parameters
    ----------
    **settings

    Returns
    -------
    Config
        What now holds.

    Raises
    ------
    Twister2Error
        When a name is unknown or a value cannot be.
    """
    checked = {}
    for name, value in settings.items():
        if name in ZOOKEEPERS and address.split_userinfo(str(value))[1]:
            raise Twister2Error(
                f"configure({name}=...) holds a password, which does not belong into a notebook; "
                f"set T2_{name.upper()} before the kernel starts, or write it into t2notebook.toml"
            )
        checked[name] = _convert(name, value, f"configure({name}=...)")
    before = dict(_configured)
    _configured.update(checked)
    try:
        return get_config()
    except Twister2Error:
        _configured.clear()
        _configured.update(before)
        raise


def get_config() -> Config:
    """Return the settings that hold now.

    Raises
    ------
    Twister2Error
        When a place names a setting that there is not, or a value that cannot be.
    """
    return replace(Config(), **{name: value for name, (value, _) in _decided().items()})


def sources_of_settings() -> dict[str, str]:
    """Return the place that each setting comes from: ``T2_MASTER``, a file, ``t2.configure``; empty: a default.

    Raises
    ------
    Twister2Error
        As `get_config` does.
    """
    decided = _decided()
    return {one.name: decided[one.name][1] if one.name in decided else "" for one in fields(Config)}


def _decided() -> dict[str, tuple[Any, str]]:
    """Return the settings that some place names: the value, and the nearest place."""
    found: dict[str, tuple[Any, str]] = {}
    for layer in jupyter_config.layers():
        for name, value in layer.values.items():
            source = f"{jupyter_config.SECTION}.{name} in {layer.source}"
            found[name] = (_convert(name, value, source, layer.folder), str(layer.source))
    found |= {name: (value, str(config_file())) for name, value in _from_file(config_file()).items()}
    for name in _TYPES:
        variable = f"T2_{name.upper()}"
        if (text := os.environ.get(variable)) is not None:
            found[name] = (_convert(name, text, variable), variable)
    return found | {name: (value, "t2.configure") for name, value in _configured.items()}


def is_configured(name: str) -> bool:
    """Whether `configure` has set it in this kernel."""
    return name in _configured


def config_file() -> Path:
    """Return where the configuration file is looked for: ``T2_CONFIG``, or ``t2notebook.toml`` in Jupyter's
    folder.
    """
    if path := os.environ.get("T2_CONFIG"):
        return Path(path)
    from jupyter_core.paths import jupyter_config_dir

    return absolute(jupyter_config_dir()) / "t2notebook.toml"


_TYPES: dict[str, type[Any]] = {one.name: type(one.default) for one in fields(Config)}
_WANTED = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def _truth(value: Any) -> bool:
    """Return what a yes or no means: in the environment, all are texts.

    Raises
    ------
    ValueError
    """
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
    text = str(value).strip().lower()
    if text not in words:
        raise ValueError(value)
    return words[text]


def _of_type(kind: type[Any], value: Any) -> Any:
    """Return a text or number as the type of a setting; what would change by that is refused.

    Raises
    ------
    ValueError, TypeError
    """
    if isinstance(value, bool) or (kind is str and not isinstance(value, str | os.PathLike)):
        raise TypeError
    if kind is str:
        return os.fsdecode(value)
    converted = kind(value)
    if isinstance(value, float) and converted != value and value == value:
        raise ValueError
    return converted


def _convert(name: str, value: Any, where: str, folder: Path | None = None) -> Any:
    if name == "secret":
        raise Twister2Error(
            f"{where}: a secret does not belong into a notebook or its settings, which are saved and shown; write it "
            "into a file and name that as secret_file, or set T2_PRINCIPAL and T2_SECRET before the kernel starts"
        )
    if name not in _TYPES:
        raise Twister2Error(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(_TYPES))}")
    try:
        value = _truth(value) if _TYPES[name] is bool else _of_type(_TYPES[name], value)
    except (TypeError, ValueError, OverflowError):
        raise Twister2Error(f"{where} is {value!r}; give {_WANTED[_TYPES[name]]}") from None
    if name in ZOOKEEPERS:
        value, _ = address.split_userinfo(value)
    if name in PATHS and value and value != SYSTEM_CA:
        value = os.path.abspath((folder or Path()) / os.path.expanduser(value))
    return value


def _from_file(path: Path) -> dict[str, Any]:
    return {
        name: _convert(name, value, f"{name} in {path}", path.parent)
        for name, value in read_file(path).items()
    }


def read_file(path: Path) -> dict[str, Any]:
    """Return what a configuration file holds; nothing, where there is none.

    Raises
    ------
    Twister2Error
        When it is no TOML.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Twister2Error(f"{path}: {error}") from None
