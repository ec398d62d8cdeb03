"""The table of a stage: created, checked, given to one stage, written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from learning_pipeline.errors import StageTableError
from learning_pipeline.store.schema import ROW_KEY, checkpoints, stages

if TYPE_CHECKING:
    from learning_pipeline.model import Row

RowWriter = Callable[[Any, int, int, "Sequence[Row]"], None]
"""Takes a cursor, the partition's number, the generation, and its rows."""

LONGEST_INSERT_ROWS = 64
SQLITE_MAX_PARAMETERS = 32_766

_CREATION_LOCK = 0x6C705F74
"""Any constant: the advisory lock under which Postgres gets its stage tables."""

_REFUSED_VALUES = (
    TypeError,
    ValueError,
    OverflowError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
)


def ensure_stage(
    engine: sa.Engine, stage: str, table: sa.Table | None, upstream: str | None = None
) -> None:
    """Make `table` the stage's: create it if it is a user's own and not there yet.

    Args:
        engine: Of a prepared database.
        stage: The stage's name.
        table: Where its rows go; None for one that writes elsewhere.
        upstream: The stage whose rows it reads; None if it reads telemetry.

    Raises:
        StageTableError: It has other columns, is another stage's, or the stage has
            its rows in another table.
    """
    if table is None:
        _ensure_without_table(engine, stage, upstream)
        return
    if [column.name for column in table.columns][: len(ROW_KEY)] != list(ROW_KEY):
        message = f"table {table.name!r} must be made with `stage_table`"
        raise StageTableError(message)
    with engine.connect() as connection:
        if _is_ready(connection, stage, table):
            return
    # Two processes that meet a new stage at once: one creates, the other waits.
    with (
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if _is_ready(connection, stage, table):
            return
        if not sa.inspect(connection).has_table(table.name):
            table.metadata.create_all(connection, tables=[table], checkfirst=False)
        _take_over(connection, stage, table)
        connection.execute(
            sa.delete(stages).where(
                sa.or_(stages.c.stage == stage, stages.c.table_name == table.name)
            )
        )
        connection.execute(
            sa.insert(stages).values(
                stage=stage, table_name=table.name, upstream=upstream
            )
        )


def _ensure_without_table(engine: sa.Engine, stage: str, upstream: str | None) -> None:
    there = sa.select(stages.c.table_name).where(stages.c.stage == stage)
    with (
        engine.connect().execution_options(writes=True) as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if connection.execute(there).first() is None:
            connection.execute(
                sa.insert(stages).values(stage=stage, table_name="", upstream=upstream)
            )


def _is_ready(connection: sa.Connection, stage: str, table: sa.Table) -> bool:
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        return False
    there = {column["name"] for column in inspector.get_columns(table.name)}
    declared = {column.name for column in table.columns}
    if there != declared:
        message = (
            f"table {table.name!r} in the database has the columns {sorted(there)}, "
            f"its stage declares {sorted(declared)}: rename the table in the code and "
            "clear the stage, or clear the stage and drop the old table"
        )
        raise StageTableError(message)
    owned = connection.execute(
        sa.select(stages.c.stage, stages.c.table_name).where(
            sa.or_(stages.c.stage == stage, stages.c.table_name == table.name)
        )
    ).all()
    return [tuple(row) for row in owned] == [(stage, table.name)]


def _take_over(connection: sa.Connection, stage: str, table: sa.Table) -> None:
    """Refuse a table or a stage that is bound to another by what was committed."""
    for other, table_name in connection.execute(
        sa.select(stages.c.stage, stages.c.table_name).where(
            sa.or_(stages.c.stage == stage, stages.c.table_name == table.name)
        )
    ).all():
        if (other, table_name) == (stage, table.name) or not _has_work(
            connection, other, table_name
        ):
            continue
        # A rewind of one would take the other's rows, or leave its own behind.
        message = (
            f"stage {other!r} has committed to table {table_name!r}; stage {stage!r} "
            f"cannot use {table.name!r}: give each stage a table of its own, or "
            f"clear {other!r} in all its files first"
        )
        raise StageTableError(message)


def _has_work(connection: sa.Connection, stage: str, table_name: str) -> bool:
    moved = sa.select(checkpoints.c.stage).where(
        checkpoints.c.stage == stage, checkpoints.c.offset > 0
    )
    if connection.execute(moved.limit(1)).first() is not None:
        return True
    if not sa.inspect(connection).has_table(table_name):
        return False
    rows = sa.select(sa.literal(1)).select_from(sa.table(table_name)).limit(1)
    return connection.execute(rows).first() is not None


def row_writer(table: sa.Table, engine: sa.Engine) -> RowWriter:
    """The fastest way to add rows to `table`: long INSERTs, or COPY on Postgres."""
    names = [column.name for column in table.columns]
    if engine.dialect.name == "sqlite":
        quote = engine.dialect.identifier_preparer.quote
        columns = ", ".join(quote(name) for name in names)
        head = f"INSERT INTO {quote(table.name)} ({columns}) VALUES "  # noqa: S608 - quoted names of a declared table; values are parameters
        write = _insert_with(head, len(names))
    else:
        write = _copy_with(table.name, names)

    def write_or_refuse(
        cursor: Any,
        partition_id: int,
        generation: int,
        rows: Sequence[Row],
    ) -> None:
        try:
            write(cursor, partition_id, generation, rows)
        except _REFUSED_VALUES as error:
            message = (
                f"the rows do not fit table {table.name!r}: {_without_values(error)}. "
                "Make the stage give values that its columns can hold, and each key "
                "once"
            )
            # Not chained: Postgres quotes the value, which is text from telemetry.
            raise StageTableError(message) from None

    return write_or_refuse


def _insert_with(head: str, column_count: int) -> RowWriter:
    marks = f"({', '.join('?' * column_count)})"
    # A row of a long statement costs a fifth less than a statement of its own. Few
    # lengths, so that the driver keeps them all prepared.
    longest = min(LONGEST_INSERT_ROWS, SQLITE_MAX_PARAMETERS // column_count)
    inserts: dict[int, str] = {}
    while longest >= 1:
        inserts[longest] = head + ", ".join([marks] * longest)
        longest //= 2

    def write(
        cursor: Any,
        partition_id: int,
        generation: int,
        rows: Sequence[Row],
    ) -> None:
        key = (partition_id, generation)
        start = 0
        for row_count, insert in inserts.items():
            while len(rows) - start >= row_count:
                block = rows[start : start + row_count]
                cursor.execute(insert, [value for row in block for value in key + row])
                start += row_count

    return write


def _copy_with(table_name: str, columns: Sequence[str]) -> RowWriter:
    copy_in = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table_name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )

    def write(
        cursor: Any,
        partition_id: int,
        generation: int,
        rows: Sequence[Row],
    ) -> None:
        if not rows:
            return
        key = (partition_id, generation)
        with cursor.copy(copy_in) as copy:
            for row in rows:
                copy.write_row(key + row)

    return write


def _without_values(error: Exception) -> str:
    if not isinstance(error, psycopg.Error):
        return str(error)
    at = error.diag.column_name or error.diag.constraint_name
    return f"{type(error).__name__}{f' ({at})' if at else ''}"
