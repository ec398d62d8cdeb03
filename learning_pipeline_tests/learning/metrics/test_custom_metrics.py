"""Metrics of users' own."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

import learning_pipeline
from learning_pipeline.errors import CustomMetricError
from learning_pipeline.learning.frames import TelemetryFrame
from learning_pipeline.learning.metrics.custom import record_metric
from learning_pipeline.store import Store

AT = datetime(2026, 5, 28, 18, 0, tzinfo=UTC)


def recorded(store_url: str) -> list[dict[str, Any]]:
    """All custom metrics, without their ids."""
    with TelemetryFrame(store_url) as frame:
        rows = frame.custom_metrics().drop(columns="metric_id")
    return [{str(key): row[key] for key in row} for row in rows.to_dict("records")]


def test_a_metric_is_kept_as_it_was_given(store: Store, store_url: str) -> None:
    """Name, value, labels and time; secrets in labels are redacted."""
    labels: dict[str, str | float] = {
        "run": 7,
        "ok": True,
        "share": 0.5,
        "note": "mail bob@example.com",
    }
    assert record_metric("eval/score", 0.25, labels=labels, at=AT, store=store)
    assert recorded(store_url) == [
        {
            "name": "eval/score",
            "value": 0.25,
            "labels": '{"note":"mail [REDACTED:email]","ok":"true","run":"7",'
            '"share":"0.5"}',
            "recorded_at": AT,
        }
    ]


def test_numbers_of_numpy_are_numbers(store: Store, store_url: str) -> None:
    """As they come out of data frames; stored as Python writes them."""
    sums = pd.Series([1, 2, 4])
    labels: dict[str, Any] = {
        "a": np.float64(0.5),
        "b": np.int8(-3),
        "c": np.bool_(True),  # noqa: FBT003 - a value
        "d": np.float32(0.25),
    }
    values: list[Any] = [np.int64(3), np.float32(0.5), sums.sum(), Fraction(1, 8)]
    for number, value in enumerate(values):
        at = AT + timedelta(seconds=number)
        assert record_metric("a", value, labels=labels, at=at, store=store)
    found = recorded(store_url)
    assert [each["value"] for each in found] == [3.0, 0.5, 7.0, 0.125]
    assert found[0]["labels"] == '{"a":"0.5","b":"-3","c":"true","d":"0.25"}'


def test_a_secret_as_a_name_is_refused_and_not_shown(
    store: Store, store_url: str
) -> None:
    """Of a metric or a label, also one that is no name."""
    secret = "ghp_" + "a1B2" * 9
    wrong: list[dict[str, Any]] = [
        {"name": secret},
        {"labels": {secret: 1}},
        {"labels": {f"{secret} ": 1}},
        {"value": secret},
    ]
    for each in wrong:
        with pytest.raises(CustomMetricError) as caught:
            record_metric(**{"name": "a", "value": 1, **each}, store=store)
        assert secret not in str(caught.value)
    assert recorded(store_url) == []


def test_the_same_again_changes_nothing(store: Store, store_url: str) -> None:
    """The same by content, in whatever order of labels and zone; or by key."""
    east = AT.astimezone(timezone(timedelta(hours=2)))
    assert record_metric("a", 1, labels={"x": 1, "y": 2}, at=AT, store=store)
    assert not record_metric("a", 1.0, labels={"y": 2, "x": 1}, at=east, store=store)
    assert record_metric("a", 1, labels={"x": 1}, at=AT, store=store)
    assert record_metric("a", 2, labels={"x": 1}, at=AT, store=store)
    assert record_metric("a", -0.0, at=AT, store=store)
    assert not record_metric("a", 0, at=AT, store=store)
    assert record_metric("a", 3, key="run-1", store=store)
    assert not record_metric("a", 3, key="run-1", store=store)
    assert record_metric("b", 3, key="run-1", store=store)
    assert len(recorded(store_url)) == 6


@pytest.mark.parametrize(
    "other", [{"value": 4}, {"labels": {"x": 1}}, {"at": AT + timedelta(seconds=1)}]
)
def test_a_key_stands_for_one_value(
    store: Store, store_url: str, other: dict[str, Any]
) -> None:
    """Another under the same key is refused, and nothing is changed."""
    record_metric("a", 3, key="run-1", at=AT, store=store)
    before = recorded(store_url)
    with pytest.raises(CustomMetricError, match="a key of its own"):
        record_metric("a", **{"value": 3, **other}, key="run-1", store=store)
    assert recorded(store_url) == before


def test_without_time_and_key_each_call_records_another(
    store: Store, store_url: str
) -> None:
    """At the time that it is."""
    before = datetime.now(UTC)
    assert record_metric("a", 1, store=store)
    assert record_metric("a", 1, store=store)
    times = [each["recorded_at"] for each in recorded(store_url)]
    assert len(times) == 2
    assert before <= times[0] <= times[1] <= datetime.now(UTC)


def test_many_at_once_are_recorded_once(store: Store, store_url: str) -> None:
    """By threads that do not know of each other."""
    added: list[bool] = []

    def record() -> None:
        added.append(record_metric("a", 1, at=AT, store=store))

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(added) == [False, False, False, True]
    assert len(recorded(store_url)) == 1


WRONG: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "1a"},
    {"name": "a b"},
    {"name": "a\n"},
    {"name": "a" * 101},
    {"name": 7},
    {"value": float("nan")},
    {"value": float("inf")},
    {"value": 10**400},
    {"value": 10**5000},
    {"value": np.float64("nan")},
    {"value": np.bool_(True)},  # noqa: FBT003 - a value
    {"value": pd.NA},
    {"value": True},
    {"value": "7"},
    {"value": Decimal(7)},
    {"value": None},
    {"labels": {"a b": "x"}},
    {"labels": {"a": "x" * 201}},
    {"labels": {"a": None}},
    {"labels": {"a": 10**5000}},
    {"labels": {10**5000: "a"}},
    {"labels": {"a": np.array([1])}},
    {"labels": {"a": ["x"]}},
    {"labels": {f"a{number}": "x" for number in range(21)}},
    {"labels": ["a"]},
    {"at": datetime(2026, 5, 28)},  # noqa: DTZ001 - which is what is refused
    {"at": "2026-05-28T18:00Z"},
    {"at": datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))},
    {"at": pd.NaT},
    {"key": ""},
    {"key": 7},
]


def test_what_is_not_allowed_is_refused(sqlite_url: str) -> None:
    """With what is; nothing is recorded."""
    with Store(sqlite_url) as store:
        for wrong in WRONG:
            with pytest.raises(CustomMetricError):
                record_metric(**{"name": "a", "value": 1, **wrong}, store=store)
    assert recorded(sqlite_url) == []


def test_odd_texts_are_stored_all_the_same(store: Store, store_url: str) -> None:
    """What a database cannot hold is replaced, in keys too."""
    assert record_metric("a", 1, labels={"x": "a\0\ud800"}, key="\0\ud800", store=store)
    assert not record_metric(
        "a", 1, labels={"x": "a\0\ud800"}, key="\0\ud800", store=store
    )
    assert recorded(store_url)[0]["labels"] == '{"x":"a?"}'


def test_the_settings_say_where_to(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    """By the name that users import."""
    monkeypatch.setenv("LEARNING_PIPELINE_STORE_URL", sqlite_url)
    assert learning_pipeline.record_metric("a", 1)
    assert len(recorded(sqlite_url)) == 1
