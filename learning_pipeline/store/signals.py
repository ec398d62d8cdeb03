"""Signals grouped by what they are about, with examples; in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.measurements import count_by_task_type
from learning_pipeline.store.schema import partitions, signals

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SUBJECTS_PER_QUERY: Final = 200


class Place(msgspec.Struct, frozen=True):
    """A line of telemetry that something comes from.

    Attributes:
        partition: The partition key of its file.
        generation: Which physical file behind that.
        offset: Its first byte there.
        observed: What was observed there, if anything.
        event_timestamp: When it happened, or None if not stated.
    """

    partition: str
    generation: int
    offset: int
    observed: float | None
    event_timestamp: str | None


class SignalGroup(msgspec.Struct, frozen=True):
    """All signals of one name and subject.

    Attributes:
        signal: The name.
        subject: What they are about.
        sample_count: How many.
        first_seen: The earliest timestamp; None when none states one.
        last_seen: The latest.
        most_observed: The largest observed value, if any.
        usual_threshold: The threshold of the most of them; of two such the larger;
            None when none states one.
        task_count: Measured events of the task type that the subject is.
        examples: The latest of them; without a timestamp the last.
    """

    signal: str
    subject: str
    sample_count: int
    first_seen: str | None = None
    last_seen: str | None = None
    most_observed: float | None = None
    usual_threshold: float | None = None
    task_count: int = 0
    examples: Sequence[Place] = ()


def select_groups(
    connection: sa.Connection,
    *,
    count: int,
    also_of: Collection[str],
    example_count: int,
) -> list[SignalGroup]:
    """The groups of the most signals, then name and subject.

    Args:
        connection: Inside a transaction.
        count: How many at most.
        also_of: Subjects whose groups come on top of these.
        example_count: How many examples of each at most.
    """
    rows = list(connection.execute(_groups(connection).limit(count)))
    there = {(row.signal, row.subject) for row in rows}
    for part in _parts(also_of):
        more = connection.execute(
            _groups(connection).where(signals.c.subject.in_(part))
        )
        rows += [row for row in more if (row.signal, row.subject) not in there]
    details = _Details(connection, {row.subject for row in rows}, example_count)
    return [
        SignalGroup(
            row.signal,
            row.subject,
            row.sample_count,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            most_observed=row.most_observed,
            usual_threshold=details.thresholds.get((row.signal, row.subject)),
            task_count=details.task_counts.get(row.subject, 0),
            examples=details.examples.get((row.signal, row.subject), ()),
        )
        for row in rows
    ]


def count_groups(connection: sa.Connection) -> int:
    """How many groups there are in all."""
    groups = sa.select(signals.c.signal, signals.c.subject).distinct().subquery()
    query = sa.select(sa.func.count()).select_from(groups)
    found: int = connection.execute(query).scalar_one()
    return found


class _Details:
    """What more there is to say of the groups of some subjects."""

    def __init__(
        self, connection: sa.Connection, subjects: Collection[str], example_count: int
    ) -> None:
        self.thresholds: dict[tuple[str, str], float] = {}
        self.task_counts: dict[str, int] = {}
        self.examples: dict[tuple[str, str], list[Place]] = {}
        for part in _parts(subjects):
            for row in connection.execute(_usual_thresholds(part)):
                self.thresholds[row.signal, row.subject] = row.threshold
            self.task_counts |= count_by_task_type(connection, part)
            for signal, subject, *place in connection.execute(
                _latest(connection, part, example_count)
            ):
                self.examples.setdefault((signal, subject), []).append(Place(*place))


def _groups(connection: sa.Connection) -> sa.Select[Any]:
    moment = by_code_point(connection, signals.c.event_timestamp)
    count = sa.func.count()
    return (
        sa.select(
            signals.c.signal,
            signals.c.subject,
            count.label("sample_count"),
            sa.func.min(moment).label("first_seen"),
            sa.func.max(moment).label("last_seen"),
            sa.func.max(signals.c.observed).label("most_observed"),
        )
        .group_by(signals.c.signal, signals.c.subject)
        .order_by(
            count.desc(),
            by_code_point(connection, signals.c.signal),
            by_code_point(connection, signals.c.subject),
        )
    )


def _usual_thresholds(subjects: Sequence[str]) -> sa.Select[Any]:
    counted = (
        sa.select(
            signals.c.signal,
            signals.c.subject,
            signals.c.threshold,
            sa.func.row_number()
            .over(
                partition_by=[signals.c.signal, signals.c.subject],
                order_by=[sa.func.count().desc(), signals.c.threshold.desc()],
            )
            .label("place"),
        )
        .where(signals.c.subject.in_(subjects), signals.c.threshold.is_not(None))
        .group_by(signals.c.signal, signals.c.subject, signals.c.threshold)
        .subquery()
    )
    return sa.select(counted.c.signal, counted.c.subject, counted.c.threshold).where(
        counted.c.place == 1
    )


def _latest(
    connection: sa.Connection, subjects: Sequence[str], example_count: int
) -> sa.Select[Any]:
    # Not by the partition's number, which depends on what was read first.
    latest = sa.func.coalesce(signals.c.event_timestamp, "")
    ranked = (
        sa.select(
            signals.c.signal,
            signals.c.subject,
            partitions.c.partition_key,
            signals.c.generation,
            signals.c.offset,
            signals.c.observed,
            signals.c.event_timestamp,
            sa.func.row_number()
            .over(
                partition_by=[signals.c.signal, signals.c.subject],
                order_by=[
                    by_code_point(connection, latest).desc(),
                    by_code_point(connection, partitions.c.partition_key).desc(),
                    signals.c.generation.desc(),
                    signals.c.offset.desc(),
                ],
            )
            .label("place"),
        )
        .join(partitions, partitions.c.id == signals.c.partition_id)
        .where(signals.c.subject.in_(subjects))
        .subquery()
    )
    columns = [column for column in ranked.c if column.name != "place"]
    return (
        sa.select(*columns)
        .where(ranked.c.place <= example_count)
        .order_by(ranked.c.place)
    )


def _parts(subjects: Collection[str]) -> list[Sequence[str]]:
    ordered = sorted(subjects)
    return [
        ordered[start : start + SUBJECTS_PER_QUERY]
        for start in range(0, len(ordered), SUBJECTS_PER_QUERY)
    ]
