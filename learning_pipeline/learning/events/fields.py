"""Fields of events that may hold anything: read one by one, or left out."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from learning_pipeline.extraction.decoding import DECODE_ERRORS
from learning_pipeline.extraction.drafts import MAX_KEPT_ITERATIONS

ABSENT: Final = msgspec.Raw()

MAX_COUNT: Final = MAX_KEPT_ITERATIONS
"""A larger number of rounds or tokens is none: 2^32 such still add up in 64 bits."""

MAX_SECONDS: Final = 1e8
"""Three years. A longer time is none; with it, sums of microseconds stay exact."""

Number = int | float | None
E = TypeVar("E", bound=msgspec.Struct)


class LenientDecoder(Generic[E]):
    """Decodes the fields of a Struct; one that holds another type is as if absent.

    The strict parser does it, and only an event that it refuses is looked at field
    by field. Both give the same wherever the strict one gives anything.

    Attributes:
        decode_strictly: Returns the fields; raises `DECODE_ERRORS` for one of another
            type. The only step that an event as expected pays for.
    """

    def __init__(self, struct: type[E]) -> None:
        """Prepare for `struct`, whose fields all have defaults."""
        self._struct = struct
        # An attribute, as a method would cost each record one more call.
        self.decode_strictly = msgspec.json.Decoder(struct).decode
        fields = msgspec.structs.fields(struct)
        self._apart: Callable[[bytes], Any] = msgspec.json.Decoder(
            msgspec.defstruct(
                f"{struct.__name__}Fields",
                [(field.name, msgspec.Raw, ABSENT) for field in fields],
                gc=False,
            )
        ).decode
        self._decoders = {field.name: _decoder_of(field.type) for field in fields}

    def decode(self, raw: bytes) -> E:
        """Return the fields of a JSON object.

        Raises:
            msgspec.DecodeError: It is none.
        """
        try:
            return self.decode_strictly(raw)
        except DECODE_ERRORS:
            return self.decode_apart(raw)

    def decode_apart(self, raw: bytes) -> E:
        """Do the same field by field."""
        apart = self._apart(raw)
        values: dict[str, Any] = {}
        for name, decode in self._decoders.items():
            field = getattr(apart, name)
            if field is ABSENT:
                continue
            try:
                values[name] = decode(field)
            except DECODE_ERRORS:
                continue
        return self._struct(**values)


def _decoder_of(type_: Any) -> Callable[[Any], Any]:
    if type_ is msgspec.Raw:
        return _same
    for each in typing.get_args(type_) if isinstance(type_, types.UnionType) else ():
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return LenientDecoder(each).decode
    return msgspec.json.Decoder(type_).decode


def _same(raw: msgspec.Raw) -> msgspec.Raw:
    # Its bytes outlive the record's only as a copy of their own.
    return raw.copy()


def first_count(*values: Number) -> int | None:
    """Return the first that is a whole number from 0 to `MAX_COUNT`."""
    for value in values:
        if value is not None and 0 <= value <= MAX_COUNT and value == int(value):
            return int(value)
    return None


def first_seconds(*values: Number, least: float = 0.0) -> float | None:
    """Return the first that is a time from `least` to `MAX_SECONDS`."""
    for value in values:
        if value is not None and least <= value <= MAX_SECONDS:
            return float(value)
    return None


def milliseconds(value: Number) -> Number:
    """Return milliseconds as seconds."""
    if value is None or not 0 <= value <= MAX_SECONDS * 1000:
        return None
    return value / 1000


def first_text(*values: str | None) -> str | None:
    """Return the first that says something."""
    for value in values:
        if value and not value.isspace():
            return value
    return None


def text_of(raw: msgspec.Raw) -> str | None:
    """Return a JSON string; None when it is none."""
    data = bytes(raw)
    if data[:1] != b'"':
        return None
    try:
        return _decode_text(data)
    except DECODE_ERRORS:
        return None


_decode_text = msgspec.json.Decoder(str).decode


def word_of(text: str | None) -> str | None:
    """Return a state's name in its one spelling: `Timed out` is `timed_out`."""
    if not text or len(text) > _LONGEST_WORD_CHARS:
        return None
    return text.strip().lower().replace("-", "_").replace(" ", "_")


_LONGEST_WORD_CHARS: Final = 100
