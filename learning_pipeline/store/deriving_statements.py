"""The SQL of stages that read what another stage has committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from learning_pipeline.model import Counters
from learning_pipeline.store.codec import decode_counters, encode_counters
from learning_pipeline.store.examples import ExampleStatements
from learning_pipeline.store.schema import (
    checkpoints,
    finetuning_examples,
    generation_positions,
    stages,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Dialect


class DerivingStatements:
    """The SQL of stages that read `table`, compiled once per session."""

    def __init__(self, dialect: Dialect, table: sa.Table) -> None:
        """Compile it for `dialect`, whose statements take named parameters."""

        def text(statement: sa.sql.ClauseElement) -> str:
            return str(statement.compile(dialect=dialect))

        at: dict[str, Any] = {
            name: sa.bindparam(f"at_{name}")
            for name in ("stage", "partition_id", "generation", "offset", "end_offset")
        }
        self.examples = ExampleStatements(dialect)
        unread = sa.and_(
            table.c.partition_id == at["partition_id"],
            table.c.generation == at["generation"],
            table.c.offset >= at["offset"],
            table.c.offset < at["end_offset"],
        )
        self.count = text(sa.select(sa.func.count()).select_from(table).where(unread))
        if table is finetuning_examples:
            unread = sa.and_(unread, sa.not_(table.c.is_duplicate))
        self.checkpoint = text(
            sa.select(
                checkpoints.c.generation,
                checkpoints.c.offset,
                checkpoints.c.size_bytes,
                checkpoints.c.sequence,
            ).where(
                checkpoints.c.stage == at["stage"],
                checkpoints.c.partition_id == at["partition_id"],
            )
        )
        self.positions = text(
            sa.select(
                generation_positions.c.generation, generation_positions.c.offset
            ).where(
                generation_positions.c.stage == at["stage"],
                generation_positions.c.partition_id == at["partition_id"],
            )
        )
        self.batch_end = text(
            sa.select(table.c.offset)
            .where(unread)
            .order_by(table.c.offset, table.c.ordinal)
            .limit(sa.literal_column("1"))
            .offset(sa.bindparam("at_row_count", type_=sa.Integer))
        )
        self.next_offset = text(
            sa.select(sa.func.min(table.c.offset)).where(
                unread, table.c.offset > at["offset"]
            )
        )


class PassingStatements:
    """The SQL that counts rows for stages which have passed by their places."""

    def __init__(self, dialect: Dialect) -> None:
        """Compile it for `dialect`."""
        there = sa.and_(
            checkpoints.c.stage == stages.c.stage,
            checkpoints.c.partition_id == sa.bindparam("at_partition_id"),
        )
        left = sa.and_(
            generation_positions.c.stage == checkpoints.c.stage,
            generation_positions.c.partition_id == checkpoints.c.partition_id,
            generation_positions.c.generation == sa.bindparam("at_generation"),
        )
        stands_there = checkpoints.c.generation == sa.bindparam("at_generation")
        self._places = str(
            sa.select(
                checkpoints.c.stage,
                checkpoints.c.counters,
                sa.case(
                    (stands_there, checkpoints.c.offset),
                    else_=sa.func.coalesce(
                        generation_positions.c.offset, sa.literal_column("0")
                    ),
                ),
            )
            .select_from(
                stages.join(checkpoints, there).outerjoin(generation_positions, left)
            )
            .where(stages.c.upstream.is_not(None))
            .compile(dialect=dialect)
        )
        self._count = str(
            sa.update(checkpoints)
            .where(
                checkpoints.c.stage == sa.bindparam("at_stage"),
                checkpoints.c.partition_id == sa.bindparam("at_partition_id"),
            )
            .values(
                counters=sa.bindparam("new_counters"),
                fence=checkpoints.c.fence + sa.literal_column("1"),
            )
            .compile(dialect=dialect)
        )

    def count(self, cursor: Any, at: dict[str, Any], added: Mapping[int, int]) -> None:
        """Count rows that were added, by offset, for each stage behind them."""
        cursor.execute(self._places, at)
        for stage, counters, place in cursor.fetchall():
            count = sum(rows for offset, rows in added.items() if offset < place)
            if not count:
                continue
            total = decode_counters(counters) + Counters(
                record_count=count, row_count=count
            )
            cursor.execute(
                self._count,
                {
                    "at_stage": stage,
                    "at_partition_id": at["at_partition_id"],
                    "new_counters": encode_counters(total),
                },
            )
