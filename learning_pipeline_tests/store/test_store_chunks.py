"""Rows in chunks, in one order on both stores, from one snapshot."""

from __future__ import annotations

import pytest

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.model import BatchOutput, Counters, Row
from learning_pipeline.store import Store
from learning_pipeline.store.chunks import (
    Selection,
    custom_metric_chunks,
    measurement_chunks,
)
from learning_pipeline.store.custom_metrics import StoredMetric, add_custom_metric
from learning_pipeline.store.measurements import MeasurementReader
from learning_pipeline.store.schema import measurements
from learning_pipeline_tests.store.samples import begin, fingerprint_at, open_session

KEYS = ["b.jsonl", "Z.jsonl", "a.jsonl", "\u00e9.jsonl", "a/b.jsonl"]


def measurement(offset: int, *, kind: str = "x", backend: str | None = None) -> Row:
    """A row of the table."""
    stamp = f"2026-05-28T18:{offset % 60:02}:00.000000Z"
    return (offset, 0, kind, backend, None, stamp, *(None,) * 4, offset, 1)


def commit(store: Store, partition: str, rows: list[Row], *, end_offset: int) -> None:
    """Commit measurements of a made-up file."""
    with open_session(
        store, stage="performance_metrics", table=measurements
    ) as session:
        claim = session.claim(partition)
        if claim.checkpoint.sequence == 0:
            claim = begin(session, claim)
        session.commit(
            claim,
            BatchOutput(rows, [], Counters()),
            end_offset=end_offset,
            fingerprint=fingerprint_at(end_offset),
            size_bytes=1000,
        )


@pytest.fixture
def measured(store: Store) -> Store:
    """Three rows in each of five files, whose names sort by code point."""
    for key in KEYS:
        rows = [measurement(offset) for offset in (0, 10, 20)]
        commit(store, key, rows, end_offset=30)
    return store


def test_rows_come_by_partition_and_offset(measured: Store) -> None:
    """Chunks are full whatever the files."""
    chunks = list(measurement_chunks(measured, ["partition", "offset"], chunk_rows=4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 4, 3]
    rows = [row for chunk in chunks for row in chunk]
    assert rows == [(key, offset) for key in sorted(KEYS) for offset in (0, 10, 20)]


def test_a_chunk_sees_no_commit_that_came_later(measured: Store) -> None:
    """All chunks are of the snapshot of the first."""
    chunks = measurement_chunks(measured, ["offset"], chunk_rows=1)
    seen = [next(chunks)]
    commit(measured, "\u00e9.jsonl", [measurement(30)], end_offset=40)
    seen += chunks
    assert len(seen) == 15
    again = list(measurement_chunks(measured, ["offset"], chunk_rows=1))
    assert len(again) == 16


def test_a_reader_asks_one_snapshot_twice(measured: Store) -> None:
    """The groups that are kept are those of the chunks."""
    with measured.snapshot() as connection:
        reader = MeasurementReader(connection, ["partition"], Selection())
        before = [row[0] for chunk in reader.chunks(100) for row in chunk]
        rows = [measurement(offset) for offset in range(30, 90, 10)]
        commit(measured, "a.jsonl", rows, end_offset=90)
        assert reader.largest_groups(2) == {("Z.jsonl",), ("a.jsonl",)}
        assert [row[0] for chunk in reader.chunks(4) for row in chunk] == before


def test_the_largest_groups_are_those_of_most_rows(store: Store) -> None:
    """A group of no backend is one too."""
    rows = [
        measurement(offset, backend="few" if offset == 0 else None)
        for offset in range(0, 40, 10)
    ]
    commit(store, "a.jsonl", rows, end_offset=40)
    with store.snapshot() as connection:
        reader = MeasurementReader(connection, ["backend", "day"], Selection())
        assert reader.largest_groups(1) == {(None, "2026-05-28")}


def test_a_filter_of_too_many_values_is_refused(store: Store) -> None:
    """Before the database would."""
    for wrong in (["x"] * 1_001, "x"):
        chunks = measurement_chunks(
            store, ["kind"], Selection(partitions=wrong), chunk_rows=1
        )
        with pytest.raises(ConfigurationError, match="at most 1000"):
            next(chunks)


def test_custom_metrics_come_by_time_name_and_id(store: Store) -> None:
    """By code point on both stores."""
    for number, (name, at) in enumerate(
        [("b", "2"), ("a", "2"), ("B", "2"), ("z", "1"), ("a", "2")]
    ):
        metric = StoredMetric(f"{9 - number}", name, float(number), "{}", at)
        assert add_custom_metric(store, metric) is None
        assert add_custom_metric(store, metric) == metric
    (rows,) = custom_metric_chunks(store, ["name", "value"], chunk_rows=10)
    assert rows == [("z", 3.0), ("B", 2.0), ("a", 4.0), ("a", 1.0), ("b", 0.0)]
