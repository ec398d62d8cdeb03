"""Which partitions a stage is behind in, of the stage whose rows it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.schema import checkpoints, partitions

if TYPE_CHECKING:
    from learning_pipeline.store import Store


class Behind(msgspec.Struct, frozen=True):
    """A partition in which a stage has not taken over all that upstream committed.

    Attributes:
        partition: The partition key.
        generation: Where the stage stands; 0 where it has not begun.
        offset: And at which byte.
        upstream_generation: Where its upstream stands.
        upstream_offset: And at which byte.
    """

    partition: str
    generation: int
    offset: int
    upstream_generation: int
    upstream_offset: int

    @property
    def lag_bytes(self) -> int:
        """About how many bytes it is behind; at least one."""
        if self.generation != self.upstream_generation:
            return max(self.upstream_offset, 1)
        return max(self.upstream_offset - self.offset, 1)


def partitions_behind(store: Store, stage: str, upstream: str) -> list[Behind]:
    """The partitions in which `stage` is behind `upstream`, by key."""
    above, own = checkpoints.alias("above"), checkpoints.alias("own")
    query = (
        sa.select(
            partitions.c.partition_key,
            sa.func.coalesce(own.c.generation, 0),
            sa.func.coalesce(own.c.offset, 0),
            above.c.generation,
            above.c.offset,
        )
        .select_from(
            above.join(partitions, partitions.c.id == above.c.partition_id).outerjoin(
                own,
                sa.and_(
                    own.c.stage == stage, own.c.partition_id == above.c.partition_id
                ),
            )
        )
        .where(
            above.c.stage == upstream,
            above.c.sequence > 0,
            own.c.seen_signature.is_distinct_from(sa.cast(above.c.sequence, sa.Text)),
        )
    )
    with store.snapshot() as connection:
        found = [Behind(*row) for row in connection.execute(query)]
    return sorted(found, key=lambda each: each.partition)
