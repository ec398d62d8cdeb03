"""Rows that are examples, with the patterns that they are, as `Example`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from learning_pipeline.model import Example
from learning_pipeline.store.schema import (
    ROW_KEY,
    finetuning_examples,
    partitions,
    patterns,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS: Final = Example.__struct_fields__

_OWN: Final = {*ROW_KEY, "content_hash", "run_id"}
_HASH_PLACE: Final = FIELDS.index("content_hash")


def select_examples() -> sa.Select[Any]:
    """The columns of `Example`, in its order, of all examples; duplicates are none."""
    table = finetuning_examples
    same = sa.and_(*(table.c[name] == patterns.c[name] for name in ROW_KEY))
    return (
        sa.select(*(_column(name) for name in FIELDS))
        .select_from(table)
        .join(patterns, same)
        .join(partitions, partitions.c.id == table.c.partition_id)
        .where(sa.not_(table.c.is_duplicate))
    )


def example_of(row: Sequence[Any]) -> Example:
    """The example that a row of `select_examples` is."""
    values = list(row)
    values[_HASH_PLACE] = bytes(values[_HASH_PLACE])
    return Example(**dict(zip(FIELDS, values, strict=True)))


def _column(name: str) -> sa.ColumnElement[Any]:
    if name == "partition":
        return partitions.c.partition_key.label("partition")
    table = finetuning_examples if name in _OWN else patterns
    return table.c[name]
