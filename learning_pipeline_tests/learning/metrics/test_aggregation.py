"""Metrics of many measurements, compared with sums made by hand."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.metrics import aggregation, build_transform
from learning_pipeline.learning.metrics.aggregation import aggregate, records, select
from learning_pipeline.learning.metrics.quantiles import RELATIVE_ERROR, Histogram
from learning_pipeline.store import Store
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.extraction.extraction_records import batch_of, records_of
from learning_pipeline_tests.learning.event_lines import REAL_LINES, line
from learning_pipeline_tests.learning.learned import learn, write_lines

LINES = [each.rstrip() for each in generate_lines(300, seed=3)]


@pytest.fixture
def learned(store: Store, tmp_path: Path) -> Store:
    """300 events of two files, and some that state no time."""
    write_lines(tmp_path / "t", "a.jsonl", LINES[:200])
    undated = line(event="task_failed", total_iterations=7, latency_ms=5, backend="x")
    write_lines(tmp_path / "t", "b.jsonl", [*LINES[200:], undated, undated])
    learn(store, tmp_path / "t", "b.jsonl", "a.jsonl")
    return store


def rows_by_kind(lines: list[bytes]) -> dict[str, list[tuple[Any, ...]]]:
    """Measurements by kind, straight from the transform."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in build_transform()(batch_of(records_of(lines))).rows:
        found.setdefault(row[2], []).append(row)
    return found


def test_the_figures_are_those_made_by_hand(learned: Store) -> None:
    """Counts and means exactly, quantiles within their error."""
    frame = aggregate(learned, by=["kind"]).set_index("kind")
    expected = rows_by_kind(LINES)
    assert set(frame.index) == set(expected) | {"task_failed"}
    for kind, rows in expected.items():
        total = frame.loc[kind]
        success, iterations, latency, resolution, tokens_in, tokens_out = (
            [row[place] for row in rows if row[place] is not None]
            for place in range(6, 12)
        )
        assert total["event_count"] == len(rows)
        assert total["judged_count"] == len(success)
        assert total["success_count"] == sum(success)
        assert total["tokens_in"] == sum(tokens_in)
        assert total["tokens_out"] == sum(tokens_out)
        for name, values in (
            ("success_rate", success),
            ("iterations_mean", iterations),
            ("latency_ms_mean", latency),
            ("resolution_seconds_mean", resolution),
        ):
            if values:
                assert total[name] == pytest.approx(statistics.mean(values))
            else:
                assert pd.isna(total[name])
        if iterations:
            assert total["iterations_max"] == max(iterations)
        if latency:
            ordered = sorted(latency)
            for name, share in (("latency_ms_p50", 0.5), ("latency_ms_p95", 0.95)):
                exact = ordered[math.ceil(share * len(ordered)) - 1]
                assert abs(total[name] / exact - 1) <= RELATIVE_ERROR * 1.0001


def test_the_real_file_gives_its_known_metrics(store: Store, tmp_path: Path) -> None:
    """Per backend: 35 steps of delegates, 11 of an agent of mere milliseconds."""
    write_lines(tmp_path, "hybrid-events.jsonl", REAL_LINES)
    learn(store, tmp_path, "hybrid-events.jsonl")
    first, second = records(aggregate(store, by=["backend"]))
    assert (first["backend"], first["event_count"]) == ("apparmor-fix-agent", 11)
    assert (second["backend"], second["event_count"]) == (None, 35)
    assert (second["tokens_in"], second["tokens_out"]) == (15_585, 18_347)
    assert second["success_rate"] == 1.0
    assert second["latency_ms_mean"] == pytest.approx(11_009_198 / 35)
    assert len(aggregate(store)) == 16


def test_chunks_order_and_history_change_nothing(
    learned: Store, tmp_path: Path, sqlite_url: str
) -> None:
    """To the last bit: other batches, another order of files, read twice."""
    expected = aggregate(learned)
    for chunk_rows in (13, 10**9):
        again = aggregate(learned, chunk_rows=chunk_rows)
        pd.testing.assert_frame_equal(again, expected, check_exact=True)
    with Store(sqlite_url.replace("state.db", "other.db")) as other:
        learn(other, tmp_path / "t", "a.jsonl", interval=3)
        learn(other, tmp_path / "t", "b.jsonl", interval=50)
        other.clear(stage="performance_metrics", partition="a.jsonl")
        learn(other, tmp_path / "t", "a.jsonl", "b.jsonl")
        other.replay(
            stage="performance_metrics", partition="b.jsonl", replayed_by="run-2"
        )
        assert len(aggregate(other)) < len(expected)
        learn(other, tmp_path / "t", "b.jsonl")
        pd.testing.assert_frame_equal(aggregate(other), expected, check_exact=True)


def test_groups_are_ordered_and_none_stated_comes_last(learned: Store) -> None:
    """By day, kind and backend; the types are the same for every result."""
    frame = aggregate(learned)
    keys = [
        tuple("~" if pd.isna(value) else value for value in row)
        for row in frame[["day", "kind", "backend"]].itertuples(index=False)
    ]
    assert keys == sorted(keys)
    assert keys[-1] == ("~", "task_failed", "x")
    assert keys[0][0] == "2026-05-28"
    empty = aggregate(learned, where=select(kinds=["nothing"]))
    assert len(empty) == 0
    assert list(empty.dtypes) == list(frame.dtypes)
    assert list(empty.columns) == list(frame.columns)


def test_no_groups_give_one_line_over_everything(learned: Store) -> None:
    """And over nothing none."""
    (only,) = records(aggregate(learned, by=[]))
    assert only["event_count"] == 302
    assert records(aggregate(learned, by=[], where=select(kinds=["no"]))) == []


FILTERS: list[tuple[dict[str, Any], int]] = [
    ({"partitions": ["b.jsonl"]}, 102),
    ({"partitions": []}, 0),
    ({"kinds": ["task_failed", "nothing"]}, 2),
    ({"backends": ["x"]}, 2),
    ({"since": "2026-05-28T18:00:07"}, 299),
    ({"since": "2026-05-28T18:00:07.000001Z"}, 299),
    ({"until": "2026-05-28T20:00:07+02:00"}, 1),
    ({"since": "2026-05-28T18:00:07", "until": "2026-05-28T18:00:21.000003Z"}, 2),
    ({"since": "2027-01-01"}, 0),
]


def test_filters_take_what_they_say(learned: Store) -> None:
    """From `since` on and before `until`; without a timestamp in no such range."""
    for filters, count in FILTERS:
        found = records(aggregate(learned, by=[], where=select(**filters)))
        assert sum(each["event_count"] for each in found) == count, filters


def test_a_backend_that_is_not_stated_can_be_asked_for(learned: Store) -> None:
    """By `(none)`, alone or beside others."""
    none = aggregate(learned, by=["backend"], where=select(backends=["(none)"]))
    both = aggregate(learned, by=["backend"], where=select(backends=["(none)", "x"]))
    assert records(none)[0]["backend"] is None
    assert [each["backend"] for each in records(both)] == ["x", None]


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": ["hour"]},
        {"by": ["kind", "kind"]},
        {"by": "kind"},
        {"where": {"kinds": ["x"] * 1_001}},
        {"where": {"kinds": "x"}},
        {"where": {"since": "yesterday"}},
        {"where": {"until": "0001-01-01T00:00+05:00"}},
    ],
)
def test_a_wrong_question_is_refused(store: Store, wrong: dict[str, Any]) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigurationError):
        aggregate(
            store, by=wrong.get("by", ["kind"]), where=select(**wrong.get("where", {}))
        )


def test_too_many_groups_share_one(
    learned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest stay; no event is lost; the chunks still change nothing."""
    whole = records(aggregate(learned, by=["kind", "backend"]))
    monkeypatch.setattr(aggregation, "MAX_GROUPS", 3)
    few = records(aggregate(learned, by=["kind", "backend"], chunk_rows=10))
    assert few == records(aggregate(learned, by=["kind", "backend"]))
    by_size = sorted(whole, key=lambda each: -each["event_count"])
    others = [each for each in few if each["kind"] == "(other)"]
    kept = [each for each in few if each["kind"] != "(other)"]
    assert len(kept) == 3
    assert {each["event_count"] for each in kept} == {
        each["event_count"] for each in by_size[:3]
    }
    assert others[0]["event_count"] == sum(each["event_count"] for each in by_size[3:])


def test_the_largest_values_still_add_up(store: Store, tmp_path: Path) -> None:
    """At their bounds, many of them."""
    most = {
        "event": "x",
        "tokens_in": 2**31 - 1,
        "latency_ms": 1e11,
        "resolution_time": 1e8,
        "total_iterations": 2**31 - 1,
    }
    write_lines(tmp_path, "a.jsonl", [line(**most)] * 3_000)
    learn(store, tmp_path, "a.jsonl", interval=1_000, stages="performance_metrics")
    (total,) = records(aggregate(store, by=["kind"]))
    assert total["tokens_in"] == 3_000 * (2**31 - 1)
    assert total["iterations_mean"] == total["iterations_max"] == 2**31 - 1
    assert total["latency_ms_mean"] == 1e11
    assert total["resolution_seconds_mean"] == 1e8


def test_a_frame_is_plain_json_when_asked_for(learned: Store) -> None:
    """For metadata: no type of pandas or numpy is left."""
    found = records(aggregate(learned))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(
    st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=50),
    st.floats(0.001, 1.0),
    st.integers(0, 50),
)
def test_a_quantile_is_off_by_one_percent_at_most(
    values: list[float], share: float, split: int
) -> None:
    """Of any values, in two parts or one, beside another group."""
    histogram = Histogram()
    for part in (values[:split], values[split:]):
        histogram.add(np.full(len(part), 1, dtype=np.int64), np.array(part, float))
        histogram.add(np.zeros(1, dtype=np.int64), np.array([3.0]))
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    found = histogram.quantiles([share])
    assert abs(found[1][0] / exact - 1) <= RELATIVE_ERROR * 1.0001
    assert abs(found[0][0] / 3.0 - 1) <= RELATIVE_ERROR * 1.0001
