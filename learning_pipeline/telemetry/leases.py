"""Telling whether somebody has a file open for writing, where the system can."""

from __future__ import annotations

import fcntl
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def unwritten(descriptor: int) -> Iterator[Callable[[], bool]]:
    """While nobody has a file open for writing.

    Linux tells for local files of this process's user, or any as root; elsewhere
    nobody is taken to have it open. Whoever opens it for writing meanwhile waits until
    the end, or is refused if it does not want to wait.

    Args:
        descriptor: Of the file, open for reading.

    Yields:
        A function that says whether it is still so.

    Raises:
        BlockingIOError: Somebody has.
    """
    try:
        # The default, SIGIO, would end this process when somebody waits.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise
    except OSError:
        yield lambda: True
        return
    try:
        yield lambda: fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    finally:
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
