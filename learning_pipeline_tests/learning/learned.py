"""Stages that have read telemetry, for tests of what is made of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import sqlalchemy as sa

from learning_pipeline import logs
from learning_pipeline.extraction import build_extractor
from learning_pipeline.learning import metrics, proposals
from learning_pipeline.stages import PartitionDrain, Reading
from learning_pipeline.store import Store, patterns
from learning_pipeline.store.schema import measurements, signals
from learning_pipeline.telemetry import ReadLimits
from learning_pipeline_tests.learning.event_lines import Transform

STAGES: dict[str, tuple[sa.Table, Callable[[], Transform]]] = {
    "performance_metrics": (measurements, metrics.build_transform),
    "optimization_proposals": (signals, proposals.build_transform),
    "interaction_patterns": (patterns, lambda: build_extractor(4096)),
}


def write_lines(root: Path, partition: str, lines: Iterable[bytes]) -> None:
    """Append lines to a telemetry file."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / partition).open("ab") as file:
        file.writelines(line + b"\n" for line in lines)


def learn(
    store: Store, root: Path, *partitions: str, interval: int = 100, stages: str = ""
) -> None:
    """Read the unread rest of files, as runs do, by both stages or by those named."""
    limits = ReadLimits(
        max_records=interval, max_batch_bytes=2**24, max_record_bytes=2**24
    )
    names = stages.split() or ["performance_metrics", "optimization_proposals"]
    for stage in names:
        table, build = STAGES[stage]
        with store.session(
            stage=stage, table=table, run_id="run-1", history_count=20
        ) as session:
            for partition in partitions:
                PartitionDrain(
                    session,
                    partition=partition,
                    transform=build(),
                    reading=Reading(root, limits, read_ahead_bytes=0),
                    on_commit=lambda _: None,
                    log=logs.get_logger(),
                ).run()
