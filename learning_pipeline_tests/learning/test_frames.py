"""What was learned, as data frames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

import learning_pipeline
from learning_pipeline.errors import ConfigurationError, StoreUnavailableError
from learning_pipeline.learning.frames import TelemetryFrame
from learning_pipeline.learning.frames.columns import (
    CUSTOM_METRIC_COLUMNS,
    MEASUREMENT_COLUMNS,
    PATTERN_COLUMNS,
)
from learning_pipeline.learning.metrics.aggregation import aggregate
from learning_pipeline.learning.metrics.custom import record_metric
from learning_pipeline.store import Store
from learning_pipeline.testing.generator import generate_lines
from learning_pipeline_tests.learning.event_lines import line
from learning_pipeline_tests.learning.learned import learn, write_lines

LINES = [each.rstrip() for each in generate_lines(150, seed=5)]


@pytest.fixture
def learned(store: Store, tmp_path: Path) -> Store:
    """Two files, the later one by name read first, and an event of the year 1."""
    old = line(event="task_failed", timestamp="0001-02-03T04:05:06Z")
    write_lines(tmp_path, "b.jsonl", [*LINES[:100], old])
    write_lines(tmp_path, "a.jsonl", LINES[100:])
    learn(
        store,
        tmp_path,
        *("b.jsonl", "a.jsonl"),
        stages="performance_metrics interaction_patterns",
    )
    return store


@pytest.fixture
def frame(learned: Store, store_url: str) -> Iterator[TelemetryFrame]:
    """Loads what was learned."""
    assert learned.known_partitions()
    with TelemetryFrame(store_url) as opened:
        yield opened


def test_patterns_are_those_of_the_export(
    frame: TelemetryFrame, learned: Store
) -> None:
    """In its order, with its values."""
    exported = list(learned.iterate_patterns())
    found = frame.patterns()
    assert len(found) == len(exported) > 50
    for name in ("partition", "offset", "kind", "prompt", "quality", "content_hash"):
        assert found[name].tolist() == [each[name] for each in exported], name
    stamps = found["event_timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert stamps.tolist() == [each["timestamp"] for each in exported]


def test_chunks_hold_the_same_rows(frame: TelemetryFrame) -> None:
    """At most so many each, whatever the files."""
    whole = frame.patterns()
    chunks = list(frame.patterns(chunk_rows=17))
    assert {len(chunk) for chunk in chunks[:-1]} == {17}
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), whole)
    assert sum(map(len, frame.measurements(chunk_rows=10))) == 151


def test_an_iterator_can_be_given_up(frame: TelemetryFrame) -> None:
    """And another begun."""
    chunks = frame.patterns(chunk_rows=1)
    assert len(next(chunks)) == 1
    chunks.close()  # type: ignore[attr-defined]
    assert len(next(frame.patterns(chunk_rows=1))) == 1


def test_types_are_the_same_also_of_nothing(frame: TelemetryFrame) -> None:
    """Of each kind of frame."""
    for load, columns in (
        (frame.patterns, PATTERN_COLUMNS),
        (frame.examples, PATTERN_COLUMNS),
        (frame.measurements, MEASUREMENT_COLUMNS),
    ):
        some, none = load(), load(since="3000-01-01")
        assert list(some.columns) == list(none.columns) == list(columns)
        assert list(some.dtypes) == list(none.dtypes)
        assert len(none) == 0
        assert list(load(since="3000-01-01", chunk_rows=5)) == []
    assert list(frame.custom_metrics().columns) == list(CUSTOM_METRIC_COLUMNS)
    assert str(frame.patterns()["event_timestamp"].dtype) == "datetime64[us, UTC]"


def test_columns_and_filters_are_chosen(frame: TelemetryFrame) -> None:
    """In the order asked for."""
    found = frame.patterns(
        columns=["prompt", "kind"], kinds=["task_completed"], quality=True
    )
    assert list(found.columns) == ["prompt", "kind"]
    assert set(found["kind"]) == {"task_completed"}
    tasks = frame.patterns(kinds=["task_completed"])
    of_quality = frame.patterns(kinds=["task_completed"], quality=True)
    others = frame.patterns(kinds=["task_completed"], quality=False)
    assert len(tasks) == len(of_quality) + len(others)
    backend = tasks["backend"].dropna().iloc[0]
    found = frame.patterns(backends=[backend], partitions=["b.jsonl"])
    assert set(found["backend"]) == {backend}
    assert set(found["partition"]) == {"b.jsonl"}


def test_moments_of_all_years_are_kept(frame: TelemetryFrame) -> None:
    """Nanoseconds would know only the years 1678 to 2262."""
    found = frame.measurements(kinds=["task_failed"])
    assert found["event_timestamp"][0].year == 1
    assert bool(found["success"][0]) is False
    assert found["tokens_in"].isna().all()


def test_metrics_are_those_of_the_aggregation(
    frame: TelemetryFrame, learned: Store
) -> None:
    """By the same groups and filters."""
    found = frame.metrics(by=["kind"], partitions=["a.jsonl"])
    whole = aggregate(learned, by=["kind"])
    assert found["event_count"].sum() == 50
    assert whole["event_count"].sum() == 151


def test_examples_are_each_content_once(frame: TelemetryFrame, store_url: str) -> None:
    """Patterns that are examples; not those that are duplicates of one."""
    found = frame.patterns(quality=True)
    engine = sa.create_engine(store_url)
    with engine.begin() as connection:
        for number, row in enumerate(found.to_dict("records")[:5]):
            connection.execute(
                sa.text(
                    "INSERT INTO finetuning_examples "
                    'SELECT p.partition_id, p.generation, p."offset", p.ordinal, '
                    "p.content_hash, :is_duplicate, 'run-1' "
                    "FROM patterns p JOIN partitions f ON f.id = p.partition_id "
                    'WHERE f.partition_key = :key AND p."offset" = :offset'
                ),
                {
                    "is_duplicate": number == 2,
                    "key": row["partition"],
                    "offset": row["offset"],
                },
            )
    engine.dispose()
    expected = found["content_hash"].tolist()[:5]
    del expected[2]
    assert frame.examples()["content_hash"].tolist() == expected
    assert len(frame.examples(columns=["prompt"], kinds=["nothing"])) == 0


def test_custom_metrics_are_ordered_by_time(
    frame: TelemetryFrame, learned: Store
) -> None:
    """And chosen by name and time."""
    for day in (3, 1, 2):
        at = pd.Timestamp(f"2026-05-0{day}", tz="UTC").to_pydatetime()
        record_metric("b" if day == 2 else "a", day, at=at, store=learned)
    assert frame.custom_metrics()["value"].tolist() == [1.0, 2.0, 3.0]
    assert frame.custom_metrics(names=["a"])["value"].tolist() == [1.0, 3.0]
    found = frame.custom_metrics(since="2026-05-02", until="2026-05-03")
    assert found["value"].tolist() == [2.0]
    assert [len(each) for each in frame.custom_metrics(chunk_rows=2)] == [2, 1]


WRONG: list[dict[str, Any]] = [
    {"columns": ["nothing"]},
    {"columns": "kind"},
    {"columns": []},
    {"chunk_rows": 0},
    {"chunk_rows": True},
    {"kinds": "x"},
    {"since": "yesterday"},
    {"since": pd.NaT},
    {"until": 5},
    {"until": datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))},
]


def test_a_wrong_question_is_refused(frame: TelemetryFrame) -> None:
    """When it is asked."""
    for wrong in WRONG:
        with pytest.raises(ConfigurationError):
            frame.patterns(**wrong)


@pytest.mark.parametrize("since", [pd.NaT, 5, "yesterday"])
def test_what_is_no_moment_says_what_is(frame: TelemetryFrame, since: Any) -> None:
    """Of metrics, too."""
    for ask in (frame.metrics, frame.custom_metrics):
        with pytest.raises(ConfigurationError, match="2026-05-28"):
            ask(since=since)


@pytest.mark.parametrize("url", ["garbage", "mysql://u:pa55word@host/x"])
def test_what_is_no_database_says_what_is(url: str) -> None:
    """Not what was given, which may hold a password."""
    with pytest.raises(ConfigurationError, match="sqlite:////") as caught:
        TelemetryFrame(url)
    assert url not in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_no_database_is_an_error_and_none_is_made(tmp_path: Path) -> None:
    """Who looks in the wrong folder is told, and gets no empty frame."""
    with pytest.raises(StoreUnavailableError, match="LEARNING_PIPELINE_STATE_DIR"):
        TelemetryFrame(f"sqlite:///{tmp_path / 'state.db'}")
    assert list(tmp_path.iterdir()) == []


def test_it_is_imported_by_its_short_name_and_only_then(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package itself stays light: no pandas before it is asked for."""
    script = (
        "import sys, learning_pipeline as lp; assert 'pandas' not in sys.modules; "
        "assert 'sqlalchemy' not in sys.modules; lp.TelemetryFrame; "
        "assert 'pandas' in sys.modules; assert not hasattr(lp, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    Store(sqlite_url).close()
    monkeypatch.setenv("LEARNING_PIPELINE_STORE_URL", sqlite_url)
    with learning_pipeline.TelemetryFrame() as frame:
        assert len(frame.measurements()) == 0
