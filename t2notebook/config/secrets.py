"""Secrets that go with settings: from a file or the environment, never from a notebook's text."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from .. import jupyter_config
from ..model import address
from ..model.errors import Twister2Error
from .settings import Config
from .sources import config_file, is_configured, read_file


@dataclass(frozen=True)
class Secrets:
    """Credentials of a session for masters, agents and ZooKeeper; no `repr` and no record of settings has them.

    Parameters
    ----------
    principal : str
        The setting, or who the secret's file says.
    secret : str
    zookeeper : str
        ``user:password`` for the masters' ZooKeeper.
    discovery : str
        The same for that of the setting `zookeeper`.
    """

    principal: str = ""
    secret: str = field(default="", repr=False)
    zookeeper: str = field(default="", repr=False)
    discovery: str = field(default="", repr=False)


def secrets_of(config: Config) -> Secrets:
    """Return the secrets that go with settings, for the session alone: read anew each time, and kept nowhere.

    A secret file that this notebook named is nearer than ``T2_SECRET``, which is nearer than one of the
    configuration file.

    Raises
    ------
    Twister2Error
        When a file cannot be read or holds no secret, or nobody is named whose secret it is. It tells no secret.
    """
    if config.master == "local":
        return Secrets(discovery=_zookeeper_password("zookeeper", config.zookeeper))
    principal, secret = config.principal, os.environ.get("T2_SECRET", "")
    if config.secret_file and (not secret or is_configured("secret_file")):
        try:
            text = Path(config.secret_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise Twister2Error(f"secret_file {config.secret_file} cannot be read: {why}") from None
        principal, secret = _credential(text, principal, config.secret_file)
    if secret and not principal:
        raise Twister2Error(
            "there is a secret and no principal whose it is; set T2_PRINCIPAL or configure(principal=...)"
        )
    masters = _zookeeper_password("master", config.master)
    discovery = _zookeeper_password("zookeeper", config.zookeeper) if config.zookeeper else masters
    return Secrets(principal, secret, masters, discovery)


def _credential(text: str, principal: str, path: str) -> tuple[str, str]:
    """Return principal and secret of a file in one of the forms that Mesos knows, or with a secret alone."""
    try:
        if text.lstrip().startswith("{"):
            record = json.loads(text)
            found = [(one["principal"], one["secret"]) for one in record.get("credentials", [record])]
        else:
            lines = [line.split() for line in text.splitlines() if line.strip()]
            found = [(line[0] if len(line) > 1 else principal, line[-1]) for line in lines]
            if not all(len(line) <= 2 for line in lines):
                raise ValueError
        if not found or not all(isinstance(part, str) and part for _, part in found):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Twister2Error(
            f"secret_file {path} holds no secret: write the secret alone, one line 'principal secret', "
            'or {"principal": ..., "secret": ...}'
        ) from None
    ours = [pair for pair in found if not principal or pair[0] == principal]
    if len(ours) != 1:
        problem = (
            f"holds no secret of {principal!r}" if principal else "holds several; say whose with principal"
        )
        raise Twister2Error(f"secret_file {path} {problem}")
    return ours[0]


def _zookeeper_password(name: str, value: str) -> str:
    """Return user and password of a setting that names a ZooKeeper, from a place that may hold them."""
    layers = [layer.values.get(name) for layer in jupyter_config.layers()]
    for source in (
        os.environ.get(f"T2_{name.upper()}"),
        read_file(config_file()).get(name),
        *reversed(layers),
    ):
        clean, userinfo = address.split_userinfo(str(source or ""))
        if userinfo and clean == value:
            return userinfo
    return ""
