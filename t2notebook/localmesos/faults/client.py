"""Faults from Python: `LocalMesos.faults`, a client of the supervisor's control socket."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

ANSWER_SECONDS = 15.0


class FaultError(RuntimeError):
    """A fault could not be brought about; the text says why."""


class Faults:
    """Makes things go wrong in one cluster; what each does stands in `t2notebook.localmesos.faults.faults`.

    Agents are named "agent1", "agent2", ... (the simulated ones go on counting), processes are those and "master".
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def kill(self, process: str) -> None:
        """Kill a process of the cluster; it stays dead until `start`."""
        self.request("kill", process=process)

    def start(self, process: str) -> None:
        """Start a killed process again."""
        self.request("start", process=process)

    def restart(self, process: str, pause: float = 0.0) -> None:
        """Kill a process and start it again after a pause (seconds); returns when it is started."""
        self.request("kill", process=process)
        time.sleep(pause)
        self.request("start", process=process)

    def drop(self, agent: str, seconds: float | None = None) -> None:
        """Have neither an agent nor the master hear the other, until `heal` or for some seconds."""
        self.request("drop", agent=agent, seconds=seconds)

    def heal(self, agent: str) -> None:
        """End `drop`; the agent registers anew."""
        self.request("heal", agent=agent)

    def delay(self, seconds: float, agent: str | None = None) -> None:
        """Have an agent's status updates (all agents') arrive so much later; 0 ends it."""
        self.request("delay", seconds=seconds, agent=agent)

    def repeat(self, times: int, agent: str | None = None) -> None:
        """Have frameworks get each status update so many times more; 0 ends it."""
        self.request("repeat", times=times, agent=agent)

    def rescind(self, agent: str | None = None) -> int:
        """Rescind an agent's outstanding offers (all agents'); give their number."""
        return int(self.request("rescind", agent=agent)["offers"])

    def request(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Ask for a fault.

        Raises
        ------
        FaultError
            It was refused, or the cluster is gone.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(ANSWER_SECONDS)
                client.connect(self._path)
                client.sendall(json.dumps({"op": op, **given}).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    piece = client.recv(65536)
                    if not piece:
                        raise FaultError("the cluster is gone")
                    data += piece
        except OSError as error:
            raise FaultError(f"the cluster does not answer: {error}") from error
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise FaultError(answer["error"])
        return answer
