"""Open telemetry files: their bytes, their identity, their batches."""

from __future__ import annotations

import os
from io import FileIO
from typing import TYPE_CHECKING, Self

from learning_pipeline.model import Compression, Fingerprint
from learning_pipeline.telemetry.compression import CompressedContent
from learning_pipeline.telemetry.confinement import (
    open_regular_file,
    signed_inode,
    unreadable,
)
from learning_pipeline.telemetry.fingerprint import (
    GUARD_LENGTH_BYTES,
    NO_GUARD_DIGEST,
    PREFIX_LENGTH_BYTES,
    Verdict,
    compare_content,
    digest,
)
from learning_pipeline.telemetry.landmarks import agree, landmarks_in
from learning_pipeline.telemetry.lines import Tail
from learning_pipeline.telemetry.reader import BatchReader
from learning_pipeline.telemetry.stream import VerifiedStream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from learning_pipeline.model import RecordBatch
    from learning_pipeline.telemetry.lines import ReadLimits

COMPARED_END_BYTES = 64 * 1024


def open_telemetry_file(
    root: Path, partition: str, compression: Compression | None = None
) -> TelemetryFile:
    """Open one telemetry file for reading.

    Args:
        root: The telemetry root.
        partition: The file's path below it, as a partition key.
        compression: How it is compressed. Its content is then decompressed once to
            the end, to know its size and that it is whole.

    Raises:
        InvalidPartitionKeyError: The key names no file below the root, or leads
            through a symbolic link. Nothing was opened.
        TelemetryFileMissingError: There is no such file.
        TelemetryFileUnreadableError: It cannot be opened, or is no regular file.
        ConfigurationError: The telemetry root cannot be opened.

    Guarantees:
        The file lies below the root, also when folders are swapped for links
        meanwhile. A FIFO or a device never blocks.
    """
    descriptor, status = open_regular_file(root, partition)
    return TelemetryFile(descriptor, partition, status, compression)


class TelemetryFile:
    """A telemetry file, open for reading; a context manager that closes it.

    Attributes:
        partition: Its partition key.
        size_bytes: The size of its content when it was opened.
        inode: Its number in its file system.
        is_compressed: Whether it is; then it can no longer grow.
    """

    def __init__(
        self,
        descriptor: int,
        partition: str,
        status: os.stat_result,
        compression: Compression | None = None,
    ) -> None:
        """Take over a descriptor; `open_telemetry_file` makes these."""
        self._file = FileIO(descriptor)
        self.partition = partition
        self.size_bytes = status.st_size
        self.inode = signed_inode(status)
        self.is_compressed = compression is not None
        self._content: CompressedContent | None = None
        if compression is not None:
            self._content = CompressedContent(descriptor, compression)
            try:
                self.size_bytes = self._content.size_bytes()
            except OSError as error:
                self._file.close()
                raise unreadable(partition, error) from error

    def __enter__(self) -> Self:
        """The file itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def fileno(self) -> int:
        """The descriptor, which stays this object's."""
        return self._file.fileno()

    def close(self) -> None:
        """Give the descriptor back; closing again does nothing."""
        self._file.close()

    def compare(
        self, checkpoint_offset: int, fingerprint: Fingerprint | None
    ) -> Verdict:
        """Whether the file still has the bytes that were committed.

        Args:
            checkpoint_offset: The committed offset.
            fingerprint: Taken there; None when nothing was read yet.

        Raises:
            TelemetryFileUnreadableError: Reading it failed.
        """
        try:
            return compare_content(
                self._read_at, self._size_now(), checkpoint_offset, fingerprint
            )
        except OSError as error:
            raise unreadable(self.partition, error) from error

    def same_start(self, other: TelemetryFile) -> bool:
        """Whether another file begins with the first bytes of this one.

        Raises:
            TelemetryFileUnreadableError: Reading one of them failed.
        """
        end = min(self.size_bytes, PREFIX_LENGTH_BYTES)
        return self._read(0, end) == other._read(0, end)

    def same_end(self, other: TelemetryFile) -> bool:
        """Whether another, longer file has the last bytes of this one at their place.

        Raises:
            TelemetryFileUnreadableError: Reading one of them failed.
        """
        start = max(self.size_bytes - COMPARED_END_BYTES, 0)
        return self._read(start, self.size_bytes) == other._read(start, self.size_bytes)

    def end_digest(self) -> bytes:
        """BLAKE2b-128 of the last `GUARD_LENGTH_BYTES` of its content.

        Raises:
            TelemetryFileUnreadableError: Reading it failed.
        """
        start = max(self.size_bytes - GUARD_LENGTH_BYTES, 0)
        return digest(self._read(start, self.size_bytes))

    def _read(self, start_offset: int, end_offset: int) -> bytes:
        try:
            return self._read_at(start_offset, end_offset - start_offset)
        except OSError as error:
            raise unreadable(self.partition, error) from error

    def has_landmarks(self, landmarks: bytes) -> bool:
        """Whether it has those landmarks that lie within it.

        Raises:
            TelemetryFileUnreadableError: Reading it failed.
        """
        try:
            return agree(self._read_at, self.size_bytes, landmarks)
        except OSError as error:
            raise unreadable(self.partition, error) from error

    def landmarks(self, known: bytes, up_to_offset: int) -> bytes:
        """The landmarks `known` so far, and those from there up to an offset.

        Raises:
            TelemetryFileUnreadableError: Reading it failed.
        """
        try:
            return landmarks_in(self._read_at, known, up_to_offset)
        except OSError as error:
            raise unreadable(self.partition, error) from error

    def prefix_fingerprint(self) -> Fingerprint:
        """The file's identity before anything of it was committed.

        Raises:
            TelemetryFileUnreadableError: Reading it failed.
        """
        prefix = self._read(0, PREFIX_LENGTH_BYTES)
        return Fingerprint(len(prefix), digest(prefix), 0, NO_GUARD_DIGEST)

    def read_batches(
        self,
        start_offset: int = 0,
        *,
        limits: ReadLimits,
        end_offset: int | None = None,
        fingerprint: Fingerprint | None = None,
        tail: Tail = Tail.LEAVE,
    ) -> Iterator[RecordBatch]:
        r"""Read the complete lines of a range, lazily.

        Lines end with `\n`, and a `\r` before it is dropped; so is a UTF-8 byte order
        mark at the start of the file. Lines of only ASCII white space are counted.
        A torn tail is left alone unless `tail` says otherwise.

        Args:
            start_offset: The start of a line, such as a committed offset.
            limits: Bound the batches.
            end_offset: Read no further; None for the size at opening.
            fingerprint: Taken at `start_offset`; if the file disagrees, nothing is
                read. None trusts the bytes before it.
            tail: What becomes of the bytes after the last newline.

        Raises:
            TelemetryFileChangedError: The file was truncated or rewritten since it
                was opened. `offset` is the end of the last batch that was yielded.
            TelemetryFileUnreadableError: Reading failed.

        Guarantees:
            The batches' ranges are contiguous from `start_offset` on, none is empty,
            and each ends after a newline. How lines fall into batches changes
            neither records nor offsets. What is complete and verified is yielded
            before an error is raised. A rewrite is noticed when it changes the bytes
            around a read's start; one elsewhere may stay unnoticed.
        """
        if end_offset is None:
            end_offset = max(self.size_bytes, start_offset)
        if not 0 <= start_offset <= end_offset:
            message = f"no range: [{start_offset}, {end_offset})"
            raise ValueError(message)
        stream = VerifiedStream(
            self._read_at,
            start_offset=start_offset,
            end_offset=end_offset,
            chunk_bytes=limits.chunk_bytes,
        )
        reader = BatchReader(self.partition, stream, limits, tail)
        return reader.batches(fingerprint)

    def _size_now(self) -> int:
        # Not the size at opening: a run may have committed beyond it since.
        if self._content is not None:
            return self.size_bytes
        return os.fstat(self._file.fileno()).st_size

    def _read_at(self, offset: int, length_bytes: int) -> bytes:
        """Read so many bytes, fewer only at the end of the file."""
        if self._content is not None:
            return self._content.read_at(offset, length_bytes)
        descriptor = self._file.fileno()
        content = os.pread(descriptor, length_bytes, offset)
        if len(content) == length_bytes or not content:
            return content
        # Network file systems may return less than asked for before the end.
        pieces = [content]
        read_bytes = len(content)
        while read_bytes < length_bytes and pieces[-1]:
            pieces.append(
                os.pread(descriptor, length_bytes - read_bytes, offset + read_bytes)
            )
            read_bytes += len(pieces[-1])
        return b"".join(pieces)
