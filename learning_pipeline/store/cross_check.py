"""What is stored twice must agree: looked at whenever a run claims a partition.

A changed byte inside a stored number is no damage to the database itself. Of a
checkpoint it would mean reading on from a wrong place; but the history's newest step
says the same as the checkpoint, and no row stands behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from learning_pipeline.store.failures import damaged, shown_url
from learning_pipeline.store.schema import checkpoint_history, dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Dialect

_TWICE = (
    "generation",
    "offset",
    "prefix_length_bytes",
    "prefix_digest",
    "guard_length_bytes",
    "guard_digest",
)


class CrossCheck:
    """The questions about one stage's claims, compiled once per session."""

    def __init__(self, dialect: Dialect, table: sa.Table | None) -> None:
        """Compile them for `dialect`, with rows in `table`, if it has any."""
        history = sa.select(*(checkpoint_history.c[name] for name in _TWICE))
        newest = history.where(
            checkpoint_history.c.stage == sa.bindparam("at_stage"),
            checkpoint_history.c.partition_id == sa.bindparam("at_partition_id"),
        ).order_by(checkpoint_history.c.sequence.desc())
        letter_behind: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
            dead_letters.c.stage == sa.bindparam("at_stage"),
            dead_letters.c.partition_id == sa.bindparam("at_partition_id"),
            dead_letters.c.generation == sa.bindparam("at_generation"),
            dead_letters.c.start_offset >= sa.bindparam("at_offset"),
        )
        self._newest = str(newest.compile(dialect=dialect))
        self._behind = {"dead letters": str(letter_behind.compile(dialect=dialect))}
        if table is not None:
            row_behind: sa.Select[Any] = (
                sa.select(sa.literal_column("1"))
                .select_from(table)
                .where(
                    table.c.partition_id == sa.bindparam("at_partition_id"),
                    table.c.generation == sa.bindparam("at_generation"),
                    table.c.offset >= sa.bindparam("at_offset"),
                )
            )
            self._behind["rows"] = str(row_behind.compile(dialect=dialect))

    def require_agreement(self, cursor: Any, row: Mapping[str, Any], url: str) -> None:
        """Refuse a checkpoint that something contradicts.

        Args:
            cursor: The driver's own, inside the claim's transaction.
            row: The checkpoint's columns by name.
            url: The database's.

        Raises:
            StateDamagedError: See `disagreement`.
        """
        found = self.disagreement(cursor, row)
        if found is not None:
            raise damaged(shown_url(url), found)

    def disagreement(self, cursor: Any, row: Mapping[str, Any]) -> str | None:
        """What contradicts a checkpoint; None when all agrees."""
        at = {"at_stage": row["stage"], "at_partition_id": row["partition_id"]}
        cursor.execute(self._newest, at)
        found = cursor.fetchone()
        step = None if found is None else dict(zip(_TWICE, found, strict=True))
        disagreement = history_disagreement(row, step)
        if disagreement is not None:
            return disagreement
        at |= {"at_generation": row["generation"], "at_offset": row["offset"]}
        for what, question in self._behind.items():
            cursor.execute(question, at)
            if cursor.fetchone() is not None:
                return (
                    f"the checkpoint of partition {row['partition_id']} at "
                    f"{row['offset']} has {what} behind it"
                )
        return None


def history_disagreement(
    row: Mapping[Any, Any], step: Mapping[Any, Any] | None
) -> str | None:
    """What sets a checkpoint apart from the newest step of its history, or None."""
    where = f"the checkpoint of partition {row['partition_id']} at {row['offset']}"
    if step is None:
        return None if row["offset"] == 0 else f"{where} has no history"
    if any(_plain(step[name]) != _plain(row[name]) for name in _TWICE):
        return f"{where} is not where its last commit ended"
    return None


def _plain(value: object) -> object:
    # A history step without a fingerprint has an empty one, the checkpoint none.
    return (bytes(value) if isinstance(value, memoryview) else value) or None
