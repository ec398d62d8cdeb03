"""What is stored, in chunks of rows from one snapshot: for data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.store.schema import (
    ROW_KEY,
    custom_metrics,
    finetuning_examples,
    measurements,
    partitions,
    patterns,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from learning_pipeline.store import Store

NONE_STATED = "(none)"
"""Selects the rows that state no backend."""

MAX_SELECTED = 1_000
"""Values of one filter: SQLite takes at most 32,766 parameters in a statement."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows; None: whichever.

    Attributes:
        partitions: Of these partition keys.
        kinds: Of events of these kinds.
        backends: Of these backends or models; `(none)`: of none that is stated.
        since: Of events at or after this, in the canonical form of timestamps. Those
            without a timestamp are left out.
        until: Of events before this.
    """

    partitions: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    backends: Sequence[str] | None = None
    since: str | None = None
    until: str | None = None


EVERYTHING = Selection()

Chunk = list[tuple[Any, ...]]


def pattern_chunks(
    store: Store,
    columns: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    chunk_rows: int,
    quality: bool | None = None,
) -> Generator[Chunk, None, None]:
    """Patterns by partition, generation, offset and ordinal.

    Args:
        store: Where.
        columns: Names of the table's, or `partition`.
        selection: Which.
        chunk_rows: Rows in memory at once, at most.
        quality: Only those of quality, or only the others.
    """
    where = [] if quality is None else [patterns.c.quality.is_(quality)]
    with store.snapshot() as connection:
        query = _in_order(connection, patterns, columns, selection).where(*where)
        yield from _chunks(connection, query, chunk_rows)


def example_chunks(
    store: Store,
    columns: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    chunk_rows: int,
) -> Generator[Chunk, None, None]:
    """Examples, each content once, in the order of patterns, with their columns."""
    is_one = sa.exists().where(
        *(finetuning_examples.c[name] == patterns.c[name] for name in ROW_KEY),
        sa.not_(finetuning_examples.c.is_duplicate),
    )
    with store.snapshot() as connection:
        query = _in_order(connection, patterns, columns, selection).where(is_one)
        yield from _chunks(connection, query, chunk_rows)


def measurement_chunks(
    store: Store,
    columns: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    chunk_rows: int,
) -> Generator[Chunk, None, None]:
    """Measurements by partition, generation, offset and ordinal."""
    with store.snapshot() as connection:
        query = _in_order(connection, measurements, columns, selection)
        yield from _chunks(connection, query, chunk_rows)


def custom_metric_chunks(
    store: Store,
    columns: Sequence[str],
    selection: Selection = EVERYTHING,
    *,
    chunk_rows: int,
    names: Sequence[str] | None = None,
) -> Generator[Chunk, None, None]:
    """Custom metrics by time, name and id; of a selection only its times count."""
    table = custom_metrics
    with store.snapshot() as connection:
        where = between(connection, table.c.recorded_at, selection)
        if names is not None:
            where.append(table.c.name.in_(few(names)))
        query = (
            sa.select(*(table.c[name] for name in columns))
            .where(*where)
            .order_by(
                *(
                    by_code_point(connection, table.c[name])
                    for name in ("recorded_at", "name", "metric_id")
                )
            )
        )
        yield from _chunks(connection, query, chunk_rows)


def selected(
    connection: sa.Connection, table: sa.Table, selection: Selection
) -> list[sa.ColumnElement[bool]]:
    """The conditions of a selection, over a table joined with `partitions`.

    Raises:
        ConfigurationError: A filter has too many values.
    """
    where = between(connection, table.c.event_timestamp, selection)
    if selection.partitions is not None:
        where.append(partitions.c.partition_key.in_(few(selection.partitions)))
    if selection.kinds is not None:
        where.append(table.c.kind.in_(few(selection.kinds)))
    if selection.backends is not None:
        is_one: sa.ColumnElement[bool] = table.c.backend.in_(few(selection.backends))
        if NONE_STATED in selection.backends:
            is_one = sa.or_(is_one, table.c.backend.is_(None))
        where.append(is_one)
    return where


def between(
    connection: sa.Connection, moment: sa.Column[Any], selection: Selection
) -> list[sa.ColumnElement[bool]]:
    """The conditions of a selection's times."""
    # The canonical form has one width, so its order as text is that of time.
    where: list[sa.ColumnElement[bool]] = []
    if selection.since is not None:
        where.append(by_code_point(connection, moment) >= selection.since)
    if selection.until is not None:
        where.append(by_code_point(connection, moment) < selection.until)
    return where


def by_code_point(
    connection: sa.Connection, column: sa.ColumnElement[Any]
) -> sa.ColumnElement[Any]:
    """Compare as Python and SQLite do; Postgres would follow its own locale."""
    return column.collate("C") if connection.dialect.name != "sqlite" else column


def few(values: Sequence[str]) -> Sequence[str]:
    """The values of a filter, if they are not too many.

    Raises:
        ConfigurationError: They are.
    """
    if isinstance(values, str) or len(values) > MAX_SELECTED:
        message = f"a filter takes a list of at most {MAX_SELECTED} values"
        raise ConfigurationError(message)
    return values


def _in_order(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    selection: Selection,
) -> sa.Select[Any]:
    return (
        sa.select(
            *(
                partitions.c.partition_key if name == "partition" else table.c[name]
                for name in columns
            )
        )
        .select_from(partitions.join(table, partitions.c.id == table.c.partition_id))
        .where(*selected(connection, table, selection))
        .order_by(
            by_code_point(connection, partitions.c.partition_key),
            *(table.c[name] for name in ROW_KEY[1:]),
        )
    )


def _chunks(
    connection: sa.Connection, query: sa.Select[Any], chunk_rows: int
) -> Generator[Chunk, None, None]:
    # Closed also when the reader gives up half-way.
    with connection.execute(query.execution_options(yield_per=chunk_rows)) as result:
        for part in result.partitions():
            yield [tuple(row) for row in part]
