"""What contradicts itself in a state database; for `doctor`, over all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from learning_pipeline.store.codec import decode_counters
from learning_pipeline.store.cross_check import history_disagreement
from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    dead_letters,
    partitions,
    stages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def contradictions(connection: sa.Connection) -> Iterator[str]:
    """Checkpoints without their history, rows behind them, counts that differ.

    Args:
        connection: Only read from.
    """
    keys = {
        row.id: row.partition_key
        for row in connection.execute(
            sa.select(partitions.c.id, partitions.c.partition_key)
        )
    }
    newest = _newest_steps(connection)
    there = set(sa.inspect(connection).get_table_names())
    tables = {
        row.stage: row.table_name
        for row in connection.execute(sa.select(stages.c.stage, stages.c.table_name))
    }
    rows = {
        stage: _extents(connection, _row_table(name))
        for stage, name in tables.items()
        if name in there
    }
    letters = _letter_extents(connection)
    for row in connection.execute(sa.select(checkpoints)).mappings():
        stage, partition_id = row["stage"], row["partition_id"]
        key = keys.get(partition_id)
        if key is None:
            yield f"{stage}: a checkpoint of partition {partition_id}, which has no key"
            continue
        where = f"{stage} of {key}"
        found = history_disagreement(row, newest.get((stage, partition_id)))
        if found is not None:
            yield f"{where}: {found}"
        counters = decode_counters(row["counters"])
        # One without a table writes elsewhere, where nothing can be counted from here.
        stored = rows.get(stage, {}) if tables.get(stage) else None
        for what, extents, counted in (
            ("rows", stored, counters.row_count),
            ("dead letters", letters.get(stage, {}), counters.dead_letter_count),
        ):
            if extents is None:
                continue
            yield from (
                f"{where}: {problem}"
                for problem in _extent_problems(
                    what, extents.get(partition_id, {}), row, counted
                )
            )
    yield from _without_checkpoint(connection, rows, keys)


Extents = dict[int, dict[int, tuple[int, int]]]
"""By partition and generation: how many, and the last one's offset."""


def _extents(connection: sa.Connection, table: Any) -> Extents:
    found: Extents = {}
    query = sa.select(
        table.c.partition_id,
        table.c.generation,
        sa.func.count(),
        sa.func.max(table.c.offset),
    ).group_by(table.c.partition_id, table.c.generation)
    for partition_id, generation, count, last_offset in connection.execute(query):
        found.setdefault(partition_id, {})[generation] = (count, last_offset)
    return found


def _letter_extents(connection: sa.Connection) -> dict[str, Extents]:
    found: dict[str, Extents] = {}
    query = sa.select(
        dead_letters.c.stage,
        dead_letters.c.partition_id,
        dead_letters.c.generation,
        sa.func.count(),
        sa.func.max(dead_letters.c.start_offset),
    ).group_by(
        dead_letters.c.stage, dead_letters.c.partition_id, dead_letters.c.generation
    )
    for stage, partition_id, generation, count, last_offset in connection.execute(
        query
    ):
        of_stage = found.setdefault(stage, {})
        of_stage.setdefault(partition_id, {})[generation] = (count, last_offset)
    return found


def _extent_problems(
    what: str,
    extents: Mapping[int, tuple[int, int]],
    row: Mapping[Any, Any],
    counted: int,
) -> Iterator[str]:
    stored = sum(count for count, _ in extents.values())
    if stored != counted:
        yield f"{stored} {what} are stored, {counted} were counted"
    _, last_offset = extents.get(row["generation"], (0, -1))
    if last_offset >= row["offset"]:
        yield f"{what} at {last_offset}, the checkpoint is at {row['offset']}"


def _newest_steps(connection: sa.Connection) -> dict[tuple[str, int], Any]:
    newest = (
        sa.select(
            checkpoint_history.c.stage,
            checkpoint_history.c.partition_id,
            sa.func.max(checkpoint_history.c.sequence).label("sequence"),
        )
        .group_by(checkpoint_history.c.stage, checkpoint_history.c.partition_id)
        .subquery()
    )
    query = sa.select(checkpoint_history).join(
        newest,
        sa.and_(
            checkpoint_history.c.stage == newest.c.stage,
            checkpoint_history.c.partition_id == newest.c.partition_id,
            checkpoint_history.c.sequence == newest.c.sequence,
        ),
    )
    return {
        (row["stage"], row["partition_id"]): row
        for row in connection.execute(query).mappings()
    }


def _without_checkpoint(
    connection: sa.Connection,
    rows: Mapping[str, Extents],
    keys: Mapping[int, str],
) -> Iterator[str]:
    known = {
        (row.stage, row.partition_id)
        for row in connection.execute(
            sa.select(checkpoints.c.stage, checkpoints.c.partition_id)
        )
    }
    for stage, extents in rows.items():
        for partition_id in extents:
            if (stage, partition_id) not in known:
                key = keys.get(partition_id, f"partition {partition_id}")
                yield f"{stage} of {key}: rows, but no checkpoint"


def _row_table(name: str) -> Any:
    names = ("partition_id", "generation", "offset")
    columns: list[sa.ColumnClause[Any]] = [sa.column(each) for each in names]
    return sa.table(name, *columns)
