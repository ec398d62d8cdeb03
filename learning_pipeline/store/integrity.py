"""SQLite's own look at its pages: what it would find damaged only when it reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from learning_pipeline.store.failures import damaged_or_unread
from learning_pipeline.store.schema import metadata

if TYPE_CHECKING:
    import sqlalchemy as sa

WHOLE_CHECK_BYTES = 16 * 1024 * 1024
"""Up to here a database is checked whole at each open, at 1.2 ms a megabyte."""

_LARGE = frozenset({"checkpoint_history", "event_counts", "dead_letters", "patterns"})
SMALL_TABLES = ("sqlite_schema", *sorted(set(metadata.tables) - _LARGE))
"""What a larger one is checked for at each open: where the work stands."""

MAX_PROBLEMS = 20


def integrity_problems(
    connection: sa.Connection, table: str | None = None
) -> list[str]:
    """What `PRAGMA integrity_check` says of a SQLite database, or of one table.

    Finds damage in the structure: pages, keys, order, indexes that disagree with
    their tables. A changed byte inside a stored text is no damage to SQLite.
    """
    argument = table or MAX_PROBLEMS
    rows = connection.exec_driver_sql(f"PRAGMA integrity_check({argument})")
    lines = [line for text in rows.scalars() for line in str(text).splitlines()]
    # The line with the stars only says which database: there is one.
    return [line for line in lines if line != "ok" and not line.startswith("***")][
        :MAX_PROBLEMS
    ]


def refuse_broken(connection: sa.Connection, *, whole: bool = False) -> None:
    """Refuse a SQLite database whose structure is damaged, as far as this looks.

    Args:
        connection: To a database in a file.
        whole: Look at all of it, however large.

    Raises:
        StateDamagedError: It is.
        StoreUnavailableError: It could not be read.
    """
    size_bytes = Path(str(connection.engine.url.database)).stat().st_size
    whole = whole or size_bytes <= WHOLE_CHECK_BYTES
    tables = [None] if whole else _there(connection)
    for table in tables:
        problems = integrity_problems(connection, table)
        if problems:
            url = connection.engine.url.render_as_string(hide_password=False)
            raise damaged_or_unread(url, problems[0])


def _there(connection: sa.Connection) -> list[str | None]:
    names = set(connection.exec_driver_sql("SELECT name FROM sqlite_schema").scalars())
    return [name for name in SMALL_TABLES if name in names or name == "sqlite_schema"]
