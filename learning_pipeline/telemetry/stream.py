"""A file's bytes in chunks, each checked against what was read before it."""

from __future__ import annotations

import enum

from learning_pipeline.model import Fingerprint
from learning_pipeline.telemetry.fingerprint import (
    GUARD_LENGTH_BYTES,
    PREFIX_LENGTH_BYTES,
    ReadAt,
    digest,
)


class Step(enum.Enum):
    """What came of moving on by a chunk."""

    MOVED = "moved"
    ENDED = "ended"
    BROKEN = "broken"


class VerifiedStream:
    """Reads `[start_offset, end_offset)` of a file that others may write to.

    Each read begins with the guard, the bytes before `position` that are known
    already, and finds out whether they are still the same. So whoever truncates or
    rewrites the file between two reads is noticed, unless the new content agrees with
    the old one in just these bytes.

    Attributes:
        window: The guard and the chunk after it, as last read.
        overlap_bytes: How long the guard at the start of `window` is.
        position: The offset after `window`.
        error: Why a step was BROKEN; None when the bytes were missing or others.
    """

    def __init__(
        self, read_at: ReadAt, *, start_offset: int, end_offset: int, chunk_bytes: int
    ) -> None:
        """Prepare; `begin` makes the first read."""
        self._read_at = read_at
        self._end_offset = end_offset
        self._chunk_bytes = chunk_bytes
        self._head = b""
        self._prefix_digest = b""
        self._kept_offset = start_offset
        self._kept_guard = b""
        self._guard = b""
        self.window = b""
        self.overlap_bytes = 0
        self.position = start_offset
        self.error: OSError | None = None

    def begin(self, fingerprint: Fingerprint | None) -> Step:
        """Read what the fingerprints of later offsets need from before the start.

        Args:
            fingerprint: Taken at the start offset, to be compared with the bytes
                that are read here; None trusts them.
        """
        start = self.position
        prefix_length_bytes = min(PREFIX_LENGTH_BYTES, start)
        guard_length_bytes = min(GUARD_LENGTH_BYTES, start)
        if fingerprint is not None:
            # A version with other lengths may have taken it.
            prefix_length_bytes = max(
                prefix_length_bytes, fingerprint.prefix_length_bytes
            )
            guard_length_bytes = max(guard_length_bytes, fingerprint.guard_length_bytes)
        head = self._read(0, prefix_length_bytes)
        guard = self._read(start - guard_length_bytes, guard_length_bytes)
        if head is None or guard is None:
            return Step.BROKEN
        if fingerprint is not None and not _agree(fingerprint, head, guard):
            return Step.BROKEN
        # Not beyond the start, where a fingerprint at offset 0 reaches: `advance` adds.
        self._head = head[: min(PREFIX_LENGTH_BYTES, start)]
        self._guard = self._kept_guard = guard[-GUARD_LENGTH_BYTES:]
        return Step.MOVED

    def advance(self) -> Step:
        """Read the next chunk into `window`; leave it as it was unless MOVED."""
        chunk_bytes = min(self._chunk_bytes, self._end_offset - self.position)
        if chunk_bytes <= 0:
            return Step.ENDED
        overlap_bytes = len(self._guard)
        window = self._read(self.position - overlap_bytes, overlap_bytes + chunk_bytes)
        if window is None or not window.startswith(self._guard):
            return Step.BROKEN
        missing_bytes = PREFIX_LENGTH_BYTES - len(self._head)
        if missing_bytes > 0:
            self._head += window[overlap_bytes : overlap_bytes + missing_bytes]
        self.window = window
        self.overlap_bytes = overlap_bytes
        self.position += chunk_bytes
        self._guard = window[-GUARD_LENGTH_BYTES:]
        return Step.MOVED

    def keep_guard(self, offset: int) -> None:
        """Remember the guard of an offset in `window` beyond the next `advance`."""
        if offset != self._kept_offset:
            self._kept_guard = self._guard_at(offset)
            self._kept_offset = offset

    def fingerprint_at(self, offset: int) -> Fingerprint:
        """The fingerprint at an offset of the chunk in `window`, or the kept one."""
        guard = self._guard_at(offset)
        prefix_length_bytes = min(PREFIX_LENGTH_BYTES, offset)
        if prefix_length_bytes < PREFIX_LENGTH_BYTES:
            prefix_digest = digest(self._head[:prefix_length_bytes])
        else:
            self._prefix_digest = self._prefix_digest or digest(self._head)
            prefix_digest = self._prefix_digest
        return Fingerprint(
            prefix_length_bytes=prefix_length_bytes,
            prefix_digest=prefix_digest,
            guard_length_bytes=len(guard),
            guard_digest=digest(guard),
        )

    def _read(self, offset: int, length_bytes: int) -> bytes | None:
        try:
            content = self._read_at(offset, length_bytes)
        except OSError as error:
            self.error = error
            return None
        return content if len(content) == length_bytes else None

    def _guard_at(self, offset: int) -> bytes:
        if offset == self._kept_offset:
            return self._kept_guard
        end = offset - (self.position - len(self.window))
        return self.window[max(end - GUARD_LENGTH_BYTES, 0) : end]


def _agree(fingerprint: Fingerprint, head: bytes, guard: bytes) -> bool:
    prefix = head[: fingerprint.prefix_length_bytes]
    guard = guard[len(guard) - fingerprint.guard_length_bytes :]
    return (
        digest(prefix) == fingerprint.prefix_digest
        and digest(guard) == fingerprint.guard_digest
    )
