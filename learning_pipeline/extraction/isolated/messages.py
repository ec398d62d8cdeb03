"""What crosses the pipes to the worker: MessagePack, each message behind its length."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from learning_pipeline.extraction.custom import CheckedDrafts

PIECE_BYTES: Final = 64 * 1024
"""What a pipe holds, so that more at once gains nothing."""

_LENGTH: Final = struct.Struct("<I")

START_SECONDS: Final = 120.0
"""Loading everybody's extractors may take so long; some import whole frameworks."""

OUT_OF_MEMORY_EXIT_CODE: Final = 77
"""With which the worker ends when it has no memory left to say so."""


def framed(content: bytes) -> bytes:
    """Return a message as it crosses the pipe."""
    return _LENGTH.pack(len(content)) + content


def take_message(received: bytearray) -> bytes | None:
    """Take the first message from what was received; None when it is not all there."""
    if len(received) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
    if len(received) < end:
        return None
    message = bytes(received[_LENGTH.size : end])
    del received[:end]
    return message


class WorkerLimits(msgspec.Struct, frozen=True):
    """What one record may cost: the first message to a worker.

    Attributes:
        timeout_seconds: How long its extractor may take.
        memory_bytes: By how much the worker may outgrow its size after its start.
        idle_seconds: A worker that is not asked for so long ends; the next record
            starts another.
    """

    timeout_seconds: float = 10.0
    memory_bytes: int = 1024 * 1024 * 1024
    idle_seconds: float = 60.0


class Greeting(msgspec.Struct, frozen=True, array_like=True):
    """The first message of a worker.

    Attributes:
        names: What its extractors are called in messages, by the kind they take.
        error: Why they cannot be used, or None.
        error_name: Which of them cannot.
    """

    names: dict[str, str] = {}
    error: str | None = None
    error_name: str = ""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What became of it.

    Attributes:
        drafts: What its extractor made of it; None when it was rejected.
        reason: Of the dead letter.
        detail: Of the dead letter.
    """

    drafts: CheckedDrafts | None
    reason: str = ""
    detail: str = ""
