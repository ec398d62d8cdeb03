"""The telemetry line behind a pattern: found again, whatever its file is called now."""

from __future__ import annotations

import msgspec

from learning_pipeline.errors import TelemetryError
from learning_pipeline.model import Checkpoint, DeadLetter, Record, RecordBatch
from learning_pipeline.stages.committing import Reading
from learning_pipeline.stages.generations import KnownGenerations
from learning_pipeline.stages.names import PATTERNS_STAGE
from learning_pipeline.stages.stream import Transform
from learning_pipeline.store import PartitionState, Store, Tombstone
from learning_pipeline.telemetry import (
    ReadLimits,
    Tail,
    TelemetryFile,
    open_telemetry_file,
)

_HASH_COLUMN = -1
"""The last of a row of `patterns`."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a line is now.

    Attributes:
        file: The physical file's path, written like a partition key.
        batch: The line, and nothing else, as it stands there; not redacted.
        record: The line.
    """

    file: str
    batch: RecordBatch
    record: Record


class NoOrigin(msgspec.Struct, frozen=True):
    """A line that is not to be had.

    Attributes:
        why: For people.
    """

    why: str


def find_origin(
    store: Store, reading: Reading, partition: str, generation: int, offset: int
) -> Origin | NoOrigin:
    """Read one line of a generation, from whichever file holds that by its content.

    Args:
        store: Knows the generations.
        reading: How files are read.
        partition: The partition key.
        generation: Which physical file behind it.
        offset: Where the line begins.
    """
    known = known_generations(store, PATTERNS_STAGE, partition)
    why: str | None = None
    try:
        files = reading.listings.files_of(
            partition, store.known_partitions, afresh=True
        )
    except TelemetryError as error:
        return NoOrigin(str(error))
    for physical in files.files:
        if physical.size_bytes == 0:
            continue
        try:
            with open_telemetry_file(
                reading.telemetry_root, physical.key, physical.compression
            ) as file:
                found = known.recognise(file).generation
                if found is not None and found.number == generation:
                    return _read(file, physical.key, reading.limits, offset)
        except TelemetryError as error:
            why = str(error)
    return NoOrigin(why or _why_gone(store.tombstones([partition]), generation))


def known_generations(store: Store, stage: str, partition: str) -> KnownGenerations:
    """The generations of a partition, as a stage knows them."""
    states = store.partition_states([partition])
    state = states.get(partition, PartitionState())
    return KnownGenerations(
        [
            msgspec.structs.replace(each, position=state.position(stage, each.number))
            for each in state.generations.values()
        ],
        state.checkpoints.get(stage, Checkpoint(stage=stage, partition=partition)),
    )


def _read(
    file: TelemetryFile, key: str, limits: ReadLimits, offset: int
) -> Origin | NoOrigin:
    # Also of a copy that was cut off, as long as the line is in it.
    if offset >= file.size_bytes:
        return NoOrigin(
            f"{key} is cut off before the line: it has {file.size_bytes:,} bytes"
        )
    one = ReadLimits(
        max_records=1,
        max_batch_bytes=limits.max_batch_bytes,
        max_record_bytes=limits.max_record_bytes,
    )
    # The last line of a rotated file has no newline.
    batch = next(file.read_batches(offset, limits=one, tail=Tail.TAKE), None)
    found: list[Record | DeadLetter] = (
        [] if batch is None else [*batch.records, *batch.rejected]
    )
    if batch is None or not found or found[0].start_offset != offset:
        return NoOrigin(f"{key} has no line at byte {offset:,} any more")
    if isinstance(found[0], DeadLetter):
        return NoOrigin(
            f"the line in {key} is longer than MAX_RECORD_BYTES is now; set that higher"
        )
    return Origin(file=key, batch=batch, record=found[0])


def _why_gone(tombstones: list[Tombstone], generation: int) -> str:
    for each in tombstones:
        if each.generation == generation and each.action == "delete":
            return f"`retain` deleted its file {each.file_key}, at {each.retired_at}"
    return f"no file holds generation {generation} any more"


def gives(origin: Origin, transform: Transform, content_hash: bytes) -> bool:
    """Whether a line still gives a pattern of this content.

    Args:
        origin: The line.
        transform: That of the stage `interaction_patterns`.
        content_hash: Of the pattern.
    """
    rows = transform(origin.batch).rows
    return any(row[_HASH_COLUMN] == content_hash for row in rows)
