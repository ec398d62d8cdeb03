"""What the report counts in the state database, from one snapshot.

Every result is bounded, whatever the telemetry says: of groups there are the largest,
of days the last, and how much is left out is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.index_feed import is_passed_by
from learning_pipeline.store.report_days import (
    DayCount,
    DayMeasures,
    example_days,
    is_example,
    measured_days,
    patterns_with_examples,
)
from learning_pipeline.store.schema import (
    breakers,
    checkpoints,
    dead_letters,
    finetuning_examples,
    index_changes,
    measurements,
    patterns,
    proposals,
)

if TYPE_CHECKING:
    from learning_pipeline.store import Store

MAX_GROUPS: Final = 50


class KindCount(msgspec.Struct, frozen=True):
    """What was learned of one kind of event.

    Attributes:
        kind: The kind.
        pattern_count: Patterns.
        example_count: Those of them that are examples.
    """

    kind: str
    pattern_count: int
    example_count: int


class ReasonCount(msgspec.Struct, frozen=True):
    """Dead letters of one stage and reason.

    Attributes:
        stage: Which stage could not process the records.
        reason: The code that says why.
        count: How many.
    """

    stage: str
    reason: str
    count: int


class ReportCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one moment.

    Attributes:
        mark: Changes with whatever is committed, decided or found out; empty before.
        pattern_count: Patterns.
        example_count: Examples: one per content.
        duplicate_count: Quality patterns whose content is that of an example.
        indexed_count: Examples that the search index was given.
        kinds: Those of the most patterns.
        days: The last days with examples, oldest first.
        undated_count: Examples whose event does not say when it was.
        later_count: Examples of a day that has not come yet.
        reasons: Those of the most dead letters.
        measured_days: The last days with measurements, oldest first.
        measured_count: Events of which something was measured.
    """

    mark: str
    pattern_count: int
    example_count: int
    duplicate_count: int
    indexed_count: int
    kinds: list[KindCount]
    days: list[DayCount]
    undated_count: int
    later_count: int
    reasons: list[ReasonCount]
    measured_days: list[DayMeasures]
    measured_count: int


def read_counts(store: Store, *, today: str) -> ReportCounts:
    """Count everything; a million patterns take some seconds.

    Args:
        store: Where.
        today: The date in UTC, `2026-05-28`; what is later is no day to show.
    """
    with store.snapshot() as connection:
        example_count, duplicate_count = examples_and_duplicates(connection, sa.true())
        days = example_days(connection, today)
        return ReportCounts(
            mark=_mark(connection),
            pattern_count=_count(connection, patterns),
            example_count=example_count,
            duplicate_count=duplicate_count,
            indexed_count=_indexed(connection),
            kinds=_kinds(connection),
            days=days.last,
            undated_count=days.undated_count,
            later_count=days.later_count,
            reasons=_reasons(connection),
            measured_days=measured_days(connection, today),
            measured_count=_count(connection, measurements),
        )


def state_mark(store: Store) -> str:
    """What changes with whatever is committed, decided or found out of services.

    Empty before anything was committed.
    """
    with store.snapshot() as connection:
        return _mark(connection)


def _mark(connection: sa.Connection) -> str:
    # Not by the clock, of which every machine has its own; a claim is no commit.
    commits = sa.select(sa.func.count(), sa.func.sum(checkpoints.c.sequence)).where(
        checkpoints.c.sequence > 0
    )
    parts: list[object] = [*connection.execute(commits).one()]
    if not parts[0]:
        return ""
    for newest in (
        proposals.c.decided_at,
        breakers.c.updated_at,
        index_changes.c.id,
    ):
        query = sa.select(sa.func.count(), sa.func.max(newest))
        parts += connection.execute(query).one()
    return " ".join("-" if part is None else str(part) for part in parts)


def _count(connection: sa.Connection, table: sa.Table) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return int(connection.execute(query).scalar_one())


def examples_and_duplicates(
    connection: sa.Connection, where: sa.ColumnElement[bool]
) -> tuple[int, int]:
    """How many examples there are, and how many duplicates of such.

    Args:
        connection: Inside a transaction.
        where: Among which rows of `finetuning_examples`.
    """
    query = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(is_example()), 0))
        .select_from(finetuning_examples)
        .where(where)
    )
    row_count, example_count = connection.execute(query).one()
    return int(example_count), int(row_count) - int(example_count)


def _indexed(connection: sa.Connection) -> int:
    # Those of which it was told a change count along: that is soon made.
    is_one = sa.case((is_passed_by(), is_example()), else_=sa.literal_column("0"))
    query = sa.select(sa.func.coalesce(sa.func.sum(is_one), 0)).select_from(
        finetuning_examples
    )
    return int(connection.execute(query).scalar_one())


def _kinds(connection: sa.Connection) -> list[KindCount]:
    count = sa.func.count()
    query = (
        sa.select(patterns.c.kind, count, sa.func.sum(is_example()))
        .select_from(patterns_with_examples())
        .group_by(patterns.c.kind)
        .order_by(count.desc(), by_code_point(connection, patterns.c.kind))
        .limit(MAX_GROUPS)
    )
    return [
        KindCount(kind, int(pattern_count), int(example_count))
        for kind, pattern_count, example_count in connection.execute(query)
    ]


def _reasons(connection: sa.Connection) -> list[ReasonCount]:
    count = sa.func.count()
    query = (
        sa.select(dead_letters.c.stage, dead_letters.c.reason, count)
        .group_by(dead_letters.c.stage, dead_letters.c.reason)
        .order_by(
            count.desc(),
            by_code_point(connection, dead_letters.c.stage),
            by_code_point(connection, dead_letters.c.reason),
        )
        .limit(MAX_GROUPS)
    )
    return [ReasonCount(*row) for row in connection.execute(query)]
