"""Database engines: connections whose commits are atomic, and synced when asked."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.store import moved_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS = 30_000
"""How long a transaction waits for another's lock, on SQLite and on Postgres."""

SQLITE_WAL_AUTOCHECKPOINT_PAGES = 10_000
"""Worth 10 to 50 % over the default of 1,000 on the commit benchmark."""


_LOSS_NOTICED_BY_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is just not heard of any more is given up within half a minute."""

_LOSS_NOTICED_BY_SERVER = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 3,
    "tcp_keepalives_count": 3,
}
"""So it gives up a client's locks before that one's next run stops waiting for them."""


def create_engine(url: str | URL) -> Engine:
    """An engine whose commits are atomic but, during a run, not synced.

    Raises:
        ConfigurationError: The URL is none of SQLite or Postgres.

    Guarantees:
        SQLite: WAL with `synchronous=NORMAL`. Postgres: `synchronous_commit=off`.
        After a power cut the database falls back to an earlier commit, rows and
        offset together. `StageSession.sync` makes what was committed durable.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        message = "LEARNING_PIPELINE_STORE_URL is no SQLAlchemy URL"
        raise ConfigurationError(message) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = sa.create_engine(
            parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
        )
        if parsed.database not in {None, "", ":memory:"} and not parsed.query:
            sa.event.listen(engine, "do_connect", _open_sqlite_file)
            sa.event.listen(engine, "checkout", _drop_if_moved)
            sa.event.listen(engine, "close", _forget)
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return sa.create_engine(
            parsed,
            connect_args={
                **_without(_LOSS_NOTICED_BY_CLIENT, parsed),
                "options": _postgres_options(parsed),
            },
            pool_pre_ping=True,
        )
    message = (
        f"the store cannot be {backend!r}: LEARNING_PIPELINE_STORE_URL must start "
        "with sqlite:// or postgresql+psycopg://"
    )
    raise ConfigurationError(message)


def _without(ours: dict[str, int], url: URL) -> dict[str, int]:
    return {name: value for name, value in ours.items() if name not in url.query}


def _postgres_options(url: URL) -> str:
    theirs = url.normalized_query.get("options", ())
    ours = {
        "synchronous_commit": "off",
        "lock_timeout": BUSY_TIMEOUT_MS,
        **_LOSS_NOTICED_BY_SERVER,
    }
    return " ".join([*theirs, *(f"-c {name}={value}" for name, value in ours.items())])


def _open_sqlite_file(
    _dialect: object,
    record: ConnectionPoolEntry,
    names: list[Any],
    parameters: dict[str, Any],
) -> sqlite3.Connection:
    # Never creates it: a file that was deleted would come back empty, as if it were
    # the state of a project that has not begun.
    path = str(names[0])
    moved_file.refuse_mixing(path)
    uri = f"{Path(path).as_uri()}?mode=rw"
    try:
        connection: sqlite3.Connection = sqlite3.connect(uri, uri=True, **parameters)
        moved_file.watch(record.info, path)
    except (sqlite3.OperationalError, OSError) as error:
        raise sqlite3.OperationalError(f"{error}: {_why_unopened(path)}") from error
    return connection


def _forget(_connection: object, record: ConnectionPoolEntry) -> None:
    moved_file.forget(record.info)


def _why_unopened(path: str) -> str:
    # SQLite does not say. Not by opening it: closing it again would take away the
    # locks that other connections of this process have on it.
    try:
        Path(path).stat()
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    may = os.access(path, os.R_OK | os.W_OK, effective_ids=True)
    return "see its folder" if may else os.strerror(errno.EACCES)


def _drop_if_moved(
    _connection: object, record: ConnectionPoolEntry, _proxy: object
) -> None:
    if moved_file.have_moved(record.info):
        message = "the file was deleted or replaced"
        raise sa.exc.DisconnectionError(message)


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: BEGIN IMMEDIATE is ours.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    # A cell that reaches out of its page is refused when the page is read.
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute(f"PRAGMA wal_autocheckpoint={SQLITE_WAL_AUTOCHECKPOINT_PAGES}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


SYNC_THIS_TRANSACTION = "SET LOCAL synchronous_commit = on"
"""On Postgres, as the first statement: its commit flushes the log up to itself."""


@contextlib.contextmanager
def synced_commits(dialect_name: str, cursor: Any) -> Iterator[None]:
    """Around transactions of one SQLite connection: their commits sync the log.

    In WAL mode that takes all earlier commits, by anyone, to stable storage too.
    """
    if dialect_name != "sqlite":
        yield
        return
    try:
        cursor.execute("PRAGMA synchronous=FULL")
        yield
    finally:
        cursor.execute("PRAGMA synchronous=NORMAL")
