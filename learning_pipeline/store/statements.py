"""The hot path's SQL, compiled once per session from the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    dead_letters,
    event_counts,
    generation_positions,
    generations,
    partitions,
    sightings,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


_PLACE_COLUMNS = (
    "offset",
    "prefix_length_bytes",
    "prefix_digest",
    "guard_length_bytes",
    "guard_digest",
)
POSITION_COLUMNS = (
    *_PLACE_COLUMNS,
    "size_bytes",
    "synced_offset",
    "lost_bytes",
)
"""What is kept of where a stage stood in a generation."""


@dataclass(frozen=True)
class Statements:
    """SQL text with named parameters in the driver's own style."""

    ensure_partition: str
    partition_id: str
    claim: str
    load: str
    move_checkpoint: str
    restart_checkpoint: str
    finish_pass: str
    mark_synced: str
    add_history: str
    prune_history: str
    set_event_count: str
    event_counts: str
    add_dead_letter: str
    add_generation: str
    extend_prefix: str
    extend_landmarks: str
    is_known: str
    known_generations: str
    other_positions: str
    put_position: str
    load_position: str
    drop_position: str
    put_lost_bytes: str
    mark_positions_synced: str
    put_counters: str
    later_steps: str
    next_generation_start: str
    put_step_counters: str
    put_sighting: str
    sightings: str
    drop_sighting: str


def insert(table: sa.Table, dialect: Dialect) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows `on_conflict_*`; both dialects spell it alike."""
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


_compiled: dict[tuple[str, str], Statements] = {}


def compile_statements(dialect: Dialect) -> Statements:
    """Every statement of a session for `dialect`; compiled once, which takes 20 ms."""
    key = (dialect.name, dialect.paramstyle)
    if key not in _compiled:
        _compiled[key] = _compile(dialect)
    return _compiled[key]


def _compile(dialect: Dialect) -> Statements:
    at = sa.and_(
        checkpoints.c.stage == sa.bindparam("at_stage"),
        checkpoints.c.partition_id == sa.bindparam("at_partition_id"),
    )
    # THE compare-and-swap: the offset that the commit started from, in its
    # generation, the number of commits until then, and the fence token that its
    # run claimed.
    unmoved = sa.and_(
        at,
        checkpoints.c.fence == sa.bindparam("from_fence"),
        checkpoints.c.generation == sa.bindparam("from_generation"),
        checkpoints.c.offset == sa.bindparam("from_offset"),
        checkpoints.c.sequence == sa.bindparam("from_sequence"),
    )
    history_at = sa.and_(
        checkpoint_history.c.stage == sa.bindparam("at_stage"),
        checkpoint_history.c.partition_id == sa.bindparam("at_partition_id"),
    )
    claim = insert(checkpoints, dialect)
    count = insert(event_counts, dialect)
    position = insert(generation_positions, dialect)
    position_at = sa.and_(
        generation_positions.c.stage == sa.bindparam("at_stage"),
        generation_positions.c.partition_id == sa.bindparam("at_partition_id"),
        generation_positions.c.generation == sa.bindparam("at_generation"),
    )
    sighting = insert(sightings, dialect)
    move = (
        "offset",
        "prefix_length_bytes",
        "prefix_digest",
        "guard_length_bytes",
        "guard_digest",
        "counters",
        "sequence",
        "size_bytes",
        "updated_at",
    )

    def text(statement: sa.sql.ClauseElement, *columns: str) -> str:
        keys = list(columns) or None
        return str(statement.compile(dialect=dialect, column_keys=keys))

    return Statements(
        ensure_partition=text(
            insert(partitions, dialect).on_conflict_do_nothing(), "partition_key"
        ),
        partition_id=text(
            sa.select(partitions.c.id).where(
                partitions.c.partition_key == sa.bindparam("partition_key")
            )
        ),
        claim=text(
            claim.on_conflict_do_update(
                index_elements=["stage", "partition_id"],
                set_={
                    "fence": checkpoints.c.fence + sa.literal_column("1"),
                    "run_id": claim.excluded.run_id,
                    "updated_at": claim.excluded.updated_at,
                },
            ),
            *(column.name for column in checkpoints.c),
        ),
        load=text(sa.select(checkpoints).where(at)),
        move_checkpoint=text(sa.update(checkpoints).where(unmoved), *move),
        restart_checkpoint=text(
            sa.update(checkpoints).where(unmoved),
            *move,
            "generation",
            "synced_offset",
            "seen_signature",
        ),
        finish_pass=text(
            sa.update(checkpoints).where(unmoved), "seen_signature", "size_bytes"
        ),
        mark_synced=text(
            sa.update(checkpoints).where(
                at,
                checkpoints.c.fence == sa.bindparam("from_fence"),
                checkpoints.c.generation == sa.bindparam("from_generation"),
                checkpoints.c.offset >= sa.bindparam("from_offset"),
                checkpoints.c.synced_offset <= sa.bindparam("from_offset"),
            ),
            "synced_offset",
            "updated_at",
        ),
        add_history=text(sa.insert(checkpoint_history)),
        prune_history=text(
            sa.delete(checkpoint_history).where(
                history_at,
                checkpoint_history.c.sequence <= sa.bindparam("up_to_sequence"),
                sa.not_(checkpoint_history.c.is_generation_start),
            )
        ),
        set_event_count=text(
            count.on_conflict_do_update(
                index_elements=["stage", "partition_id", "kind"],
                set_={"event_count": count.excluded.event_count},
            ),
            "stage",
            "partition_id",
            "kind",
            "event_count",
        ),
        event_counts=text(
            sa.select(event_counts.c.kind, event_counts.c.event_count).where(
                event_counts.c.stage == sa.bindparam("at_stage"),
                event_counts.c.partition_id == sa.bindparam("at_partition_id"),
            )
        ),
        add_dead_letter=text(sa.insert(dead_letters)),
        add_generation=text(
            insert(generations, dialect).on_conflict_do_nothing(),
            *(column.name for column in generations.c),
        ),
        extend_prefix=text(
            sa.update(generations).where(
                generations.c.partition_id == sa.bindparam("at_partition_id"),
                generations.c.generation == sa.bindparam("at_generation"),
                generations.c.prefix_length_bytes < sa.bindparam("longer_than"),
            ),
            "prefix_length_bytes",
            "prefix_digest",
        ),
        extend_landmarks=text(
            sa.update(generations).where(
                generations.c.partition_id == sa.bindparam("at_partition_id"),
                generations.c.generation == sa.bindparam("at_generation"),
                sa.func.coalesce(
                    sa.func.length(generations.c.landmarks), sa.literal_column("0")
                )
                < sa.bindparam("more_than"),
            ),
            "landmarks",
        ),
        is_known=text(
            sa.select(sa.literal_column("1"))
            .select_from(
                partitions.join(
                    generations, generations.c.partition_id == partitions.c.id
                )
            )
            .where(partitions.c.partition_key == sa.bindparam("at_partition_key"))
        ),
        known_generations=text(
            sa.select(
                generations.c.generation,
                generations.c.prefix_length_bytes,
                generations.c.prefix_digest,
                generations.c.landmarks,
                *(generation_positions.c[name] for name in POSITION_COLUMNS),
            )
            .select_from(
                generations.outerjoin(
                    generation_positions,
                    sa.and_(
                        generation_positions.c.stage == sa.bindparam("at_stage"),
                        generation_positions.c.partition_id
                        == generations.c.partition_id,
                        generation_positions.c.generation == generations.c.generation,
                    ),
                )
            )
            .where(generations.c.partition_id == sa.bindparam("at_partition_id"))
            .order_by(generations.c.generation)
        ),
        other_positions=text(
            sa.union_all(
                *(
                    sa.select(
                        table.c.generation,
                        *(table.c[name] for name in _PLACE_COLUMNS),
                    ).where(
                        table.c.partition_id == sa.bindparam("at_partition_id"),
                        table.c.stage != sa.bindparam("at_stage"),
                        table.c.prefix_length_bytes > sa.literal_column("0"),
                    )
                    for table in (generation_positions, checkpoints)
                )
            )
        ),
        put_position=text(
            position.on_conflict_do_update(
                index_elements=["stage", "partition_id", "generation"],
                # Not what was counted as lost: that is its own to change.
                set_={
                    name: position.excluded[name]
                    for name in (*POSITION_COLUMNS, "updated_at")
                    if name != "lost_bytes"
                },
            ),
            *(column.name for column in generation_positions.c),
        ),
        load_position=text(
            sa.select(
                *(generation_positions.c[name] for name in POSITION_COLUMNS)
            ).where(position_at)
        ),
        drop_position=text(sa.delete(generation_positions).where(position_at)),
        put_lost_bytes=text(
            sa.update(generation_positions).where(position_at), "lost_bytes"
        ),
        mark_positions_synced=text(
            sa.update(generation_positions)
            .where(
                generation_positions.c.stage == sa.bindparam("at_stage"),
                generation_positions.c.partition_id == sa.bindparam("at_partition_id"),
                generation_positions.c.synced_offset < generation_positions.c.offset,
            )
            .values(synced_offset=generation_positions.c.offset)
        ),
        put_counters=text(
            sa.update(checkpoints).where(unmoved), "counters", "size_bytes"
        ),
        later_steps=text(
            sa.select(checkpoint_history.c.sequence, checkpoint_history.c.counters)
            .where(
                history_at,
                checkpoint_history.c.generation > sa.bindparam("at_generation"),
            )
            .order_by(checkpoint_history.c.sequence)
        ),
        next_generation_start=text(
            sa.select(checkpoint_history.c.counters)
            .where(
                history_at,
                checkpoint_history.c.generation > sa.bindparam("at_generation"),
                checkpoint_history.c.is_generation_start,
            )
            .order_by(checkpoint_history.c.generation, checkpoint_history.c.sequence)
        ),
        put_step_counters=text(
            sa.update(checkpoint_history).where(
                history_at,
                checkpoint_history.c.sequence == sa.bindparam("at_sequence"),
            ),
            "counters",
        ),
        put_sighting=text(
            sighting.on_conflict_do_update(
                index_elements=["partition_id", "file_key"],
                set_={
                    column.name: sighting.excluded[column.name]
                    for column in sightings.c
                    if not column.primary_key
                },
            ),
            *(column.name for column in sightings.c),
        ),
        drop_sighting=text(
            sa.delete(sightings).where(
                sightings.c.partition_id == sa.bindparam("at_partition_id"),
                sightings.c.file_key == sa.bindparam("at_file_key"),
            )
        ),
        sightings=text(
            sa.select(sightings).where(
                sightings.c.partition_id == sa.bindparam("at_partition_id")
            )
        ),
    )
