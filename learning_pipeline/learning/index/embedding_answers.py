"""What an embeddings endpoint answers: vectors, an error, or garbage."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import msgspec

from learning_pipeline.learning.breakers import EMBEDDINGS, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_SQUARE: Final = 3.4e38
_SMALLEST_SQUARE: Final = 1.2e-38
"""The index divides by the root of the sum of squares, in numbers of 32 bits."""

_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class _Embedding(msgspec.Struct):
    embedding: list[float]
    index: int


class _Answer(msgspec.Struct):
    data: list[_Embedding]


class _Problem(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


class _Refusal(msgspec.Struct):
    error: _Problem


_DECODER: Final = msgspec.json.Decoder(_Answer)


def vectors_of(content: bytes, text_count: int) -> list[list[float]]:
    """The vectors in an answer, in the order of the texts that were sent.

    Raises:
        DependencyUnavailableError: It is garbage.
    """
    try:
        data = _DECODER.decode(content).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Its own text could quote what was sent.
        raise unavailable(EMBEDDINGS, "its answer is no list of embeddings") from None
    if sorted(each.index for each in data) != list(range(text_count)):
        cause = (
            f"it gives {len(data)} embeddings for {text_count} texts, or not in order"
        )
        raise unavailable(EMBEDDINGS, cause)
    vectors = [each.embedding for each in sorted(data, key=lambda each: each.index)]
    length = len(vectors[0])
    if not length or any(len(vector) != length for vector in vectors):
        raise unavailable(EMBEDDINGS, "it gives vectors of several dimensions, or none")
    for vector in vectors:
        if not _has_direction(vector):
            cause = "it gives vectors that have no direction: infinite, or zero"
            raise unavailable(EMBEDDINGS, cause)
    return vectors


def _has_direction(vector: Sequence[float]) -> bool:
    if not all(-_LARGEST_SQUARE < value < _LARGEST_SQUARE for value in vector):
        return False
    squares = math.fsum(value * value for value in vector)
    return _SMALLEST_SQUARE < squares < _LARGEST_SQUARE


def code_of(content: bytes) -> str | None:
    """The code or type of an error, if the answer names one."""
    # Only what looks like an identifier: a message may quote what was sent.
    try:
        problem = msgspec.json.decode(content, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for value in (problem.code, problem.type):
        if value is not None and _CODE.fullmatch(str(value)):
            return str(value)
    return None
