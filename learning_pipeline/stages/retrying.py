"""Processing dead letters again: their bytes are found, read, and committed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from learning_pipeline.errors import TelemetryError
from learning_pipeline.model import Counters, DeadLetter, Record
from learning_pipeline.stages.committing import Reading
from learning_pipeline.stages.origins import known_generations
from learning_pipeline.stages.stream import Transform
from learning_pipeline.store import Claim, Retry, StageSession, Store, StoredLetter
from learning_pipeline.telemetry import (
    ReadLimits,
    Tail,
    TelemetryFile,
    open_telemetry_file,
)

Contribution = Callable[[DeadLetter, Record], Counters]
"""What a dead letter had added to the counts, from the letter and its record."""


class Unread(msgspec.Struct, frozen=True):
    """A dead letter that could not be retried; it stays.

    Attributes:
        letter: Which one.
        why: For people.
    """

    letter: StoredLetter
    why: str


class RetryOutcome(msgspec.Struct, frozen=True):
    """What became of the dead letters of one partition, or would become.

    Attributes:
        partition: The partition key.
        processed_count: Records that are dead letters no longer.
        row_count: Rows that they gave.
        rejected_count: Records that were rejected again, for whatever reason.
        unread: Those whose bytes could not be read.
    """

    partition: str
    processed_count: int = 0
    row_count: int = 0
    rejected_count: int = 0
    unread: Sequence[Unread] = ()


@dataclass(frozen=True)
class RetryPlan:
    """How dead letters are retried.

    Attributes:
        transform: The stage's, as it is now.
        contribution: How its dead letters are counted.
        reading: How files are read.
        stage: The stage.
        reason: Only letters of this reason; None for all.
    """

    transform: Transform
    contribution: Contribution
    reading: Reading
    stage: str
    reason: str | None = None


class PartitionRetry:
    """One pass over the dead letters of a partition.

    Guarantees:
        Killed anywhere, each letter is still there or its rows are; another pass
        goes on with those that are. Counts and rows are then those of one pass over
        the bytes with the transform as it is now.
    """

    def __init__(self, plan: RetryPlan, store: Store, partition: str) -> None:
        """Describe the pass."""
        self._plan = plan
        self._store = store
        self._partition = partition
        self._unread: list[Unread] = []
        self._outcome = RetryOutcome(partition)
        self.claim: Claim | None = None

    def run(self, session: StageSession | None) -> RetryOutcome:
        """Retry them, in several transactions if they are many.

        Args:
            session: The stage's, whose claim fences a run under way; None only
                looks what would become of them.

        Raises:
            TelemetryError: The partition's files cannot be listed.
            FencedError: Another run claimed the partition.
            StoreError: The database failed; what was committed stays.
        """
        if session is not None:
            self.claim = session.claim(self._partition)
        letters = self._store.dead_letters(
            stage=self._plan.stage, partition=self._partition, reason=self._plan.reason
        )
        if not letters:
            return self._outcome
        for generation, batch in self._in_batches(self._retries(letters)):
            if session is not None and self.claim is not None:
                self._plan.reading.require_free_space()
                self.claim = session.retry(self.claim, generation, batch)
            self._count(batch)
        return msgspec.structs.replace(self._outcome, unread=self._unread)

    def _count(self, batch: Sequence[Retry]) -> None:
        rejected_count = sum(bool(each.output.dead_letters) for each in batch)
        before = self._outcome
        self._outcome = msgspec.structs.replace(
            before,
            processed_count=before.processed_count + len(batch) - rejected_count,
            row_count=before.row_count + sum(len(each.output.rows) for each in batch),
            rejected_count=before.rejected_count + rejected_count,
        )

    def _in_batches(
        self, retries: Iterator[Retry]
    ) -> Iterator[tuple[int, Sequence[Retry]]]:
        limits = self._plan.reading.limits
        batch: list[Retry] = []
        size_bytes = 0
        for retry in retries:
            letter = retry.letter
            length_bytes = letter.end_offset - letter.start_offset
            if batch and (
                batch[0].letter.generation != letter.generation
                or len(batch) >= limits.max_records
                or size_bytes + length_bytes > limits.max_batch_bytes
            ):
                yield batch[0].letter.generation, batch
                batch, size_bytes = [], 0
            batch.append(retry)
            size_bytes += length_bytes
        if batch:
            yield batch[0].letter.generation, batch

    def _retries(self, letters: Sequence[StoredLetter]) -> Iterator[Retry]:
        """Read the letters' records, file by file, and process them."""
        known = known_generations(self._store, self._plan.stage, self._partition)
        left: dict[int, list[StoredLetter]] = {}
        for letter in letters:
            left.setdefault(letter.generation, []).append(letter)
        why: str | None = None
        reading = self._plan.reading
        files = reading.listings.files_of(
            self._partition, self._store.known_partitions, afresh=True
        )
        for physical in files.files:
            if physical.size_bytes == 0 or not left:
                continue
            try:
                with open_telemetry_file(
                    reading.telemetry_root, physical.key, physical.compression
                ) as file:
                    found = known.recognise(file)
                    if found.generation is None or found.is_shorter:
                        continue
                    yield from self._retry_in(
                        file, left.pop(found.generation.number, [])
                    )
            except TelemetryError as error:
                why = str(error)
        for generation in sorted(left):
            gone = why or f"no file holds generation {generation} any more"
            self._unread += (Unread(letter, gone) for letter in left[generation])

    def _retry_in(
        self, file: TelemetryFile, letters: Sequence[StoredLetter]
    ) -> Iterator[Retry]:
        for letter in letters:
            try:
                retry = self._retry(file, letter)
            except TelemetryError as error:
                self._unread.append(Unread(letter, str(error)))
                continue
            if retry is None:
                self._unread.append(Unread(letter, "the file holds other bytes there"))
            else:
                yield retry

    def _retry(self, file: TelemetryFile, letter: StoredLetter) -> Retry | None:
        """Process one record; None when it is not where it was."""
        if file.size_bytes < letter.end_offset:
            return None
        limits = self._plan.reading.limits
        batches = list(
            file.read_batches(
                letter.start_offset,
                limits=ReadLimits(
                    max_records=1,
                    max_batch_bytes=limits.max_batch_bytes,
                    max_record_bytes=limits.max_record_bytes,
                    rejected_raw_bytes=limits.rejected_raw_bytes,
                ),
                end_offset=letter.end_offset,
                # The last line of a rotated file has no newline.
                tail=Tail.TAKE,
            )
        )
        found: list[Record | DeadLetter] = []
        for batch in batches:
            found += (*batch.records, *batch.rejected)
        if len(found) != 1 or len(batches) != 1:
            return None
        record = Record(letter.start_offset, letter.end_offset, found[0].raw)
        as_stored = DeadLetter(
            letter.start_offset,
            letter.end_offset,
            letter.reason,
            "",
            record.raw,
            letter.kind,
        )
        return Retry(
            letter,
            self._plan.contribution(as_stored, record),
            self._plan.transform(batches[0]),
        )
