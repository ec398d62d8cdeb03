"""What a dead letter had added to the counts when its record was rejected."""

from __future__ import annotations

import msgspec

from learning_pipeline.extraction.decoding import (
    DECODE_ERRORS,
    Rejection,
    decode_envelope,
    kind_despite,
    redacted_letter,
)
from learning_pipeline.extraction.kinds import label_and_redactions
from learning_pipeline.model import Counters, DeadLetter, Record
from learning_pipeline.telemetry.lines import RECORD_TOO_LONG


def contribution(
    letter: DeadLetter, record: Record, *, raw_bytes: int, dead_letter_raw_bytes: int
) -> Counters:
    """Count a dead letter of the pattern extraction as it was counted once.

    What was redacted is stored nowhere by letter, so it is found out again.

    Args:
        letter: As it is stored.
        record: Its record, or as much of it as was read.
        raw_bytes: How much the reader hands on of a record that is too long.
        dead_letter_raw_bytes: How much of a dead letter's record is kept.
    """
    raw = record.raw[:raw_bytes] if letter.reason == RECORD_TOO_LONG else record.raw
    redactions: dict[str, int] = {}
    redacted_letter(
        msgspec.structs.replace(letter, raw=raw), dead_letter_raw_bytes, redactions
    )
    if letter.kind is None:
        return Counters(
            record_count=1, dead_letter_count=1, redactions_by_kind=redactions
        )
    _, found = label_and_redactions(_kind_of(record.raw))
    for name, count in found.items():
        redactions[name] = redactions.get(name, 0) + count
    return Counters(
        record_count=1,
        event_count=1,
        dead_letter_count=1,
        events_by_kind={letter.kind: 1},
        redactions_by_kind=redactions,
    )


def _kind_of(raw: bytes) -> str | None:
    try:
        envelope = decode_envelope(raw)
    except DECODE_ERRORS as error:
        try:
            return kind_despite(raw, error)
        except Rejection:
            return None
    return envelope.event or envelope.event_type
