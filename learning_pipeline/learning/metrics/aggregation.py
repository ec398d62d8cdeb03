"""Metrics of many measurements: sums and quantiles per group, in bounded memory.

Everything that is added up is a whole number (times in microseconds), so that a result
does not depend on the order of the rows, and a chunk, a replay or another history of
the same telemetry gives the same figures to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from learning_pipeline.errors import ConfigurationError
from learning_pipeline.learning.events.moments import canonical_moment
from learning_pipeline.learning.metrics.quantiles import Histogram
from learning_pipeline.store import Store
from learning_pipeline.store.chunks import Selection
from learning_pipeline.store.measurements import MEASURES, MeasurementReader

GROUPS: Final = ("day", "kind", "backend", "task_type", "partition")
DEFAULT_GROUPS: Final = ("day", "kind", "backend")

CHUNK_ROWS: Final = 50_000
"""Rows in memory at once: some 30 MB. Fewer than 92,233, so that a chunk's sum of
microseconds, each at most `MAX_SECONDS`, fits 64 bits."""

MAX_GROUPS: Final = 20_000
"""More groups than that share one: the smallest, in the group `(other)`."""

OTHER: Final = "(other)"

MICROSECONDS: Final = 1_000_000

COLUMNS: Final[dict[str, Any]] = {
    "event_count": "int64",
    "judged_count": "int64",
    "success_count": "int64",
    "success_rate": "Float64",
    "iterations_count": "int64",
    "iterations_mean": "Float64",
    "iterations_max": "Int64",
    "latency_count": "int64",
    "latency_ms_mean": "Float64",
    "latency_ms_p50": "Float64",
    "latency_ms_p95": "Float64",
    "resolution_count": "int64",
    "resolution_seconds_mean": "Float64",
    "tokens_in": "int64",
    "tokens_out": "int64",
}
"""The columns behind those of the groups, and their types, also of an empty result:

events; those of which success or failure is known, successes, and their share; events
that state iterations, their mean and most; those with a latency, its mean, median and
95th percentile (within 1 %); those with a resolution time and its mean; sums of tokens.
"""


def select(
    *,
    partitions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
) -> Selection:
    """Return a selection of events.

    Args:
        partitions: Of these partition keys; None: of all.
        kinds: Of these kinds.
        backends: Of these backends or models; `(none)`: of none that is stated.
        since: At or after this; UTC unless it states a zone.
        until: Before this.

    Raises:
        ConfigurationError: A moment is none.
    """
    return Selection(
        partitions=partitions,
        kinds=kinds,
        backends=backends,
        since=canonical_moment(since),
        until=canonical_moment(until),
    )


def aggregate(
    store: Store,
    *,
    by: Sequence[str] = DEFAULT_GROUPS,
    where: Selection | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> pd.DataFrame:
    """Return the metrics per group, ordered by the groups' columns, none stated last.

    Args:
        store: Where the measurements are.
        by: Some of `GROUPS`, or none for one line over everything. The day is that of
            the event's timestamp in UTC, `2026-05-28`.
        where: Of which events; None: of all.
        chunk_rows: Rows in memory at once, up to `CHUNK_ROWS`.

    Raises:
        ConfigurationError: `by` or a filter is wrong.

    Guarantees:
        From one snapshot. The same measurements give the same frame, in whatever
        order and batches they came. Memory is bounded by `MAX_GROUPS` and `CHUNK_ROWS`.
    """
    columns = _checked(by)
    rows = min(max(chunk_rows, 1), CHUNK_ROWS)
    with store.snapshot() as connection:
        reader = MeasurementReader(connection, columns, where or Selection())
        try:
            totals = _Totals(columns, kept=None).add_all(reader.chunks(rows))
        except _TooManyGroupsError:
            kept = reader.largest_groups(MAX_GROUPS)
            totals = _Totals(columns, kept=kept).add_all(reader.chunks(rows))
    return totals.frame()


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame as plain dicts, for JSON; None where there is nothing."""
    return [
        {
            name: None if value is pd.NA or value is None else _plain(value)
            for name, value in zip(frame.columns, row, strict=True)
        }
        for row in frame.itertuples(index=False, name=None)
    ]


class _TooManyGroupsError(Exception):
    """There are more than are told apart at first."""


class _Totals:
    """What has been added up so far."""

    def __init__(
        self, columns: Sequence[str], *, kept: set[tuple[Any, ...]] | None
    ) -> None:
        self._columns = list(columns)
        self._kept = kept
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._sums: list[dict[str, int]] = []
        self._latency = Histogram()

    def add_all(self, chunks: Iterable[Sequence[Sequence[Any]]]) -> _Totals:
        for chunk in chunks:
            self._add(chunk)
        return self

    def _add(self, chunk: Sequence[Sequence[Any]]) -> None:
        width = len(self._columns)
        values = list(zip(*chunk, strict=True))
        keys = list(zip(*values[:width], strict=True)) if width else [()] * len(chunk)
        codes, found = pd.factorize(pd.Series(keys, dtype=object))
        numbers = np.array([self._number(key) for key in found], dtype=np.int64)
        frame = pd.DataFrame(
            {
                name: np.array(column, dtype=np.float64)
                for name, column in zip(MEASURES, values[width:], strict=True)
            }
        )
        group = numbers[codes]
        latency_ms = frame["latency_ms"]
        added = pd.DataFrame(
            {
                "event_count": np.ones(len(frame), dtype=np.int64),
                "judged_count": frame["success"].notna(),
                "success_count": frame["success"] == 1,
                "iterations_count": frame["iterations"].notna(),
                "iterations": frame["iterations"].fillna(0).astype(np.int64),
                "latency_count": latency_ms.notna(),
                "latency_us": _whole(latency_ms * (MICROSECONDS / 1000)),
                "resolution_count": frame["resolution_seconds"].notna(),
                "resolution_us": _whole(frame["resolution_seconds"] * MICROSECONDS),
                "tokens_in": frame["tokens_in"].fillna(0).astype(np.int64),
                "tokens_out": frame["tokens_out"].fillna(0).astype(np.int64),
            }
        ).astype(np.int64)
        sums = added.groupby(group).sum()
        most = frame["iterations"].groupby(group).max()
        for number, *row in sums.itertuples(name=None):
            total = self._sums[number]
            for name, value in zip(sums.columns, row, strict=True):
                total[name] = total.get(name, 0) + int(value)
            if not math.isnan(most[number]):
                total["most"] = max(total.get("most", 0), int(most[number]))
        measured = latency_ms.notna().to_numpy()
        self._latency.add(group[measured], latency_ms.to_numpy()[measured])

    def _number(self, key: tuple[Any, ...]) -> int:
        if self._kept is None:
            if len(self._numbers) >= MAX_GROUPS and key not in self._numbers:
                raise _TooManyGroupsError
        elif key not in self._kept:
            key = (OTHER,) * len(self._columns)
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self._sums):
            self._sums.append({})
        return number

    def frame(self) -> pd.DataFrame:
        quantiles = self._latency.quantiles((0.5, 0.95))
        lines = sorted(
            self._numbers.items(),
            key=lambda item: [(value is None, value or "") for value in item[0]],
        )
        rows = [_line(self._sums[number], quantiles.get(number)) for _, number in lines]
        keys = {
            name: pd.array([key[place] for key, _ in lines], dtype="string")
            for place, name in enumerate(self._columns)
        }
        figures = {
            name: pd.array([row[name] for row in rows], dtype=dtype)
            for name, dtype in COLUMNS.items()
        }
        return pd.DataFrame({**keys, **figures})


def _line(total: dict[str, int], latency: Sequence[float] | None) -> dict[str, Any]:
    judged, resolved = total["judged_count"], total["resolution_count"]
    measured, stated = total["latency_count"], total["iterations_count"]
    p50, p95 = latency or (None, None)
    return {
        **total,
        "success_rate": total["success_count"] / judged if judged else None,
        "iterations_mean": total["iterations"] / stated if stated else None,
        "iterations_max": total.get("most"),
        "latency_ms_mean": total["latency_us"] / measured / 1000 if measured else None,
        "latency_ms_p50": p50,
        "latency_ms_p95": p95,
        "resolution_seconds_mean": (
            total["resolution_us"] / resolved / MICROSECONDS if resolved else None
        ),
    }


def _whole(values: pd.Series[Any]) -> pd.Series[Any]:
    return values.round().fillna(0).astype(np.int64)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _checked(by: Sequence[str]) -> Sequence[str]:
    wrong = [name for name in by if name not in GROUPS]
    if isinstance(by, str) or wrong or len(set(by)) < len(by):
        message = f"metrics are grouped by some of {', '.join(GROUPS)}, each once"
        raise ConfigurationError(message)
    return by
