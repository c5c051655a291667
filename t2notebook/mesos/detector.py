"""Detectors of the leading master: the one that was named, or the one in ZooKeeper, by pymesos's detector on a thread.

Pymesos's detector alone is not enough: it hangs for 15 s, then raises with its I/O thread alive; it
authenticates to nobody; a path that is not there yet ends it; a stray node may be chosen for a master. Here it only
chooses among the nodes of masters and fetches what the chosen one says; connecting, waiting, asking again and
stopping are ours, and nothing that ZooKeeper does or leaves undone keeps the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..model.address import MASTER_PORT, ZK, Address, ZooKeeper
from . import _pymesos

log = logging.getLogger(__name__)

#: Seconds after which ZooKeeper takes a silent client for dead, and kazoo a silent server.
SESSION_TIMEOUT = 10.0
#: Seconds without ZooKeeper before we say so.
PATIENCE = 2.0
#: Seconds between two questions while nobody leads.
ASK_AGAIN = 1.0
#: Seconds that `ZooKeeperMasterDetector.stop` waits for the thread; one that hangs in a connect ends later, by itself.
STOP_TIMEOUT = 3.0
#: A master's node: Mesos's `json.info_0000000042`, or `info_...` before 0.24 (`src/master/contender`).
_NODE = re.compile(r"(?:json\.)?info_(\d{10})")


class MasterDetector(Protocol):
    """A detector of the leading master.

    Attributes
    ----------
    current : Address or None
        The leading master, as far as one is known.
    trouble : str
        The reason why none is known, in one sentence; empty when one is.
    """

    current: Address | None
    trouble: str

    async def leader(self) -> Address:
        """Return the leading master's address; waits until there is one."""

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called on the loop when leader or trouble change; returns what ends that."""

    async def stop(self) -> None:
        """Free everything."""


class StandaloneMasterDetector:
    """The master that the settings name; if another leads, it says so by a redirect."""

    trouble = ""

    def __init__(self, address: Address) -> None:
        self.current: Address | None = address

    def __str__(self) -> str:
        return str(self.current)

    async def leader(self) -> Address:
        assert self.current is not None
        return self.current

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def stop(self) -> None:
        """There is nothing to free."""


class ZooKeeperMasterDetector:
    """The leading master in ZooKeeper, which is asked from the first `leader` or `listen` on.

    Parameters
    ----------
    zookeeper : ZooKeeper
    userinfo : str
        ``user:password`` for its digest authentication; empty for nobody.
    tls : bool
        Whether masters speak TLS, which they do not tell ZooKeeper.
    """

    def __init__(self, zookeeper: ZooKeeper, userinfo: str = "", tls: bool = False) -> None:
        self._zookeeper, self._tls = zookeeper, tls
        self._auth = [("digest", userinfo)] if userinfo else None
        self._ensemble = f"ZooKeeper at {','.join(zookeeper.hosts)}"
        self.trouble = f"asking {self._ensemble} who leads"
        self.current: Address | None = None
        self._known = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._follower: _Follower | None = None
        self._over = False

    def __str__(self) -> str:
        return str(self._zookeeper)

    async def leader(self) -> Address:
        self._start()
        await self._known.wait()
        assert self.current is not None
        return self.current

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._start()
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    async def stop(self) -> None:
        self._callbacks.clear()
        self._over = True
        if self._thread is not None and self._follower is not None:
            self._follower.stop()
            deadline = time.monotonic() + STOP_TIMEOUT
            while self._thread.is_alive() and time.monotonic() < deadline:
                await asyncio.sleep(0.01)

    # On the event loop.

    def _start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._follower = _Follower(self._zookeeper, self._ensemble, self._auth, self._tls, self._tell)
            self._thread = threading.Thread(target=self._follower.run, name="t2-zookeeper", daemon=True)
            self._thread.start()

    def _tell(self, leader: Address | None, trouble: str) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._note, leader, trouble)
        except RuntimeError:
            pass  # the loop has ended before us

    def _note(self, leader: Address | None, trouble: str) -> None:
        if (leader, trouble) == (self.current, self.trouble) or self._over:
            return
        self.current, self.trouble = leader, trouble
        if leader is None:
            self._known.clear()
        else:
            self._known.set()
        for callback in list(self._callbacks):
            callback()


class _Follower:
    """Pymesos's detector and its ZooKeeper client, which run on a thread of their own and on kazoo's.

    It is the ``agent`` of pymesos's detector: its two methods in camel case are what that calls.
    """

    def __init__(
        self,
        zookeeper: ZooKeeper,
        ensemble: str,
        auth: list[tuple[str, str]] | None,
        tls: bool,
        tell: Callable[[Address | None, str], None],
    ) -> None:
        self._path, self._ensemble = zookeeper.path, ensemble
        self._hosts = f"{','.join(zookeeper.hosts)}{zookeeper.path}"
        self._auth, self._tls, self._tell_them = auth, tls, tell
        self._leader: Address | None = None
        self._over = False
        self._news = threading.Event()

    def stop(self) -> None:
        """Let `run` end; called on another thread."""
        self._over = True
        self._news.set()

    def run(self) -> None:
        """Follow who leads until it is over."""
        from kazoo.client import KazooClient

        # At DEBUG kazoo writes every request, the one with the password included.
        quiet = logging.getLogger(f"{__name__}.kazoo")
        quiet.setLevel(logging.ERROR)
        client = KazooClient(
            self._hosts,
            timeout=SESSION_TIMEOUT,
            auth_data=self._auth,
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 2.0},
            logger=quiet,
        )
        self._detector = _pymesos.load().MasterDetector(self._hosts, self)
        self._detector.zk = client
        try:
            client.start_async()
            self._follow(client)
        except Exception as error:
            log.exception("following the masters of %s failed", self._ensemble)
            self._tell(None, f"following {self._ensemble} failed ({type(error).__name__})")
        finally:
            try:
                client.stop()
                client.close()
            except Exception as error:
                log.warning("%s was not left in good order: %s", self._ensemble, error)

    def _follow(self, client: Any) -> None:
        from kazoo.exceptions import KazooException, NoAuthError, NoNodeError

        seen = time.monotonic()
        pause, is_asked = 0.0, False
        while True:
            if self._news.wait(pause):
                self._news.clear()
                is_asked = False
            if self._over:
                return
            pause = 0.1
            if not client.connected:
                if time.monotonic() - seen > PATIENCE:
                    self._tell(self._leader, f"{self._ensemble} does not answer")
                continue
            seen = time.monotonic()
            pause = ASK_AGAIN
            if is_asked and self._leader is not None:
                continue
            try:
                self._choose(client.get_children("/", watch=self._changed))
                is_asked = True
                if self._leader is not None:
                    self._tell(self._leader, "")
            except NoNodeError:
                self._forget()
                self._tell(None, f"no Mesos master has been at {self._path} of {self._ensemble} yet")
            except NoAuthError:
                self._forget()
                what = f"{self._ensemble} does not let us read {self._path}"
                self._tell(None, f"{what}; give user and password: T2_MASTER={ZK}user:password@...")
            except KazooException as error:
                log.debug("%s: %s", self._ensemble, type(error).__name__)
            except Exception:
                log.exception("asking %s failed; we go on asking", self._ensemble)

    def _changed(self, event: Any) -> None:
        # It comes as well when the connection or the session is lost, and every watch with it.
        self._news.set()

    def _choose(self, nodes: list[str]) -> None:
        numbers = {match[1]: node for node in nodes if (match := _NODE.fullmatch(node))}
        self._detector.choose([numbers[min(numbers)]] if numbers else [])

    def _forget(self) -> None:
        # The detector ignores a node of the same name as the last; a path that was made anew begins at 0 again.
        self._detector.masterSeq = None

    def _tell(self, leader: Address | None, trouble: str) -> None:
        self._leader = leader
        self._tell_them(leader, trouble)

    def onNewMasterDetectedMessage(self, data: bytes | None) -> None:
        """Take the content of the leading master's node; None when it was gone by then."""
        if data is None:
            self._forget()
            return
        try:
            self._tell(master_address(data, self._tls), "")
        except ValueError:
            self._forget()
            self._tell(
                None,
                f"what the leading master says of itself at {self._path} of {self._ensemble} is not as "
                "Mesos 1.0 and later have it",
            )

    def onNoMasterDetectedMessage(self) -> None:
        """Take note that nobody leads."""
        self._forget()
        self._tell(None, f"no Mesos master leads, says {self._ensemble}")


def master_address(data: bytes, tls: bool) -> Address:
    """Return the address in a MasterInfo, as JSON; `tls` says how masters speak, which it does not.

    Raises
    ------
    ValueError
        When there is none.
    """
    try:
        info = json.loads(data)
        address = info.get("address", {})
        name = address.get("hostname") or info.get("hostname") or ""
        host = address.get("ip") or name
        port = int(address.get("port") or info.get("port") or MASTER_PORT)
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None
    if not host:
        raise ValueError("no address")
    return Address(host, port, tls, name if tls and name != host else "")


def find(master: str, userinfo: str = "", tls: bool = False) -> MasterDetector:
    """Return the detector of the leading master of `master` (see `t2notebook.model.address`).

    Parameters
    ----------
    master
    userinfo
        ``user:password`` for a ZooKeeper.
    tls
        Whether the masters that a ZooKeeper names speak TLS.

    Raises
    ------
    ValueError
        When `master` is none of the forms.
    """
    if master.startswith(ZK):
        return ZooKeeperMasterDetector(ZooKeeper.parse(master), userinfo, tls)
    return StandaloneMasterDetector(Address.parse(master))
