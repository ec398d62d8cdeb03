"""The migrations give exactly the schema; databases of earlier versions still load."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.pool import NullPool

from learning_pipeline.model import Counters, Fingerprint
from learning_pipeline.store import Store
from learning_pipeline.store.schema import VERSION_TABLE, metadata
from learning_pipeline_tests.store.samples import (
    PARTITION,
    STAGE,
    contents,
    digest,
    process,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.usefixtures("store")
def test_the_migrations_create_exactly_the_declared_schema(store_url: str) -> None:
    """Alembic finds nothing to add, remove or change."""
    engine = sa.create_engine(store_url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_golden_files_hold_every_schema_version(sqlite_url: str) -> None:
    """A migration without one would not be shown to load what is in use."""
    Store(sqlite_url).close()
    [(current,)] = contents(sqlite_url)[VERSION_TABLE]
    assert {file.stem for file in GOLDEN.iterdir()} == {
        f"state_{number:04}" for number in range(1, int(current) + 1)
    }


def test_a_state_database_of_schema_0001_still_loads(tmp_path: Path) -> None:
    """Checkpoint, counts, history, rows and dead letters; and a run goes on."""
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "state_0001.sql").read_text("utf-8"))
    connection.close()
    with Store(f"sqlite:///{path}") as store:
        [checkpoint] = store.checkpoints()
        assert (checkpoint.stage, checkpoint.partition) == (STAGE, PARTITION)
        assert (checkpoint.generation, checkpoint.offset) == (0, 200)
        assert (checkpoint.sequence, checkpoint.run_id) == (3, "run-1")
        assert (checkpoint.synced_offset, checkpoint.seen_size_bytes) == (200, 200)
        assert checkpoint.fingerprint == Fingerprint(
            200, digest("prefix200"), 64, digest("guard200")
        )
        assert checkpoint.counters == Counters(
            record_count=20,
            event_count=18,
            row_count=8,
            quality_count=8,
            dead_letter_count=2,
            events_by_kind={"kind_0": 7, "kind_1": 7, "kind_2": 6},
            redactions_by_kind={"api_key": 2},
        )
        assert [step.end_offset for step in store.history()] == [0, 100, 200]
        offsets = [20, 40, 60, 80, 120, 140, 160, 180]
        rows = list(store.iterate_patterns())
        assert [row["offset"] for row in rows] == offsets
        assert rows[0]["prompt"] == "prompt of 20"
        assert rows[0]["content_hash"] == digest("20").hex()
        letters = list(store.iterate_dead_letters())
        assert [letter["start_offset"] for letter in letters] == [0, 100]
        process(store, 300)
        assert len(list(store.iterate_patterns())) == 12
