"""File identity by content: has this file still got the bytes that were read?"""

from __future__ import annotations

import enum
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from learning_pipeline.model import Fingerprint

PREFIX_LENGTH_BYTES = 1024
"""Telemetry that differs at all differs early: its first event has a timestamp."""

GUARD_LENGTH_BYTES = 256
"""The end of the last event before the offset; tells a rewrite behind one prefix."""

DIGEST_LENGTH_BYTES = 16

NO_GUARD_DIGEST = blake2b(b"", digest_size=DIGEST_LENGTH_BYTES).digest()
"""Of no bytes at all, as before offset 0."""

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length_bytes)`: those bytes, fewer only at the end of the file."""


class Verdict(enum.Enum):
    """How a file stands to a checkpoint that was taken in it."""

    SAME = "same"
    """What was committed is still there; read on at the offset."""

    TRUNCATED = "truncated"
    """It ends before the committed offset."""

    REPLACED = "replaced"
    """It begins with other bytes: another file."""

    REWRITTEN = "rewritten"
    """It begins with the same bytes, but those before the offset are others."""


def digest(content: bytes) -> bytes:
    """BLAKE2b-128, which stands in checkpoints: it must not change."""
    return blake2b(content, digest_size=DIGEST_LENGTH_BYTES).digest()


def compare_content(
    read_at: ReadAt, size_bytes: int, offset: int, fingerprint: Fingerprint | None
) -> Verdict:
    """Compare a file with the fingerprint that was taken at `offset` in it.

    Args:
        read_at: Reads from the file.
        size_bytes: The file's size.
        offset: The committed offset.
        fingerprint: Taken there; None when nothing was read yet.

    Guarantees:
        Only the first `prefix_length_bytes` and the last `guard_length_bytes` before
        the offset are compared. A rewrite between the two is not noticed.
    """
    if size_bytes < offset:
        return Verdict.TRUNCATED
    if fingerprint is None:
        return Verdict.SAME
    prefix = read_at(0, fingerprint.prefix_length_bytes)
    guard_offset = offset - fingerprint.guard_length_bytes
    guard = read_at(guard_offset, fingerprint.guard_length_bytes)
    if len(guard) < fingerprint.guard_length_bytes:
        return Verdict.TRUNCATED
    if digest(prefix) != fingerprint.prefix_digest:
        return Verdict.REPLACED
    if digest(guard) != fingerprint.guard_digest:
        return Verdict.REWRITTEN
    return Verdict.SAME
