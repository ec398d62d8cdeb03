"""From one generation to another: begun, left, entered again, known again, lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.errors import GenerationTakenError
from learning_pipeline.model import (
    Checkpoint,
    Counters,
    Fingerprint,
    Generation,
    Position,
    Sighting,
)
from learning_pipeline.steps import reached
from learning_pipeline.store.codec import encode_counters, fingerprint_from_row
from learning_pipeline.store.failures import explained
from learning_pipeline.store.history_writing import HistoryWriter
from learning_pipeline.store.in_doubt import repeated_when_cut
from learning_pipeline.store.session_connection import Claim
from learning_pipeline.store.statements import POSITION_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class GenerationMoves(HistoryWriter):
    """Moves a stage's checkpoint between the generations of a partition."""

    @repeated_when_cut
    def known_partitions(self, keys: Collection[str]) -> list[str]:
        """Those of some partition keys that any stage has begun to read."""
        with explained(self._url), self._transaction():
            found = []
            for key in keys:
                self._execute("is_known", at_partition_key=key)
                if self._cursor.fetchone() is not None:
                    found.append(key)
        return found

    @repeated_when_cut
    def known_generations(self, claim: Claim) -> list[Generation]:
        """All generations of a partition that any stage has begun, oldest first."""
        with explained(self._url), self._transaction():
            self._execute(
                "known_generations",
                at_stage=self._stage,
                at_partition_id=claim.partition_id,
            )
            found = [
                Generation(
                    number=row[0],
                    prefix_length_bytes=row[1],
                    prefix_digest=bytes(row[2]),
                    landmarks=bytes(row[3] or b""),
                    position=_position(row[4:]) if row[4] is not None else None,
                )
                for row in self._cursor.fetchall()
            ]
            checkpoint = claim.checkpoint
            if all(
                each.position
                or (each.number == checkpoint.generation and checkpoint.fingerprint)
                for each in found
            ):
                return found
            # What this stage has not read of a generation, others can tell it by.
            self._execute(
                "other_positions",
                at_stage=self._stage,
                at_partition_id=claim.partition_id,
            )
            others: dict[int, list[Position]] = {}
            for number, *place in self._cursor.fetchall():
                others.setdefault(number, []).append(_position([*place, 0, 0, 0]))
        return [
            msgspec.structs.replace(each, other_positions=others.get(each.number, ()))
            for each in found
        ]

    @repeated_when_cut
    def sightings(self, claim: Claim) -> list[Sighting]:
        """What is remembered of the physical files of a partition."""
        with explained(self._url), self._transaction():
            self._execute("sightings", at_partition_id=claim.partition_id)
            rows = self._cursor.fetchall()
        names = Sighting.__struct_fields__
        return [Sighting(**dict(zip(names, row[1:], strict=True))) for row in rows]

    @repeated_when_cut
    def note_sightings(
        self, claim: Claim, sightings: Sequence[Sighting], *, there: Sequence[str]
    ) -> None:
        """Remember which generations physical files were found to be.

        Args:
            claim: This run's claim.
            sightings: What was found out.
            there: The file keys that the partition has now; others are forgotten.
        """
        with explained(self._url), self._transaction():
            self._execute("sightings", at_partition_id=claim.partition_id)
            for row in self._cursor.fetchall():
                if row[1] not in there:
                    self._execute(
                        "drop_sighting",
                        at_partition_id=claim.partition_id,
                        at_file_key=row[1],
                    )
            self._cursor.executemany(
                self._sql.put_sighting,
                [
                    {"partition_id": claim.partition_id, **msgspec.structs.asdict(each)}
                    for each in sightings
                ],
            )

    @repeated_when_cut
    def begin_generation(
        self,
        claim: Claim,
        generation: Generation,
        *,
        because: str,
        size_bytes: int,
    ) -> Claim:
        """Start reading a generation that no stage has read yet, at offset 0.

        Args:
            claim: This run's claim.
            generation: Its number, the next one, and its identity.
            because: Why, such as `truncated`.
            size_bytes: Its file's size.

        Returns:
            The claim, standing in it. Where the one before was left is kept.

        Raises:
            GenerationTakenError: Another stage has just begun one of this number.
            FencedError: A newer claim was made.
        """
        is_first = claim.checkpoint.sequence == 0
        after = self._entered(claim, generation.number, size_bytes, is_new=not is_first)
        reached("generation.before")
        with explained(self._url), self._transaction(claim, after):
            self._move("restart_checkpoint", claim, after)
            self._execute(
                "add_generation",
                partition_id=claim.partition_id,
                generation=generation.number,
                prefix_length_bytes=generation.prefix_length_bytes,
                prefix_digest=generation.prefix_digest,
                landmarks=generation.landmarks,
                began_because=because,
                began_at=after.updated_at,
            )
            if self._cursor.rowcount != 1:
                raise GenerationTakenError(partition=after.partition)
            self._leave(claim)
            self._add_history(claim, after, start_offset=0, is_generation_start=True)
        reached("generation.after")
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
    def enter_generation(
        self, claim: Claim, generation: Generation, *, size_bytes: int
    ) -> Claim:
        """Go on in a known generation, where this stage left it, or at its start.

        What was counted as lost with its file is counted no longer.

        Raises:
            FencedError: A newer claim was made.
        """
        position = generation.position
        after = self._entered(
            claim,
            generation.number,
            size_bytes,
            is_new=position is None and claim.checkpoint.sequence > 0,
        )
        if position is not None:
            after = msgspec.structs.replace(
                after,
                offset=position.offset,
                fingerprint=position.fingerprint,
                synced_offset=position.synced_offset,
                counters=after.counters + Counters(lost_bytes=-position.lost_bytes),
            )
        reached("generation.before")
        with explained(self._url), self._transaction(claim, after):
            self._move("restart_checkpoint", claim, after)
            self._leave(claim)
            self._execute(
                "drop_position",
                at_stage=self._stage,
                at_partition_id=claim.partition_id,
                at_generation=generation.number,
            )
            self._add_history(
                claim,
                after,
                start_offset=after.offset,
                is_generation_start=after.offset == 0,
                is_late=True,
            )
        reached("generation.after")
        return Claim(claim.partition_id, claim.fence, after)

    @repeated_when_cut
    def count_lost(
        self,
        claim: Claim,
        lost_bytes: Mapping[int, int],
        *,
        cut_off_bytes: int = 0,
        size_bytes: int | None = None,
    ) -> Claim:
        """Set how many bytes, at least, are lost with the files of some generations.

        Args:
            claim: This run's claim.
            lost_bytes: By generation; 0 where the file was found again. Others keep
                what was counted for them.
            cut_off_bytes: Unread bytes that the present file has lost for good.
            size_bytes: The present file's size, if it was cut off.

        Raises:
            FencedError: A newer claim was made.
        """
        before = claim.checkpoint
        at = {"at_stage": self._stage, "at_partition_id": claim.partition_id}
        counters = before.counters + Counters(lost_bytes=cut_off_bytes)
        size_bytes = before.size_bytes if size_bytes is None else size_bytes
        with explained(self._url), self._transaction():
            for generation, count in lost_bytes.items():
                self._execute("load_position", **at, at_generation=generation)
                row = self._cursor.fetchone()
                if row is None:
                    self._leave(claim)
                counted = row[-1] if row else 0
                self._execute(
                    "put_lost_bytes", **at, at_generation=generation, lost_bytes=count
                )
                counters += Counters(lost_bytes=count - counted)
            stored = msgspec.structs.replace(counters, events_by_kind={})
            self._execute(
                "put_counters",
                **self._from(claim),
                counters=encode_counters(stored),
                size_bytes=size_bytes,
            )
            self._require_moved(claim)
        after = msgspec.structs.replace(
            before, counters=counters, size_bytes=size_bytes
        )
        return Claim(claim.partition_id, claim.fence, after)

    def _entered(
        self, claim: Claim, generation: int, size_bytes: int, *, is_new: bool
    ) -> Checkpoint:
        before = claim.checkpoint
        return msgspec.structs.replace(
            before,
            generation=generation,
            offset=0,
            fingerprint=None,
            counters=before.counters
            + Counters(generation_change_count=1 if is_new else 0),
            sequence=before.sequence + 1,
            size_bytes=size_bytes,
            seen_signature=None,
            synced_offset=0,
            run_id=self._run_id,
            updated_at=self._clock(),
        )

    def _leave(self, claim: Claim) -> None:
        """Keep where the stage stands in the generation that `claim` stands in."""
        before = claim.checkpoint
        if before.sequence == 0:
            return
        fingerprint = before.fingerprint
        self._execute(
            "put_position",
            stage=self._stage,
            partition_id=claim.partition_id,
            generation=before.generation,
            offset=before.offset,
            prefix_length_bytes=fingerprint and fingerprint.prefix_length_bytes,
            prefix_digest=fingerprint and fingerprint.prefix_digest,
            guard_length_bytes=fingerprint and fingerprint.guard_length_bytes,
            guard_digest=fingerprint and fingerprint.guard_digest,
            size_bytes=before.size_bytes,
            synced_offset=before.synced_offset,
            lost_bytes=0,
            updated_at=self._clock(),
        )

    def _extend_generation(
        self,
        claim: Claim,
        before: Fingerprint | None,
        after: Fingerprint,
        landmarks: bytes,
    ) -> None:
        at = {
            "at_partition_id": claim.partition_id,
            "at_generation": claim.checkpoint.generation,
        }
        # Only the first commits of a file make its known prefix longer, and only a
        # few of the later ones come past a landmark.
        if not before or before.prefix_length_bytes < after.prefix_length_bytes:
            self._execute(
                "extend_prefix",
                **at,
                longer_than=after.prefix_length_bytes,
                prefix_length_bytes=after.prefix_length_bytes,
                prefix_digest=after.prefix_digest,
            )
        if landmarks:
            self._execute(
                "extend_landmarks",
                **at,
                more_than=len(landmarks),
                landmarks=landmarks,
            )


def _position(row: Sequence[Any]) -> Position:
    """A position from its columns, in the order of `POSITION_COLUMNS`."""
    values = dict(zip(POSITION_COLUMNS, row, strict=True))
    return Position(
        offset=values["offset"],
        fingerprint=fingerprint_from_row(values),
        size_bytes=values["size_bytes"],
        synced_offset=values["synced_offset"],
        lost_bytes=values["lost_bytes"],
    )
