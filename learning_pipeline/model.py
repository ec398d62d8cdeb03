"""Frozen value types that travel between the layers; no behaviour beyond sums."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Row = tuple[Any, ...]
"""`(offset, ordinal, *payload)`, the payload in the column order of its table."""


class Compression(enum.Enum):
    """How a file is compressed; the value is the end of its name."""

    GZIP = ".gz"
    ZSTANDARD = ".zst"


class Record(msgspec.Struct, frozen=True, gc=False):
    r"""One complete line of a telemetry file, as bytes.

    Attributes:
        start_offset: Byte position of the line's first byte in its generation.
        end_offset: Byte position after its newline.
        raw: The line without its terminator (`\n` or `\r\n`) and without a
            byte order mark.
    """

    start_offset: int
    end_offset: int
    raw: bytes


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that could not be processed; data, not an exception.

    Attributes:
        start_offset: First byte of the record.
        end_offset: Byte position after its newline.
        reason: A stable code in snake_case, such as `malformed_json`.
        detail: What was wrong, for people; redacted, never the text itself.
        raw: The record's bytes, redacted and cut at `DEAD_LETTER_RAW_BYTES`.
        kind: Under what it was counted in `events_by_kind`; None when it was not
            counted as an event.
    """

    start_offset: int
    end_offset: int
    reason: str
    detail: str
    raw: bytes
    kind: str | None = None


class Fingerprint(msgspec.Struct, frozen=True):
    """Identity of a generation by content, taken at a committed offset.

    Attributes:
        prefix_length_bytes: How many of the first bytes are hashed.
        prefix_digest: BLAKE2b-128 of the bytes `[0, prefix_length_bytes)`.
        guard_length_bytes: How many bytes before the offset are hashed.
        guard_digest: BLAKE2b-128 of `[offset - guard_length_bytes, offset)`.
    """

    prefix_length_bytes: int
    prefix_digest: bytes
    guard_length_bytes: int
    guard_digest: bytes


class RecordBatch(msgspec.Struct, frozen=True):
    """The records of one commit: the half-open range `[start_offset, end_offset)`.

    Attributes:
        start_offset: Where the batch begins; the end of the one before it.
        end_offset: Where the next one begins.
        records: The lines to process, in order; blank lines are left out.
        rejected: Lines that the reader itself refused (too long), in order.
        blank_count: Lines of nothing but white space.
        fingerprint: The file's fingerprint at `end_offset`.
    """

    start_offset: int
    end_offset: int
    records: Sequence[Record]
    rejected: Sequence[DeadLetter]
    blank_count: int
    fingerprint: Fingerprint


class Counters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stage has seen and made of a partition so far, or in one batch.

    Attributes:
        record_count: Complete, non-blank lines.
        event_count: Records that parsed as a JSON object.
        row_count: Rows written (for `interaction_patterns`: patterns).
        quality_count: Rows that met the quality rules.
        ignored_count: Events of a kind that no extractor takes.
        dead_letter_count: Records that could not be processed.
        events_by_kind: Events per kind.
        redactions_by_kind: Secrets replaced, per kind of secret.
        generation_change_count: Replacements and truncations met.
        lost_bytes: Bytes, at least, that such a change took away unread.
    """

    record_count: int = 0
    event_count: int = 0
    row_count: int = 0
    quality_count: int = 0
    ignored_count: int = 0
    dead_letter_count: int = 0
    events_by_kind: Mapping[str, int] = {}
    redactions_by_kind: Mapping[str, int] = {}
    generation_change_count: int = 0
    lost_bytes: int = 0

    def __add__(self, other: Counters) -> Counters:
        """The field-wise sum."""
        return Counters(
            record_count=self.record_count + other.record_count,
            event_count=self.event_count + other.event_count,
            row_count=self.row_count + other.row_count,
            quality_count=self.quality_count + other.quality_count,
            ignored_count=self.ignored_count + other.ignored_count,
            dead_letter_count=self.dead_letter_count + other.dead_letter_count,
            events_by_kind=_sum_by_key(self.events_by_kind, other.events_by_kind),
            redactions_by_kind=_sum_by_key(
                self.redactions_by_kind, other.redactions_by_kind
            ),
            generation_change_count=(
                self.generation_change_count + other.generation_change_count
            ),
            lost_bytes=self.lost_bytes + other.lost_bytes,
        )


def _sum_by_key(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    total = dict(left)
    for key, count in right.items():
        total[key] = total.get(key, 0) + count
    return total


class BatchOutput(msgspec.Struct, frozen=True):
    """What a stage made of one batch, ready to be committed with its offset.

    Attributes:
        rows: Rows for the stage's table, in order of offset.
        dead_letters: Records that could not be processed, in order of offset.
        counters: The batch's own counts, to be added to the partition's.
    """

    rows: Sequence[Row]
    dead_letters: Sequence[DeadLetter]
    counters: Counters


class Pattern(msgspec.Struct, frozen=True, gc=False):
    r"""What one event teaches: the payload of a row of the `patterns` table.

    Attributes:
        kind: The event's kind, such as `task_completed`.
        prompt: Stripped, redacted, at most 4,000 characters.
        response: Stripped, redacted, at most 12,000 characters.
        iterations: How many rounds the agent took; 0 when not stated.
        backend: Backend or model that answered, if stated.
        context: The event's context as JSON text, if any.
        success_metrics: JSON text of an object of numbers.
        event_timestamp: When it happened, ISO 8601 in UTC, or None if not stated.
        quality: Whether it meets the quality rules.
        content_hash: SHA-256 of `lower(strip(prompt) + "\n" + strip(response))`.
    """

    kind: str
    prompt: str
    response: str
    iterations: int
    backend: str | None
    context: str | None
    success_metrics: str
    event_timestamp: str | None
    quality: bool
    content_hash: bytes


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage stands in a partition; committed together with its rows.

    Attributes:
        stage: The asset that it belongs to.
        partition: The partition key.
        generation: Which physical file behind the partition, from 0.
        offset: Byte position of the next unread byte.
        fingerprint: Identity of the generation at `offset`; None at offset 0.
        counters: Totals over all generations of the partition.
        sequence: How many commits made this; grows by one with each.
        size_bytes: File size when it was last opened to be read.
        seen_signature: The signature of the partition's files that the last complete
            pass has read to their ends.
        synced_offset: Up to where commits are known to be on stable storage.
        run_id: The run that committed it.
        updated_at: When, ISO 8601 in UTC.
    """

    stage: str
    partition: str
    generation: int = 0
    offset: int = 0
    fingerprint: Fingerprint | None = None
    counters: Counters = Counters()
    sequence: int = 0
    size_bytes: int = 0
    seen_signature: str | None = None
    synced_offset: int = 0
    run_id: str = ""
    updated_at: str = ""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage stands in a generation that is not the one it reads now.

    Attributes:
        offset: Byte position of the next unread byte.
        fingerprint: Identity of the generation there; None at offset 0.
        size_bytes: The file's size when it was last opened.
        synced_offset: Up to where commits are known to be on stable storage.
        lost_bytes: Bytes, at least, that are counted as lost with its file.
    """

    offset: int = 0
    fingerprint: Fingerprint | None = None
    size_bytes: int = 0
    synced_offset: int = 0
    lost_bytes: int = 0


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One physical file behind a partition, as the state database knows it.

    Attributes:
        number: Counts them per partition, from 0.
        prefix_length_bytes: How many first bytes are hashed.
        prefix_digest: BLAKE2b-128 of them.
        landmarks: Digests at fixed offsets; see `telemetry.landmarks`.
        position: Where the stage that asks left it; None if it never did.
        other_positions: Where other stages stand in it, if that stage has none.
    """

    number: int
    prefix_length_bytes: int
    prefix_digest: bytes
    landmarks: bytes = b""
    position: Position | None = None
    other_positions: Sequence[Position] = ()


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Which generation a physical file was found to be.

    Attributes:
        file_key: Its path, written like a partition key.
        inode: Its number in its file system.
        size_bytes: Its size as it stood there, compressed or not.
        mtime_ns: Its modification time, nanoseconds since 1970.
        noted_at_ns: When it was looked at, nanoseconds since 1970.
        generation: Which generation it holds.
        content_bytes: The size of its content.
        end_digest: BLAKE2b-128 of the last bytes of it.
    """

    file_key: str
    inode: int
    size_bytes: int
    mtime_ns: int
    noted_at_ns: int
    generation: int
    content_bytes: int
    end_digest: bytes


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stage is in one file, during or after a run.

    Attributes:
        stage: The asset.
        partition: The partition key.
        generation: Which physical file behind it.
        offset: Committed byte position.
        size_bytes: File size when the run opened it.
        counters: Totals of the partition.
        run_event_count: Events processed by this run.
        run_row_count: Rows written by this run.
        run_dead_letter_count: Dead letters of this run.
        run_bytes: Bytes committed by this run.
        elapsed_seconds: Since this run opened the file.
        commit_count: Commits of this run.
        generation_change_count: Replacements or truncations this run met.
        resumed_from_offset: Where this run started.
        is_final: Whether the run is done with the file.
        is_complete: Whether all of it was read; else the next run goes on.
    """

    stage: str
    partition: str
    generation: int
    offset: int
    size_bytes: int
    counters: Counters
    run_event_count: int
    run_row_count: int
    run_dead_letter_count: int
    run_bytes: int
    elapsed_seconds: float
    commit_count: int
    generation_change_count: int
    resumed_from_offset: int
    is_final: bool = False
    is_complete: bool = True

    @property
    def lag_bytes(self) -> int:
        """Bytes between the committed offset and the end of the file."""
        return max(self.size_bytes - self.offset, 0)

    @property
    def percent(self) -> float:
        """Share of the file that is committed, 0 to 100."""
        return 100.0 * self.offset / self.size_bytes if self.size_bytes else 100.0

    @property
    def events_per_second(self) -> float:
        """Events of this run by its elapsed time."""
        return (
            self.run_event_count / self.elapsed_seconds if self.elapsed_seconds else 0.0
        )


class PhysicalFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file behind a partition, as a folder showed it.

    Attributes:
        key: Its path relative to the telemetry root, written like a partition key.
        size_bytes: Its size as it stands there, compressed or not.
        mtime_ns: Its modification time, nanoseconds since 1970.
        inode: Its number in its file system.
        compression: How it is compressed.
        is_active: Whether it is at the partition's own path.
    """

    key: str
    size_bytes: int
    mtime_ns: int
    inode: int
    compression: Compression | None = None
    is_active: bool = True


class FileStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One partition found below the telemetry root.

    Attributes:
        partition: Its partition key.
        size_bytes: The size of its active file; 0 when only rotated ones are there.
        mtime_ns: When any of its files last changed, nanoseconds since 1970.
        signature: Stays the same as long as nothing about its files changes.
        files: The physical files, oldest first, the active one last.
    """

    partition: str
    size_bytes: int
    mtime_ns: int
    signature: str = ""
    files: Sequence[PhysicalFile] = ()

    @property
    def total_bytes(self) -> int:
        """The sizes of all its files."""
        return sum(file.size_bytes for file in self.files)


class Example(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fine-tuning example: a quality pattern, the first of its content.

    Attributes:
        content_hash: SHA-256 of its content, as `Pattern.content_hash`; its identity.
        kind: The event's kind.
        prompt: As the pattern's.
        response: As the pattern's.
        iterations: How many rounds the agent took; 0 when not stated.
        backend: Backend or model that answered, if stated.
        success_metrics: JSON text of an object of numbers.
        event_timestamp: When it happened, ISO 8601 in UTC, or None if not stated.
        partition: The partition key of the telemetry file that it comes from.
        generation: Which physical file behind that.
        offset: Byte position of its line there.
        ordinal: Which pattern of that line, from 0.
        run_id: The run that made it an example.
    """

    content_hash: bytes
    kind: str
    prompt: str
    response: str
    iterations: int
    backend: str | None
    success_metrics: str
    event_timestamp: str | None
    partition: str
    generation: int
    offset: int
    ordinal: int
    run_id: str
