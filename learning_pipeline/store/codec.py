"""Checkpoints, fingerprints and counters as the database holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.model import Checkpoint, Counters, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

_encode_counters = msgspec.json.Encoder().encode
_decode_counters = msgspec.json.Decoder(Counters).decode


def utc_now() -> str:
    """The time as stored: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def checkpoint_values(checkpoint: Checkpoint) -> dict[str, Any]:
    """The columns of `checkpoints` that every commit writes.

    Not `run_id`: the claim wrote it, and it is indexed.
    """
    fingerprint = checkpoint.fingerprint
    counters = msgspec.structs.replace(checkpoint.counters, events_by_kind={})
    return {
        "offset": checkpoint.offset,
        "prefix_length_bytes": fingerprint and fingerprint.prefix_length_bytes,
        "prefix_digest": fingerprint and fingerprint.prefix_digest,
        "guard_length_bytes": fingerprint and fingerprint.guard_length_bytes,
        "guard_digest": fingerprint and fingerprint.guard_digest,
        "counters": encode_counters(counters),
        "sequence": checkpoint.sequence,
        "size_bytes": checkpoint.size_bytes,
        "updated_at": checkpoint.updated_at,
    }


def checkpoint_from_row(
    row: Mapping[str, Any], partition: str, kinds: Mapping[str, int]
) -> Checkpoint:
    """A checkpoint from its row; `kinds` are counted in a table of their own."""
    counters = decode_counters(row["counters"])
    return Checkpoint(
        stage=row["stage"],
        partition=partition,
        generation=row["generation"],
        offset=row["offset"],
        fingerprint=fingerprint_from_row(row),
        counters=msgspec.structs.replace(counters, events_by_kind=kinds),
        sequence=row["sequence"],
        size_bytes=row["size_bytes"],
        seen_signature=row["seen_signature"],
        synced_offset=row["synced_offset"],
        run_id=row["run_id"],
        updated_at=row["updated_at"],
    )


def fingerprint_from_row(row: Mapping[str, Any]) -> Fingerprint | None:
    """The fingerprint in a row of `checkpoints` or of its history."""
    if not row["prefix_length_bytes"]:
        return None
    return Fingerprint(
        row["prefix_length_bytes"],
        bytes(row["prefix_digest"]),
        row["guard_length_bytes"],
        bytes(row["guard_digest"]),
    )


def encode_counters(counters: Counters) -> str:
    """Counters as JSON."""
    return _encode_counters(counters).decode()


def decode_counters(text: str) -> Counters:
    """Counters from their JSON."""
    return _decode_counters(text)
