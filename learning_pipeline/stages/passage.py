"""Passing over the files of a partition: which is which, and what is unread of each.

A file may have been renamed, copied, compressed, cut off or replaced since the last
look. What it holds says which generation it is, and the position that the stage kept
there says where to go on.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from learning_pipeline.errors import (
    TelemetryFileMissingError,
    TelemetryFilesMovedError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.model import Generation, PhysicalFile, Sighting
from learning_pipeline.stages.committing import Committer, Reading, Source
from learning_pipeline.stages.generations import KnownGenerations
from learning_pipeline.steps import reached
from learning_pipeline.store import Claim, StageSession
from learning_pipeline.telemetry import (
    PartitionFiles,
    Tail,
    TelemetryFile,
    Verdict,
    open_telemetry_file,
)

BEGUN_PREFIX_BYTES = 1024
"""How much of a new generation is made landmarks of before any of it is committed."""


class Passage:
    """One look at all files of a partition, oldest first.

    Attributes:
        unreadable: Why a rotated file could not be read; the others were.
    """

    def __init__(
        self,
        session: StageSession,
        committer: Committer,
        reading: Reading,
        files: PartitionFiles,
        log: Any,
    ) -> None:
        """Look at `files`, with the claim that `committer` has."""
        self._session = session
        self._committer = committer
        self._reading = reading
        self._files = files
        self._log = log
        self._known = self._look_up()
        self._found: set[int] = set()
        self._sightings: list[Sighting] = []
        self._copies: list[tuple[int, bytes, PhysicalFile]] = []
        self._has_rest = False
        self.unreadable: TelemetryFileUnreadableError | None = None

    @property
    def claim(self) -> Claim:
        """The run's claim, as the last move left it."""
        claim = self._committer.claim
        assert claim is not None  # noqa: S101 - made before the pass begins
        return claim

    def read_all(self) -> bool:
        """Read every file to its end; whether nothing is left for another run."""
        files = self._files.files
        for index, physical in enumerate(files):
            if physical.size_bytes == 0 or self._is_passed(physical):
                continue
            if self._committer.is_out_of_budget:
                return False
            try:
                self._visit(physical, is_newest=not _has_content(files[index + 1 :]))
            except TelemetryFileMissingError:
                raise TelemetryFilesMovedError(partition=physical.key) from None
            except TelemetryFileUnreadableError as error:
                if physical.is_active:
                    raise
                if self._is_being_compressed(physical, error):
                    continue
                # The others go on; this one is named at the end.
                self.unreadable = error
        return not (self._committer.is_out_of_budget and self._has_rest)

    def _is_being_compressed(
        self, physical: PhysicalFile, error: TelemetryFileUnreadableError
    ) -> bool:
        """Whether what is not complete is just being made from a file that is there."""
        cause = error.__cause__
        return (
            physical.compression is not None
            and isinstance(cause, OSError)
            and cause.errno == errno.EBADMSG
            and any(
                physical.key == other.key + physical.compression.value
                for other in self._files.files
            )
        )

    @cached_property
    def _remembered(self) -> Sequence[Sighting]:
        """What earlier passes found out of the files."""
        return self._session.sightings(self.claim)

    def _is_passed(self, physical: PhysicalFile) -> bool:
        if physical.is_active:
            return False
        sighting = self._known.passed_by_sighting(physical, self._remembered)
        if sighting is None:
            return False
        self._found.add(sighting.generation)
        if sighting.file_key != physical.key:
            # Its old name is another file's now, and what is noted under that goes.
            self._sightings.append(
                msgspec.structs.replace(sighting, file_key=physical.key)
            )
        return True

    def _visit(self, physical: PhysicalFile, *, is_newest: bool) -> None:
        self._has_rest = False
        with open_telemetry_file(
            self._reading.telemetry_root, physical.key, physical.compression
        ) as file:
            if file.inode != physical.inode:
                raise TelemetryFilesMovedError(partition=self._files.partition)
            if not physical.is_active and self._begins_the_active(file):
                # Copied and not truncated yet, or never: its end may be half a line.
                self._log.info("copy_left_out", file=physical.key)
                self._copies.append((file.size_bytes, file.end_digest(), physical))
                return
            generation = self._identify(file, physical)
            if generation is None:
                return
            self._found.add(generation.number)
            reached("load.after")
            source = Source(
                file,
                generation.landmarks,
                _tail(physical, file, is_newest=is_newest),
                is_late=generation.number + 1 < self._known.next_number,
            )
            claim = self._committer.read(self.claim, source)
            self._look_up_again()
            self._has_rest = claim.checkpoint.offset < file.size_bytes
            if not self._has_rest and not physical.is_active:
                self._note(file, physical, generation)

    def settle(self) -> Claim:
        """Count what is lost with files that are gone; after all were read."""
        if self.unreadable is None:
            lost_bytes = self._known.lost_bytes(frozenset(self._found))
            if lost_bytes:
                self._log.warning(
                    "unread_bytes_lost" if any(lost_bytes.values()) else "lost_found",
                    lost_bytes_at_least=sum(lost_bytes.values()),
                )
                self._committer.claim = self._session.count_lost(self.claim, lost_bytes)
        number = self.claim.checkpoint.generation
        self._sightings += [
            _sighting(physical, number, size_bytes, end_digest)
            for size_bytes, end_digest, physical in self._copies
        ]
        self.remember()
        return self.claim

    def remember(self) -> None:
        """Note what was found out of the files, so that it is not asked again."""
        if self._sightings:
            self._session.note_sightings(
                self.claim,
                self._sightings,
                there=[physical.key for physical in self._files.files],
            )

    def _look_up_again(self) -> None:
        # With one file there is nothing left to be known again.
        if len(self._files.files) > 1:
            self._known = self._look_up()

    def _look_up(self) -> KnownGenerations:
        return KnownGenerations(
            self._session.known_generations(self.claim), self.claim.checkpoint
        )

    def _identify(
        self, file: TelemetryFile, physical: PhysicalFile
    ) -> Generation | None:
        """Go to the generation that the file holds; None if nothing of it is to do."""
        found = self._known.recognise(file)
        generation = found.generation
        if generation is None or (found.is_shorter and physical.is_active):
            return self._begin(file, physical)
        if found.is_shorter:
            if not self._is_copy(file, generation, physical):
                return self._begin(file, physical)
            self._log.info("copy_left_out", file=physical.key)
            self._note(file, physical, generation)
            return None
        if self._known.is_current(generation):
            self._resume(file, generation)
            return generation
        position = generation.position
        if (
            position is not None
            and position.offset >= file.size_bytes
            and physical is not self._files.files[-1]
        ):
            self._found.add(generation.number)
            self._note(file, physical, generation)
            return None
        self._require_unmoved()
        cut_off_bytes = _cut_off_bytes(generation, file)
        claim = self._session.enter_generation(
            self.claim, generation, size_bytes=file.size_bytes
        )
        self._log.info(
            "generation_entered",
            generation=generation.number,
            offset=claim.checkpoint.offset,
        )
        self._stand_in(claim, file)
        if cut_off_bytes:
            self._count_cut_off(file, cut_off_bytes)
        return generation

    def _resume(self, file: TelemetryFile, generation: Generation) -> None:
        checkpoint = self.claim.checkpoint
        self._committer.stand_in(self.claim, file)
        self._log.info(
            "resuming_from_checkpoint",
            generation=checkpoint.generation,
            offset=checkpoint.offset,
            size_bytes=file.size_bytes,
        )
        cut_off_bytes = _cut_off_bytes(generation, file)
        if cut_off_bytes:
            self._count_cut_off(file, cut_off_bytes)

    def _begin(self, file: TelemetryFile, physical: PhysicalFile) -> Generation:
        before = self.claim.checkpoint
        is_first = before.sequence == 0
        if not is_first or len(self._files.files) > 1:
            self._require_unmoved()
        prefix = file.prefix_fingerprint()
        up_to = min(BEGUN_PREFIX_BYTES, file.size_bytes)
        generation = Generation(
            number=self._known.next_number,
            prefix_length_bytes=prefix.prefix_length_bytes,
            prefix_digest=prefix.prefix_digest,
            landmarks=file.landmarks(b"", up_to),
        )
        because = "first_seen" if is_first else self._why(file, physical)
        claim = self._session.begin_generation(
            self.claim, generation, because=because, size_bytes=file.size_bytes
        )
        if not is_first:
            self._committer.count_generation()
            self._log.warning(
                "generation_began",
                because=because,
                generation=generation.number,
                left_at_offset=before.offset,
                size_bytes=file.size_bytes,
            )
        self._stand_in(claim, file)
        if physical.is_active:
            self._note(file, physical, generation)
        return generation

    def _why(self, file: TelemetryFile, physical: PhysicalFile) -> str:
        before = self.claim.checkpoint
        was_rotated = before.generation in self._found or not physical.is_active
        if was_rotated or before.fingerprint is None:
            return "rotated"
        verdict = file.compare(before.offset, before.fingerprint)
        # What goes on as before, and begins anew all the same, took its place.
        return "replaced" if verdict is Verdict.SAME else verdict.name.lower()

    def _stand_in(self, claim: Claim, file: TelemetryFile) -> None:
        self._committer.stand_in(claim, file)
        self._look_up_again()

    def _count_cut_off(self, file: TelemetryFile, cut_off_bytes: int) -> None:
        self._log.warning("unread_bytes_cut_off", lost_bytes_at_least=cut_off_bytes)
        claim = self._session.count_lost(
            self.claim, {}, cut_off_bytes=cut_off_bytes, size_bytes=file.size_bytes
        )
        self._stand_in(claim, file)

    def _require_unmoved(self) -> None:
        # Names are read one by one: a rotation in between shows a file twice or not
        # at all, and the next generation must not begin before the one it left.
        now = self._reading.listings.files_of(
            self._files.partition, self._session.known_partitions, afresh=True
        )
        if not now.is_same_listing(self._files):
            raise TelemetryFilesMovedError(partition=self._files.partition)

    def _is_copy(
        self, file: TelemetryFile, generation: Generation, physical: PhysicalFile
    ) -> bool:
        """Whether a file that was cut off holds what was read of a generation."""
        end_digest = file.end_digest()
        for sighting in self._remembered:
            if (sighting.generation, sighting.content_bytes, sighting.end_digest) == (
                generation.number,
                file.size_bytes,
                end_digest,
            ):
                return True
        return any(
            self._holds(other, generation, file)
            for other in self._files.files
            if other is not physical and other.size_bytes
        )

    def _holds(
        self, other: PhysicalFile, generation: Generation, file: TelemetryFile
    ) -> bool:
        # One that cannot be read might be it: then this one is not begun either.
        with open_telemetry_file(
            self._reading.telemetry_root, other.key, other.compression
        ) as opened:
            found = self._known.recognise(opened)
            return (
                found.generation is not None
                and found.generation.number == generation.number
                and not found.is_shorter
                and file.same_end(opened)
            )

    def _begins_the_active(self, file: TelemetryFile) -> bool:
        """Whether the active file begins with all that this one holds."""
        active = self._files.files[-1]
        if not active.is_active or active.size_bytes == 0:
            return False
        with open_telemetry_file(
            self._reading.telemetry_root, active.key, active.compression
        ) as opened:
            return (
                file.size_bytes <= opened.size_bytes
                and file.same_start(opened)
                and file.same_end(opened)
                and opened.has_landmarks(file.landmarks(b"", file.size_bytes))
            )

    def _note(
        self, file: TelemetryFile, physical: PhysicalFile, generation: Generation
    ) -> None:
        self._sightings.append(
            _sighting(physical, generation.number, file.size_bytes, file.end_digest())
        )


def _sighting(
    physical: PhysicalFile, generation: int, content_bytes: int, end_digest: bytes
) -> Sighting:
    return Sighting(
        file_key=physical.key,
        inode=physical.inode,
        size_bytes=physical.size_bytes,
        mtime_ns=physical.mtime_ns,
        noted_at_ns=time.time_ns(),
        generation=generation,
        content_bytes=content_bytes,
        end_digest=end_digest,
    )


def _has_content(files: Sequence[PhysicalFile]) -> bool:
    return any(file.size_bytes for file in files)


def _tail(physical: PhysicalFile, file: TelemetryFile, *, is_newest: bool) -> Tail:
    if file.is_compressed or (not physical.is_active and not is_newest):
        return Tail.TAKE
    return Tail.LEAVE if physical.is_active else Tail.TAKE_OBJECT


def _cut_off_bytes(generation: Generation, file: TelemetryFile) -> int:
    """Bytes that were there at the last look, were not read, and are there no more."""
    position = generation.position
    if position is None:
        return 0
    return max(position.size_bytes - max(file.size_bytes, position.offset), 0)
