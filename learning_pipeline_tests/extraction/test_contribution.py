"""What a dead letter had added to the counts: as the engine counted it."""

from __future__ import annotations

import json

import pytest

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.extraction.contribution import contribution
from learning_pipeline.model import Counters, DeadLetter, Fingerprint, Record
from learning_pipeline.model import RecordBatch as Batch

SECRET = "sk-ant-api03-" + "abcdefghijklmnopqrstuvwxyz0123456789"
RAW_BYTES = 200


def counted(records: list[Record], rejected: list[DeadLetter]) -> Counters:
    """The counts of a batch of one record, which is rejected."""
    output = PatternExtractor(dead_letter_raw_bytes=RAW_BYTES)(
        Batch(0, 10_000, records, rejected, 0, Fingerprint(0, b"", 0, b""))
    )
    assert len(output.dead_letters) == 1
    return output.counters


@pytest.mark.parametrize(
    "raw",
    [
        b"{broken",
        f'{{"api_key": "{SECRET}", '.encode(),
        f"{' ' * 190}{SECRET} {SECRET}".encode(),
        b"[1]",
        b'{"event": 5}',
        json.dumps({"event": "task_completed", "task": SECRET}).encode(),
        json.dumps({"event": "task_completed", "event_type": 3, "task": 1}).encode(),
    ],
)
def test_it_is_what_the_engine_counted(raw: bytes) -> None:
    """Of a record that is no event, one without a kind, and one of a known kind."""
    record = Record(0, len(raw) + 1, raw)
    letter = PatternExtractor(dead_letter_raw_bytes=RAW_BYTES)(
        Batch(0, len(raw) + 1, [record], [], 0, Fingerprint(0, b"", 0, b""))
    ).dead_letters[0]
    found = contribution(
        letter, record, raw_bytes=2**16, dead_letter_raw_bytes=RAW_BYTES
    )
    assert found == counted([record], [])


def test_of_a_record_that_was_too_long_only_what_was_handed_on_counts() -> None:
    """The reader had cut the rest off before secrets were looked for."""
    raw = f"{'x ' * 40} {SECRET} {'y ' * 40} {SECRET} {'z ' * 400}".encode()
    cut = DeadLetter(0, len(raw) + 1, "record_too_long", "", raw[:150])
    record = Record(0, len(raw) + 1, raw)
    found = contribution(cut, record, raw_bytes=150, dead_letter_raw_bytes=RAW_BYTES)
    assert found == counted([], [cut])
    assert sum(found.redactions_by_kind.values()) == 1
