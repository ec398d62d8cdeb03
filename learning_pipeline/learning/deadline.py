"""A call that is waited for so long and no longer.

The timeouts of an HTTP client count from one byte to the next: a server that sends a
byte a second is never too slow for them. So the call runs in a thread of its own, and
whoever waits for it goes away in time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

MEANWHILE_SECONDS: Final = 0.2
"""How often something else is done while a call is waited for."""

Result = TypeVar("Result")


class DeadlineExceededError(Exception):
    """The call took too long; the caller says of which service."""


class MeanwhileError(BaseException):
    """What was done while a call was waited for failed; its cause is that error.

    No `Exception`, because it says nothing about the call: a breaker counts neither a
    success nor a failure.
    """

    def __init__(self, error: Exception) -> None:
        """Carry the error."""
        super().__init__(error)
        self.error = error


def within(
    seconds: float,
    call: Callable[[], Result],
    *,
    abandon: Callable[[], None],
    meanwhile: Callable[[], object] | None = None,
) -> Result:
    """What `call` returns, or raises, when it does so in time.

    Nothing waits for a call that was given up, not even the end of the process.

    Args:
        seconds: How long to wait for it.
        call: Runs in another thread; may touch nothing that is the caller's.
        abandon: Ends the call, when it took too long or the wait was interrupted.
        meanwhile: Done by the caller's thread while it waits, a few times a second.

    Raises:
        DeadlineExceededError: It took longer.
        MeanwhileError: `meanwhile` failed.
    """
    running = _Running(call)
    threading.Thread(target=running.run, name="within-deadline", daemon=True).start()
    try:
        _wait(running.done, seconds, meanwhile)
    except BaseException:
        abandon()
        raise
    return running.result()


def pause(seconds: float, meanwhile: Callable[[], object] | None = None) -> None:
    """Wait so long, and do something else a few times a second.

    Raises:
        MeanwhileError: `meanwhile` failed.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if meanwhile is None:
            time.sleep(left)
        else:
            do(meanwhile)
            time.sleep(min(left, MEANWHILE_SECONDS))


def do(meanwhile: Callable[[], object]) -> None:
    """Do it.

    Raises:
        MeanwhileError: It failed.
    """
    try:
        meanwhile()
    except Exception as error:
        raise MeanwhileError(error) from error


def _wait(
    done: threading.Event, seconds: float, meanwhile: Callable[[], object] | None
) -> None:
    deadline = time.monotonic() + seconds
    longest = seconds if meanwhile is None else MEANWHILE_SECONDS
    while not done.wait(min(longest, max(deadline - time.monotonic(), 0))):
        if time.monotonic() >= deadline:
            raise DeadlineExceededError
        if meanwhile is not None:
            do(meanwhile)


class _Running(Generic[Result]):
    def __init__(self, call: Callable[[], Result]) -> None:
        self.done = threading.Event()
        self._call = call
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Result:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame.
                del error
        return self._results.pop()
