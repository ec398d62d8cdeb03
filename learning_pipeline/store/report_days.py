"""What was learned and measured by day, the last days, from a caller's snapshot."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.schema import (
    ROW_KEY,
    finetuning_examples,
    measurements,
    patterns,
)

MAX_DAYS: Final = 366

_DAY_CHARS: Final = len("2026-05-28")


class DayCount(msgspec.Struct, frozen=True):
    """Examples of one day.

    Attributes:
        day: Of the events, in UTC: `2026-05-28`.
        example_count: How many.
    """

    day: str
    example_count: int


class DayMeasures(msgspec.Struct, frozen=True):
    """What was measured on one day.

    Attributes:
        day: Of the events, in UTC.
        event_count: Events of which something was measured.
        success_rate: Of those of which it is known; None when it is known of none.
        latency_ms_mean: Of those that state one; None when none does.
    """

    day: str
    event_count: int
    success_rate: float | None
    latency_ms_mean: float | None


class ExampleDays(msgspec.Struct, frozen=True):
    """Examples by day of the event.

    Attributes:
        last: The last days with examples, oldest first.
        undated_count: Examples whose event does not say when it was.
        later_count: Examples of a day that has not come yet.
    """

    last: list[DayCount]
    undated_count: int
    later_count: int


def is_example() -> sa.ColumnElement[int]:
    """1 for a row of `finetuning_examples` that is one, else 0; to be summed."""
    # Summed, not filtered by: SQLite would walk the index by hash, which is at random
    # places, forty times as slow at a million rows.
    return sa.case(
        (sa.not_(finetuning_examples.c.is_duplicate), sa.literal_column("1")),
        else_=sa.literal_column("0"),
    )


def patterns_with_examples() -> sa.FromClause:
    """Patterns, each with its row of `finetuning_examples` if it has one."""
    same = (finetuning_examples.c[name] == patterns.c[name] for name in ROW_KEY)
    return patterns.outerjoin(finetuning_examples, sa.and_(*same))


def example_days(connection: sa.Connection, today: str) -> ExampleDays:
    """Examples by day, up to `today`."""
    day = _day(patterns)
    counted = (
        sa.select(day, sa.func.sum(is_example()).label("example_count"))
        .select_from(patterns_with_examples())
        .group_by(day)
        .subquery()
    )
    of_day = sa.func.coalesce(by_code_point(connection, counted.c.day), "")
    query = (
        sa.select(counted.c.day, counted.c.example_count)
        .where(counted.c.example_count > 0)
        .order_by(of_day.desc())
    )
    last: list[DayCount] = []
    undated_count = later_count = 0
    with connection.execution_options(yield_per=1_000).execute(query) as result:
        for name, count in result:
            if name is None:
                undated_count = int(count)
            elif name > today:
                later_count += int(count)
            elif len(last) < MAX_DAYS:
                last.append(DayCount(name, int(count)))
    return ExampleDays(last[::-1], undated_count, later_count)


def measured_days(connection: sa.Connection, today: str) -> list[DayMeasures]:
    """What was measured by day, up to `today`; the last days, oldest first."""
    day = _day(measurements)
    count = sa.func.count
    judged = count(measurements.c.success)
    successes = count(sa.case((measurements.c.success, sa.literal_column("1"))))
    query = (
        sa.select(
            day, count(), judged, successes, sa.func.avg(measurements.c.latency_ms)
        )
        .where(by_code_point(connection, day) <= today)
        .group_by(day)
        .order_by(by_code_point(connection, day).desc())
        .limit(MAX_DAYS)
    )
    found = [
        DayMeasures(
            name,
            int(events),
            int(succeeded) / int(known) if known else None,
            None if latency_ms is None else float(latency_ms),
        )
        for name, events, known, succeeded, latency_ms in connection.execute(query)
    ]
    return found[::-1]


def _day(table: sa.Table) -> sa.Label[Any]:
    return sa.func.substr(
        table.c.event_timestamp,
        sa.literal_column("1"),
        sa.literal_column(str(_DAY_CHARS)),
    ).label("day")
