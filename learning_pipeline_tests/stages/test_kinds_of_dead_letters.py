"""A dead letter says under which kind its event was counted, so a retry can recount."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import Column, Text

from learning_pipeline.extraction import NO_KIND, PatternExtractor
from learning_pipeline.model import BatchOutput, DeadLetter, RecordBatch
from learning_pipeline.stages import TelemetryStream
from learning_pipeline.store import stage_table
from learning_pipeline_tests.extraction.extraction_records import (
    NOWHERE,
    batch_of,
    records_of,
)
from learning_pipeline_tests.extraction.test_registry import Mine, fails

Transform = Callable[[RecordBatch], BatchOutput]

SECRET = "ghp_" + "a1B2" * 9
LINES = (
    b'{"event":"mine"}',
    b'{"event":"error_resolution","error_description":5}',
    b'{"event":"error_resolution","error_description":"a\\u0000b","solution":"c"}',
    b'{"event":5}',
    b'{"event":"mine","timestamp":1e999}',
    b"{",
    b"[]",
    b"\xff",
    b"[" * 501,
)


def _fails(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    fails(event)
    yield {}


@pytest.fixture(
    params=[
        lambda: PatternExtractor([Mine(fails)]),
        lambda: (
            TelemetryStream([])
            .rows(_fails, into=stage_table("kinds", Column("a", Text)))
            .transform
        ),
    ],
    ids=["patterns", "own stage"],
)
def transform(request: pytest.FixtureRequest) -> Transform:
    """Something that fails on every line."""
    made: Transform = request.param()
    return made


def test_the_kinds_of_dead_letters_are_the_kinds_counted(transform: Transform) -> None:
    """When all fail, the letters with a kind sum up to the events by kind."""
    output = transform(batch_of(records_of(LINES)))
    assert len(output.dead_letters) == len(LINES)
    kinds = Counter(letter.kind for letter in output.dead_letters)
    uncounted = kinds.pop(None)
    assert kinds == output.counters.events_by_kind
    assert uncounted == len(LINES) - output.counters.event_count
    assert uncounted >= 4


def test_the_kind_of_a_dead_letter_is_as_safe_to_store_as_its_label() -> None:
    """Redacted, and counted as redacted once."""
    kind = f"mine {SECRET}"
    extractor = Mine(fails)
    extractor.kinds = frozenset({kind})
    line = b'{"event":"%s"}' % kind.encode()
    output = PatternExtractor([extractor])(batch_of(records_of([line])))
    (letter,) = output.dead_letters
    assert letter.kind is not None
    assert SECRET not in letter.kind
    assert output.counters.events_by_kind == {letter.kind: 1}


def test_an_event_of_no_kind_at_all_is_told_from_one_that_was_not_counted() -> None:
    """One whose kind is no text was counted under no kind."""
    output = PatternExtractor()(batch_of(records_of([b'{"event":5}', b"{"])))
    assert [letter.kind for letter in output.dead_letters] == [NO_KIND, None]


def test_a_line_that_the_reader_refused_was_not_counted(transform: Transform) -> None:
    """It is too long for anybody to look into it."""
    refused = DeadLetter(0, 20, "record_too_long", "", b"{")
    (letter,) = transform(RecordBatch(0, 20, [], [refused], 0, NOWHERE)).dead_letters
    assert letter.kind is None
