"""Notices that SQLite's files were deleted or replaced under an open connection.

SQLite itself does not: it goes on writing into files that have no name any more, and
every commit to them is gone when the process ends.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from learning_pipeline.errors import StoreUnavailableError

_Identity = tuple[int, int]

_KEY = "learning_pipeline.watched_files"

_lock = threading.Lock()


class WatchedFiles:
    """The files that one connection has open, by identity, and their names."""

    def __init__(self, path: str) -> None:
        """Remember what `path` names; call it as soon as SQLite has opened that."""
        self.path = path
        self._log_path = f"{path}-wal"
        self.database = _identity(path)
        self._log: _Identity | None = None

    def have_moved(self) -> bool:
        """Whether the names lead elsewhere by now, or nowhere."""
        try:
            if _identity(self.path) != self.database:
                return True
            log = _identity(self._log_path)
        except OSError:
            # Forbidden to look, say: what is open can still be used.
            return False
        # SQLite makes the log at the first use, and keeps it while it is open.
        self._log = self._log or log
        return log != self._log


_open_here: list[WatchedFiles] = []


def watch(info: dict[Any, Any], path: str) -> None:
    """Watch the files of a connection from now on; `info` is the pool's about it."""
    watched = info[_KEY] = WatchedFiles(path)
    with _lock:
        _open_here.append(watched)


def forget(info: dict[Any, Any]) -> None:
    """The connection is closed."""
    watched = info.pop(_KEY, None)
    if watched is not None:
        with _lock:
            _open_here.remove(watched)


def refuse_mixing(path: str) -> None:
    """Call it before a connection is opened.

    Raises:
        sqlite3.OperationalError: Another connection of this process still has the log
            open that was deleted. SQLite would use its index with the new log.
    """
    try:
        database = _identity(path)
    except OSError:
        # Opening it will say why.
        return
    with _lock:
        others = [each for each in _open_here if each.database == database]
    if any(each.have_moved() for each in others):
        message = "its -wal file was deleted while this process had it open"
        raise sqlite3.OperationalError(message)


def is_open_here(path: Path) -> bool:
    """Whether a connection of this process has the database open.

    Then nothing else in this process may open the file: closing it again would take
    away the locks that SQLite has on it, and another process that then believes to be
    the last would delete the log under our connection. See
    https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    """
    database = _identity(str(path))
    with _lock:
        return any(each.database == database for each in _open_here)


def have_moved(info: dict[Any, Any]) -> bool:
    """Whether the files of a connection are no longer where it was opened."""
    watched = info.get(_KEY)
    return watched is not None and watched.have_moved()


def refuse_moved(info: dict[Any, Any]) -> None:
    """Call it inside a transaction, before it is committed.

    Raises:
        StoreUnavailableError: A commit would go into files that were deleted.
    """
    watched = info.get(_KEY)
    if watched is None or not watched.have_moved():
        return
    message = (
        f"the state database {watched.path}, or its -wal file, was deleted or replaced "
        "while it was in use. Nothing of the current batch was kept; commits made "
        "since then may have gone with the old file. Put it back, if you can, and run "
        "again: it resumes from what is there."
    )
    raise StoreUnavailableError(message)


def _identity(path: str) -> _Identity | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - before every commit: it is the fastest
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
