"""Start of a process, whoever started it: no signal blocked or ignored, and the user's name."""

from __future__ import annotations

import os
import pwd
import signal

#: Variables that the system's loader reads when a program starts, and never again (ld.so(8); macOS, dyld(1)).
LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
#: What Python itself ignores from its start on.
_PYTHON_IGNORES = (signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE))


def default_signals() -> None:
    """Unblock all signals, and have none ignored but those that Python ignores.

    A mask and ignored signals are inherited through fork and exec: from a shell's background job, from ``nohup``, from
    a thread of the kernel that blocks signals. With SIGCHLD or SIGTERM blocked a process would never end.
    """
    for number in signal.valid_signals():
        if number not in _PYTHON_IGNORES and signal.getsignal(number) is signal.SIG_IGN:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def user_name() -> str:
    """Return the name of the user whom this process runs as, in text that UTF-8 can carry.

    The uid decides, not ``USER`` or ``LOGNAME``. A uid without a line in the passwd database (containers have such) is
    its own name, as ``ls`` shows it.
    """
    try:
        # The database's bytes are UTF-8 whatever the locale says.
        name = os.fsencode(pwd.getpwuid(os.getuid()).pw_name).decode("utf-8", "replace")
    except KeyError:
        name = "root" if os.getuid() == 0 else ""
    return name or str(os.getuid())
