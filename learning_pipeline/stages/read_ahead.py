"""Reading and extracting a large rest in a process of its own, ahead of the commits.

Extraction takes about as long as committing; one after the other they leave half of
the machine idle. The reading process holds nothing that a crash could cost: what it
sent is committed here, in order, and what was not committed is read again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import IO

import msgspec

from learning_pipeline.errors import (
    ReadingProcessError,
    TelemetryError,
    TelemetryFileChangedError,
    TelemetryFileUnreadableError,
)
from learning_pipeline.reading_process import (
    FRAME_BUFFER_BYTES,
    FRAME_LENGTH,
    Extracted,
    Frame,
    ReadRange,
    ReadRequest,
    TransformSpec,
)
from learning_pipeline.telemetry import TelemetryFile

PIPE_BYTES = 1024 * 1024

_KNOWN_ERRORS: dict[str, type[TelemetryError]] = {
    each.__name__: each
    for each in (TelemetryFileChangedError, TelemetryFileUnreadableError)
}
_decode = msgspec.msgpack.Decoder(Frame).decode


def extract_ahead(
    file: TelemetryFile, transform: TransformSpec, span: ReadRange
) -> Generator[Extracted, None, None]:
    """The same from a process of its own, which ends with this iterator.

    Raises:
        TelemetryError: As `read_batches` raises it.
        ReadingProcessError: The process ended before it was done.
    """
    descriptor = file.fileno()
    request = ReadRequest(descriptor, file.partition, span, transform)
    process = subprocess.Popen(
        [sys.executable, "-m", "learning_pipeline.reading_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=FRAME_BUFFER_BYTES,
        pass_fds=[descriptor],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Ctrl-C is for the process that commits: it stops at a batch boundary.
        process_group=0,
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(OSError, AttributeError):
        # Room for some commits' worth; Linux only, and less where that is forbidden.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        with process.stdin as requests:
            requests.write(msgspec.msgpack.encode(request))
        yield from _receive(process.stdout, file.partition, process)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _receive(
    stream: IO[bytes], partition: str, process: subprocess.Popen[bytes]
) -> Iterator[Extracted]:
    while True:
        head = stream.read(FRAME_LENGTH.size)
        frame = (
            _decode(stream.read(FRAME_LENGTH.unpack(head)[0]))
            if len(head) == FRAME_LENGTH.size
            else Frame(error="ended", message=f"exit code {process.wait()}")
        )
        if frame.extracted is not None:
            yield frame.extracted
            continue
        if frame.error is None:
            return
        known = _KNOWN_ERRORS.get(frame.error)
        if known is not None:
            raise known(frame.message, partition=partition, offset=frame.offset)
        raise ReadingProcessError(
            f"the process that reads {partition!r} ahead ended: {frame.message}. "
            "What was committed stays, the next run goes on there",
            partition=partition,
        )
