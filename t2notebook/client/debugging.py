"""The debugger's end in a kernel or a terminal: lines that are typed here go to the worker, its output comes back."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ..model.errors import SessionError, Twister2Error

#: Seconds between two signs of life while somebody thinks.
PING = 20.0
#: Seconds in which a worker that goes on may stop again, at a breakpoint in a loop, and is debugged on; and between two
#: looks whether it does.
AGAIN, LOOK = 1.0, 0.1

Post = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class CannotType(Twister2Error):
    """Nobody can type here."""


def attach(post: Post, worker_id: int) -> bool:
    """Debug a worker until it goes on, or somebody interrupts; return whether it goes on.

    Parameters
    ----------
    post : callable
        Sends a word to the worker's job master, and returns the answer.
    worker_id : int

    Raises
    ------
    CannotType
        Where no input is possible (nbclient, a pipe that has ended); the worker waits on.
    Twister2Error
        When it does not wait in the debugger, or somebody else is attached.
    """
    driver = uuid.uuid4().hex

    def say(do: str, **more: Any) -> Mapping[str, Any]:
        answer = post({"do": do, "driver": driver, **more})
        if error := answer.get("error"):
            raise Twister2Error(str(error))
        return answer

    answer = say("attach")
    if answer.get("ended"):
        raise Twister2Error(f"worker {worker_id} does not wait in the debugger")
    if not answer.get("output") and "prompt" in answer:
        answer = say("line", line="where")  # it was debugged before: where is it?
    over = threading.Event()
    threading.Thread(target=_ping, args=(say, over), name="t2-debugger", daemon=True).start()
    try:
        _converse(say, answer, worker_id)
        return True
    except KeyboardInterrupt:
        _detach(say)
        print(f"\nDetached; worker {worker_id} waits in the debugger, and debug attaches to it again.")
        return False
    except (EOFError, NotImplementedError):  # the latter is a kernel's whose front end has no input box
        _detach(say)
        raise CannotType(
            f"worker {worker_id} waits in the debugger, and nothing can be typed here: attach from a notebook, or with "
            "'t2notebook debug' in a terminal"
        ) from None
    finally:
        over.set()


def _converse(say: Callable[..., Mapping[str, Any]], answer: Mapping[str, Any], worker_id: int) -> None:
    while True:
        sys.stdout.write(str(answer.get("output", "")))
        sys.stdout.flush()
        if answer.get("ended"):
            answer = _next_stop(say, answer)
            if answer.get("ended"):
                print(f"Worker {worker_id} {'has ended' if answer.get('over') else 'goes on'}.")
                return
            continue
        answer = say("poll") if "prompt" not in answer else say("line", line=input(str(answer["prompt"])))


def _next_stop(say: Callable[..., Mapping[str, Any]], answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer when a worker that goes on stops again at once; else that it goes on, or has ended."""
    deadline = time.monotonic() + AGAIN
    try:
        while answer.get("ended") and not answer.get("over") and time.monotonic() < deadline:
            time.sleep(LOOK)
            answer = say("attach")
    except KeyboardInterrupt:
        pass
    return answer


def _detach(say: Callable[..., Mapping[str, Any]]) -> None:
    try:
        say("detach")
    except (SessionError, Twister2Error):
        pass  # it finds out by itself that nobody is there


def _ping(say: Callable[..., Mapping[str, Any]], over: threading.Event) -> None:
    while not over.wait(PING):
        try:
            say("ping")
        except (SessionError, Twister2Error):
            pass
