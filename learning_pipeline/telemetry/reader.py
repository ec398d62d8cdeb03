"""Reading a telemetry file as batches of complete lines, in bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, count
from operator import add
from typing import TYPE_CHECKING, Any

import msgspec

from learning_pipeline.errors import TelemetryError, TelemetryFileChangedError
from learning_pipeline.model import DeadLetter, Fingerprint, Record, RecordBatch
from learning_pipeline.telemetry.confinement import unreadable
from learning_pipeline.telemetry.keys import shown
from learning_pipeline.telemetry.lines import OpenLine, ReadLimits, Tail, classify
from learning_pipeline.telemetry.stream import Step, VerifiedStream

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class BatchReader:
    """One pass over a range of a file; `TelemetryFile.read_batches` makes it.

    The lines of a batch are split, located and wrapped by the C code behind
    `bytes.split`, `accumulate` and `map`; there is no Python statement per line
    unless a chunk holds something out of the ordinary.
    """

    def __init__(
        self,
        partition: str,
        stream: VerifiedStream,
        limits: ReadLimits,
        tail: Tail = Tail.LEAVE,
    ) -> None:
        """Prepare to read `stream` from where it stands, the start of a line."""
        self._tail = tail
        self._partition = partition
        self._stream = stream
        self._limits = limits
        self._batch_start = stream.position
        self._line_start = stream.position
        self._open_line = OpenLine(stream.position, limits)
        self._records: list[Record] = []
        self._rejected: list[DeadLetter] = []
        self._blank_count = 0

    def batches(self, fingerprint: Fingerprint | None) -> Iterator[RecordBatch]:
        """Yield the batches; see `TelemetryFile.read_batches`."""
        step = self._stream.begin(fingerprint)
        while step is Step.MOVED:
            step = self._stream.advance()
            if step is Step.MOVED:
                yield from self._consume()
        if step is Step.ENDED and self._tail is not Tail.LEAVE:
            yield from self._consume_tail()
        # Also when the file broke: these lines were complete and verified before,
        # and may by now be nowhere else.
        if self._line_start > self._batch_start:
            yield self._close()
        if step is Step.BROKEN:
            raise self._failure()

    def _consume(self) -> Iterator[RecordBatch]:
        if self._open_line.measured:
            lines = yield from self._consume_measured()
        else:
            lines = self._split_window()
        if lines:
            rest = lines.pop()
            if lines:
                yield from self._fill(lines)
                self._stream.keep_guard(self._line_start)
                self._open_line = OpenLine(self._line_start, self._limits)
            self._open_line.extend(rest)
        # Once the open line cannot join the batch, the batch waits for nothing more.
        pending = self._line_start > self._batch_start
        if pending and not self._fits(self._stream.position + 1):
            yield self._close()

    def _split_window(self) -> list[bytes]:
        """The window's lines from the open one on; the last one has no newline yet.

        The guard is split along and its lines dropped: to copy the chunk out of the
        window first would cost a fifth of the reader's speed.
        """
        window, overlap_bytes = self._stream.window, self._stream.overlap_bytes
        lines = window.split(b"\n")
        del lines[: window.count(b"\n", 0, overlap_bytes)]
        known_bytes = overlap_bytes - (window.rfind(b"\n", 0, overlap_bytes) + 1)
        lines[0] = lines[0][known_bytes:]
        if len(lines) > 1:
            lines[0] = self._open_line.complete(lines[0])
        return lines

    def _consume_measured(self) -> Generator[RecordBatch, None, list[bytes]]:
        """End the line that is too long to hold, if its newline has come."""
        window, overlap_bytes = self._stream.window, self._stream.overlap_bytes
        newline = window.find(b"\n", overlap_bytes)
        if newline < 0:
            self._open_line.extend(window[overlap_bytes:])
            return []
        self._open_line.extend(window[overlap_bytes:newline])
        line_end = self._stream.position - len(window) + newline + 1
        if self._line_start > self._batch_start and not self._fits(line_end):
            yield self._close()
        self._add(self._open_line.classify_measured())
        self._line_start = line_end
        if self._is_full():
            yield self._close()
        self._open_line = OpenLine(line_end, self._limits)
        self._stream.keep_guard(line_end)
        return window[newline + 1 :].split(b"\n")

    def _consume_tail(self) -> Iterator[RecordBatch]:
        """Take the last line although it has no newline."""
        line, end_offset = self._open_line, self._stream.position
        if not line.length_bytes:
            return
        if line.measured:
            outcome: Record | DeadLetter | None = line.classify_measured()
        else:
            outcome = classify(line.start_offset, line.complete(b""), self._limits)
        if self._tail is Tail.TAKE_OBJECT and not _is_object(outcome):
            return
        if self._line_start > self._batch_start and not self._fits(end_offset):
            yield self._close()
        if outcome is not None:
            outcome = msgspec.structs.replace(outcome, end_offset=end_offset)
        self._add(outcome)
        self._line_start = end_offset

    def _fill(self, lines: list[bytes]) -> Iterator[RecordBatch]:
        """Take complete lines, and close batches as they fill."""
        bounds = list(
            map(add, accumulate(map(len, lines), initial=self._line_start), count())
        )
        plain = self._is_plain(lines, bounds)
        index = 0
        while index < len(lines):
            room = self._limits.max_records - len(self._records) - len(self._rejected)
            stop = min(index + room, len(lines))
            if not self._fits(bounds[stop]):
                last_offset = self._batch_start + self._limits.max_batch_bytes
                stop = bisect_right(bounds, last_offset, index, stop) - 1
                if stop == index and self._line_start > self._batch_start:
                    yield self._close()
                    continue
                stop = max(stop, index + 1)
            self._take(lines[index:stop], bounds[index : stop + 1], plain=plain)
            self._line_start = bounds[stop]
            index = stop
            if self._is_full():
                yield self._close()

    def _take(self, lines: list[bytes], bounds: list[int], *, plain: bool) -> None:
        if plain and all(lines) and not any(map(bytes.isspace, lines)):
            self._records += map(Record, bounds, bounds[1:], lines)
        else:
            for start_offset, line in zip(bounds, lines, strict=False):
                self._add(classify(start_offset, line, self._limits))

    def _is_plain(self, lines: Sequence[bytes], bounds: Sequence[int]) -> bool:
        """Whether each of the lines is either a record as it stands or blank."""
        max_record_bytes = self._limits.max_record_bytes
        return (
            bounds[0] > 0  # else a byte order mark may have to go
            and b"\r" not in self._stream.window
            and (
                bounds[-1] - bounds[0] <= max_record_bytes
                or max(map(len, lines)) <= max_record_bytes
            )
        )

    def _add(self, outcome: Record | DeadLetter | None) -> None:
        if outcome is None:
            self._blank_count += 1
        elif isinstance(outcome, Record):
            self._records.append(outcome)
        else:
            self._rejected.append(outcome)

    def _fits(self, end_offset: int) -> bool:
        return end_offset - self._batch_start <= self._limits.max_batch_bytes

    def _is_full(self) -> bool:
        return (
            len(self._records) + len(self._rejected) >= self._limits.max_records
            or self._line_start - self._batch_start >= self._limits.max_batch_bytes
        )

    def _close(self) -> RecordBatch:
        batch = RecordBatch(
            start_offset=self._batch_start,
            end_offset=self._line_start,
            records=self._records,
            rejected=self._rejected,
            blank_count=self._blank_count,
            fingerprint=self._stream.fingerprint_at(self._line_start),
        )
        self._batch_start = self._line_start
        self._records, self._rejected, self._blank_count = [], [], 0
        return batch

    def _failure(self) -> TelemetryError:
        if self._stream.error is not None:
            return unreadable(self._partition, self._stream.error)
        return TelemetryFileChangedError(
            f"{shown(self._partition)} was truncated or rewritten while it was being "
            f"read, after offset {self._batch_start:,}; run again to read what it "
            "holds now",
            partition=self._partition,
            offset=self._batch_start,
        )


def _is_object(outcome: Record | DeadLetter | None) -> bool:
    if not isinstance(outcome, Record):
        return outcome is None
    try:
        _decode_object(outcome.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True
