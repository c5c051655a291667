"""Directories of an agent, laid out as in Mesos's `docs/sandbox.md` (its `slave/paths.cpp`). Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class AgentIdentity:
    """An agent's id, address and work directory.

    Attributes
    ----------
    port
        Where it listens.
    work_dir
        The directory that all its sandboxes lie in.
    """

    id: str
    ip: str
    port: int
    work_dir: str

    @property
    def pid(self) -> str:
        """Give libprocess's name of it."""
        return f"slave(1)@{self.ip}:{self.port}"


def framework_path(agent: AgentIdentity, framework_id: str) -> str:
    """Give a framework's directory."""
    return os.path.join(agent.work_dir, "slaves", agent.id, "frameworks", framework_id)


def executor_path(agent: AgentIdentity, framework_id: str, executor_id: str) -> str:
    """Give the directory of all of an executor's runs.

    Parameters
    ----------
    agent
        The agent that they are on.
    """
    return os.path.join(framework_path(agent, framework_id), "executors", executor_id)


def sandbox_path(agent: AgentIdentity, framework_id: str, executor_id: str, container_id: str) -> str:
    """Give a run's directory, which is its sandbox.

    Parameters
    ----------
    agent
        The agent that it is on.
    """
    return os.path.join(executor_path(agent, framework_id, executor_id), "runs", container_id)


def nested_path(sandbox: str, container_id: str) -> str:
    """Give the directory of a container that is nested in the one with this sandbox."""
    return os.path.join(sandbox, "containers", container_id)
