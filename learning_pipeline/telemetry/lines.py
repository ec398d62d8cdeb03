"""What one line of a telemetry file is: a record, too long, or blank."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from learning_pipeline.model import DeadLetter, Record

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
RECORD_TOO_LONG = "record_too_long"
KIB = 1024


class Tail(enum.Enum):
    """What becomes of the bytes after the last newline."""

    LEAVE = "leave"
    """They are still being written."""

    TAKE_OBJECT = "take_object"
    """The file was rotated away: a whole JSON object is complete, the rest waits."""

    TAKE = "take"
    """The file is finished: they are its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What bounds a batch, and with it the memory that reading takes.

    Attributes:
        max_records: A batch closes at so many non-blank lines.
        max_batch_bytes: A batch covers at most so many bytes of the file; a single
            longer line makes a batch of its own.
        max_record_bytes: A longer line (without its terminator) is rejected.
        rejected_raw_bytes: How much of a rejected line is handed on.
        chunk_bytes: How much is read at once. Measured: from 64 KiB to 1 MiB equally
            fast; less holds fewer tiny lines at a time.
    """

    max_records: int
    max_batch_bytes: int
    max_record_bytes: int
    rejected_raw_bytes: int = 64 * KIB
    chunk_bytes: int = 256 * KIB

    def __post_init__(self) -> None:
        """Refuse limits that would never let a batch end."""
        bounds = (
            self.max_records,
            self.max_batch_bytes,
            self.max_record_bytes,
            self.chunk_bytes,
        )
        if min(bounds) < 1 or self.rejected_raw_bytes < 0:
            message = f"read limits must be positive: {self}"
            raise ValueError(message)


def classify(
    start_offset: int, line: bytes, limits: ReadLimits
) -> Record | DeadLetter | None:
    """What a complete line is; None when it is blank.

    Args:
        start_offset: Of its first byte.
        line: Its bytes without the newline.
        limits: Say how long it may be.
    """
    end_offset = start_offset + len(line) + 1
    raw = line.removesuffix(b"\r")
    if start_offset == 0:
        raw = raw.removeprefix(BYTE_ORDER_MARK)
    if not raw or raw.isspace():
        return None
    if len(raw) <= limits.max_record_bytes:
        return Record(start_offset, end_offset, raw)
    return _too_long(start_offset, end_offset, len(raw), raw, limits)


class OpenLine:
    """The line whose newline was not read yet.

    Held while it may still become a record; once it is longer than that, it is only
    measured, so a line of any length takes little memory.

    Attributes:
        start_offset: Of its first byte.
        length_bytes: How much of it was read.
        measured: Whether its bytes are no longer held.
    """

    def __init__(self, start_offset: int, limits: ReadLimits) -> None:
        """A line of which nothing was read yet."""
        self._limits = limits
        # With a byte order mark and a \r stripped it would still be too long.
        self._hold_bytes = limits.max_record_bytes + len(BYTE_ORDER_MARK) + 1
        self._pieces: list[bytes] = []
        self._head = b""
        self._blank = False
        self._mark_bytes = 0
        self._ends_with_return = False
        self.start_offset = start_offset
        self.length_bytes = 0
        self.measured = False

    def extend(self, piece: bytes) -> None:
        """Add what was read next of it."""
        if not piece:
            return
        self.length_bytes += len(piece)
        if self.measured:
            self._measure(piece)
        else:
            self._pieces.append(piece)
            if self.length_bytes > self._hold_bytes:
                self._stop_holding()

    def complete(self, last_piece: bytes) -> bytes:
        """The whole line; only while it is held."""
        return b"".join((*self._pieces, last_piece))

    def classify_measured(self) -> DeadLetter | None:
        """What the line is, now that its newline was found; None when blank."""
        if self._blank:
            return None
        raw_length_bytes = (
            self.length_bytes - self._mark_bytes - int(self._ends_with_return)
        )
        end_offset = self.start_offset + self.length_bytes + 1
        return _too_long(
            self.start_offset,
            end_offset,
            raw_length_bytes,
            self._head[:raw_length_bytes],
            self._limits,
        )

    def _stop_holding(self) -> None:
        text = b"".join(self._pieces)
        self._pieces.clear()
        if self.start_offset == 0 and text.startswith(BYTE_ORDER_MARK):
            self._mark_bytes = len(BYTE_ORDER_MARK)
            text = text[self._mark_bytes :]
        self.measured = True
        self._blank = True
        self._measure(text)

    def _measure(self, piece: bytes) -> None:
        self._blank = self._blank and piece.isspace()
        self._ends_with_return = piece.endswith(b"\r")
        missing_bytes = self._limits.rejected_raw_bytes - len(self._head)
        if missing_bytes > 0:
            self._head += piece[:missing_bytes]


def _too_long(
    start_offset: int,
    end_offset: int,
    length_bytes: int,
    raw: bytes,
    limits: ReadLimits,
) -> DeadLetter:
    return DeadLetter(
        start_offset,
        end_offset,
        RECORD_TOO_LONG,
        f"{length_bytes:,} bytes, limit {limits.max_record_bytes:,}",
        raw[: limits.rejected_raw_bytes],
    )
