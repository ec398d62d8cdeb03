"""Tombstones: what is kept of a generation whose file was compressed or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.positions import (
    PartitionState,
    in_chunks,
    select_stages,
    select_states,
)
from learning_pipeline.store.schema import partitions, sightings, tombstones
from learning_pipeline.store.statements import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_pipeline.model import Position, Sighting

DELETE = "delete"
COMPRESS = "compress"


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """What remains of a file that `retain` compressed or deleted.

    Attributes:
        partition: The partition key.
        generation: Which generation the file held.
        file_key: Its path below the telemetry root, written like a partition key.
        size_bytes: Its size as it stood there, compressed or not.
        start_offset: The first byte of its content in the generation.
        end_offset: The byte after the last one.
        digest: SHA-256 of its content.
        action: `compress` or `delete`.
        retired_at: When that was decided, ISO 8601 in UTC.
    """

    partition: str
    generation: int
    file_key: str
    size_bytes: int
    start_offset: int
    end_offset: int
    digest: bytes
    action: str
    retired_at: str


def why_not_passed(
    state: PartitionState, stages: Sequence[str], generation: int, content_bytes: int
) -> str | None:
    """Why a generation is still needed, for people; None when it is not.

    Args:
        state: What is stored of its partition.
        stages: All stages that there are: one that never read the partition has not
            passed it.
        generation: Its number.
        content_bytes: How long it is.
    """
    if not stages:
        return "no stage has read anything"
    for stage in stages:
        why = _why_stage_needs(state, stage, generation, content_bytes)
        if why is not None:
            return why
    return None


def record(connection: sa.Connection, tombstone: Tombstone) -> str | None:
    """Record that a file goes, if its generation is still passed by every stage.

    A rewind either comes before, and the file is kept, or finds the tombstone.

    Args:
        connection: Inside a writing transaction, which is synced.
        tombstone: What goes.

    Returns:
        Why the file is to be kept; None when the tombstone was recorded.
    """
    states = select_states(connection, [tombstone.partition], lock=True)
    why = why_not_passed(
        states.get(tombstone.partition, PartitionState()),
        select_stages(connection),
        tombstone.generation,
        tombstone.end_offset,
    )
    if why is None:
        _put(connection, tombstone)
    return why


def take_back(
    connection: sa.Connection, tombstone: Tombstone, before: Tombstone | None
) -> None:
    """Put what stood there before in place of a tombstone whose file was kept."""
    if before is not None:
        _put(connection, before)
        return
    connection.execute(
        sa.delete(tombstones).where(
            tombstones.c.partition_id == _partition_id(connection, tombstone.partition),
            tombstones.c.generation == tombstone.generation,
        )
    )


def select_tombstones(
    connection: sa.Connection, keys: Sequence[str]
) -> list[Tombstone]:
    """The tombstones of some partitions, ordered by partition and generation."""
    found: list[Tombstone] = []
    for chunk in in_chunks(keys):
        rows = connection.execute(
            sa.select(tombstones, partitions.c.partition_key)
            .join(partitions, partitions.c.id == tombstones.c.partition_id)
            .where(partitions.c.partition_key.in_(chunk))
        ).mappings()
        for row in rows:
            names = Tombstone.__struct_fields__
            values = {name: row[name] for name in names if name != "partition"}
            values["digest"] = bytes(values["digest"])
            found.append(Tombstone(partition=row["partition_key"], **values))
    return sorted(found, key=lambda each: (each.partition, each.generation))


def put_sighting(connection: sa.Connection, partition: str, sighting: Sighting) -> None:
    """Remember what a file holds that was just written: it need not be read again."""
    values = {
        "partition_id": _partition_id(connection, partition),
        **msgspec.structs.asdict(sighting),
    }
    _upsert(connection, sightings, values)


def _why_stage_needs(
    state: PartitionState, stage: str, generation: int, content_bytes: int
) -> str | None:
    checkpoint = state.checkpoints.get(stage)
    if checkpoint is None or checkpoint.sequence == 0:
        return f"{stage} has not read this partition"
    if checkpoint.generation == generation:
        return f"{stage} stands in it"
    return _why_position_is_short(
        stage, state.positions.get((stage, generation)), content_bytes
    )


def _why_position_is_short(
    stage: str, position: Position | None, content_bytes: int
) -> str | None:
    if position is None or position.offset < content_bytes:
        read_bytes = position.offset if position else 0
        return f"{stage} has read {read_bytes} of {content_bytes} bytes"
    if position.offset > content_bytes:
        return f"it is only the beginning of what {stage} has read"
    if position.synced_offset < position.offset:
        return (
            f"what {stage} committed of it is not known to be on stable storage; the "
            "next `process` sees to that"
        )
    unread_bytes = position.size_bytes - position.offset
    if unread_bytes > 0:
        return f"{unread_bytes} bytes were cut off it before {stage} had read them"
    return None


def _put(connection: sa.Connection, tombstone: Tombstone) -> None:
    values = msgspec.structs.asdict(tombstone)
    values["partition_id"] = _partition_id(connection, values.pop("partition"))
    _upsert(connection, tombstones, values)


def _upsert(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> None:
    keys = [column.name for column in table.primary_key]
    statement = insert(table, connection.dialect)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=keys,
            set_={
                name: statement.excluded[name] for name in values if name not in keys
            },
        ),
        values,
    )


def _partition_id(connection: sa.Connection, partition: str) -> int:
    return int(
        connection.execute(
            sa.select(partitions.c.id).where(partitions.c.partition_key == partition)
        ).scalar_one()
    )
