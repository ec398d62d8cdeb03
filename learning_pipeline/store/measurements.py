"""Measurements as an aggregation wants them: groups in chunks, from one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point, selected
from learning_pipeline.store.schema import measurements, partitions

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from learning_pipeline.store.chunks import Selection

MEASURES: Final = (
    "success",
    "iterations",
    "latency_ms",
    "resolution_seconds",
    "tokens_in",
    "tokens_out",
)

_DAY_CHARS: Final = len("2026-05-28")


class MeasurementReader:
    """Reads a selection of measurements, always of the same snapshot."""

    def __init__(
        self,
        connection: sa.Connection,
        by: Sequence[str],
        selection: Selection,
    ) -> None:
        """Read over `connection`, whose transaction is the snapshot."""
        self._connection = connection
        self._groups = [_group(name) for name in by]
        self._where = selected(connection, measurements, selection)
        self._names_partitions = "partition" in by or selection.partitions is not None

    def chunks(self, chunk_rows: int) -> Generator[Sequence[sa.Row[Any]], None, None]:
        """The values of the groups' columns, then `MEASURES`; in no order."""
        query = self._select(
            *self._groups, *(measurements.c[name] for name in MEASURES)
        ).execution_options(yield_per=chunk_rows)
        with self._connection.execute(query) as result:
            yield from result.partitions()

    def largest_groups(self, count: int) -> set[tuple[Any, ...]]:
        """The groups of the most rows; of equally large ones the first by name."""
        ordered = [
            by_code_point(self._connection, sa.func.coalesce(group, ""))
            for group in self._groups
        ]
        query = (
            self._select(*self._groups)
            .group_by(*self._groups)
            .order_by(sa.func.count().desc(), *ordered)
            .limit(count)
        )
        return {tuple(row) for row in self._connection.execute(query)}

    def _select(self, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
        query = sa.select(*columns).where(*self._where)
        # No look-up per row of a name that nobody asked for.
        if not self._names_partitions:
            return query.select_from(measurements)
        of_partition = partitions.c.id == measurements.c.partition_id
        return query.select_from(measurements.join(partitions, of_partition))


def count_by_task_type(
    connection: sa.Connection, task_types: Sequence[str]
) -> dict[str, int]:
    """How many measured events there are of each of some task types."""
    query = (
        sa.select(measurements.c.task_type, sa.func.count())
        .where(measurements.c.task_type.in_(task_types))
        .group_by(measurements.c.task_type)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _group(name: str) -> sa.ColumnElement[Any]:
    if name == "partition":
        return partitions.c.partition_key
    if name == "day":
        day = sa.func.substr(
            measurements.c.event_timestamp,
            sa.literal_column("1"),
            sa.literal_column(str(_DAY_CHARS)),
        )
        return day.label("day")
    return measurements.c[name]
