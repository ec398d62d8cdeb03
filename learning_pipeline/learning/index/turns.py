"""Taking turns at the embedded index: one process at a time, the others wait in line.

Two lock files beside the index. Whoever has `index.lock` may open the index. Whoever
waits for that holds `index.queue` meanwhile, so who has the index sees, by one try of
that lock, whether anybody waits, and lets them in; nobody needs to be told, and a
killed process leaves neither lock behind.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from filelock import FileLock, Timeout

from learning_pipeline.errors import IndexBusyError
from learning_pipeline.learning.atomic_file import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS = 0.01


class Holder(msgspec.Struct, frozen=True):
    """Who has the index.

    Attributes:
        pid: The process.
        since: Since when, ISO 8601 in UTC.
        purpose: What for.
    """

    pid: int
    since: str
    purpose: str


class Turns:
    """One opener's way to its turn at the index in `folder`."""

    def __init__(self, folder: Path, *, wait_seconds: float) -> None:
        """Take the index's folder and how long to wait for a turn."""
        self._folder = folder
        self._wait_seconds = wait_seconds
        self._holder_path = folder.with_name(f"{folder.name}.holder.json")
        self._turn = self._lock("lock")
        self._queue = self._lock("queue")
        self._is_mine = False

    def take(self, purpose: str) -> None:
        """Wait for the turn.

        Raises:
            IndexBusyError: It did not come in time.
        """
        deadline = time.monotonic() + self._wait_seconds
        try:
            self._queue.acquire(timeout=self._wait_seconds, poll_interval=_POLL_SECONDS)
            try:
                left = max(deadline - time.monotonic(), 0.0)
                self._turn.acquire(timeout=left, poll_interval=_POLL_SECONDS)
            finally:
                self._queue.release()
        except Timeout:
            raise self._busy() from None
        self._is_mine = True
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = Holder(os.getpid(), now, purpose)
        with atomic_file(self._holder_path, synced=False) as file:
            file.write(msgspec.json.encode(holder))

    def give_back(self) -> None:
        """Let others have it; harmless when it is not one's own."""
        if self._is_mine:
            self._is_mine = False
            self._holder_path.unlink(missing_ok=True)
            self._turn.release()

    def someone_waits(self) -> bool:
        """Whether another process, or thread, waits for its turn."""
        try:
            self._queue.acquire(timeout=0)
        except Timeout:
            return True
        self._queue.release()
        return False

    def _lock(self, suffix: str) -> FileLock:
        path = self._folder.with_name(f"{self._folder.name}.{suffix}")
        return FileLock(path, thread_local=False)

    def _busy(self) -> IndexBusyError:
        holder = "another process"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            known = msgspec.json.decode(self._holder_path.read_bytes(), type=Holder)
            holder = f"process {known.pid} ({known.purpose}, since {known.since})"
        return IndexBusyError(
            f"the index {self._folder} is in use by {holder}, and did not become free "
            f"within {self._wait_seconds:g} s (LEARNING_PIPELINE_INDEX_LOCK_SECONDS): "
            "wait for it, or end that process; nothing has to be cleaned up after it",
            holder=holder,
        )
