"""Where all stages stand in all generations of some partitions, in few queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.model import Checkpoint, Generation, Position, Sighting
from learning_pipeline.store.codec import checkpoint_from_row, fingerprint_from_row
from learning_pipeline.store.queries import KEYS_PER_QUERY
from learning_pipeline.store.schema import (
    checkpoints,
    generation_positions,
    generations,
    partitions,
    sightings,
    stages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class PartitionState(msgspec.Struct, frozen=True):
    """What is stored of one partition, by all stages.

    Attributes:
        checkpoints: By stage; those that have claimed the partition.
        generations: By number, without positions.
        positions: By stage and generation; not of those that a stage stands in.
        sightings: Which generations its physical files were found to be.
    """

    checkpoints: dict[str, Checkpoint] = {}
    generations: dict[int, Generation] = {}
    positions: dict[tuple[str, int], Position] = {}
    sightings: list[Sighting] = []

    def position(self, stage: str, generation: int) -> Position | None:
        """Where a stage stands in a generation, or left it; None if it never did."""
        checkpoint = self.checkpoints.get(stage)
        if (
            checkpoint is None
            or checkpoint.sequence == 0
            or checkpoint.generation != generation
        ):
            return self.positions.get((stage, generation))
        return Position(
            offset=checkpoint.offset,
            fingerprint=checkpoint.fingerprint,
            size_bytes=checkpoint.size_bytes,
            synced_offset=checkpoint.synced_offset,
        )


def select_stages(connection: sa.Connection) -> list[str]:
    """The stages that have ever read telemetry, by name."""
    query = sa.select(stages.c.stage).where(stages.c.upstream.is_(None))
    return sorted(connection.execute(query).scalars())


def select_states(
    connection: sa.Connection, keys: Sequence[str], *, lock: bool = False
) -> dict[str, PartitionState]:
    """What is stored of these partitions; those never claimed are left out.

    Args:
        connection: Inside a transaction.
        keys: Partition keys.
        lock: Let no checkpoint of them move until the transaction ends.
    """
    states: dict[str, PartitionState] = {}
    for chunk in in_chunks(keys):
        query = _of(chunk, checkpoints)
        for row in connection.execute(
            query.with_for_update(of=checkpoints) if lock else query
        ).mappings():
            state = states.setdefault(row["partition_key"], PartitionState())
            state.checkpoints[row["stage"]] = checkpoint_from_row(
                dict(row), row["partition_key"], {}
            )
        for row in connection.execute(_of(chunk, generations)).mappings():
            state = states.setdefault(row["partition_key"], PartitionState())
            state.generations[row["generation"]] = Generation(
                number=row["generation"],
                prefix_length_bytes=row["prefix_length_bytes"],
                prefix_digest=bytes(row["prefix_digest"]),
                landmarks=bytes(row["landmarks"] or b""),
            )
        for row in connection.execute(_of(chunk, generation_positions)).mappings():
            state = states.setdefault(row["partition_key"], PartitionState())
            state.positions[row["stage"], row["generation"]] = Position(
                offset=row["offset"],
                fingerprint=fingerprint_from_row(dict(row)),
                size_bytes=row["size_bytes"],
                synced_offset=row["synced_offset"],
                lost_bytes=row["lost_bytes"],
            )
        for row in connection.execute(_of(chunk, sightings)).mappings():
            state = states.setdefault(row["partition_key"], PartitionState())
            values = {name: row[name] for name in Sighting.__struct_fields__}
            values["end_digest"] = bytes(values["end_digest"])
            state.sightings.append(Sighting(**values))
    return states


def in_chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys, each once, as many at a time as a statement takes."""
    once = list(dict.fromkeys(keys))
    for start in range(0, len(once), KEYS_PER_QUERY):
        yield once[start : start + KEYS_PER_QUERY]


def _of(keys: Sequence[str], table: sa.Table) -> sa.Select[Any]:
    return (
        sa.select(table, partitions.c.partition_key)
        .join(partitions, partitions.c.id == table.c.partition_id)
        .where(partitions.c.partition_key.in_(keys))
    )
