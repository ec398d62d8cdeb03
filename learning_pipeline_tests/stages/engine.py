"""One stage over one telemetry root, without Dagster, for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learning_pipeline import logs
from learning_pipeline.extraction import PatternExtractor
from learning_pipeline.model import BatchOutput, Progress, RecordBatch
from learning_pipeline.stages import PartitionDrain, Reading, TransformSpec
from learning_pipeline.store import Claim, StageSession, Store, patterns
from learning_pipeline.telemetry import ReadLimits

NEVER = 2**62
STAGE = "interaction_patterns"


def ignore(_: Progress) -> None:
    """Listen to nothing."""


@dataclass
class Engine:
    """A telemetry root and a database.

    Attributes:
        folder: Holds both.
        interval: Records per commit.
        read_ahead_bytes: From which rest on a second process reads.
        transform: What makes rows of records.
        max_record_bytes: A longer line is rejected.
    """

    folder: Path
    interval: int = 10
    read_ahead_bytes: int = NEVER
    transform: Callable[[RecordBatch], BatchOutput] | TransformSpec = field(
        default_factory=PatternExtractor
    )
    max_record_bytes: int = 2**16

    def __post_init__(self) -> None:
        """Make the telemetry root."""
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """The telemetry root."""
        return self.folder / "telemetry"

    def store(self) -> Store:
        """The database."""
        return Store(f"sqlite:///{self.folder / 'state.db'}")

    def drain(
        self,
        partition: str = "a.jsonl",
        *,
        stage: str = STAGE,
        table: Any = patterns,
        on_commit: Callable[[Progress], None] = ignore,
    ) -> Progress:
        """One pass over a file."""
        with (
            self.store() as store,
            store.session(
                stage=stage, table=table, run_id="run", history_count=20
            ) as session,
        ):
            claim, progress = self.drain_into(session, partition, on_commit)
            session.sync([claim])
            return progress

    def drain_into(
        self,
        session: StageSession,
        partition: str,
        on_commit: Callable[[Progress], None] = ignore,
    ) -> tuple[Claim, Progress]:
        """One pass over a file, in a session that is open already and not synced."""
        return PartitionDrain(
            session,
            partition=partition,
            transform=self.transform,
            reading=Reading(
                self.root,
                ReadLimits(
                    max_records=self.interval,
                    max_batch_bytes=2**20,
                    max_record_bytes=self.max_record_bytes,
                ),
                self.read_ahead_bytes,
            ),
            on_commit=on_commit,
            log=logs.get_logger(),
        ).run()

    def rows(self) -> list[dict[str, Any]]:
        """All patterns."""
        with self.store() as store:
            return list(store.iterate_patterns())

    def write(self, content: bytes, partition: str = "a.jsonl") -> None:
        """Write a file anew, over the old one's bytes."""
        (self.root / partition).write_bytes(content)

    def append(self, content: bytes, partition: str = "a.jsonl") -> None:
        """Let a file grow."""
        with (self.root / partition).open("ab") as file:
            file.write(content)
