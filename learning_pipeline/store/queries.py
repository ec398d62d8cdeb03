"""What people and Dagster ask of the state database; read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.codec import checkpoint_from_row, decode_counters
from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    dead_letters,
    event_counts,
    generations,
    partitions,
    patterns,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from learning_pipeline.model import Checkpoint, Counters

KEYS_PER_QUERY = 500
"""SQLite takes at most 32,766 parameters in a statement; stay well below."""

ROWS_PER_FETCH = 1_000


class HistoryStep(msgspec.Struct, frozen=True):
    """One commit of the checkpoint history.

    Attributes:
        stage: The asset.
        partition: The partition key.
        sequence: Its number among the partition's commits.
        generation: Which physical file.
        start_offset: Where its batch began.
        end_offset: The checkpoint's offset after it.
        counters: Totals after it.
        is_generation_start: Whether it only marks where a generation begins.
        run_id: The run that committed it.
        committed_at: When, ISO 8601 in UTC.
    """

    stage: str
    partition: str
    sequence: int
    generation: int
    start_offset: int
    end_offset: int
    counters: Counters
    is_generation_start: bool
    run_id: str
    committed_at: str


def select_checkpoints(
    connection: sa.Connection,
    *,
    stage: str | None = None,
    keys: Sequence[str] | None = None,
    with_kinds: bool = True,
) -> list[Checkpoint]:
    """Checkpoints, ordered by stage and partition key; of all files without `keys`."""
    found: list[Checkpoint] = []
    for chunk in _chunks(keys):
        rows = list(connection.execute(_checkpoints_query(stage, chunk)).mappings())
        kinds = _kinds(connection, stage, chunk) if with_kinds else {}
        found += [
            checkpoint_from_row(
                dict(row),
                row["partition_key"],
                kinds.get((row["stage"], row["partition_id"]), {}),
            )
            for row in rows
        ]
    return sorted(found, key=lambda each: (each.stage, each.partition))


def select_history(
    connection: sa.Connection,
    *,
    stage: str | None = None,
    keys: Sequence[str] | None = None,
) -> list[HistoryStep]:
    """Steps of the checkpoint history, oldest first in each stage and partition."""
    return sorted(
        iterate_history(connection, stage=stage, keys=keys),
        key=lambda step: (step.stage, step.partition, step.sequence),
    )


def iterate_history(
    connection: sa.Connection,
    *,
    stage: str | None = None,
    keys: Sequence[str] | None = None,
) -> Iterator[HistoryStep]:
    """The same steps, by partition, stage and age; streamed."""
    if keys is None:
        keys = list(connection.execute(sa.select(partitions.c.partition_key)).scalars())
    # Some files at a time: what the database sorts stays small.
    for chunk in _chunks(sorted(keys)):
        query = (
            sa.select(checkpoint_history, partitions.c.partition_key)
            .join(partitions, partitions.c.id == checkpoint_history.c.partition_id)
            .where(*_where(checkpoint_history, stage, chunk))
            .order_by(
                _by_code_point(connection, partitions.c.partition_key),
                _by_code_point(connection, checkpoint_history.c.stage),
                checkpoint_history.c.sequence,
            )
            .execution_options(yield_per=ROWS_PER_FETCH)
        )
        with connection.execute(query) as result:
            for row in result.mappings():
                yield HistoryStep(
                    stage=row["stage"],
                    partition=row["partition_key"],
                    sequence=row["sequence"],
                    generation=row["generation"],
                    start_offset=row["start_offset"],
                    end_offset=row["offset"],
                    counters=decode_counters(row["counters"]),
                    is_generation_start=bool(row["is_generation_start"]),
                    run_id=row["run_id"],
                    committed_at=row["committed_at"],
                )


def known_partitions(
    connection: sa.Connection, keys: Collection[str] | None = None
) -> frozenset[str]:
    """Partition keys that some stage has begun to read, all or of these."""
    found: set[str] = set()
    # Looked up per key: in a large fleet most calls ask for a few of very many.
    begun = (
        sa.select(generations.c.generation)
        .where(generations.c.partition_id == partitions.c.id)
        .exists()
    )
    for chunk in _chunks(None if keys is None else sorted(keys)):
        query = sa.select(partitions.c.partition_key).where(begun)
        if chunk is not None:
            query = query.where(partitions.c.partition_key.in_(chunk))
        found.update(connection.execute(query).scalars())
    return frozenset(found)


def last_commit_by_run(
    connection: sa.Connection, run_ids: Sequence[str]
) -> dict[str, str]:
    """When each run last claimed or committed anything, ISO 8601 in UTC."""
    found: dict[str, str] = {}
    for chunk in _chunks(run_ids):
        rows = connection.execute(
            sa.select(checkpoints.c.run_id, sa.func.max(checkpoints.c.updated_at))
            .where(checkpoints.c.run_id.in_(chunk or ()))
            .group_by(checkpoints.c.run_id)
        )
        found.update((run_id, updated_at) for run_id, updated_at in rows)
    return found


def iterate_patterns(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    """All patterns, ordered by partition, generation, offset; streamed."""
    keys = {
        row.id: row.partition_key
        for row in connection.execute(
            sa.select(partitions.c.id, partitions.c.partition_key)
        )
    }
    # Sorted here: databases do not agree on how to collate text.
    for partition_id, key in sorted(keys.items(), key=lambda item: item[1]):
        query = (
            sa.select(patterns)
            .where(patterns.c.partition_id == partition_id)
            .order_by(patterns.c.generation, patterns.c.offset, patterns.c.ordinal)
            .execution_options(yield_per=ROWS_PER_FETCH)
        )
        # Closed also when the reader gives up half-way.
        with connection.execute(query) as result:
            for row in result.mappings():
                yield {
                    "partition": key,
                    "generation": row["generation"],
                    "offset": row["offset"],
                    "ordinal": row["ordinal"],
                    "kind": row["kind"],
                    "prompt": row["prompt"],
                    "response": row["response"],
                    "quality": bool(row["quality"]),
                    "content_hash": _digest(row["content_hash"]).hex(),
                    "iterations": row["iterations"],
                    "backend": row["backend"],
                    "context": _json(row["context"]),
                    "success_metrics": _json(row["success_metrics"]),
                    "timestamp": row["event_timestamp"],
                }


def iterate_dead_letters(
    connection: sa.Connection,
    *,
    stage: str | None = None,
    keys: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Dead letters, ordered by partition, generation, offset and stage; streamed."""
    for chunk in _chunks(sorted(keys) if keys is not None else None):
        query = (
            sa.select(dead_letters, partitions.c.partition_key)
            .join(partitions, partitions.c.id == dead_letters.c.partition_id)
            .where(*_where(dead_letters, stage, chunk))
            .order_by(
                _by_code_point(connection, partitions.c.partition_key),
                dead_letters.c.generation,
                dead_letters.c.start_offset,
                _by_code_point(connection, dead_letters.c.stage),
            )
            .execution_options(yield_per=ROWS_PER_FETCH)
        )
        with connection.execute(query) as result:
            for row in result.mappings():
                yield {
                    "partition": row["partition_key"],
                    "generation": row["generation"],
                    "start_offset": row["start_offset"],
                    "end_offset": row["end_offset"],
                    "stage": row["stage"],
                    "reason": row["reason"],
                    "detail": row["detail"],
                    "kind": row["kind"],
                    "raw": bytes(row["raw"]).decode("utf-8", "backslashreplace"),
                    "rejected_at": row["rejected_at"],
                    "run_id": row["run_id"],
                }


def _by_code_point(
    connection: sa.Connection, column: sa.Column[str]
) -> sa.ColumnElement[str]:
    # As Python and SQLite do; Postgres would follow its own locale.
    return column.collate("C") if connection.dialect.name != "sqlite" else column


def _digest(stored: object) -> bytes:
    # Of a damaged database, which does not keep to the types of its columns.
    if not isinstance(stored, bytes):
        message = "a digest is none"
        raise msgspec.DecodeError(message)
    return stored


def _json(text: str | None) -> object:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.ValidationError:
        # A number that no float can hold is exported as it was spelled.
        return msgspec.Raw(text)


def _chunks(keys: Sequence[str] | None) -> Iterator[Sequence[str] | None]:
    if keys is None:
        yield None
        return
    once = list(dict.fromkeys(keys))
    for start in range(0, len(once), KEYS_PER_QUERY):
        yield once[start : start + KEYS_PER_QUERY]


def _where(
    table: sa.Table, stage: str | None, keys: Sequence[str] | None
) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if stage is not None:
        where.append(table.c.stage == stage)
    if keys is not None:
        where.append(partitions.c.partition_key.in_(keys))
    return where


def _checkpoints_query(stage: str | None, keys: Sequence[str] | None) -> sa.Select[Any]:
    return (
        sa.select(checkpoints, partitions.c.partition_key)
        .join(partitions, partitions.c.id == checkpoints.c.partition_id)
        .where(*_where(checkpoints, stage, keys))
    )


def _kinds(
    connection: sa.Connection, stage: str | None, keys: Sequence[str] | None
) -> dict[tuple[str, int], dict[str, int]]:
    kinds: dict[tuple[str, int], dict[str, int]] = {}
    query = (
        sa.select(event_counts)
        .join(partitions, partitions.c.id == event_counts.c.partition_id)
        .where(*_where(event_counts, stage, keys))
        .order_by(event_counts.c.kind)
    )
    for row in connection.execute(query).mappings():
        at = (row["stage"], row["partition_id"])
        kinds.setdefault(at, {})[row["kind"]] = row["event_count"]
    return kinds
