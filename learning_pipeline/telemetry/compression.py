"""The content of compressed files, read like that of plain ones."""

from __future__ import annotations

import errno
import os
import zlib
from typing import TYPE_CHECKING, Any, Final

import zstandard

from learning_pipeline.model import Compression

if TYPE_CHECKING:
    from collections.abc import Iterator

_RAW_BYTES: Final = 64 * 1024
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_MAX_WINDOW_BYTES: Final = 2**31
_KEPT_BYTES: Final = 1024 * 1024
"""Kept behind the last read, for the guard of the next one and for landmarks."""


class CompressedContent:
    """Random access to what is in a compressed file, in bounded memory.

    Reading forward decompresses on; reading backward begins anew.
    """

    def __init__(self, descriptor: int, compression: Compression) -> None:
        """Read from `descriptor`, which stays the caller's."""
        self._descriptor = descriptor
        self._compression = compression
        self._restart()

    def read_at(self, offset: int, length_bytes: int) -> bytes:
        """Read so many bytes of the content, fewer only at its end.

        Raises:
            OSError: Reading failed; with EBADMSG when what is there is damaged or
                not complete.
        """
        if offset < self._start:
            self._restart()
        wanted_end = offset + length_bytes
        while self._end < wanted_end:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._buffer += piece
            self._end += len(piece)
            unneeded = min(offset - _KEPT_BYTES - self._start, len(self._buffer))
            if unneeded > 0:
                del self._buffer[:unneeded]
                self._start += unneeded
        begin = offset - self._start
        return bytes(self._buffer[begin : begin + length_bytes])

    def size_bytes(self) -> int:
        """How long the content is; decompresses and verifies all of it.

        Raises:
            OSError: As `read_at` does.
        """
        return sum(map(len, self._decompressed()))

    def _restart(self) -> None:
        self._pieces = self._decompressed()
        self._buffer = bytearray()
        self._start = 0
        self._end = 0

    def _decompressed(self) -> Iterator[bytes]:
        position = 0
        frame: Any = None
        while raw := os.pread(self._descriptor, _RAW_BYTES, position):
            position += len(raw)
            while raw:
                if frame is None:
                    if self._compression is Compression.GZIP:
                        raw = raw.lstrip(b"\0")  # padding, as tape archives have
                        if not raw:
                            break
                    frame = self._new_frame()
                try:
                    piece = frame.decompress(raw)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise _damaged(str(error)) from error
                if piece:
                    yield piece
                raw = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
        if frame is not None or position == 0:
            raise _damaged("it ends early")

    def _new_frame(self) -> Any:
        if self._compression is Compression.GZIP:
            return zlib.decompressobj(_GZIP_FORMAT)
        return zstandard.ZstdDecompressor(
            max_window_size=_MAX_WINDOW_BYTES
        ).decompressobj()


def _damaged(cause: str) -> OSError:
    return OSError(
        errno.EBADMSG, f"the compressed content is damaged or incomplete ({cause})"
    )
