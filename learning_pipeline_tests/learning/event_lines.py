"""Lines of telemetry, what a transform makes of them, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from hypothesis import strategies as st

from learning_pipeline.model import BatchOutput, Counters, RecordBatch, Row
from learning_pipeline_tests.extraction.extraction_records import batch_of, records_of

Transform = Callable[[RecordBatch], BatchOutput]

REAL_LINES = (
    (files("learning_pipeline.testing") / "data" / "hybrid-events.jsonl")
    .read_bytes()
    .splitlines()
)

AT = "2026-05-28T18:14:11.863954Z"


def line(**event: Any) -> bytes:
    """Make a line of these fields."""
    return json.dumps(event).encode()


def in_batches(
    transform: Transform, lines: Sequence[bytes], sizes: Sequence[int]
) -> tuple[list[Row], Counters]:
    """The rows and counts of lines that come in batches of these sizes, then one."""
    records = records_of(lines)
    rows: list[Row] = []
    counters = Counters()
    for size in [*sizes, len(records)]:
        batch, records = records[:size], records[size:]
        output = transform(batch_of(batch))
        assert output.dead_letters == []
        rows += output.rows
        counters += output.counters
    return rows, counters


NO_EVENTS = [
    b"",
    b"{",
    b"null",
    b"[1]",
    b'"text"',
    b"12",
    b'{"event": "task_completed"',
    b'{"event": "task_completed"} x',
    b'{"event": "\xff"}',
    b'{"detail": "\xff", "tokens_in": 1}',
    b'{"event": "a\x00b"}',
    b'{"event": "\\ud800"}',
    b'{"event": "x", "event_type": "\\ud800"}',
    b'{"a": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    b'{"\\ud800": 1}',
]
"""Records that are none; some hold fields all the same."""

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    -0.0,
    7,
    7.0,
    7.5,
    2**31,
    2**63,
    2**64,
    10**400,
    1e300,
    -1e300,
    "",
    " ",
    "7",
    "NaN",
    "text",
    "a\0b",
    "\x1b[31m",
    "x" * 5_000,
    [],
    [7],
    {},
    {"iteration": 7},
    {"task": {"task": {}}},
    "ghp_" + "a1B2" * 9,
    "é" * 300,
]
"""Values that a field may hold, whatever it should."""


def raw_events(fields: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Objects with some of these fields, of any value, two levels deep."""
    values = st.sampled_from(VALUES)
    kinds = st.sampled_from(
        ["task_completed", "agent_step_complete", "error_resolution", "x", "", None, 5]
    )
    flat = st.dictionaries(st.sampled_from(fields), values, max_size=6)
    nested = st.fixed_dictionaries(
        {},
        optional={
            "event": kinds,
            "event_type": kinds,
            "task": flat,
            "usage": flat,
            "context": flat,
            "error": flat,
        },
    )
    return st.builds(
        lambda inner, outer: json.dumps({**inner, **outer}).encode(), flat, nested
    )
