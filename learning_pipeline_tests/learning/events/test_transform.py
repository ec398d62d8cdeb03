"""What holds for both transforms, whatever the events."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.learning import metrics, proposals
from learning_pipeline.learning.events.fields import LenientDecoder
from learning_pipeline.learning.metrics.measured_events import MeasuredEvent
from learning_pipeline.learning.proposals.signal_events import SignalEvent
from learning_pipeline.model import DeadLetter, RecordBatch, Row
from learning_pipeline.store.schema import measurements, signals
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.extraction.extraction_records import (
    NOWHERE,
    batch_of,
    records_of,
)
from learning_pipeline_tests.learning.event_lines import (
    NO_EVENTS,
    REAL_LINES,
    VALUES,
    Transform,
    in_batches,
    line,
    raw_events,
)

TRANSFORMS: dict[str, tuple[Callable[[], Transform], Any, sa.Table]] = {
    "metrics": (metrics.build_transform, MeasuredEvent, measurements),
    "proposals": (proposals.build_transform, SignalEvent, signals),
}
EVENT_FIELDS = sorted(
    {*MeasuredEvent.__struct_fields__, *SignalEvent.__struct_fields__}
)


@pytest.fixture(params=TRANSFORMS)
def name(request: pytest.FixtureRequest) -> str:
    """Each of the transforms."""
    chosen: str = request.param
    return chosen


def build(name: str) -> Transform:
    """A new transform."""
    return TRANSFORMS[name][0]()


def _anew(name: str) -> Transform:
    """A transform of which nothing lives for longer than a batch."""
    return lambda batch: build(name)(batch)  # noqa: PLW0108 - built anew each time


GENERATED = [each.rstrip() for each in generate_lines(30)]


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 40)),
    more=st.lists(raw_events(EVENT_FIELDS) | st.sampled_from(NO_EVENTS), max_size=8),
)
def test_any_split_into_batches_gives_the_same(
    sizes: list[int], more: list[bytes]
) -> None:
    """Rows and counts, by one transform or by a new one after each crash."""
    lines = [*more, *GENERATED, *REAL_LINES[50:80]]
    for name in TRANSFORMS:
        whole = in_batches(build(name), lines, [])
        assert in_batches(build(name), lines, sizes) == whole
        assert in_batches(_anew(name), lines, sizes) == whole


@given(
    st.lists(
        raw_events(EVENT_FIELDS) | st.sampled_from(NO_EVENTS) | st.binary(max_size=60),
        max_size=8,
    )
)
def test_the_same_records_are_events_as_for_the_patterns(lines: list[bytes]) -> None:
    """And of the same kinds, so that every stage counts alike."""
    expected = PatternExtractor()(batch_of(records_of(lines))).counters
    for name in TRANSFORMS:
        counters = build(name)(batch_of(records_of(lines))).counters
        assert counters.record_count == expected.record_count
        assert counters.event_count == expected.event_count
        assert counters.events_by_kind == expected.events_by_kind


@given(raw_events(EVENT_FIELDS))
def test_every_row_can_be_stored(raw: bytes) -> None:
    """64 bits, finite, and texts that both databases take, in bounded length."""
    for name in TRANSFORMS:
        for row in build(name)(batch_of(records_of([raw]))).rows:
            assert_storable(name, row)


def assert_storable(name: str, row: Row) -> None:
    """A row has a value for each column, which both databases take."""
    assert len(row) == len(TRANSFORMS[name][2].columns) - 2
    for value in row:
        if isinstance(value, float):
            assert math.isfinite(value)
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
        elif isinstance(value, str):
            assert 0 < len(value) <= 200
            assert value == value.strip()
            assert value.isprintable()
            assert "ghp_" not in value.lower()
            value.encode()
        else:
            assert value is None


@given(raw_events(EVENT_FIELDS))
def test_field_by_field_gives_what_the_strict_parser_gives(raw: bytes) -> None:
    """Wherever that gives anything; else the careful way has the fields that fit."""
    for _, struct, _ in TRANSFORMS.values():
        decoder = LenientDecoder(struct)
        try:
            strict = decoder.decode_strictly(raw)
        except msgspec.DecodeError:
            decoder.decode_apart(raw)
            continue
        assert _plain(decoder.decode_apart(raw)) == _plain(strict)


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return {
            field: _plain(getattr(value, field)) for field in value.__struct_fields__
        }
    return bytes(value) if isinstance(value, msgspec.Raw) else repr(value)


@pytest.mark.parametrize("raw", NO_EVENTS, ids=lambda raw: repr(raw[:30]))
def test_what_is_no_event_is_only_counted(name: str, raw: bytes) -> None:
    """The stage of the patterns has it as a dead letter already."""
    output = build(name)(batch_of(records_of([raw])))
    assert (output.rows, output.dead_letters) == ([], [])
    assert output.counters.record_count == 1
    assert output.counters.event_count == 0
    assert output.counters.events_by_kind == {}


def test_what_the_reader_rejected_is_only_counted(name: str) -> None:
    """A line that is too long, once."""
    letter = DeadLetter(0, 10, "record_too_long", "too long", b"{")
    batch = RecordBatch(0, 10, [], [letter], 0, NOWHERE)
    output = build(name)(batch)
    assert (output.rows, output.dead_letters) == ([], [])
    assert output.counters.record_count == 1
    assert output.counters.dead_letter_count == 0


MEASURED_AND_REFUSED = {
    "timestamp": 0,
    "tokens_in": 1,
    "error": "connection refused: http://db",
}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_hostile_value_in_any_field_stops_nothing(name: str, value: object) -> None:
    """One event per field; each is counted, and the transform goes on."""
    kinds = ("task_completed", "agent_step_complete", "error_resolution")
    lines = [
        line(**{**MEASURED_AND_REFUSED, "event": kind, field: value})
        for field in EVENT_FIELDS
        if field not in {"event", "event_type"}
        for kind in kinds
    ]
    output = build(name)(batch_of(records_of(lines)))
    assert output.counters.event_count == len(lines)
    assert len(output.rows) > len(lines) / 2
    for row in output.rows:
        assert_storable(name, row)


def test_a_number_beyond_all_floats_takes_only_its_own_field(name: str) -> None:
    """JSON knows no bounds of numbers; the rest of the event is measured."""
    raw = b"""{"event": "task_failed", "latency_ms": 1e999, "tokens_in": 5,
        "total_iterations": 12, "error": "timed out", "task": {"iteration": 1e999}}"""
    row = build(name)(batch_of(records_of([raw.replace(b"\n", b"")]))).rows[0]
    assert row[2] == ("task_failed" if name == "metrics" else "many_iterations")
    assert (5 if name == "metrics" else 12.0) in row
