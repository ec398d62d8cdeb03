"""What stages have made of one partition, counted; for its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from learning_pipeline.store.chunks import by_code_point
from learning_pipeline.store.report_counts import examples_and_duplicates
from learning_pipeline.store.schema import (
    finetuning_examples,
    measurements,
    partitions,
    signals,
)

if TYPE_CHECKING:
    from learning_pipeline.store import Store

MAX_GROUPS: Final = 20


class ExampleCounts(msgspec.Struct, frozen=True):
    """Examples and duplicates.

    Attributes:
        example_count: Of the partition.
        duplicate_count: Of the partition.
        total_example_count: Examples of all partitions.
    """

    example_count: int
    duplicate_count: int
    total_example_count: int


class MeasuredGroup(msgspec.Struct, frozen=True):
    """What was measured of one kind and backend.

    Attributes:
        kind: The kind of event.
        backend: Backend or model; None: none was stated.
        event_count: Events of which something was measured.
        success_rate: Of those of which it is known; None when it is known of none.
        iterations_mean: Of those that state some, like the others.
        latency_ms_mean: Mean latency.
        latency_ms_max: The slowest.
        tokens_in: Sum.
        tokens_out: Sum.
    """

    kind: str
    backend: str | None
    event_count: int
    success_rate: float | None
    iterations_mean: float | None
    latency_ms_mean: float | None
    latency_ms_max: float | None
    tokens_in: int
    tokens_out: int


class SignalCount(msgspec.Struct, frozen=True):
    """Signals of one name and subject.

    Attributes:
        signal: The name.
        subject: What they are about.
        count: How many.
    """

    signal: str
    subject: str
    count: int


def count_examples(store: Store, partition: str) -> ExampleCounts:
    """Examples and duplicates of a partition, and examples of all."""
    with store.snapshot() as connection:
        of_partition = finetuning_examples.c.partition_id == _id(partition)
        example_count, duplicate_count = examples_and_duplicates(
            connection, of_partition
        )
        total_example_count, _ = examples_and_duplicates(connection, sa.true())
    return ExampleCounts(example_count, duplicate_count, total_example_count)


def measured_groups(store: Store, partition: str) -> list[MeasuredGroup]:
    """What was measured of a partition per kind and backend; those of most events."""
    count, average, total = sa.func.count, sa.func.avg, sa.func.sum
    columns = measurements.c
    successes = count(sa.case((columns.success, sa.literal_column("1"))))
    with store.snapshot() as connection:
        query = (
            sa.select(
                columns.kind,
                columns.backend,
                count(),
                successes,
                count(columns.success),
                average(columns.iterations),
                average(columns.latency_ms),
                sa.func.max(columns.latency_ms),
                total(columns.tokens_in),
                total(columns.tokens_out),
            )
            .where(columns.partition_id == _id(partition))
            .group_by(columns.kind, columns.backend)
            .order_by(
                count().desc(),
                by_code_point(connection, columns.kind),
                by_code_point(connection, sa.func.coalesce(columns.backend, "")),
            )
            .limit(MAX_GROUPS)
        )
        rows = connection.execute(query).all()
    return [_measured(row) for row in rows]


def signal_counts(store: Store, partition: str) -> list[SignalCount]:
    """The signals of a partition by name and subject; the most frequent."""
    count = sa.func.count()
    with store.snapshot() as connection:
        query = (
            sa.select(signals.c.signal, signals.c.subject, count)
            .where(signals.c.partition_id == _id(partition))
            .group_by(signals.c.signal, signals.c.subject)
            .order_by(
                count.desc(),
                by_code_point(connection, signals.c.signal),
                by_code_point(connection, signals.c.subject),
            )
            .limit(MAX_GROUPS)
        )
        return [SignalCount(*row) for row in connection.execute(query)]


def count_signals(store: Store, partition: str) -> dict[str, int]:
    """The signals of a partition by name."""
    query = (
        sa.select(signals.c.signal, sa.func.count())
        .where(signals.c.partition_id == _id(partition))
        .group_by(signals.c.signal)
        .order_by(signals.c.signal)
    )
    with store.snapshot() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def _id(partition: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(partitions.c.id)
        .where(partitions.c.partition_key == partition)
        .scalar_subquery()
    )


def _measured(row: sa.Row[Any]) -> MeasuredGroup:
    values: tuple[Any, ...] = tuple(row)
    kind, backend, events, succeeded, judged, *means, tokens_in, tokens_out = values
    iterations, latency_ms, slowest_ms = (
        None if mean is None else float(mean) for mean in means
    )
    return MeasuredGroup(
        kind,
        backend,
        event_count=int(events),
        success_rate=int(succeeded) / int(judged) if judged else None,
        iterations_mean=iterations,
        latency_ms_mean=latency_ms,
        latency_ms_max=slowest_ms,
        tokens_in=int(tokens_in or 0),
        tokens_out=int(tokens_out or 0),
    )
