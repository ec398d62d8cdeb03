"""Landmarks: digests at fixed offsets, by which a generation is known again.

The fingerprint at a committed offset tells whether a file goes on as it did. It says
nothing of a file that is shorter than that, such as a copy which was cut off, nor does
it tell two files apart that begin alike. Landmarks lie on a grid that is the same for
every file, four to each doubling of the offset, and cost 8 bytes each.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from typing import Final

from learning_pipeline.telemetry.fingerprint import GUARD_LENGTH_BYTES, ReadAt

DIGEST_LENGTH_BYTES: Final = 8

OFFSETS: Final = tuple(dict.fromkeys(int(16 * 2 ** (k / 4)) for k in range(180)))
"""From 16 bytes to 475 TB."""


def landmarks_in(read_at: ReadAt, known: bytes, up_to_offset: int) -> bytes:
    """Landmarks, those that are known and those from there up to an offset.

    Args:
        read_at: Reads from the file.
        known: Its landmarks so far.
        up_to_offset: Where the committed bytes end.
    """
    known_count = len(known) // DIGEST_LENGTH_BYTES
    count = bisect_right(OFFSETS, up_to_offset)
    if count <= known_count:
        return known
    return known + b"".join(
        _digest_at(read_at, offset) for offset in OFFSETS[known_count:count]
    )


def end_of(landmarks: bytes) -> int:
    """The offset of the last of them; 0 when there are none."""
    count = len(landmarks) // DIGEST_LENGTH_BYTES
    return OFFSETS[count - 1] if count else 0


def agree(read_at: ReadAt, size_bytes: int, landmarks: bytes) -> bool:
    """Whether a file has all those landmarks that lie within it."""
    count = min(
        bisect_right(OFFSETS, size_bytes), len(landmarks) // DIGEST_LENGTH_BYTES
    )
    return all(
        _digest_at(read_at, OFFSETS[index])
        == landmarks[index * DIGEST_LENGTH_BYTES : (index + 1) * DIGEST_LENGTH_BYTES]
        for index in range(count)
    )


def _digest_at(read_at: ReadAt, offset: int) -> bytes:
    start = max(offset - GUARD_LENGTH_BYTES, 0)
    content = read_at(start, offset - start)
    return blake2b(content, digest_size=DIGEST_LENGTH_BYTES).digest()
