"""Discovery and barriers of workers through ZooKeeper: what `JobMasterClient` answers of these, without a job master.

Workers write where they are, and decide about barriers among themselves; the session writes who has failed or
finished, and removes all of it when the job has ended (`protocol.discovery` has the nodes).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...model.address import ZooKeeper
from ...model.errors import DiscoveryError
from ...model.text import dumps
from ...protocol.discovery import BARRIERS, JOINED, VERDICTS, WORKERS, credential_of, numbered, numbers_of
from ...protocol.launch import WorkerLaunch
from .own_info import own_info
from .superseded import Superseded

#: Seconds after which ZooKeeper takes a silent client for dead.
SESSION_TIMEOUT = 10.0
#: Seconds that a request to ZooKeeper may take, lost connections included.
PATIENCE = 30.0
#: Seconds between two looks of a worker that waits: what it waits for is told, unless the connection broke meanwhile.
_LOOK = 5.0
_PAUSE = 0.1
_NAMED = 10

Answer = tuple[Mapping[str, Any], bytes]


class ZooKeeperDiscovery:
    """A worker's part in the discovery through ZooKeeper; safe on any thread of the worker's own process.

    Parameters
    ----------
    launch : WorkerLaunch

    Attributes
    ----------
    faults : int
        How many failures of workers this one knows of.
    welcome : mapping
        What it tells of itself; empty before the first connection.
    """

    def __init__(self, launch: WorkerLaunch) -> None:
        self._launch = launch
        self._zookeeper = ZooKeeper.parse(launch.discovery)
        self._ensemble = f"ZooKeeper at {','.join(self._zookeeper.hosts)}"
        self._base = f"{self._zookeeper.path}/{launch.job_id}"
        self._client: Any = None
        self._turn = threading.Lock()
        self._pid = os.getpid()
        self.faults: int | None = None
        self.welcome: Mapping[str, Any] = {}
        self.number_of_workers = launch.number_of_workers  # a job that can be scaled has a job master
        self.is_new = False

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a worker's connection to ZooKeeper cannot be pickled")

    def connect(self) -> None:
        """Be connected, and known to the other workers.

        Raises
        ------
        DiscoveryError
            When ZooKeeper cannot be used here.
        Superseded
            When this worker is to stop.
        """
        if os.getpid() != self._pid:
            raise DiscoveryError(
                "env talks for its worker's own process; this one was forked from it, and cannot"
            )
        with self._turn:
            if self._client is None:
                self._client = self._open()
            if not self.welcome:
                status = self._wait_for_status()
                info = own_info(self._launch, self._address())
                self._put(f"{self._base}/{WORKERS}/{self._launch.worker_id}", dumps(info).encode())
                if self._count(WORKERS) >= self._launch.number_of_workers:
                    self._create(f"{self._base}/{JOINED}")
                self.faults = int(status["faults"])
                self.welcome = info

    def ask(self, record: Mapping[str, Any], payload: bytes = b"") -> Answer:
        """Answer as a job master would: ``hello``, ``joined``, ``all`` and ``barrier``.

        Parameters
        ----------
        record : mapping
        payload : bytes

        Raises
        ------
        DiscoveryError, Superseded
        """
        self.connect()
        kind = record["kind"]
        if kind == "joined":
            return {}, self._joined()
        if kind == "all":
            return self._wait_for_all(float(record["timeout"]))
        if kind == "barrier":
            return self._meet(str(record["barrier"]), float(record["timeout"])), b""
        self._status()
        return {}, b""

    def close(self) -> None:
        """Close the connection; what it told of the worker stays."""
        client, self._client = self._client, None
        if client is not None and os.getpid() == self._pid:
            client.stop()
            client.close()

    # Joining.

    def _address(self) -> str:
        """Return our address on the way to ZooKeeper, which all workers have a way to. Sends nothing."""
        for server in self._zookeeper.hosts:
            host, _, port = server.rpartition(":")
            try:
                for family, kind, protocol, _, address in socket.getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_DGRAM
                ):
                    with socket.socket(family, kind, protocol) as probe:
                        probe.connect(address)
                        return str(probe.getsockname()[0])
            except OSError:
                continue
        raise DiscoveryError(f"there is no way from {socket.gethostname()} to {self._ensemble}")

    def _joined(self) -> bytes:
        base = f"{self._base}/{WORKERS}"
        names = sorted(self._do("get_children", base), key=int)
        asked = [self._client.get_async(f"{base}/{name}") for name in names]
        found = []
        for name, one in zip(names, asked, strict=True):
            try:
                data = one.get(timeout=PATIENCE)[0]
            except Exception:  # its connection broke, or the worker has failed meanwhile
                data = self._read(f"{base}/{name}")
            if data:
                found.append(json.loads(data))
        return zlib.compress(dumps(found).encode(), 1)

    def _wait_for_all(self, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        while True:
            told = threading.Event()
            if self._do("exists", f"{self._base}/{JOINED}", partial(_set, told)):
                return {}, self._joined()
            if (broken := self._status()["broken"]) and broken[0] == "JOB_FAULTY":
                return {"never": broken[1]}, b""
            if (left := deadline - time.monotonic()) <= 0:
                break
            told.wait(min(left, _LOOK))
        there = {int(name) for name in self._do("get_children", f"{self._base}/{WORKERS}")}
        number = self._launch.number_of_workers
        missing = self._named([one for one in range(number) if one not in there])
        return {"timed_out": f"{len(there)} of {number} workers joined in time; missing: {missing}"}, b""

    # Barriers.

    def _meet(self, name: str, seconds: float) -> Mapping[str, Any]:
        """Wait at a barrier, and return what became of it."""
        if (verdict := self._spoilt(name, self._status())) is not None:
            return verdict  # each hears once of what happened since it last was at a barrier
        node, facts = self._arrive(name, seconds)
        deadline = time.monotonic() + float(facts["timeout"])
        while True:
            told = threading.Event()
            verdict = self._verdict(node, partial(_set, told))
            if verdict is None and (spoilt := self._spoilt(name, self._status())) is not None:
                # The session looks for open barriers after it has told of a fault; we look for faults after we came.
                verdict = self._decide(node, spoilt)
            if verdict is None and self._count(f"{BARRIERS}/{node}") >= facts["expected"]:
                verdict = self._decide(node, {"result": "SUCCESS", "why": ""})
            left = deadline - time.monotonic()
            if verdict is None and left <= 0:
                verdict = self._decide(
                    node, {"result": "TIMED_OUT", "why": self._who_is_missing(node, facts)}
                )
            if verdict is None:
                told.wait(min(left, _LOOK))
            elif verdict["result"] == "SUCCESS":
                self._tidy(name, node)
                return {**verdict, "faults": self.faults}
            else:
                return {"faults": self.faults, **verdict}

    def _arrive(self, name: str, seconds: float) -> tuple[str, Mapping[str, Any]]:
        """Come to the barrier that is open, or open the next; return its node and what holds for it."""
        known = numbers_of(name, self._do("get_children", f"{self._base}/{BARRIERS}"))
        last = known[-1] if known else 0
        if not last or self._verdict(numbered(name, last)) is not None:
            last += 1
            facts = {
                "expected": self._launch.number_of_workers,
                "timeout": seconds,
                "faults": self.faults,
            }
            self._create(f"{self._base}/{BARRIERS}/{numbered(name, last)}", dumps(facts).encode())
        node = numbered(name, last)
        held = json.loads(self._read(f"{self._base}/{BARRIERS}/{node}") or b"{}")
        incarnation = str(self._launch.restart_count).encode()
        self._put(f"{self._base}/{BARRIERS}/{node}/{self._launch.worker_id}", incarnation)
        return node, held

    def _spoilt(self, name: str, status: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return why a barrier cannot be passed, if so."""
        faults = int(status["faults"])
        if name == "DEFAULT" and (self.faults or 0) < faults:
            return {"result": "JOB_FAULTY", "why": status["last_fault"], "faults": faults}
        if status["broken"]:
            result, why = status["broken"]
            return {"result": result, "why": why, "faults": faults}
        return None

    def _verdict(self, node: str, watch: Callable[[Any], None] | None = None) -> Mapping[str, Any] | None:
        path = f"{self._base}/{VERDICTS}/{node}"
        if not self._do("exists", path, watch):
            return None
        data = self._read(path)
        return json.loads(data) if data else None

    def _decide(self, node: str, verdict: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say what becomes of a barrier, unless that has been said; return what holds."""
        self._create(f"{self._base}/{VERDICTS}/{node}", dumps(verdict).encode())
        return self._verdict(node) or verdict

    def _who_is_missing(self, node: str, facts: Mapping[str, Any]) -> str:
        came = {int(name) for name in self._do("get_children", f"{self._base}/{BARRIERS}/{node}")}
        missing = [one for one in range(self._launch.number_of_workers) if one not in came]
        return f"{len(came)} of {facts['expected']} workers came in time; missing: {self._named(missing)}"

    def _tidy(self, name: str, node: str) -> None:
        """Have one worker remove the barriers before one that all have passed."""
        if self._launch.worker_id:
            return
        passed = int(node.rpartition("-")[2])
        for folder in (BARRIERS, VERDICTS):
            nodes = self._do("get_children", f"{self._base}/{folder}")
            for number in numbers_of(name, nodes):
                if number < passed:
                    old = f"{self._base}/{folder}/{numbered(name, number)}"
                    if folder == BARRIERS:
                        for one in range(self._launch.number_of_workers):
                            self._client.delete_async(f"{old}/{one}")
                    self._client.delete_async(
                        old
                    )  # in the order in which they are asked for, and nobody waits

    @staticmethod
    def _named(workers: list[int]) -> str:
        shown = [f"worker {number}" for number in workers[:_NAMED]]
        more = len(workers) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")

    # ZooKeeper.

    def _open(self) -> Any:
        try:
            from kazoo.client import KazooClient
        except ImportError:
            raise DiscoveryError(
                f"discovery='zookeeper' needs kazoo, which {sys.executable} on {socket.gethostname()} does not have: "
                "install it there (pip install kazoo), or leave discovery to the job master"
            ) from None
        # At DEBUG kazoo writes every request, the one with the password included.
        quiet = logging.getLogger(f"{__name__}.kazoo")
        quiet.setLevel(logging.CRITICAL)
        client = KazooClient(
            ",".join(self._zookeeper.hosts),
            timeout=SESSION_TIMEOUT,
            auth_data=[("digest", ":".join(credential_of(self._launch.job_id, self._launch.secret)))],
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 2.0},
            logger=quiet,
        )
        client.start_async()
        return client

    def _do(self, method: str, *arguments: Any) -> Any:
        """Ask ZooKeeper, again where the connection breaks; what it answers may be an error of kazoo's.

        Raises
        ------
        DiscoveryError
            When there is no answer, or it refuses us.
        """
        from kazoo import exceptions

        broken = (
            exceptions.ConnectionLoss,
            exceptions.ConnectionClosedError,  # right after its start, too
            exceptions.SessionExpiredError,
            exceptions.OperationTimeoutError,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                asked = getattr(self._client, f"{method}_async")(*arguments)
                return asked.get(timeout=max(0.01, deadline - time.monotonic()))
            except broken:
                if time.monotonic() >= deadline:
                    raise DiscoveryError(self._silent()) from None
                time.sleep(_PAUSE)
            except self._client.handler.timeout_exception:
                raise DiscoveryError(self._silent()) from None
            except (exceptions.NoAuthError, exceptions.AuthFailedError):
                raise DiscoveryError(f"{self._ensemble} does not let this job use {self._base}") from None

    def _silent(self) -> str:
        return f"{self._ensemble} has not answered {socket.gethostname()} for {PATIENCE:g} s"

    def _read(self, path: str) -> bytes:
        """Return a node's content; nothing where it has been removed."""
        from kazoo.exceptions import NoNodeError

        try:
            return bytes(self._do("get", path)[0])
        except NoNodeError:
            return b""

    def _count(self, path: str) -> int:
        """Return how many nodes are below another, which is no list of them: a thousand workers ask."""
        status = self._do("exists", f"{self._base}/{path}")
        return 0 if status is None else int(status.numChildren)

    def _create(self, path: str, data: bytes = b"") -> None:
        from kazoo.exceptions import NodeExistsError, NoNodeError
        from kazoo.security import make_digest_acl

        acl = [make_digest_acl(*credential_of(self._launch.job_id, self._launch.secret), all=True)]
        try:
            self._do("create", path, data, acl)
        except NodeExistsError:
            pass  # another was quicker, or we, on a connection that broke
        except NoNodeError:
            self._status()  # which says that the job is over
            raise

    def _put(self, path: str, data: bytes) -> None:
        from kazoo.exceptions import NoNodeError

        self._create(path, data)
        try:
            self._do("set", path, data)
        except NoNodeError:
            self._create(path, data)

    def _status(self) -> Mapping[str, Any]:
        """Return what the session knows of the job; a worker that does not count any more ends here.

        Raises
        ------
        Superseded
        """
        status = json.loads(self._read(self._base) or b"{}")
        if not status:
            raise Superseded("told by ZooKeeper to stop: the job is over")
        if self._incarnation(status) > self._launch.restart_count:
            raise Superseded("told by ZooKeeper to stop: a newer worker replaces this one")
        return dict(status)

    def _wait_for_status(self) -> Mapping[str, Any]:
        """Wait until the session has told of the job, and of this worker's incarnation."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status = json.loads(self._read(self._base) or b"{}")
            if status and self._incarnation(status) >= self._launch.restart_count:
                return self._status()
            if time.monotonic() >= deadline:
                raise DiscoveryError(
                    f"the session has not written the job to {self._ensemble} within {PATIENCE:g} s"
                )
            time.sleep(_PAUSE / 2)

    def _incarnation(self, status: Mapping[str, Any]) -> int:
        return int(status["restarts"].get(str(self._launch.worker_id), 0))


def _set(told: threading.Event, _: Any) -> None:
    told.set()
