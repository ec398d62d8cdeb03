"""Requests over HTTP that end in time, and what is said of one that failed."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from learning_pipeline.learning.deadline import within

Result = TypeVar("Result")
Trace = Callable[[str, dict[str, Any]], None]
"""Goes into a request's extensions as `trace`."""


class TimedRequests:
    """Makes the requests of one HTTP client, one at a time, each with a deadline."""

    def __init__(self, seconds: float) -> None:
        """Take how long a request may take in all."""
        self._seconds = seconds
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __call__(
        self,
        request: Callable[[Trace], Result],
        *,
        meanwhile: Callable[[], object] | None = None,
    ) -> Result:
        """What `request` returns or raises.

        Args:
            request: Sends it, with the trace that it is given; runs in another thread.
            meanwhile: Done by the caller's thread while it waits.

        Raises:
            DeadlineExceededError: It took too long; its connection was ended.
            MeanwhileError: `meanwhile` failed.
        """
        is_abandoned = threading.Event()

        def trace(event: str, details: dict[str, Any]) -> None:
            if not event.endswith((".connect_tcp.complete", ".start_tls.complete")):
                return
            connected = details["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.add(connected)
            if is_abandoned.is_set():
                _end(connected)

        def abandon() -> None:
            is_abandoned.set()
            with self._lock:
                sockets = list(self._sockets)
            for each in sockets:
                _end(each)

        return within(
            self._seconds,
            lambda: request(trace),
            abandon=abandon,
            meanwhile=meanwhile,
        )


def cause_of(error: httpx.HTTPError) -> str:
    """What went wrong, without headers and bodies.

    Not the text alone: that may be empty. Of a protocol error not the text at all: it
    may quote a header, and the key in it, or what the server sent.
    """
    name = type(error).__name__
    if isinstance(error, httpx.ProtocolError):
        return f"{name}, it does not speak HTTP as it should"
    return f"{name}: {error}".rstrip(": ")


def _end(connected: socket.socket) -> None:
    # Wakes the thread that reads. Not closed: the number of the file could be another's
    # by the time at which that thread reads from it.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
