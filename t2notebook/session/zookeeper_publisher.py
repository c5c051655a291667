"""The session's part in the discovery through ZooKeeper: tells workers who has failed or finished, and removes what
they left when their job has ended.

It runs on a thread of its own, since kazoo does; of several statuses of a job that wait, the last one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model.address import ZooKeeper
from ..model.text import dumps
from ..protocol.discovery import BARRIERS, JOINED, VERDICTS, WORKERS, credential_of, numbered, numbers_of

log = logging.getLogger(__name__)

#: Seconds that a submit waits for ZooKeeper's first answer.
FIRST_ANSWER = 5.0
#: Seconds after which ZooKeeper takes a silent client for dead.
SESSION_TIMEOUT = 10.0
#: Seconds until what could not be written is tried again, and the first attempt of an ending session is over.
RETRY, END_TIME = 1.0, 5.0


@dataclass(frozen=True)
class _News:
    """A job's status; None for one that has ended."""

    where: str
    job_id: str
    secret: str
    status: Mapping[str, Any] | None


class ZooKeeperPublisher:
    """The nodes of all jobs of a session whose workers find each other in ZooKeeper.

    Parameters
    ----------
    userinfo : str
        ``user:password`` for ZooKeeper; empty for nobody.
    """

    def __init__(self, userinfo: str = "") -> None:
        self._userinfo = userinfo
        self._clients: dict[str, Any] = {}
        self._waiting: dict[str, _News] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_busy = False
        self._was_told = False

    async def check(self, where: str) -> str:
        """Return why a ZooKeeper cannot be used, empty if it can.

        Parameters
        ----------
        where : str
            ``zk://h1:2181,h2:2181/path``.
        """
        return await asyncio.get_running_loop().run_in_executor(None, self._check, where)

    def publish(self, where: str, job_id: str, secret: str, status: Mapping[str, Any] | None) -> None:
        """Tell a job's workers its status; None when it has ended: then nothing of it stays.

        Parameters
        ----------
        where, job_id, secret : str
        status : mapping or None
            As `JobMaster.status` gives it.
        """
        with self._changed:
            self._waiting.pop(job_id, None)
            self._waiting[job_id] = _News(where, job_id, secret, status)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="t2-discovery", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    async def close(self) -> None:
        """Write what waits, if that can be soon, and leave."""
        if self._thread is None and not self._clients:
            return
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        deadline = time.monotonic() + END_TIME
        with self._changed:
            while self._waiting or self._is_busy:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    log.warning("nodes of %s stay in ZooKeeper", ", ".join(self._waiting) or "a job")
                    break
            self._is_closed = True
            self._changed.notify_all()
        for client in self._clients.values():
            with contextlib.suppress(Exception):
                client.stop()
                client.close()

    # On threads.

    def _check(self, where: str) -> str:
        from kazoo.exceptions import KazooException, NoAuthError

        zookeeper = ZooKeeper.parse(where)
        ensemble = f"ZooKeeper at {','.join(zookeeper.hosts)}"
        client = self._client(where)
        silent = f"{ensemble} does not answer; discovery='zookeeper' needs it (t2.configure(zookeeper=...))"
        deadline = time.monotonic() + FIRST_ANSWER
        while not client.connected:
            if time.monotonic() >= deadline:
                return silent
            time.sleep(0.01)
        try:
            client.ensure_path_async(zookeeper.path).get(timeout=FIRST_ANSWER)
        except client.handler.timeout_exception:
            return silent
        except NoAuthError:
            return (
                f"{ensemble} does not let us write to {zookeeper.path}; give user and password in T2_ZOOKEEPER: "
                "zk://user:password@host:2181/path"
            )
        except KazooException as error:
            return f"{ensemble} refuses us ({type(error).__name__})"
        return ""

    def _client(self, where: str) -> Any:
        with self._changed:
            if (client := self._clients.get(where)) is None:
                from kazoo.client import KazooClient

                quiet = logging.getLogger(f"{__name__}.kazoo")
                quiet.setLevel(logging.CRITICAL)  # at DEBUG it writes requests with the password
                client = self._clients[where] = KazooClient(
                    ",".join(ZooKeeper.parse(where).hosts),
                    timeout=SESSION_TIMEOUT,
                    auth_data=[("digest", self._userinfo)] if self._userinfo else None,
                    connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 2.0},
                    logger=quiet,
                )
                client.start_async()
            return client

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                news = self._waiting.pop(next(iter(self._waiting)))
                self._is_busy = True
            try:
                self._write(news)
                self._was_told = False
            except Exception as error:
                if not self._was_told:
                    log.warning("ZooKeeper does not take what befell %s: %r", news.job_id, error)
                self._was_told = True
                with self._changed:
                    self._waiting.setdefault(news.job_id, news)
                    self._changed.wait_for(lambda: self._is_closed, RETRY)
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()

    def _write(self, news: _News) -> None:
        job = _Job(self._client(news.where), news, self._userinfo)
        if news.status is None:
            job.remove()
        else:
            job.tell(news.status)


class _Job:
    """The nodes of one job."""

    def __init__(self, client: Any, news: _News, userinfo: str) -> None:
        from kazoo.security import make_digest_acl

        self._client = client
        self._credential = credential_of(news.job_id, news.secret)
        self._path = ZooKeeper.parse(news.where).path
        self._base = f"{self._path}/{news.job_id}"
        self._acl = [make_digest_acl(*self._credential, all=True)]
        if userinfo:
            user, _, password = userinfo.partition(":")
            self._acl.append(make_digest_acl(user, password, all=True))

    def tell(self, status: Mapping[str, Any]) -> None:
        """Write a status, and do what follows from it, in the order that workers rely on."""
        from kazoo.exceptions import NoNodeError

        self._authenticate()
        text = dumps(status).encode()
        try:
            self._forget_failed(status)
            self._do("set", self._base, text)
        except NoNodeError:
            self._make(text)
        self._decide_barriers(status)

    def remove(self) -> None:
        """Remove all of it, and the folder of all jobs, if it was the last one."""
        from kazoo.exceptions import KazooException, NoNodeError

        self._authenticate()
        with contextlib.suppress(NoNodeError):
            # The job's own node first goes empty: whoever still writes is told that the job is over.
            self._do("set", self._base, b"")
            self._client.delete(self._base, recursive=True)
        with contextlib.suppress(KazooException):
            self._do("delete", self._path)  # others' jobs keep it

    def _authenticate(self) -> None:
        credential = ("digest", ":".join(self._credential))
        if credential not in self._client.auth_data:  # which it gives again after each reconnect
            self._do("add_auth", *credential)

    def _make(self, text: bytes) -> None:
        from kazoo.exceptions import NodeExistsError

        self._client.ensure_path(self._path)
        # The job's own node is the last: who sees it finds the others.
        transaction = self._client.transaction()
        transaction.create(self._base, text, acl=self._acl)
        for folder in (WORKERS, BARRIERS, VERDICTS):
            transaction.create(f"{self._base}/{folder}", b"", acl=self._acl)
        for result in transaction.commit():
            if isinstance(result, Exception) and not isinstance(result, NodeExistsError):
                raise result

    def _forget_failed(self, status: Mapping[str, Any]) -> None:
        """Remove what workers told that have failed or been replaced, before it is said that they have."""
        restarts = status["restarts"]
        failed = set(status["failed"])
        for worker_id in sorted(failed | {int(number) for number in restarts}):
            path = f"{self._base}/{WORKERS}/{worker_id}"
            info = self._read(path)
            if info and (worker_id in failed or info["restart_count"] < restarts.get(str(worker_id), 0)):
                self._drop(path)
                self._drop(f"{self._base}/{JOINED}")
                self._forget_arrival(worker_id, restarts.get(str(worker_id), 0))

    def _forget_arrival(self, worker_id: int, incarnation: int) -> None:
        for node in self._open("INIT"):
            path = f"{self._base}/{BARRIERS}/{node}/{worker_id}"
            came = self._read(path)
            if came is not None and came < incarnation:
                self._drop(path)

    def _decide_barriers(self, status: Mapping[str, Any]) -> None:
        """End the barriers that cannot be passed any more."""
        if status["broken"]:
            result, why = status["broken"]
            names = ["DEFAULT", "INIT"]
        elif status["faults"]:
            result, why, names = "JOB_FAULTY", status["last_fault"], ["DEFAULT"]
        else:
            return
        verdict = dumps({"result": result, "why": why, "faults": status["faults"]}).encode()
        for name in names:
            for node in self._open(name):
                facts = self._read(f"{self._base}/{BARRIERS}/{node}") or {}
                if status["broken"] or int(facts.get("faults", 0)) < status["faults"]:
                    self._create(f"{self._base}/{VERDICTS}/{node}", verdict)

    def _open(self, name: str) -> list[str]:
        """Return the barriers of a name that are open; it is one at the most, but the last two for a race."""
        numbers = numbers_of(name, self._client.get_children(f"{self._base}/{BARRIERS}"))
        nodes = [numbered(name, number) for number in numbers[-2:]]
        return [node for node in nodes if not self._do("exists", f"{self._base}/{VERDICTS}/{node}")]

    def _do(self, method: str, *arguments: Any) -> Any:
        return getattr(self._client, f"{method}_async")(*arguments).get(timeout=SESSION_TIMEOUT)

    def _read(self, path: str) -> Any:
        from kazoo.exceptions import NoNodeError

        try:
            data = self._do("get", path)[0]
        except NoNodeError:
            return None
        return json.loads(data) if data else None

    def _create(self, path: str, data: bytes) -> None:
        from kazoo.exceptions import NodeExistsError

        with contextlib.suppress(NodeExistsError):
            self._do("create", path, data, self._acl)

    def _drop(self, path: str) -> None:
        from kazoo.exceptions import NoNodeError

        with contextlib.suppress(NoNodeError):
            self._do("delete", path)
