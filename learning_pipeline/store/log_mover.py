"""Moves SQLite's write-ahead log into the database beside the commits, not in them.

SQLite does this by itself every so many pages, inside a commit, which then waits for
the disk: a third of the time of all commits. Done by a second connection in a thread
it costs the commits next to nothing; SQLite holds no Python lock meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import sqlalchemy as sa

from learning_pipeline import logs

MOVE_AFTER_BYTES = 8 * 1024 * 1024
"""Telemetry committed since the last move that makes the next one worth while."""

WAIT_AFTER_BYTES = 3 * MOVE_AFTER_BYTES
"""A log that grows while it is moved cannot begin anew; by then commits wait once."""

_MOVE = "PRAGMA wal_checkpoint(PASSIVE)"


class LogMover:
    """A thread with a connection of its own; nothing at all on other databases.

    What it does is safe at any moment and against any crash: it is SQLite's own
    checkpoint, which never touches what is not committed. If it fails, the log only
    stays longer; the next one, or the last connection to close, makes up for it. The
    first failure in a row is logged.
    """

    def __init__(self, engine: sa.Engine, connection: Any) -> None:
        """Take the moving over from the commits of `connection`, a raw one."""
        self._engine = engine
        self._cursor = connection.cursor() if engine.dialect.name == "sqlite" else None
        self._unmoved_bytes = 0
        self._unwaited_bytes = 0
        self._wanted = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._own_autocheckpoint = 0
        self._is_failing = False

    def committed(self, telemetry_bytes: int) -> None:
        """Tell of a commit; to be called outside of a transaction."""
        if self._cursor is None:
            return
        self._unmoved_bytes += telemetry_bytes
        self._unwaited_bytes += telemetry_bytes
        if self._unwaited_bytes >= WAIT_AFTER_BYTES:
            self._unmoved_bytes = self._unwaited_bytes = 0
            self._move(self._cursor)
        elif self._unmoved_bytes >= MOVE_AFTER_BYTES:
            self._unmoved_bytes = 0
            self._start()
            self._wanted.set()

    def close(self) -> None:
        """End the thread; the connection moves its log by itself again."""
        if self._thread is None or self._cursor is None:
            return
        self._ended = True
        self._wanted.set()
        self._thread.join()
        self._thread = None
        with contextlib.suppress(Exception):
            self._cursor.execute(
                f"PRAGMA wal_autocheckpoint={self._own_autocheckpoint}"
            )

    def _start(self) -> None:
        # Only now: a run over small files never needs it.
        if self._thread is not None or self._cursor is None:
            return
        self._cursor.execute("PRAGMA wal_autocheckpoint")
        self._own_autocheckpoint = int(self._cursor.fetchone()[0])
        self._cursor.execute("PRAGMA wal_autocheckpoint=0")
        self._thread = threading.Thread(
            target=self._run, name="sqlite-log-mover", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._engine.connect() as connection:
                cursor = connection.connection.cursor()
                while True:
                    self._wanted.wait()
                    self._wanted.clear()
                    if self._ended:
                        return
                    self._move(cursor)
        except Exception as error:  # noqa: BLE001 - the commits move it from now on
            self._report(error)

    def _move(self, cursor: Any) -> None:
        # As SQLite itself does after a commit: an error here is none of the commit's.
        try:
            cursor.execute(_MOVE)
            cursor.fetchall()
        except Exception as error:  # noqa: BLE001 - as above
            self._report(error)
        else:
            self._is_failing = False

    def _report(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            logs.get_logger().warning("write_ahead_log_not_moved", error=str(error))
