"""Rewind and clear: an earlier checkpoint, with the later rows removed in one go."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.errors import StoreError
from learning_pipeline.model import Checkpoint, Counters
from learning_pipeline.store.codec import (
    checkpoint_values,
    decode_counters,
    fingerprint_from_row,
    utc_now,
)
from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    dead_letters,
    event_counts,
    partitions,
    stages,
)


class Rewound(msgspec.Struct, frozen=True):
    """What a rewind or clear took back, or would take back.

    Attributes:
        stage: The asset.
        partition: The partition key.
        generation: The generation that it stands in afterwards.
        from_offset: Where it stood.
        to_offset: Where it stands afterwards.
        row_count: Rows removed.
        dead_letter_count: Dead letters removed.
    """

    stage: str
    partition: str
    generation: int
    from_offset: int
    to_offset: int
    row_count: int
    dead_letter_count: int


def rewind(
    connection: sa.Connection,
    *,
    stage: str,
    partition: str,
    to_offset: int,
    dry_run: bool = False,
) -> Rewound:
    """Go back to the newest kept step at or before an offset, in this generation.

    The step is one of the checkpoint history, or the generation's start. Rows and
    dead letters behind it go, counts are as they were then, and the fence moves: a
    run under way on the file is fenced. Runs in the caller's transaction.

    Args:
        connection: Inside a writing transaction.
        stage: The asset.
        partition: The partition key.
        to_offset: Bytes; 0 replays the generation from its start.
        dry_run: Only count.

    Raises:
        StoreError: There is no such checkpoint, or the offset lies ahead of it.
    """
    row, partition_id = _checkpoint_row(connection, stage, partition)
    if not 0 <= to_offset <= row["offset"]:
        message = (
            f"{stage} of {partition!r} stands at offset {row['offset']}; it can be "
            f"rewound to 0 up to there, not to {to_offset}"
        )
        raise StoreError(message)
    step = (
        connection.execute(
            sa.select(checkpoint_history)
            .where(
                checkpoint_history.c.stage == stage,
                checkpoint_history.c.partition_id == partition_id,
                checkpoint_history.c.generation == row["generation"],
                checkpoint_history.c.offset <= to_offset,
            )
            .order_by(checkpoint_history.c.sequence.desc())
        )
        .mappings()
        .first()
    )
    # A generation that was never committed to has no step yet: it is at its start.
    target_offset = step["offset"] if step else 0
    target_counters = decode_counters(step["counters"]) if step else Counters()
    removed = _remove_rows(
        connection,
        stage=stage,
        partition_id=partition_id,
        generation=row["generation"],
        from_offset=target_offset,
        dry_run=dry_run,
    )
    if not dry_run:
        _restore(
            connection,
            row,
            Checkpoint(
                stage=stage,
                partition=partition,
                generation=row["generation"],
                offset=target_offset,
                fingerprint=fingerprint_from_row(dict(step)) if step else None,
                counters=target_counters,
                sequence=row["sequence"] + 1,
                run_id=row["run_id"],
                updated_at=utc_now(),
            ),
        )
        connection.execute(
            sa.delete(checkpoint_history).where(
                checkpoint_history.c.stage == stage,
                checkpoint_history.c.partition_id == partition_id,
                checkpoint_history.c.sequence > (step["sequence"] if step else -1),
            )
        )
    return Rewound(
        stage, partition, row["generation"], row["offset"], target_offset, *removed
    )


def replay(
    connection: sa.Connection, *, stage: str, partition: str, replayed_by: str
) -> Rewound | None:
    """Rewind to the generation's start, but only once for each `replayed_by`.

    A run that replays and is killed is retried; its retry must go on where it stood
    and not start over, so the checkpoint remembers who asked.

    Args:
        connection: Inside a writing transaction.
        stage: The asset.
        partition: The partition key.
        replayed_by: The run that was asked to replay, the first of its retries.

    Returns:
        What was taken back; None when there is nothing to replay, or it was done.
    """
    where = sa.and_(
        checkpoints.c.stage == stage,
        checkpoints.c.partition_id
        == sa.select(partitions.c.id)
        .where(partitions.c.partition_key == partition)
        .scalar_subquery(),
    )
    done = connection.execute(
        sa.update(checkpoints)
        .where(where, checkpoints.c.replayed_by.is_distinct_from(replayed_by))
        .values(replayed_by=replayed_by)
    )
    if done.rowcount == 0:
        return None
    return rewind(connection, stage=stage, partition=partition, to_offset=0)


def clear(
    connection: sa.Connection, *, stage: str, partition: str, dry_run: bool = False
) -> Rewound:
    """Forget a stage's work on a partition: all generations, rows, history, counts.

    The checkpoint stays, at offset 0 with a newer fence, so that a run which was
    under way cannot commit into the emptied partition.

    Raises:
        StoreError: There is no such checkpoint.
    """
    row, partition_id = _checkpoint_row(connection, stage, partition)
    removed = _remove_rows(
        connection,
        stage=stage,
        partition_id=partition_id,
        generation=None,
        from_offset=0,
        dry_run=dry_run,
    )
    if not dry_run:
        _restore(
            connection,
            row,
            Checkpoint(
                stage=stage,
                partition=partition,
                generation=row["generation"],
                sequence=row["sequence"] + 1,
                run_id=row["run_id"],
                updated_at=utc_now(),
            ),
        )
        connection.execute(
            sa.delete(checkpoint_history).where(
                checkpoint_history.c.stage == stage,
                checkpoint_history.c.partition_id == partition_id,
            )
        )
    return Rewound(stage, partition, row["generation"], row["offset"], 0, *removed)


def _checkpoint_row(
    connection: sa.Connection, stage: str, partition: str
) -> tuple[dict[str, Any], int]:
    row = (
        connection.execute(
            sa.select(checkpoints)
            .join(partitions, partitions.c.id == checkpoints.c.partition_id)
            .where(
                checkpoints.c.stage == stage, partitions.c.partition_key == partition
            )
            .with_for_update(of=checkpoints)
        )
        .mappings()
        .first()
    )
    if row is None:
        message = (
            f"there is no checkpoint of {stage} for {partition!r}; "
            "`learning-pipeline checkpoints show` lists those there are"
        )
        raise StoreError(message)
    return dict(row), row["partition_id"]


def _restore(connection: sa.Connection, row: dict[str, Any], to: Checkpoint) -> None:
    at = sa.and_(
        checkpoints.c.stage == row["stage"],
        checkpoints.c.partition_id == row["partition_id"],
    )
    connection.execute(
        sa.update(checkpoints)
        .where(at)
        .values(
            **checkpoint_values(to) | {"size_bytes": row["size_bytes"]},
            seen_size_bytes=None,
            seen_mtime_ns=None,
            synced_offset=0,
            # Whoever held the claim read ahead of this point: fence it off.
            fence=checkpoints.c.fence + 1,
        )
    )
    counts_at = sa.and_(
        event_counts.c.stage == row["stage"],
        event_counts.c.partition_id == row["partition_id"],
    )
    connection.execute(sa.delete(event_counts).where(counts_at))
    if to.counters.events_by_kind:
        connection.execute(
            sa.insert(event_counts),
            [
                {
                    "stage": row["stage"],
                    "partition_id": row["partition_id"],
                    "kind": kind,
                    "event_count": count,
                }
                for kind, count in to.counters.events_by_kind.items()
            ],
        )


def _remove_rows(  # noqa: PLR0913 - keyword-only, named at each call
    connection: sa.Connection,
    *,
    stage: str,
    partition_id: int,
    generation: int | None,
    from_offset: int,
    dry_run: bool,
) -> tuple[int, int]:
    table_name = connection.execute(
        sa.select(stages.c.table_name).where(stages.c.stage == stage)
    ).scalar_one()
    rows = sa.table(
        table_name,
        sa.column("partition_id"),
        sa.column("generation"),
        sa.column("offset"),
    )
    rows_there = [rows.c.partition_id == partition_id, rows.c.offset >= from_offset]
    letters_there = [
        dead_letters.c.stage == stage,
        dead_letters.c.partition_id == partition_id,
        dead_letters.c.start_offset >= from_offset,
    ]
    if generation is not None:
        rows_there.append(rows.c.generation == generation)
        letters_there.append(dead_letters.c.generation == generation)
    counts = []
    for table, there in ((rows, rows_there), (dead_letters, letters_there)):
        counts.append(
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(*there)
            ).scalar_one()
        )
        if not dry_run:
            connection.execute(sa.delete(table).where(*there))
    return counts[0], counts[1]
