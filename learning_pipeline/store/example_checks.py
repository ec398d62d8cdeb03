"""Whether there is one example per content: for checks, by counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.schema import finetuning_examples

if TYPE_CHECKING:
    from learning_pipeline.store import Store

MAX_ROWS_CHECKED: Final = 20_000
"""Each is looked up by its hash, at a random place: 10 µs in a million rows."""


class ContentCounts(msgspec.Struct, frozen=True):
    """Contents, and of how many of them there is not exactly one example.

    Attributes:
        content_count: Contents that were looked at.
        missing_count: Those without an example.
        repeated_count: Those with several.
    """

    content_count: int
    missing_count: int
    repeated_count: int


def count_contents(store: Store, *, run_id: str) -> ContentCounts:
    """Look at all contents; where there are very many, at those that a run brought.

    Args:
        store: Where.
        run_id: The run. If it brought none, such as a run of checks alone, others are
            looked at, as many as is bearable.
    """
    row = finetuning_examples.alias("row")
    there = finetuning_examples.alias("there")
    brought = sa.select(row.c.run_id).where(row.c.run_id == run_id).limit(1)
    with store.snapshot() as connection:
        total = sa.select(sa.func.count()).select_from(finetuning_examples)
        is_large = connection.execute(total).scalar_one() > MAX_ROWS_CHECKED
        where = []
        if is_large and connection.execute(brought).first() is not None:
            where.append(row.c.run_id == run_id)
        contents = (
            sa.select(row.c.content_hash)
            .where(*where)
            .distinct()
            .limit(MAX_ROWS_CHECKED)
            .subquery()
        )
        examples = (
            sa.select(sa.func.count())
            .where(
                there.c.content_hash == contents.c.content_hash,
                sa.not_(there.c.is_duplicate),
            )
            .scalar_subquery()
        )
        counted = sa.select(examples.label("example_count")).select_from(contents)
        found = counted.subquery()
        one: sa.ColumnElement[int] = sa.literal_column("1")
        query = sa.select(
            sa.func.count(),
            sa.func.count(sa.case((found.c.example_count < one, one))),
            sa.func.count(sa.case((found.c.example_count > one, one))),
        ).select_from(found)
        return ContentCounts(*map(int, connection.execute(query).one()))
