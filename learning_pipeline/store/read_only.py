"""SQLite databases over connections that cannot change them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

MEMORY = ":memory:"
_WAIT_SECONDS = 5.0


def is_store_url(url: str) -> bool:
    """Whether it is a URL, and one of a database that a store can be in."""
    try:
        return make_url(url).get_backend_name() in {"sqlite", "postgresql"}
    except ArgumentError:
        return False


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite database; None of any other."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", MEMORY}:
        return None
    return Path(str(parsed.database)).absolute()


def url_of(path: Path) -> str:
    """The URL of a SQLite database's file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def open_read_only(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection of the driver's that cannot change the database.

    Args:
        path: The database.
        immutable: Whether nobody else uses it and its log does not count: then not
            even a file is made beside it.
    """
    options = "immutable=1" if immutable else "mode=ro"
    uri = f"{path.absolute().as_uri()}?{options}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)


def read_only_engine(path: Path, *, immutable: bool = False) -> Engine:
    """The same as an engine, whose connections read one snapshot per transaction."""
    engine = sa.create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: open_read_only(path, immutable=immutable),
        poolclass=sa.NullPool,
    )
    sa.event.listen(engine, "begin", lambda each: each.exec_driver_sql("BEGIN"))
    return engine
