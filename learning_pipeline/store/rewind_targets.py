"""Where a rewind can go: the steps of the history, in the order of the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Step = dict[str, Any]
"""A row of `checkpoint_history`."""


class ToOffset(msgspec.Struct, frozen=True):
    """To the newest kept step at or before a byte of one generation.

    Attributes:
        offset: Bytes; 0 is the generation's start.
        generation: Which one; None for the one that the stage reads now.
    """

    offset: int = 0
    generation: int | None = None


class ToTime(msgspec.Struct, frozen=True):
    """To the newest kept step behind which everything was committed later.

    Attributes:
        at: ISO 8601 in UTC with microseconds, as commits record it.
    """

    at: str


class ToStep(msgspec.Struct, frozen=True):
    """To one step of the history.

    Attributes:
        number: Its `sequence`.
    """

    number: int


Target = ToOffset | ToTime | ToStep


def in_order(steps: Sequence[Step]) -> list[Step]:
    """By generation and offset: what was read late stands where its bytes do."""
    return sorted(
        steps, key=lambda each: (each["generation"], each["offset"], each["sequence"])
    )


def find_step(
    steps: Sequence[Step], to: Target, *, ends: Mapping[int, int], where: str
) -> Step | None:
    """The step that `to` means; None for where nothing has been read.

    Args:
        steps: The kept ones, in the order of `in_order`; at least one.
        to: What was asked for; with a generation.
        ends: Up to where the stage has read, by generation.
        where: Names stage and partition in messages.

    Raises:
        StoreError: There is no such step; the message says what there is.
    """
    if isinstance(to, ToStep):
        for step in steps:
            if step["sequence"] == to.number:
                return step
        numbers = sorted(each["sequence"] for each in steps)
        message = (
            f"{where} has no step {to.number} in its history; it has "
            f"{', '.join(map(str, numbers))}"
        )
        raise StoreError(message)
    if isinstance(to, ToTime):
        return _find_by_time(steps, to, where)
    return _find_by_offset(steps, to, ends, where)


def _find_by_time(steps: Sequence[Step], to: ToTime, where: str) -> Step:
    found = None
    for step in steps:
        # Not the newest by number: behind it may be what was committed later.
        if step["committed_at"] > to.at:
            break
        found = step
    if found is None:
        oldest = min(each["committed_at"] for each in steps)
        message = (
            f"{where} has no step of {to.at} or before in its history, which begins "
            f"at {oldest}"
        )
        raise StoreError(message)
    return found


def _find_by_offset(
    steps: Sequence[Step], to: ToOffset, ends: Mapping[int, int], where: str
) -> Step | None:
    generation = to.generation
    if generation is None or generation not in ends:
        message = (
            f"{where} has read nothing of generation {generation}; it has read "
            f"{', '.join(map(str, sorted(ends)))}"
        )
        raise StoreError(message)
    end = ends[generation]
    there = [each for each in steps if each["generation"] == generation]
    reached = [each for each in there if each["offset"] <= to.offset]
    if not reached and 0 <= to.offset <= end and generation == min(ends):
        return None
    if to.offset > end or not reached:
        message = (
            f"{where} stands at offset {end} of generation {generation}; it can be "
            f"rewound to {there[0]['offset'] if there else 0} up to there, not to "
            f"{to.offset}"
        )
        raise StoreError(message)
    return reached[-1]
