"""Database engines: connections whose commits are atomic, and synced when asked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from learning_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

BUSY_TIMEOUT_MS = 30_000
"""How long a transaction waits for another's lock, on SQLite and on Postgres."""

SQLITE_WAL_AUTOCHECKPOINT_PAGES = 10_000
"""Worth 10 to 50 % over the default of 1,000 on the commit benchmark."""


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
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if backend == "postgresql":
        return sa.create_engine(
            parsed,
            connect_args={"options": _postgres_options(parsed)},
            pool_pre_ping=True,
        )
    message = (
        f"the store cannot be {backend!r}: LEARNING_PIPELINE_STORE_URL must start "
        "with sqlite:// or postgresql+psycopg://"
    )
    raise ConfigurationError(message)


def _postgres_options(url: URL) -> str:
    theirs = url.normalized_query.get("options", ())
    ours = f"-c synchronous_commit=off -c lock_timeout={BUSY_TIMEOUT_MS}"
    return " ".join([*theirs, ours])


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: BEGIN IMMEDIATE is ours.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
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
