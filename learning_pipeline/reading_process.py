"""The process that reads and extracts a large rest of a file, ahead of the commits.

    python -m learning_pipeline.reading_process

takes one request on standard input and gives frames on standard output, each behind
its length; MessagePack, nothing is pickled. A module of its own and poor in imports,
because its start is on the way to the first commit.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, BinaryIO, Final

import msgspec

from learning_pipeline.model import BatchOutput, Fingerprint, RecordBatch
from learning_pipeline.telemetry.files import TelemetryFile
from learning_pipeline.telemetry.lines import ReadLimits, Tail

FRAME_LENGTH: Final = struct.Struct("<I")

FRAME_BUFFER_BYTES: Final = 512 * 1024
"""Frames of some commits cross the pipe at once: each crossing wakes a process."""


class TransformSpec(msgspec.Struct, frozen=True):
    """A transform that any process can build by itself.

    Attributes:
        factory: `module:function`, which gives the transform.
        options: Keyword arguments for it, of JSON's types.
    """

    factory: str
    options: dict[str, Any] = {}

    def build(self) -> Callable[[RecordBatch], BatchOutput]:
        """Build the transform in this process."""
        module, _, function = self.factory.partition(":")
        built: Callable[[RecordBatch], BatchOutput] = getattr(
            import_module(module), function
        )(**self.options)
        return built


class Extracted(msgspec.Struct, frozen=True, array_like=True):
    """One batch, read and transformed: what a commit needs.

    Attributes:
        start_offset: Where the batch begins.
        end_offset: Where the next one begins.
        fingerprint: The file's fingerprint there.
        output: What the transform made of it.
    """

    start_offset: int
    end_offset: int
    fingerprint: Fingerprint
    output: BatchOutput


class ReadRange(msgspec.Struct, frozen=True):
    """Which bytes are to be read, and in what portions.

    Attributes:
        start_offset: Where to begin.
        end_offset: Where to stop.
        fingerprint: Taken at `start_offset`.
        limits: Bound the batches.
        tail: What becomes of the bytes after the last newline.
    """

    start_offset: int
    end_offset: int
    fingerprint: Fingerprint | None
    limits: ReadLimits
    tail: Tail = Tail.LEAVE


class ReadRequest(msgspec.Struct, frozen=True):
    """What is to be read.

    Attributes:
        descriptor: The open file, inherited.
        partition: Its partition key, for messages.
        range: What of it.
        transform: What makes rows of records.
    """

    descriptor: int
    partition: str
    range: ReadRange
    transform: TransformSpec


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the process; one without content is its last.

    Attributes:
        extracted: A batch.
        error: The class of the error that ended it.
        message: The error's.
        offset: The error's, where it has one.
    """

    extracted: Extracted | None = None
    error: str | None = None
    message: str = ""
    offset: int = 0


_encode = msgspec.msgpack.Encoder().encode


def extract_here(
    file: TelemetryFile,
    transform: Callable[[RecordBatch], BatchOutput],
    span: ReadRange,
) -> Iterator[Extracted]:
    """Read and transform in this process; raises what `read_batches` raises."""
    for batch in file.read_batches(
        span.start_offset,
        limits=span.limits,
        end_offset=span.end_offset,
        fingerprint=span.fingerprint,
        tail=span.tail,
    ):
        yield Extracted(
            batch.start_offset, batch.end_offset, batch.fingerprint, transform(batch)
        )


def main() -> None:
    """The reading process: one request on standard input, frames on standard output."""
    # Ended by its parent, or by the pipe when that is gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Rows are made by the million and hold no cycles: look for some only rarely.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=ReadRequest)
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb", FRAME_BUFFER_BYTES)
    # What extractors print must not get between the frames.
    sys.stdout = sys.stderr
    try:
        with TelemetryFile(
            request.descriptor, request.partition, os.fstat(request.descriptor)
        ) as file:
            transform = request.transform.build()
            for extracted in extract_here(file, transform, request.range):
                _send(stream, Frame(extracted=extracted))
        _send(stream, Frame())
        stream.flush()
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - it is raised again over there
        _send(
            stream,
            Frame(
                error=type(error).__name__,
                message=str(error) or type(error).__name__,
                offset=getattr(error, "offset", 0),
            ),
        )
        stream.flush()


def _send(stream: BinaryIO, frame: Frame) -> None:
    content = _encode(frame)
    stream.write(FRAME_LENGTH.pack(len(content)) + content)


if __name__ == "__main__":
    main()
