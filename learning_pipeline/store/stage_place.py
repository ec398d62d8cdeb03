"""Where a stage stands in all generations of a partition, and how it gets back."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from learning_pipeline.errors import StoreError
from learning_pipeline.model import Checkpoint
from learning_pipeline.store.codec import (
    checkpoint_values,
    decode_counters,
    encode_counters,
    fingerprint_from_row,
    utc_now,
)
from learning_pipeline.store.following import followers
from learning_pipeline.store.rewind_targets import Step, in_order
from learning_pipeline.store.schema import (
    checkpoint_history,
    checkpoints,
    event_counts,
    generation_positions,
    partitions,
    stages,
)
from learning_pipeline.store.stage_rows import StageRows, is_behind


class TakenBack(msgspec.Struct, frozen=True):
    """The bytes of one generation that a stage has to read again.

    Attributes:
        generation: Which physical file.
        start_offset: The first byte.
        end_offset: Up to where the stage had read.
    """

    generation: int
    start_offset: int
    end_offset: int


class Rewound(msgspec.Struct, frozen=True):
    """What a rewind or clear took back, or would take back.

    Attributes:
        stage: The asset.
        partition: The partition key.
        generation: The generation that it stands in afterwards.
        from_generation: The one that it stood in.
        from_offset: Where it stood in that.
        to_offset: Where it stands afterwards.
        row_count: Rows removed.
        dead_letter_count: Dead letters removed.
        taken_back: What is to be read again, oldest first.
    """

    stage: str
    partition: str
    generation: int
    from_generation: int
    from_offset: int
    to_offset: int
    row_count: int
    dead_letter_count: int
    taken_back: tuple[TakenBack, ...]


class StagePlace:
    """Where a stage stands in a partition, and how it gets back from there.

    Attributes:
        row: The checkpoint's columns.
        is_derived: Whether the stage reads what another has committed.
        steps: The kept history, by generation and offset.
        ends: Up to where the stage has read, by generation.
        where: Names both in messages.
    """

    def __init__(self, connection: sa.Connection, stage: str, partition: str) -> None:
        """Look it up, in a writing transaction; nobody moves it until that ends.

        Raises:
            StoreError: The stage has no checkpoint there.
        """
        self._connection = connection
        self._partition = partition
        self.row = _checkpoint_row(connection, stage, partition)
        self.where = f"{stage} of {partition!r}"
        known = connection.execute(
            sa.select(stages.c.table_name, stages.c.upstream).where(
                stages.c.stage == stage
            )
        ).one()
        self.is_derived: bool = known.upstream is not None
        self._rows = StageRows(
            connection, stage, known.table_name, self.row["partition_id"]
        )
        steps = connection.execute(
            sa.select(checkpoint_history).where(*self._at(checkpoint_history))
        )
        self.steps: list[Step] = in_order([dict(each) for each in steps.mappings()])
        self._positions = {
            each["generation"]: dict(each)
            for each in connection.execute(
                sa.select(generation_positions).where(*self._at(generation_positions))
            ).mappings()
        }
        self.ends: dict[int, int] = {
            number: each["offset"] for number, each in self._positions.items()
        } | {self.row["generation"]: self.row["offset"]}

    def is_beyond(self, generation: int, offset: int) -> bool:
        """Whether anything behind an offset of a generation has been read."""
        return any(
            (each, end) > (generation, offset) for each, end in self.ends.items()
        )

    def followers(self) -> list[StagePlace]:
        """The places of those that read of this stage there, directly or not."""
        names = followers(self._connection, self.row["stage"])
        begun = self._connection.execute(
            sa.select(checkpoints.c.stage).where(
                checkpoints.c.partition_id == self.row["partition_id"],
                checkpoints.c.stage.in_(names),
            )
        ).scalars()
        return [
            StagePlace(self._connection, name, self._partition)
            for name in sorted(begun, key=names.index)
        ]

    def follow(self, to: tuple[int, int] | None, *, dry_run: bool) -> Rewound:
        """Go back to where upstream has gone; stay, and be fenced, if it is there yet.

        Args:
            to: Generation and offset; None: upstream has read nothing any more.
            dry_run: Only count.
        """
        begun = [each for each in self.ends if to is not None and each <= to[0]]
        if to is None or not begun or self.row["sequence"] == 0:
            return self.go_to(None, dry_run=dry_run)
        generation = max(begun)
        offset = self.ends[generation]
        if generation == to[0]:
            offset = min(offset, to[1])
        if not self.is_beyond(generation, offset):
            generation, offset = self.row["generation"], self.row["offset"]
        step = {
            **dict.fromkeys(each.name for each in checkpoint_history.c),
            "stage": self.row["stage"],
            "partition_id": self.row["partition_id"],
            "generation": generation,
            "offset": offset,
            "counters": "{}",
        }
        return self.go_to(step, dry_run=dry_run)

    def go_to(self, step: Step | None, *, dry_run: bool) -> Rewound:
        """Go to a step; None: to where nothing has been read."""
        to = (step["generation"], step["offset"]) if step else (0, 0)
        row_count, dead_letter_count = self._rows.remove(to, dry_run=dry_run)
        if not dry_run and step is None:
            self._forget()
        elif not dry_run and step is not None:
            self._move_to(step)
        return Rewound(
            stage=self.row["stage"],
            partition=self._partition,
            generation=to[0],
            from_generation=self.row["generation"],
            from_offset=self.row["offset"],
            to_offset=to[1],
            row_count=row_count,
            dead_letter_count=dead_letter_count,
            # What is derived is made again of what upstream keeps, not of files.
            taken_back=()
            if self.is_derived
            else tuple(
                TakenBack(number, start, end)
                for number, end in sorted(self.ends.items())
                if (start := to[1] if number == to[0] else 0) < end and number >= to[0]
            ),
        )

    def _at(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            table.c.stage == self.row["stage"],
            table.c.partition_id == self.row["partition_id"],
        )

    def _forget(self) -> None:
        for table in (checkpoint_history, generation_positions):
            self._connection.execute(sa.delete(table).where(*self._at(table)))
        self._restore(Checkpoint(stage=self.row["stage"], partition=self._partition))

    def _move_to(self, step: Step) -> None:
        generation, offset = step["generation"], step["offset"]
        position = self._positions.get(generation)
        before = decode_counters(self.row["counters"])
        counters = msgspec.structs.replace(
            decode_counters(step["counters"]),
            # What happened to the files is not taken back with the rows.
            generation_change_count=before.generation_change_count,
            lost_bytes=before.lost_bytes - (position["lost_bytes"] if position else 0),
        )
        if self.is_derived:
            counters = msgspec.structs.replace(
                self._rows.taken_over((generation, offset), self.ends),
                generation_change_count=before.generation_change_count,
            )
        is_present = generation == self.row["generation"]
        size_bytes = self.row["size_bytes"]
        if position is not None and not is_present:
            size_bytes = position["size_bytes"]
        self._leave(generation)
        history = checkpoint_history.c
        self._connection.execute(
            sa.delete(checkpoint_history).where(
                *self._at(checkpoint_history),
                is_behind(history.generation, history.offset, (generation, offset + 1)),
            )
        )
        after = Checkpoint(
            stage=self.row["stage"],
            partition=self._partition,
            generation=generation,
            offset=offset,
            fingerprint=fingerprint_from_row(step),
            counters=counters,
            sequence=self.row["sequence"] + 1,
            size_bytes=size_bytes,
            run_id=self.row["run_id"],
            updated_at=utc_now(),
        )
        self._restore(after)
        # The newest step says where the checkpoint stands, also when this one is
        # older than what was read late.
        self._connection.execute(
            sa.insert(checkpoint_history).values(
                step
                | {
                    "sequence": after.sequence,
                    "start_offset": offset,
                    "counters": encode_counters(counters),
                    "is_generation_start": offset == 0,
                    "run_id": after.run_id,
                    "committed_at": after.updated_at,
                }
            )
        )

    def _leave(self, target: int) -> None:
        """Keep where the stage stands in the other generations."""
        there = self._at(generation_positions)
        number = generation_positions.c.generation
        if self.row["generation"] != target:
            names = set(generation_positions.c.keys()) & self.row.keys()
            kept = self._positions.get(self.row["generation"], {"lost_bytes": 0})
            left = {name: self.row[name] for name in names}
            left |= {"lost_bytes": kept["lost_bytes"], "updated_at": utc_now()}
            self._connection.execute(
                sa.delete(generation_positions).where(
                    *there, number == self.row["generation"]
                )
            )
            self._connection.execute(sa.insert(generation_positions).values(left))
        self._connection.execute(
            sa.delete(generation_positions).where(*there, number == target)
        )
        self._connection.execute(
            sa.update(generation_positions)
            .where(*there, number > target)
            .values(
                offset=0,
                prefix_length_bytes=None,
                prefix_digest=None,
                guard_length_bytes=None,
                guard_digest=None,
                synced_offset=0,
                updated_at=utc_now(),
            )
        )

    def _restore(self, to: Checkpoint) -> None:
        self._connection.execute(
            sa.update(checkpoints)
            .where(*self._at(checkpoints))
            .values(
                **checkpoint_values(to) | {"updated_at": to.updated_at or utc_now()},
                generation=to.generation,
                seen_signature=None,
                synced_offset=0,
                # Whoever held the claim read ahead of this point: fence it off.
                fence=checkpoints.c.fence + 1,
            )
        )
        self._connection.execute(sa.delete(event_counts).where(*self._at(event_counts)))
        if to.counters.events_by_kind:
            self._connection.execute(
                sa.insert(event_counts),
                [
                    {
                        "stage": self.row["stage"],
                        "partition_id": self.row["partition_id"],
                        "kind": kind,
                        "event_count": count,
                    }
                    for kind, count in to.counters.events_by_kind.items()
                ],
            )


def _checkpoint_row(
    connection: sa.Connection, stage: str, partition: str
) -> dict[str, Any]:
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
    return dict(row)
