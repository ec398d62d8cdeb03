"""Decides what a record is: an event, or a dead letter and why."""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import Any

import msgspec

from learning_pipeline.extraction.redaction import Redactor
from learning_pipeline.model import DeadLetter, Record

DEAD_LETTER_RAW_BYTES = 4096
MAX_NESTING = 500
"""How deep objects and arrays may nest. Fixed, and below what the parser can take,
so that the outcome does not depend on how deep the calling program stands."""

WRONG_FIELD_TYPE = "wrong_field_type"
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything that decoding a record may raise."""

LEAST_NESTED_BYTES = 2 * MAX_NESTING
# Reader's terminator and byte order mark are no part of `raw`.
_FRAME_BYTES = len(b"\r\n") + len(b"\xef\xbb\xbf")
_DETAIL_CHARS = 500


class Rejection(Exception):  # noqa: N818 - data on its way to a dead letter
    """Why the record at hand is none to go on with."""

    def __init__(self, reason: str, detail: str) -> None:
        """Name the reason's stable code, and what was wrong, without quoting it."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class Envelope(msgspec.Struct, gc=False):
    """What names the kind of an event."""

    event: str | None = None
    event_type: str | None = None


class _LooseEnvelope(msgspec.Struct, gc=False):
    event: str | None = None
    event_type: msgspec.Raw = msgspec.Raw()


decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_loose_envelope = msgspec.json.Decoder(_LooseEnvelope).decode
_decode_any = msgspec.json.Decoder().decode
_check_syntax = msgspec.json.Decoder(msgspec.Raw).decode


@cache
def default_redactor() -> Redactor:
    """Return the redactor that everything shares; its patterns compile once."""
    return Redactor()


def decode_event(
    record: Record, dead_letter_raw_bytes: int = DEAD_LETTER_RAW_BYTES
) -> dict[str, Any] | DeadLetter:
    """Return the record's JSON object, or the dead letter that it becomes.

    The rules are those of the patterns stage, so that every stage rejects the same
    records.

    Args:
        record: The record.
        dead_letter_raw_bytes: How much of a dead letter's record is kept.
    """
    try:
        return decode_object(record.raw)
    except Rejection as rejection:
        return dead_letter(
            record, rejection.reason, rejection.detail, dead_letter_raw_bytes
        )


def decode_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object.

    Raises:
        Rejection: It is none.
    """
    try:
        check_bytes(raw)
        event = _decode_any(raw)
    except DECODE_ERRORS as error:
        raise explain(raw, error) from None
    if type(event) is not dict:
        raise Rejection("not_an_object", _not_an_object(event))
    return event


def check_bytes(raw: bytes) -> None:
    """Refuse what the parser would let pass in the fields that it skips.

    Raises:
        UnicodeDecodeError: The bytes are no UTF-8.
        RecursionError: Objects and arrays are nested too deep.
    """
    if not raw.isascii():
        raw.decode()
    if len(raw) >= LEAST_NESTED_BYTES and is_too_deep(raw):
        raise RecursionError


def is_too_deep(raw: bytes) -> bool:
    """Whether objects and arrays nest deeper than `MAX_NESTING`."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_NESTING:
        return False
    # Without escapes, every second part between quotes is a string.
    outside = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(_DEPTH_CHANGE[step] for step in brackets), default=0) > (
        MAX_NESTING
    )


_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\x00\x00")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_DEPTH_CHANGE = (-1, 1)


def kind_despite(raw: bytes, error: Exception) -> str:
    """Return the kind of an event whose `event_type` is not needed, and wrong.

    Raises:
        Rejection: There is more wrong than that.
    """
    if isinstance(error, msgspec.ValidationError):
        try:
            kind = _decode_loose_envelope(raw).event
        except DECODE_ERRORS:
            kind = None
        if kind:
            return kind
    raise explain(raw, error)


def explain(raw: bytes, error: Exception) -> Rejection:
    """Say why `raw` could not be decoded; off the hot path, so it may look twice."""
    if b"\x00" in raw:
        return Rejection("nul_bytes", "the record holds a NUL byte")
    try:
        raw.decode()
    except UnicodeDecodeError as decode_error:
        return Rejection(
            "invalid_utf8", f"invalid UTF-8 at byte {decode_error.start} of the record"
        )
    if isinstance(error, RecursionError):
        return Rejection(
            "nesting_too_deep", f"objects and arrays nest deeper than {MAX_NESTING}"
        )
    return _explain_text(raw, error)


def _explain_text(raw: bytes, error: Exception) -> Rejection:
    rejection = Rejection(WRONG_FIELD_TYPE, str(error))
    try:
        event = _decode_any(raw)
    except msgspec.ValidationError:
        # It parses, but holds a number that none of ours can hold.
        if not _is_well_formed(raw):
            rejection = Rejection("malformed_json", "JSON is malformed")
        elif raw.lstrip()[:1] != b"{":
            rejection = Rejection("not_an_object", "Expected `object`")
    except msgspec.DecodeError as decode_error:
        if _is_lone_surrogate(raw):
            return Rejection("lone_surrogate", "a string holds half a surrogate pair")
        rejection = Rejection("malformed_json", str(decode_error))
    except RecursionError:
        rejection = Rejection("nesting_too_deep", "objects and arrays nest too deep")
    else:
        if type(event) is not dict:
            rejection = Rejection("not_an_object", _not_an_object(event))
    return rejection


def _is_well_formed(raw: bytes) -> bool:
    try:
        _check_syntax(raw)
    except DECODE_ERRORS:
        return False
    return True


def _not_an_object(value: object) -> str:
    return f"Expected `object`, got `{_JSON_NAMES.get(type(value), 'other')}`"


_JSON_NAMES = {
    list: "array",
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    type(None): "null",
}


def _is_lone_surrogate(raw: bytes) -> bool:
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return False
    # With every surrogate replaced, is it sound? Then they were all that was wrong.
    pieces = raw.replace(b"\\\\", b"  ").replace(b"\\uD", b"\\ud").split(b"\\ud")
    try:
        _decode_any(b"\\u0".join(pieces))
    except DECODE_ERRORS:
        return False
    return True


def dead_letter(
    record: Record,
    reason: str,
    detail: str,
    dead_letter_raw_bytes: int = DEAD_LETTER_RAW_BYTES,
    *,
    kind: str | None = None,
) -> DeadLetter:
    """Make a dead letter of a record: redacted, then cut.

    Args:
        record: The record.
        reason: A stable code in snake_case.
        detail: What was wrong, for people, without the text itself.
        dead_letter_raw_bytes: How much of the record is kept.
        kind: Under what it was counted, where it was counted as an event.
    """
    letter = DeadLetter(
        record.start_offset, record.end_offset, reason, detail, record.raw, kind
    )
    return redacted_letter(letter, dead_letter_raw_bytes, {})


def redacted_letter(
    letter: DeadLetter, dead_letter_raw_bytes: int, counts: dict[str, int]
) -> DeadLetter:
    """Return the letter without secrets and cut; adds to `counts` by kind."""
    redactor = default_redactor()
    length = letter.end_offset - letter.start_offset
    raw, found = redactor.redact_prefix(
        letter.raw,
        dead_letter_raw_bytes,
        is_cut=len(letter.raw) + _FRAME_BYTES < length,
    )
    detail, _ = redactor.redact(letter.detail[:_DETAIL_CHARS])
    for kind, count in found.items():
        counts[kind] = counts.get(kind, 0) + count
    return DeadLetter(
        letter.start_offset,
        letter.end_offset,
        letter.reason,
        detail,
        raw,
        letter.kind,
    )
