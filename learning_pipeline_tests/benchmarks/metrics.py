"""What measuring events costs, and adding up a million of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from learning_pipeline.learning import metrics, proposals
from learning_pipeline.model import BatchOutput, RecordBatch
from learning_pipeline.store import Store
from learning_pipeline.telemetry import open_telemetry_file
from learning_pipeline.testing.generator import write_telemetry
from learning_pipeline_tests.benchmarks.one_pass import (
    TELEMETRY_NAME,
    limits,
    peak_of,
)
from learning_pipeline_tests.benchmarks.throughput import MB, output_of, parse, seconds

Transform = Callable[[RecordBatch], BatchOutput]

TRANSFORMS: dict[str, Callable[[], Transform]] = {
    "measuring, commits off": metrics.build_transform,
    "finding signals, commits off": proposals.build_transform,
}

DATABASE_NAME = "measured.db"


def measure_metrics(
    folder: Path, *, event_count: int, measurement_count: int = 1_000_000
) -> None:
    """Print the transforms as ratios to the parse floor, and the aggregation.

    Args:
        folder: Where files may be put.
        event_count: How many events the transforms get.
        measurement_count: How many measurements are added up.
    """
    root = folder / "metrics"
    path = root / TELEMETRY_NAME
    write_telemetry(path, event_count)
    print(f"\n{event_count:,} events, one core, reading included")
    for name, build in TRANSFORMS.items():
        # In pairs with the floor: a machine's pace changes from minute to minute.
        pairs = [
            (seconds(lambda: parse(path)), seconds(lambda: transform(root, build())))  # noqa: B023 - called at once
            for _ in range(5)
        ]
        taken = statistics.median(taken for _, taken in pairs)
        ratio = statistics.median(floor / taken for floor, taken in pairs)
        print(f"{name:34} {event_count / taken:>10,.0f} {ratio:>13.3f}", flush=True)
    fill(folder / DATABASE_NAME, measurement_count)
    idle, taken, peak = map(float, output_of("-m", __name__, str(folder)).split())
    print(
        f"{measurement_count:,} measurements by day, kind and backend: {taken:.1f} s, "
        f"{measurement_count / taken:,.0f}/s, {(peak - idle) / MB:.0f} MB above an "
        "idle import of pandas",
        flush=True,
    )


def transform(root: Path, transform: Transform) -> None:
    """Read and transform, commit nothing."""
    with open_telemetry_file(root, TELEMETRY_NAME) as file:
        for batch in file.read_batches(limits=limits(100)):
            transform(batch)


def fill(path: Path, count: int) -> None:
    """Make a database of so many measurements, of 30 days, 5 kinds and 4 backends."""
    url = f"sqlite:///{path}"
    Store(url).close()
    numbered = (
        "WITH RECURSIVE numbers(n) AS "  # noqa: S608 - a count, and nothing else
        f"(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
    )
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO partitions (id, partition_key) VALUES (1, 'a.jsonl')"
        )
        connection.exec_driver_sql(
            numbered + "INSERT INTO measurements "  # noqa: S608 - (the same)
            "SELECT 1, 0, n * 800, 0, 'kind_' || (n % 5), 'backend_' || (n % 4), NULL, "
            "printf('2026-05-%02dT18:14:11.863954Z', 1 + n % 30), n % 3, n % 9, "
            "1 + (n * 7919) % 90000 + 0.5, NULL, n % 900, n % 700 FROM numbers"
        )
    engine.dispose()


def main(folder: Path) -> None:
    """Add up; print the peak before, the seconds, and the peak, in bytes."""
    from learning_pipeline.learning.metrics.aggregation import (  # noqa: PLC0415 - measured
        aggregate,
    )

    idle = peak_of("self")
    with Store(f"sqlite:///{folder / DATABASE_NAME}") as store:
        began = time.perf_counter()
        frame = aggregate(store)
        taken = time.perf_counter() - began
    assert frame["event_count"].sum() > 0
    print(idle, taken, peak_of("self"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
