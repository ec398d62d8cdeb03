"""Makes records, batches and events of lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import BatchOutput, Fingerprint, Record, RecordBatch

NOWHERE = Fingerprint(0, b"", 0, b"")


def records_of(lines: Iterable[bytes]) -> list[Record]:
    """Lay lines out one after the other, as in a file."""
    records = []
    offset = 0
    for line in lines:
        records.append(Record(offset, offset + len(line) + 1, line))
        offset += len(line) + 1
    return records


def batch_of(records: list[Record]) -> RecordBatch:
    """Make one batch of consecutive records."""
    start = records[0].start_offset if records else 0
    end = records[-1].end_offset if records else 0
    return RecordBatch(start, end, records, [], 0, NOWHERE)


def run(*lines: bytes, extractor: PatternExtractor | None = None) -> BatchOutput:
    """Process lines as one batch."""
    return (extractor or PatternExtractor())(batch_of(records_of(lines)))


def step(**fields: Any) -> bytes:
    """Make a line that becomes a pattern of quality unless `fields` say otherwise."""
    event = {
        "event_type": "agent_step_complete",
        "query": "How do I restart the service?",
        "response": "Run systemctl restart.",
        "latency_ms": 12,
        **fields,
    }
    return json.dumps(event).encode()
