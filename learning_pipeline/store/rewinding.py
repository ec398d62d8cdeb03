"""Rewind and clear: an earlier checkpoint, with the later rows removed in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from learning_pipeline.errors import StoreError
from learning_pipeline.store.following import followers
from learning_pipeline.store.retention import DELETE
from learning_pipeline.store.rewind_targets import (
    Step,
    Target,
    ToOffset,
    find_step,
)
from learning_pipeline.store.schema import checkpoints, partitions, tombstones
from learning_pipeline.store.stage_place import Rewound, StagePlace, TakenBack

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Rewound", "TakenBack", "clear", "replay", "rewind", "rewind_all"]


def rewind_all(  # noqa: PLR0913 - keyword-only, named at each call
    connection: sa.Connection,
    *,
    stages: Sequence[str],
    partition: str,
    to: Target,
    dry_run: bool = False,
    known_deleted: Collection[int] = (),
) -> list[Rewound]:
    """Rewind several stages of one partition, in the caller's one transaction.

    Of several, one that has not yet come to an offset stays where it is.

    Args:
        connection: Inside a writing transaction.
        stages: The assets.
        partition: The partition key.
        to: Where to.
        dry_run: Only count.
        known_deleted: Generations that the caller knows `retain` to have deleted.

    Raises:
        StoreError: One of them cannot go there; an offset without a generation is
            given, and they do not all read the same one; or `retain` has deleted a
            generation meanwhile.
    """
    # Those that follow another of them need no word of their own.
    led = {each for stage in stages for each in followers(connection, stage)}
    places = [
        StagePlace(connection, stage, partition) for stage in sorted({*stages} - led)
    ]
    if isinstance(to, ToOffset) and len(places) > 1:
        present = {place.row["generation"] for place in places}
        if to.generation is None and len(present) > 1:
            message = (
                f"the stages of {partition!r} read different generations, "
                f"{', '.join(map(str, sorted(present)))}: say which one is meant"
            )
            raise StoreError(message)
        generation = to.generation if to.generation is not None else present.pop()
        to = ToOffset(to.offset, generation)
        places = [each for each in places if each.is_beyond(generation, to.offset)]
    rewound = [each for place in places for each in _rewind(place, to, dry_run=dry_run)]
    if not dry_run:
        _refuse_deleted(connection, rewound, known_deleted)
    return rewound


def rewind(
    connection: sa.Connection,
    *,
    stage: str,
    partition: str,
    to: Target,
    dry_run: bool = False,
) -> Rewound:
    """Go back to a kept step: of the history, or the start of a generation.

    Rows and dead letters behind it go, counts are as they were there, and the fence
    moves: a run under way on the file is fenced. Generations behind it are to be read
    again from their start; how many bytes of them there were is kept, so that what
    is gone by then is counted as lost. Runs in the caller's transaction.

    Args:
        connection: Inside a writing transaction.
        stage: The asset.
        partition: The partition key.
        to: Where to.
        dry_run: Only count.

    Raises:
        StoreError: There is no such checkpoint or step, or it lies ahead.
    """
    place = StagePlace(connection, stage, partition)
    return _rewind(place, to, dry_run=dry_run)[0]


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
    place = StagePlace(connection, stage, partition)
    # What was read late stands before others, whose rows are to stay.
    return _rewind(place, ToOffset(0, max(place.ends)), dry_run=False)[0]


def clear(
    connection: sa.Connection, *, stage: str, partition: str, dry_run: bool = False
) -> Rewound:
    """Forget a stage's work on a partition: all generations, rows, history, counts.

    The checkpoint stays, as one that has read nothing yet, with a newer fence: a run
    which was under way cannot commit into the emptied partition.

    Raises:
        StoreError: There is no such checkpoint.
    """
    place = StagePlace(connection, stage, partition)
    return _go(place, None, dry_run=dry_run)[0]


def _rewind(place: StagePlace, to: Target, *, dry_run: bool) -> list[Rewound]:
    if isinstance(to, ToOffset) and to.generation is None:
        to = ToOffset(to.offset, place.row["generation"])
    if not place.steps and not isinstance(to, ToOffset):
        message = f"{place.where} has no history to go back in"
        raise StoreError(message)
    step = find_step(place.steps, to, ends=place.ends, where=place.where)
    return _go(place, step, dry_run=dry_run)


def _go(place: StagePlace, step: Step | None, *, dry_run: bool) -> list[Rewound]:
    """Go there, and let all that is derived follow; the stage itself comes first."""
    to = (step["generation"], step["offset"]) if step else None
    return [
        place.go_to(step, dry_run=dry_run),
        *(each.follow(to, dry_run=dry_run) for each in place.followers()),
    ]


def _refuse_deleted(
    connection: sa.Connection, rewound: Sequence[Rewound], known: Collection[int]
) -> None:
    """Close the window between a look at the files and the transaction."""
    if not rewound:
        return
    numbers = {span.generation for each in rewound for span in each.taken_back}
    deleted = connection.execute(
        sa.select(tombstones.c.generation)
        .join(partitions, partitions.c.id == tombstones.c.partition_id)
        .where(
            partitions.c.partition_key == rewound[0].partition,
            tombstones.c.action == DELETE,
        )
    ).scalars()
    for generation in sorted(numbers.intersection(deleted).difference(known)):
        message = (
            f"`retain` deletes generation {generation} of {rewound[0].partition!r}, "
            "which would have to be read again; nothing was taken back"
        )
        raise StoreError(message)
