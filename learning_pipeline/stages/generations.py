"""Which generation a physical file holds: told by its content, never by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from learning_pipeline.model import (
    Checkpoint,
    Fingerprint,
    Generation,
    PhysicalFile,
    Position,
    Sighting,
)
from learning_pipeline.telemetry import (
    NO_GUARD_DIGEST,
    TelemetryFile,
    Verdict,
    end_of,
)

FIRST_LANDMARK_BYTES = 16
"""A shorter file shows nothing by which it could be known again."""

RACY_NS = 1_000_000_000
"""A file that was written to so shortly before it was noted may have changed since
with the same time of modification."""


class Recognised(msgspec.Struct, frozen=True):
    """What a file was found to be.

    Attributes:
        generation: The one that it holds; None when it holds a new one.
        is_shorter: Whether it ends before what the stage has committed of it: a copy
            that was cut off, or the beginning of something new.
    """

    generation: Generation | None
    is_shorter: bool = False


class KnownGenerations:
    """The generations of a partition, as one stage knows them."""

    def __init__(
        self, generations: Sequence[Generation], checkpoint: Checkpoint
    ) -> None:
        """Take what the state database knows, and where the stage stands."""
        self._checkpoint = checkpoint
        self._by_number = {each.number: self._placed(each) for each in generations}

    @property
    def next_number(self) -> int:
        """The number of a generation that begins now."""
        return max(self._by_number, default=-1) + 1

    @property
    def current(self) -> Generation | None:
        """The one that the stage stands in; None before it has begun any."""
        if self._checkpoint.sequence == 0:
            return None
        return self._by_number.get(self._checkpoint.generation)

    def is_current(self, generation: Generation) -> bool:
        """Whether the stage stands in it."""
        current = self.current
        return current is not None and current.number == generation.number

    def recognise(self, file: TelemetryFile) -> Recognised:
        """Compare a file with the generations; the one of which most was read wins.

        One may begin with all that was read of another: a file that was truncated
        and written again from the same events.

        Raises:
            TelemetryFileUnreadableError: It cannot be read.
        """
        by_offset = sorted(self._by_number.values(), key=_offset, reverse=True)
        shorter: Generation | None = None
        for generation in by_offset:
            found = self._matches(file, generation)
            if found is not None and not found.is_shorter:
                return found
            shorter = shorter or (found.generation if found else None)
        return Recognised(shorter, is_shorter=shorter is not None)

    def passed_by_sighting(
        self, physical: PhysicalFile, sightings: Iterable[Sighting]
    ) -> Sighting | None:
        """What was noted of a file that needs no look: unchanged, and read before."""
        for sighting in sightings:
            if (sighting.inode, sighting.size_bytes, sighting.mtime_ns) != (
                physical.inode,
                physical.size_bytes,
                physical.mtime_ns,
            ) or sighting.noted_at_ns - sighting.mtime_ns < RACY_NS:
                continue
            generation = self._by_number.get(sighting.generation)
            position = generation.position if generation else None
            if position is not None and position.offset >= sighting.content_bytes:
                return sighting
        return None

    def lost_bytes(self, found: frozenset[int]) -> dict[int, int]:
        """What is to be counted as lost anew, by generation.

        Args:
            found: The generations whose files are there.
        """
        changed: dict[int, int] = {}
        for number, generation in self._by_number.items():
            position = generation.position
            if position is None:
                continue
            rest_bytes = max(position.size_bytes - position.offset, 0)
            lost_bytes = 0 if number in found else rest_bytes
            if lost_bytes != position.lost_bytes:
                changed[number] = lost_bytes
        return changed

    def _placed(self, generation: Generation) -> Generation:
        checkpoint = self._checkpoint
        if checkpoint.sequence == 0 or generation.number != checkpoint.generation:
            return generation
        stored = generation.position
        return msgspec.structs.replace(
            generation,
            position=Position(
                offset=checkpoint.offset,
                fingerprint=checkpoint.fingerprint,
                size_bytes=checkpoint.size_bytes,
                synced_offset=checkpoint.synced_offset,
                lost_bytes=stored.lost_bytes if stored else 0,
            ),
        )

    @staticmethod
    def _matches(file: TelemetryFile, generation: Generation) -> Recognised | None:
        position = generation.position
        if position is None or position.offset == 0:
            return _matches_unread(file, generation)
        if position.fingerprint is not None and file.size_bytes >= position.offset:
            verdict = file.compare(position.offset, position.fingerprint)
            return Recognised(generation) if verdict is Verdict.SAME else None
        if file.size_bytes < FIRST_LANDMARK_BYTES:
            return None
        prefix_is_there = file.size_bytes >= generation.prefix_length_bytes
        if prefix_is_there and not _has_prefix(file, generation):
            return None
        if not file.has_landmarks(generation.landmarks):
            return None
        return Recognised(generation, is_shorter=file.size_bytes < position.offset)


def _matches_unread(file: TelemetryFile, generation: Generation) -> Recognised | None:
    """Of what the stage has not read itself, all that is known must be there."""
    known_bytes = max(
        generation.prefix_length_bytes,
        end_of(generation.landmarks),
        *(each.offset for each in generation.other_positions),
        0,
    )
    is_known = (
        file.size_bytes >= known_bytes
        and _has_prefix(file, generation)
        and file.has_landmarks(generation.landmarks)
        and all(
            file.compare(each.offset, each.fingerprint) is Verdict.SAME
            for each in generation.other_positions
        )
    )
    return Recognised(generation) if is_known else None


def _has_prefix(file: TelemetryFile, generation: Generation) -> bool:
    prefix = Fingerprint(
        generation.prefix_length_bytes, generation.prefix_digest, 0, NO_GUARD_DIGEST
    )
    return file.compare(0, prefix) is Verdict.SAME


def _offset(generation: Generation) -> tuple[int, int]:
    position = generation.position
    return (position.offset if position else 0, generation.number)
