"""Examples for the index's tests: made-up ones, and those of the real telemetry."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import Example
from learning_pipeline.telemetry import ReadLimits, open_telemetry_file
from learning_pipeline_tests.pipeline import PROJECT

REAL = PROJECT / "learning_pipeline" / "testing" / "data"
REAL_NAME = "hybrid-events.jsonl"


def example(number: int = 0, **given: Any) -> Example:
    """An example; its content follows from its number unless it is given."""
    values: dict[str, Any] = {
        "kind": "task_completed",
        "prompt": f"Write the function number{number} of the parser",
        "response": f"def number{number}(text): return text.split({number})",
        "iterations": 1,
        "backend": "claude",
        "success_metrics": "{}",
        "event_timestamp": "2026-05-28T18:14:11.863954Z",
        "partition": "agents/a.jsonl",
        "generation": 0,
        "offset": number * 100,
        "ordinal": 0,
        "run_id": "run-1",
        **given,
    }
    content = f"{values['prompt'].strip()}\n{values['response'].strip()}".lower()
    values.setdefault("content_hash", hashlib.sha256(content.encode()).digest())
    return Example(**values)


@functools.cache
def real_examples() -> tuple[Example, ...]:
    """The examples of the real telemetry."""
    limits = ReadLimits(
        max_records=1_000, max_batch_bytes=1 << 24, max_record_bytes=1 << 24
    )
    extractor = PatternExtractor()
    found: dict[bytes, Example] = {}
    with open_telemetry_file(REAL, REAL_NAME) as file:
        for batch in file.read_batches(limits=limits):
            for row in extractor(batch).rows:
                if row[10]:
                    found.setdefault(row[11], _of_row(row))
    return tuple(found.values())


def _of_row(row: tuple[Any, ...]) -> Example:
    return example(
        offset=row[0],
        ordinal=row[1],
        kind=row[2],
        prompt=row[3],
        response=row[4],
        iterations=row[5],
        backend=row[6],
        success_metrics=row[8],
        event_timestamp=row[9],
        content_hash=row[11],
        partition=REAL_NAME,
    )
