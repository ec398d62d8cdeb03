"""Fixtures of the report's tests: a state database with something in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from learning_pipeline.learning.report.facts import ReportFacts
from learning_pipeline.learning.report.gathering import gather
from learning_pipeline.settings import Settings
from learning_pipeline.stages.fleet import Fleet, look_at_fleet
from learning_pipeline.store import Store
from learning_pipeline.store.examples import EXAMPLES_STAGE
from learning_pipeline.store.index_feed import INDEX_STAGE
from learning_pipeline_tests.learning.learned import learn, write_lines
from learning_pipeline_tests.store.examples_of import derive

READING = "interaction_patterns performance_metrics optimization_proposals"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass
class Reported:
    """A state database, its telemetry, and what a report says of them.

    Attributes:
        store: Open.
        settings: Of both.
    """

    store: Store
    settings: Settings

    def write(self, partition: str, lines: Sequence[bytes]) -> None:
        """Append lines to a telemetry file."""
        write_lines(self.settings.telemetry_dir, partition, lines)

    def learn(self, partition: str, *lines: bytes, stages: str = READING) -> None:
        """Append lines and have stages read them; then examples are made of them."""
        self.write(partition, lines)
        learn(self.store, self.settings.telemetry_dir, partition, stages=stages)
        derive(self.store, partition, stage=EXAMPLES_STAGE)

    def index(self, partition: str) -> None:
        """Take examples over, as the index does."""
        derive(self.store, partition, stage=INDEX_STAGE)

    def fleet(self) -> Fleet:
        """How far all stages are."""
        return look_at_fleet(self.store, self.settings)

    def facts(self, *, now: datetime = NOW) -> ReportFacts:
        """What a report says."""
        return gather(self.store, self.settings, self.fleet(), now=now)


@pytest.fixture
def reported(store: Store, tmp_path: Path) -> Reported:
    """Nothing is learned yet."""
    root = tmp_path / "telemetry"
    root.mkdir()
    settings = Settings(
        telemetry_dir=root, state_dir=tmp_path / "state", training_threshold=44
    )
    return Reported(store, settings)
