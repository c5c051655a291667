"""Ports that agents offer to tasks. Agents of a cluster on one machine have blocks of their own."""

from __future__ import annotations

#: The first one of the first agent (Mesos's own default range begins there), and how many each has.
FIRST_PORT, PORTS = 31000, 1000
#: Clusters of several users, or of several settings, begin at different ports: tasks are given the lowest ones.
STEP, STEPS = 20, 40


def first_port(number: int) -> int:
    """Return where the ports of a cluster begin that shares its machine with others.

    Parameters
    ----------
    number : int
        Anything that tells clusters apart.
    """
    return FIRST_PORT + STEP * (1 + number % STEPS)
