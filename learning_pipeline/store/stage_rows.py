"""What a stage wrote of a partition: counted, and removed behind a place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from learning_pipeline.model import Counters
from learning_pipeline.store.examples import remove_examples
from learning_pipeline.store.schema import dead_letters, finetuning_examples

_PLACE = ("partition_id", "generation", "offset")


class StageRows:
    """The rows and dead letters of one stage and partition."""

    def __init__(
        self,
        connection: sa.Connection,
        stage: str,
        table_name: str | None,
        partition_id: int,
    ) -> None:
        """Look at them inside a writing transaction.

        Args:
            connection: Inside it.
            stage: The stage's name.
            table_name: Where its rows go; none for one that writes elsewhere.
            partition_id: Of the partition.
        """
        self._connection = connection
        self._stage = stage
        self._table_name = table_name
        self._partition_id = partition_id

    def remove(self, to: tuple[int, int], *, dry_run: bool) -> tuple[int, int]:
        """Remove what is behind a place; gives how many rows and dead letters.

        Args:
            to: Generation and offset, of which the rows go too.
            dry_run: Only count.
        """
        letters = dead_letters.c
        letter_count = self._remove(
            dead_letters,
            letters.stage == self._stage,
            letters.partition_id == self._partition_id,
            is_behind(letters.generation, letters.start_offset, to),
            dry_run=dry_run,
        )
        if not self._table_name:
            return 0, letter_count
        columns: list[sa.ColumnClause[Any]] = [sa.column(each) for each in _PLACE]
        rows = sa.table(self._table_name, *columns)
        is_examples = self._table_name == finetuning_examples.name
        row_count = self._remove(
            rows,
            rows.c.partition_id == self._partition_id,
            is_behind(rows.c.generation, rows.c.offset, to),
            dry_run=dry_run or is_examples,
        )
        if is_examples and not dry_run:
            examples = finetuning_examples.c
            behind = is_behind(examples.generation, examples.offset, to)
            remove_examples(self._connection, self._partition_id, behind)
        return row_count, letter_count

    def taken_over(self, before: tuple[int, int], ends: Mapping[int, int]) -> Counters:
        """What a derived stage has taken over before a place.

        Args:
            before: Generation and offset.
            ends: Up to where the stage has read, by generation.
        """
        generation, offset = before
        table = finetuning_examples.c
        row_count = sum(
            self._connection.execute(
                sa.select(sa.func.count())
                .select_from(finetuning_examples)
                .where(
                    table.partition_id == self._partition_id,
                    table.generation == number,
                    table.offset < (min(end, offset) if number == generation else end),
                )
            ).scalar_one()
            for number, end in ends.items()
            if number <= generation
        )
        return Counters(record_count=row_count, row_count=row_count)

    def _remove(
        self, table: sa.TableClause, *there: sa.ColumnElement[bool], dry_run: bool
    ) -> int:
        counted = sa.select(sa.func.count()).select_from(table).where(*there)
        count = int(self._connection.execute(counted).scalar_one())
        if not dry_run:
            self._connection.execute(sa.delete(table).where(*there))
        return count


def is_behind(
    generation: sa.ColumnElement[int],
    offset: sa.ColumnElement[int],
    to: tuple[int, int],
) -> sa.ColumnElement[bool]:
    """Whether a row stands at a place or behind it."""
    return sa.or_(generation > to[0], sa.and_(generation == to[0], offset >= to[1]))
