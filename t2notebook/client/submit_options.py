"""Checks of what `submit` is given: each returns what the job's record has of it, or says what to give instead."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import Config
from ..model import address
from ..model.errors import SubmitError
from ..model.job import JOB_MASTER_CPU, JOB_MASTER_RAM, ComputeResource
from ..model.wording import type_of

#: Where jobs stand in the masters' ZooKeeper, whose own path is the masters'.
ZOOKEEPER_PATH = "/t2notebook"


def module_names(what: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the names of modules in `given`.

    Raises
    ------
    SubmitError
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise SubmitError(f"{what} holds {name!r}; give names of modules, such as 'pandas'")
    return names


def volume(given: Any) -> str:
    """Return where workers keep what outlives them: a path, an address of fsspec, or nothing.

    Raises
    ------
    SubmitError
    """
    volume = os.fspath(given) if isinstance(given, str | os.PathLike) else given or ""
    if not isinstance(volume, str) or (volume and "://" not in volume and not os.path.isabs(volume)):
        raise SubmitError(
            f"persistent_volume is {given!r}; give an absolute path that all agents have, or an address such as "
            "'s3://bucket/t2'"
        )
    return volume


def flag(name: str, given: Any) -> bool:
    """Return what is given, if it is True or False.

    Raises
    ------
    SubmitError
    """
    if not isinstance(given, bool):
        raise SubmitError(f"{name} is {given!r}; give True or False")
    return given


def seconds(name: str, given: Any) -> float:
    """Return seconds, more than 0.

    Raises
    ------
    SubmitError
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise SubmitError(f"{name} is {given!r}; give seconds, more than 0")
    return float(given)


def zookeeper(given: Any, settings: Config) -> str:
    """Return the ZooKeeper where workers find each other, empty for none.

    Raises
    ------
    SubmitError
    """
    if given in ("", None):
        return ""
    if given == "zookeeper":
        if settings.zookeeper:
            return settings.zookeeper
        if settings.master.startswith(address.ZK):
            return str(dataclasses.replace(address.ZooKeeper.parse(settings.master), path=ZOOKEEPER_PATH))
        raise SubmitError(
            "discovery='zookeeper' needs a ZooKeeper: name one with t2.configure(zookeeper='zk://h1:2181/t2notebook')"
        )
    if not isinstance(given, str) or not given.startswith(address.ZK):
        raise SubmitError(f"discovery is {given!r}; give 'zookeeper', or one as 'zk://h1:2181,h2:2181/path'")
    if address.split_userinfo(given)[1]:
        raise SubmitError(
            "discovery holds a password, which does not belong into a notebook; set T2_ZOOKEEPER before the kernel "
            "starts, and give discovery='zookeeper'"
        )
    try:
        return str(address.ZooKeeper.parse(given))
    except ValueError as error:
        raise SubmitError(f"discovery: {error}") from None


def job_master_resource(given: Any) -> ComputeResource | None:
    """Return what a job master on Mesos gets; None for one in the session.

    Raises
    ------
    SubmitError
    """
    if given == "session":
        return None
    if given == "cluster":
        return ComputeResource(cpu=JOB_MASTER_CPU, ram_mega_bytes=JOB_MASTER_RAM)
    if isinstance(given, ComputeResource):
        return given
    raise SubmitError(f"job_master is {given!r}; give 'session', 'cluster' or a ComputeResource for it")


def time_limit(given: Any) -> float:
    """Return seconds; 0 for no limit.

    Raises
    ------
    SubmitError
    """
    if given is None:
        return 0.0
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise SubmitError(f"time_limit is {given!r}; give seconds, more than 0")
    return float(given)


def variables(given: Sequence[str] | str) -> dict[str, str]:
    """Return the environment variables of these names.

    Raises
    ------
    SubmitError
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str) or not name or "=" in name or name not in os.environ:
            raise SubmitError(f"setenv names {name!r}; there is no such environment variable here")
    return {name: os.environ[name] for name in names}


def secrets(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return texts by their names.

    Raises
    ------
    SubmitError
    """
    secrets = dict(given or {})
    for name, value in secrets.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise SubmitError(f"credentials has {type_of(value)} for {name!r}; give texts by names")
    return secrets
