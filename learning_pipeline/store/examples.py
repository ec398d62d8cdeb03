"""Examples: quality patterns, one per content over all files, the first one wins.

All in SQL, in the caller's transaction: a batch of patterns is sorted by content hash
and inserted in one statement, which is what makes a unique index on a random hash
bearable. A unique index over the rows that are no duplicates holds the promise also
when two runs bring the same content at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from learning_pipeline.store.schema import (
    ROW_KEY,
    checkpoints,
    finetuning_examples,
    generation_positions,
    index_changes,
    patterns,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

EXAMPLES_STAGE = "finetuning_examples"

_TURNS_LOCK = 0x6C705F65
"""Any constant: the advisory lock under which Postgres decides who was first."""


class ExampleStatements:
    """The SQL that makes examples of patterns, compiled once per session."""

    def __init__(self, dialect: Dialect) -> None:
        """Compile it for `dialect`, whose statements take named parameters."""
        self._take_turns = dialect.name == "postgresql"
        between = sa.and_(
            patterns.c.offset >= sa.bindparam("at_offset"),
            patterns.c.offset < sa.bindparam("at_end_offset"),
        )
        late = sa.and_(
            patterns.c.offset == sa.bindparam("at_offset"),
            sa.bindparam("at_offset", type_=sa.BigInteger)
            < sa.select(sa.func.max(_places().c.offset)).scalar_subquery(),
        )
        self._add = str(_insertion(between).compile(dialect=dialect))
        self._add_late = str(_insertion(late).compile(dialect=dialect))
        self._note = str(_noting().compile(dialect=dialect))

    def add(self, cursor: Any, at: dict[str, Any], *, run_id: str) -> int:
        """Make examples of the quality patterns of `[at_offset, at_end_offset)`.

        Args:
            cursor: The driver's own, inside the transaction that moves the checkpoint.
            at: `at_partition_id`, `at_generation`, `at_offset`, `at_end_offset`.
            run_id: Recorded with each.

        Returns:
            How many rows: examples, and duplicates of such.
        """
        self._wait_for_turn(cursor)
        cursor.execute(self._add, {**at, "at_run_id": run_id})
        return int(cursor.rowcount)

    def add_late(self, cursor: Any, at: dict[str, Any], *, run_id: str) -> int:
        """Make examples of patterns that came late, where the stage has passed by.

        Args:
            cursor: Inside the transaction that added the patterns.
            at: `at_partition_id`, `at_generation`, `at_offset`: of their line.
            run_id: Recorded with each.

        Returns:
            How many; none where the stage has not been yet: it will come by.
        """
        self._wait_for_turn(cursor)
        cursor.execute(self._add_late, {**at, "at_run_id": run_id})
        added_count = int(cursor.rowcount)
        if added_count:
            cursor.execute(self._note, at)
        return added_count

    def _wait_for_turn(self, cursor: Any) -> None:
        # Else two transactions could each take their own for the first.
        if self._take_turns:
            cursor.execute(f"SELECT pg_advisory_xact_lock({_TURNS_LOCK})")


def remove_examples(
    connection: sa.Connection, partition_id: int, behind: sa.ColumnElement[bool]
) -> None:
    """Remove examples; where a duplicate of one is left, that takes its place.

    What came, went or moved is noted for the index.

    Args:
        connection: Inside a writing transaction.
        partition_id: Of the partition.
        behind: Which rows of it, over the columns of `finetuning_examples`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURNS_LOCK)))
    table = finetuning_examples
    going = sa.and_(table.c.partition_id == partition_id, behind)
    last_id = connection.execute(
        sa.select(sa.func.coalesce(sa.func.max(index_changes.c.id), 0))
    ).scalar_one()
    connection.execute(
        sa.insert(index_changes).from_select(
            ["content_hash"],
            sa.select(table.c.content_hash)
            .where(going, sa.not_(table.c.is_duplicate))
            .order_by(table.c.content_hash),
        )
    )
    connection.execute(sa.delete(table).where(going))
    left = (
        sa.select(
            *(table.c[name] for name in ROW_KEY),
            sa.func.row_number()
            .over(
                partition_by=table.c.content_hash,
                order_by=[table.c[name] for name in ROW_KEY],
            )
            .label("place"),
        )
        .where(
            table.c.is_duplicate,
            table.c.content_hash.in_(
                sa.select(index_changes.c.content_hash).where(
                    index_changes.c.id > last_id
                )
            ),
        )
        .subquery()
    )
    first = sa.select(*(left.c[name] for name in ROW_KEY)).where(left.c.place == 1)
    connection.execute(
        sa.update(table)
        .where(sa.tuple_(*(table.c[name] for name in ROW_KEY)).in_(first))
        .values(is_duplicate=False)
    )


def _places() -> sa.Subquery:
    """Up to where the stage has come in one generation; nothing where it never was."""
    return sa.union_all(
        *(
            sa.select(table.c.offset).where(
                table.c.stage == sa.literal_column(f"'{EXAMPLES_STAGE}'"),
                table.c.partition_id == sa.bindparam("at_partition_id"),
                table.c.generation == sa.bindparam("at_generation"),
            )
            for table in (checkpoints, generation_positions)
        )
    ).subquery()


def _insertion(where: sa.ColumnElement[bool]) -> sa.Insert:
    key = [patterns.c[name] for name in ROW_KEY]
    found = (
        sa.select(
            *key,
            patterns.c.content_hash,
            sa.func.row_number()
            .over(
                partition_by=patterns.c.content_hash,
                order_by=[patterns.c.offset, patterns.c.ordinal],
            )
            .label("place"),
        )
        .where(
            patterns.c.partition_id == sa.bindparam("at_partition_id"),
            patterns.c.generation == sa.bindparam("at_generation"),
            where,
            patterns.c.quality,
        )
        .subquery()
    )
    there = finetuning_examples.alias("there")
    is_duplicate = sa.or_(
        found.c.place > sa.literal_column("1"),
        sa.exists().where(
            there.c.content_hash == found.c.content_hash,
            sa.not_(there.c.is_duplicate),
        ),
    )
    return sa.insert(finetuning_examples).from_select(
        [*ROW_KEY, "content_hash", "is_duplicate", "run_id"],
        sa.select(
            *(found.c[name] for name in ROW_KEY),
            found.c.content_hash,
            is_duplicate,
            sa.bindparam("at_run_id", type_=sa.Text),
        ).order_by(found.c.content_hash, found.c.offset),
    )


def _noting() -> sa.Insert:
    table = finetuning_examples
    return sa.insert(index_changes).from_select(
        ["content_hash"],
        sa.select(table.c.content_hash).where(
            table.c.partition_id == sa.bindparam("at_partition_id"),
            table.c.generation == sa.bindparam("at_generation"),
            table.c.offset == sa.bindparam("at_offset"),
            sa.not_(table.c.is_duplicate),
        ),
    )
